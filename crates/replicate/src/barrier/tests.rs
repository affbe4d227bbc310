use model::{Incarnation, agent::Row};

use super::*;

const NOW: u64 = 1_000;

fn at(offset: u64) -> Position {
    Position { stream: StreamId("s".into()), file: 1, offset }
}

fn seen(epoch: u64, primary: &str, mode: Mode, end_of_log: Position) -> Snapshot {
    Snapshot {
        row: Row {
            epoch: Epoch(epoch),
            primary: Site::new(primary),
            mode,
            token: 1,
            stream: end_of_log.stream.clone(),
        },
        end_of_log,
        incarnation: Incarnation(0),
        seeding: false,
    }
}

fn mark(epoch: u64, position: Position) -> Watermark {
    Watermark { epoch: Epoch(epoch), incarnation: Incarnation(3), position }
}

/// A core whose clock and database are the test's, and the answers by the requests' numbers.
struct Bench {
    core: Core<u32>,
    now_ms: u64,
    out: Vec<Answer<u32>>,
}

impl Bench {
    fn new() -> Bench {
        let mut core = Core::new(Site::new("nhn"), 3_000);
        core.lease_renewed(Lease { epoch: Epoch(1), asked_ms: NOW - 100 });
        Bench { core, now_ms: NOW, out: Vec::new() }
    }

    fn ask(&mut self, number: u32) {
        self.ask_in("s", number);
    }

    /// A request that began in this stream.
    fn ask_in(&mut self, stream: &str, number: u32) {
        let stream = StreamId(stream.into());
        self.core.request(self.now_ms, BarrierRequest { epoch: Epoch(1), stream, wait_ms: 5_000 }, number);
    }

    /// One query and its answer.
    fn query(&mut self, seen: &Snapshot) {
        assert!(self.core.begin_query(self.now_ms));
        self.core.answered(self.now_ms, seen, None, &mut self.out);
    }

    #[track_caller]
    fn check(&mut self, expected: &[(u32, BarrierOutcome)]) {
        let got: Vec<_> = self.out.drain(..).map(|(number, reply)| (number, reply.outcome)).collect();
        assert_eq!(got, expected);
    }
}

use BarrierOutcome::*;

#[test]
fn one_query_serves_all_that_came_before_it_was_sent_and_nobody_else() {
    let mut b = Bench::new();
    b.ask(1);
    b.ask(2);
    assert!(b.core.begin_query(b.now_ms));
    b.ask(3);
    assert!(!b.core.begin_query(b.now_ms), "one at a time");
    b.core.answered(b.now_ms, &seen(1, "nhn", Mode::Sync, at(50)), None, &mut b.out);
    b.core.watermark(&mark(1, at(99)), &mut b.out);
    b.check(&[(1, Replicated), (2, Replicated)]);
    assert_eq!(b.core.held(), 1);
    b.query(&seen(1, "nhn", Mode::Sync, at(60)));
    b.check(&[]);
    b.core.watermark(&mark(1, at(60)), &mut b.out);
    b.check(&[(3, Replicated)]);
}

#[test]
fn in_sync_each_waits_for_its_own_position() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.ask(2);
    b.query(&seen(1, "nhn", Mode::Sync, at(70)));
    b.core.watermark(&mark(1, at(49)), &mut b.out);
    b.check(&[]);
    b.core.watermark(&mark(1, at(50)), &mut b.out);
    b.check(&[(1, Replicated)]);
    b.core.watermark(&mark(1, at(69)), &mut b.out);
    b.check(&[]);
    b.core.watermark(&mark(1, at(700)), &mut b.out);
    b.check(&[(2, Replicated)]);
    assert_eq!(b.core.held(), 0);
}

#[test]
fn a_watermark_that_is_already_there_releases_at_once() {
    let mut b = Bench::new();
    b.ask(1);
    assert!(b.core.begin_query(b.now_ms));
    let there = mark(1, at(50));
    b.core.answered(b.now_ms, &seen(1, "nhn", Mode::Sync, at(50)), Some(&there), &mut b.out);
    b.check(&[(1, Replicated)]);
}

