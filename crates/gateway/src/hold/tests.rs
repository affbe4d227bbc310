use model::{Mode, StreamId};

use super::*;

const LIMITS: Limits = Limits { hold_max_ms: 10_000, barrier_wait_ms: 1_000, barriers_max: 2, retry_ms: 50 };

/// A gate whose steps are written as lines: `now`, the event, and the effects that must follow.
struct Told(Gate);

impl Told {
    fn new() -> Told {
        Told(Gate::new(LIMITS))
    }

    #[track_caller]
    fn step(&mut self, now_ms: u64, event: Event, want: &[&str]) {
        let mut effects = Vec::new();
        self.0.step(now_ms, event, &mut effects);
        let got: Vec<String> = effects.iter().map(line).collect();
        assert_eq!(got, want);
    }

    /// An answer of epoch 3 becomes complete, and the Tick that is due at once follows.
    #[track_caller]
    fn answered(&mut self, now_ms: u64, id: u64, want: &[&str]) {
        self.answered_in(now_ms, id, 3, now_ms, want);
    }

    #[track_caller]
    fn answered_in(&mut self, now_ms: u64, id: u64, epoch: u64, since_ms: u64, want: &[&str]) {
        let mut effects = Vec::new();
        let event = answered(id, epoch, "s", since_ms);
        self.0.step(now_ms, event, &mut effects);
        self.0.step(now_ms, Event::Tick, &mut effects);
        assert_eq!(effects.iter().map(line).collect::<Vec<_>>(), want);
    }

    #[track_caller]
    fn replied(&mut self, now_ms: u64, barrier: u64, outcome: BarrierOutcome, want: &[&str]) {
        let reply = BarrierReply { outcome, epoch: None, mode: None, position: None };
        self.step(now_ms, Event::Replied(BarrierId(barrier), reply), want);
    }
}

fn answered(id: u64, epoch: u64, stream: &str, since_ms: u64) -> Event {
    Event::Answered { id: AnswerId(id), epoch: Epoch(epoch), stream: StreamId(stream.into()), since_ms }
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Ask(b, r) => format!("ask {} epoch {} wait {}", b.0, r.epoch, r.wait_ms),
        Effect::Release { id, before_ms: None } => format!("release {}", id.0),
        Effect::Release { id, before_ms: Some(t) } => format!("release {} before {t}", id.0),
        Effect::Unknown { id, why, position } => match position {
            Some(p) => format!("unknown {} {why:?} at {p}", id.0),
            None => format!("unknown {} {why:?}", id.0),
        },
    }
}

#[test]
fn one_barrier_serves_what_waited_when_it_was_sent_and_nothing_that_came_later() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.answered(1, 2, &["ask 1 epoch 3 wait 1000"]);
    // Both places are taken: 3 and 4 share the next barrier.
    gate.answered(2, 3, &[]);
    gate.answered(3, 4, &[]);
    gate.replied(5, 0, BarrierOutcome::Replicated, &["release 1", "ask 2 epoch 3 wait 1000"]);
    gate.replied(6, 2, BarrierOutcome::Replicated, &["release 3", "release 4"]);
    gate.replied(9, 1, BarrierOutcome::Replicated, &["release 2"]);
    assert_eq!((gate.0.held(), gate.0.barriers_under_way(), gate.0.wake_at_ms()), (0, 0, None));
}

#[test]
fn answers_that_are_complete_together_share_one_barrier() {
    let mut gate = Told::new();
    for id in 1..=3 {
        gate.step(5, answered(id, 3, "s", 5), &[]);
    }
    assert!(gate.0.wake_at_ms().is_some_and(|at| at <= 5), "the Tick is due at once");
    gate.step(5, Event::Tick, &["ask 0 epoch 3 wait 1000"]);
    gate.replied(6, 0, BarrierOutcome::Replicated, &["release 1", "release 2", "release 3"]);
}

#[test]
fn the_lease_counts_from_sending_and_is_checked_at_the_reply() {
    let mut gate = Told::new();
    gate.answered(1_000, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.replied(1_020, 0, BarrierOutcome::Solo { lease_left_ms: 500 }, &["release 1 before 1500"]);
    // The reply took longer than the lease: it proves nothing any more, so the gate asks anew.
    gate.answered(2_000, 2, &["ask 1 epoch 3 wait 1000"]);
    gate.replied(2_500, 1, BarrierOutcome::Solo { lease_left_ms: 500 }, &["ask 2 epoch 3 wait 1000"]);
    gate.replied(2_510, 2, BarrierOutcome::Solo { lease_left_ms: 500 }, &["release 2 before 3000"]);
}

#[test]
fn a_lease_that_ended_between_reply_and_release_sends_the_answer_back_with_its_old_deadline() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.replied(10, 0, BarrierOutcome::Solo { lease_left_ms: 20 }, &["release 1 before 20"]);
    // Whoever released looked at the clock at 9,500 and brings it back under a new number.
    gate.answered_in(9_500, 2, 3, 0, &["ask 1 epoch 3 wait 500"]);
    gate.step(10_000, Event::Tick, &["unknown 2 TooLong"]);
}