#[test]
fn watermarks_of_other_streams_and_epochs_release_nothing() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.core.watermark(&mark(2, at(99)), &mut b.out);
    b.core.watermark(&mark(1, Position { stream: StreamId("t".into()), ..at(99) }), &mut b.out);
    b.check(&[]);
    assert_eq!(b.core.held(), 1);
}

#[test]
fn in_solo_answers_go_out_for_the_rest_of_the_lease_counted_from_their_arrival() {
    let mut b = Bench::new();
    b.ask(1);
    b.now_ms += 400;
    b.query(&seen(1, "nhn", Mode::Solo, at(50)));
    // The register was asked 100 ms before request 1 came: 2,900 ms of 3,000 were left then.
    b.check(&[(1, Solo { lease_left_ms: 2_900 })]);
}

#[test]
fn in_solo_without_a_fresh_register_nothing_goes_out() {
    let mut b = Bench::new();
    b.ask(1);
    b.now_ms = NOW - 100 + 3_000;
    b.query(&seen(1, "nhn", Mode::Solo, at(50)));
    b.check(&[(1, LeaseExpired)]);
    b.core.lease_renewed(Lease { epoch: Epoch(2), asked_ms: b.now_ms });
    b.ask(2);
    b.query(&seen(1, "nhn", Mode::Solo, at(50)));
    b.check(&[(2, LeaseExpired)]);
}

#[test]
fn an_older_sight_of_the_register_does_not_shorten_the_lease() {
    let mut b = Bench::new();
    b.core.lease_renewed(Lease { epoch: Epoch(1), asked_ms: NOW - 900 });
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Solo, at(50)));
    b.check(&[(1, Solo { lease_left_ms: 2_900 })]);
}

#[test]
fn a_request_of_an_older_epoch_is_never_released() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(2, "nhn", Mode::Solo, at(50)));
    b.check(&[(1, EpochChanged)]);
    b.ask(2);
    b.query(&seen(1, "aws", Mode::Solo, at(50)));
    b.check(&[(2, EpochChanged)]);
}

#[test]
fn an_epoch_that_changes_while_an_answer_is_held_ends_it() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.now_ms += ASK_AGAIN_MS;
    b.query(&seen(2, "aws", Mode::Solo, at(80)));
    b.check(&[(1, EpochChanged)]);
    b.core.watermark(&mark(1, at(99)), &mut b.out);
    b.check(&[]);

    b.ask(2);
    b.query(&seen(1, "nhn", Mode::Sync, at(80)));
    b.now_ms += ASK_AGAIN_MS;
    b.query(&seen(3, "nhn", Mode::Sync, at(90)));
    b.check(&[(2, EpochChanged)]);
}

#[test]
fn a_move_to_solo_frees_those_who_wait() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    assert!(!b.core.begin_query(b.now_ms + ASK_AGAIN_MS - 1), "nothing new to ask");
    b.core.row_changed();
    b.query(&seen(1, "nhn", Mode::Solo, at(60)));
    b.check(&[(1, Solo { lease_left_ms: 2_900 })]);
}

#[test]
fn a_move_to_sync_makes_the_next_ones_wait_and_keeps_the_others_positions() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Solo, at(50)));
    b.check(&[(1, Solo { lease_left_ms: 2_900 })]);
    b.ask(2);
    b.query(&seen(1, "nhn", Mode::Sync, at(60)));
    b.check(&[]);
    b.now_ms += ASK_AGAIN_MS;
    b.query(&seen(1, "nhn", Mode::Sync, at(90)));
    b.core.watermark(&mark(1, at(60)), &mut b.out);
    b.check(&[(2, Replicated)]);
}

#[test]
fn a_log_that_goes_backwards_is_another_log_and_releases_nothing() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.ask(2);
    assert!(b.core.begin_query(b.now_ms));
    let reset = seen(1, "nhn", Mode::Sync, at(4));
    assert!(b.core.answered(b.now_ms, &reset, None, &mut b.out), "it is told");
    b.check(&[(2, IdentityChanged), (1, IdentityChanged)]);
    // It stays so, even when the new log has grown past the old one's end, until the row has a new name for it.
    b.ask(3);
    b.query(&seen(1, "nhn", Mode::Sync, at(500)));
    b.check(&[(3, IdentityChanged)]);
    let renamed = Position { stream: StreamId("new".into()), ..at(600) };
    b.ask(4);
    b.query(&seen(1, "nhn", Mode::Sync, renamed.clone()));
    b.check(&[(4, IdentityChanged)]);
    b.ask_in("new", 5);
    b.query(&seen(1, "nhn", Mode::Sync, renamed.clone()));
    b.core.watermark(&mark(1, renamed), &mut b.out);
    b.check(&[(5, Replicated)]);
}

#[test]
fn a_request_that_began_in_another_stream_is_refused_whenever_it_is_asked_about() {
    // A core that has seen nothing before, as after a restart: only the request itself can tell.
    for mode in [Mode::Solo, Mode::Sync] {
        let mut b = Bench::new();
        b.ask_in("old", 1);
        b.ask(2);
        b.query(&seen(1, "nhn", mode, at(50)));
        b.core.watermark(&mark(1, at(99)), &mut b.out);
        let outcomes: Vec<_> = b.out.drain(..).map(|(number, reply)| (number, reply.outcome)).collect();
        assert!(outcomes.contains(&(1, IdentityChanged)), "{outcomes:?}");
        assert!(outcomes.iter().any(|(n, o)| *n == 2 && o.releases()), "{outcomes:?}");
    }
}

#[test]
fn a_row_that_was_written_in_another_stream_lets_nothing_out() {
    // A node that lost the change to `sync` says `solo`; the lease runs, and the epoch is the right one.
    let mut b = Bench::new();
    let mut stale = seen(1, "nhn", Mode::Solo, at(50));
    stale.row.stream = StreamId("of the node before".into());
    b.ask(1);
    b.query(&stale);
    b.check(&[(1, IdentityChanged)]);
    // Nor does it free those who wait by what its `solo` says.
    b.ask(2);
    b.query(&seen(1, "nhn", Mode::Sync, at(60)));
    b.check(&[]);
    b.now_ms += ASK_AGAIN_MS;
    stale.end_of_log = at(70);
    b.query(&stale);
    b.check(&[(2, IdentityChanged)]);
}

#[test]
fn another_server_behind_the_address_ends_all_waiting() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.now_ms += ASK_AGAIN_MS;
    b.query(&seen(1, "nhn", Mode::Sync, Position { stream: StreamId("t".into()), ..at(99) }));
    b.check(&[(1, IdentityChanged)]);
}

#[test]
fn time_runs_out_wherever_a_request_is() {
    let mut b = Bench::new();
    b.ask(1);
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.ask(2);
    assert!(b.core.begin_query(b.now_ms));
    b.ask(3);
    b.core.tick(NOW + 4_999, &mut b.out);
    b.check(&[]);
    b.core.tick(NOW + 5_000, &mut b.out);
    b.check(&[(3, TimedOut), (2, TimedOut), (1, TimedOut)]);
    assert_eq!(b.core.held(), 0);
}

#[test]
fn a_database_that_fails_is_asked_again_for_a_while() {
    let mut b = Bench::new();
    b.ask(1);
    assert!(b.core.begin_query(b.now_ms));
    b.core.failed(b.now_ms + 10, &mut b.out);
    b.check(&[]);
    // It came back: the log that it brings holds what was committed before.
    b.query(&seen(1, "nhn", Mode::Sync, at(50)));
    b.core.watermark(&mark(1, at(50)), &mut b.out);
    b.check(&[(1, Replicated)]);

    b.ask(2);
    assert!(b.core.begin_query(b.now_ms));
    b.core.failed(b.now_ms + UNAVAILABLE_AFTER_MS, &mut b.out);
    b.check(&[(2, DatabaseUnavailable)]);
}