#[test]
fn a_changed_epoch_makes_everything_of_the_old_one_unknown_at_once() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.answered(0, 2, &["ask 1 epoch 3 wait 1000"]);
    gate.answered(0, 3, &[]);
    gate.step(
        5,
        Event::EpochKnown(Epoch(4)),
        &["unknown 1 EpochChanged", "unknown 2 EpochChanged", "unknown 3 EpochChanged"],
    );
    // Late replies of the old epoch release nothing, a late request of it is unknown without a question.
    gate.replied(6, 0, BarrierOutcome::Replicated, &[]);
    gate.answered(7, 4, &["unknown 4 EpochChanged"]);
    gate.step(8, Event::EpochKnown(Epoch(3)), &[]);
    gate.answered_in(9, 5, 4, 9, &["ask 2 epoch 4 wait 1000"]);
}

#[test]
fn a_reply_that_tells_a_newer_epoch_ends_the_waiting_of_others_too() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.answered(1, 2, &["ask 1 epoch 3 wait 1000"]);
    let position = Some(Position { stream: StreamId("s".into()), file: 2, offset: 9 });
    let reply = BarrierReply {
        outcome: BarrierOutcome::EpochChanged,
        epoch: Some(Epoch(4)),
        mode: Some(Mode::Solo),
        position,
    };
    let want = ["unknown 1 EpochChanged at s:2:9", "unknown 2 EpochChanged at s:2:9"];
    gate.step(2, Event::Replied(BarrierId(0), reply), &want);
}

#[test]
fn another_identity_is_unknown() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.replied(1, 0, BarrierOutcome::IdentityChanged, &["unknown 1 IdentityChanged"]);
}

#[test]
fn each_barrier_names_the_stream_in_which_the_requests_that_it_serves_began() {
    let mut gate = Told::new();
    // 1 and 3 began in one life of the primary's log, 2 in another; all are complete in the same moment.
    gate.step(0, answered(1, 3, "old", 0), &[]);
    gate.step(0, answered(2, 3, "new", 0), &[]);
    gate.step(0, answered(3, 3, "old", 0), &[]);
    let mut ask = |want: &str| {
        let mut effects = Vec::new();
        gate.0.step(0, Event::Tick, &mut effects);
        let [Effect::Ask(_, request)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(request.stream, StreamId(want.into()));
    };
    ask("old");
    ask("new");
    gate.replied(
        1,
        0,
        BarrierOutcome::IdentityChanged,
        &["unknown 1 IdentityChanged", "unknown 3 IdentityChanged"],
    );
    gate.replied(2, 1, BarrierOutcome::Replicated, &["release 2"]);
}

#[test]
fn what_may_pass_is_asked_again_until_hold_max() {
    use BarrierOutcome::{DatabaseUnavailable, LeaseExpired, TimedOut};
    for outcome in [TimedOut, LeaseExpired, DatabaseUnavailable] {
        let mut gate = Told::new();
        gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
        // Answered at once: a pause, so that an agent without a database is not flooded.
        gate.replied(10, 0, outcome, &[]);
        assert_eq!(gate.0.wake_at_ms(), Some(60));
        gate.step(60, Event::Tick, &["ask 1 epoch 3 wait 1000"]);
        // Answered after waiting: no pause.
        gate.replied(9_300, 1, outcome, &["ask 2 epoch 3 wait 700"]);
        gate.step(10_000, Event::Tick, &["unknown 1 TooLong"]);
        gate.replied(10_001, 2, BarrierOutcome::Replicated, &[]);
    }
}

#[test]
fn an_agent_that_restarts_costs_time_and_no_answer() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.step(1, Event::Failed(BarrierId(0)), &[]);
    gate.answered(20, 2, &[]);
    gate.step(51, Event::Tick, &["ask 1 epoch 3 wait 1000"]);
    gate.replied(60, 1, BarrierOutcome::Replicated, &["release 1", "release 2"]);
}

#[test]
fn a_visitor_who_left_is_forgotten() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.step(1, Event::Abandoned(AnswerId(1)), &[]);
    gate.replied(2, 0, BarrierOutcome::Replicated, &[]);
    assert_eq!((gate.0.held(), gate.0.wake_at_ms()), (0, None));
}

#[test]
fn a_failed_barrier_never_takes_answers_from_another() {
    let mut gate = Told::new();
    gate.answered(0, 1, &["ask 0 epoch 3 wait 1000"]);
    gate.answered(0, 2, &["ask 1 epoch 3 wait 1000"]);
    gate.step(1, Event::Failed(BarrierId(0)), &[]);
    gate.step(51, Event::Tick, &["ask 2 epoch 3 wait 1000"]);
    // A doubled or late failure of barrier 0 changes nothing.
    gate.step(52, Event::Failed(BarrierId(0)), &[]);
    gate.replied(53, 1, BarrierOutcome::Replicated, &["release 2"]);
    gate.replied(54, 2, BarrierOutcome::Replicated, &["release 1"]);
}
