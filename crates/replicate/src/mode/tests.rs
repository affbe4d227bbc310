//! The machine against a small world: a register, a row, a log and a standby. Any step may be the last one of an
//! attempt, and two machines may work on the same world.

use model::{
    StreamId,
    register::{CasReply, CasRequest},
};

use super::*;
use crate::row::RowIs;

/// Register and row as the real ones behave, and what is needed to check the one invariant.
struct World {
    register: Register,
    row: Row,
    /// The stream of the server that answers.
    here: StreamId,
    /// The end of the primary's log.
    log: u64,
    /// The standby holds everything before this.
    standby: u64,
    /// Everything before this was answered to visitors.
    answered: u64,
}

fn site() -> Site {
    Site::new("nhn")
}

fn stream() -> StreamId {
    StreamId("s".into())
}

fn at(offset: u64) -> Position {
    Position { stream: stream(), file: 1, offset }
}

impl World {
    fn new(register: Mode, row: Mode) -> World {
        World {
            register: Register { mode: register, version: 7, ..Register::first(site(), 0) },
            row: Row { epoch: Epoch(1), primary: site(), mode: row, token: 100, stream: stream() },
            here: stream(),
            log: 10,
            standby: 10,
            answered: 10,
        }
    }

    fn machine(&self, now_ms: u64) -> Machine {
        self.machine_with(now_ms, WhenStandbyLost::Solo)
    }

    fn machine_with(&self, now_ms: u64, when_standby_lost: WhenStandbyLost) -> Machine {
        let rules = Rules {
            site: site(),
            epoch: Epoch(1),
            when_standby_lost,
            solo_after_ms: 2_000,
            hold_max_ms: 10_000,
            retry_ms: 200,
        };
        let mut machine = Machine::new(rules, now_ms);
        assert_eq!(machine.step(now_ms, Event::RegisterSeen(self.register.clone())), None);
        let effect = machine.step(now_ms, Event::RowSeen(self.row.clone()));
        assert!(matches!(effect, None | Some(Effect::Read)), "{effect:?}");
        if effect.is_some() {
            assert_eq!(machine.step(now_ms, Event::Failed), None);
        }
        machine
    }

    /// A write on the primary: what is answered is what the row's mode allows.
    fn write(&mut self) {
        self.log += 1;
        self.answer();
    }

    fn answer(&mut self) {
        self.answered = match self.row.mode {
            Mode::Solo => self.log,
            Mode::Sync => self.answered.max(self.standby.min(self.log)),
        };
        self.check();
    }

    fn standby_catches_up(&mut self) {
        self.standby = self.log;
        self.answer();
    }

    /// While the register says `sync`, nothing is answered that the standby does not hold.
    fn check(&self) {
        if self.register.mode == Mode::Sync {
            assert!(self.answered <= self.standby, "answered {} held {}", self.answered, self.standby);
        }
    }

    /// Does what the machine wants and says how it went.
    fn act(&mut self, effect: Effect) -> Event {
        let result = match effect {
            Effect::Read => {
                let (register, row) = (self.register.clone(), self.row.clone());
                Event::Read { register, row, here: self.here.clone() }
            }
            Effect::Cas(CasRequest { expected_version, record }) => {
                assert_eq!(record.version, expected_version + 1);
                if self.register.version == expected_version {
                    self.register = record;
                    Event::CasAnswered(CasReply::Swapped(self.register.clone()))
                } else {
                    Event::CasAnswered(CasReply::Stale(self.register.clone()))
                }
            }
            Effect::RowToSolo { epoch, stream, token } => {
                if RowIs::for_solo(epoch, &site(), &stream, token).holds(&self.row, &self.here) {
                    self.set_row(Mode::Solo)
                } else {
                    Event::RowNotMatched
                }
            }
            Effect::RowToSync { epoch, stream } => {
                if RowIs::for_sync(epoch, &site(), &stream).holds(&self.row, &self.here) {
                    self.set_row(Mode::Sync)
                } else {
                    Event::RowNotMatched
                }
            }
        };
        self.check();
        result
    }

    fn set_row(&mut self, mode: Mode) -> Event {
        self.row = Row { mode, token: self.row.token + 1, ..self.row.clone() };
        self.log += 1;
        self.answer();
        Event::RowChanged(at(self.log))
    }

    fn mark(&self, incarnation: u64) -> Event {
        Event::Watermark(Watermark {
            epoch: Epoch(1),
            incarnation: Incarnation(incarnation),
            position: at(self.standby),
        })
    }
}

/// A machine that lost its standby: it has committed, and nothing was heard for `solo_after_ms`.
fn lost(world: &mut World) -> (Machine, u64) {
    let mut machine = world.machine(0);
    world.write();
    assert_eq!(machine.step(0, Event::Committed(at(world.log))), None);
    (machine, 2_000)
}

/// A machine whose standby has caught up.
fn kept_up(world: &mut World) -> (Machine, Option<Effect>) {
    let mut machine = world.machine(0);
    world.write();
    assert_eq!(machine.step(0, Event::Committed(at(world.log))), None);
    world.standby_catches_up();
    let effect = machine.step(10, world.mark(0));
    (machine, effect)
}

/// Runs the effects until there is none; returns their names.
fn finish(
    world: &mut World,
    machine: &mut Machine,
    now_ms: u64,
    mut effect: Option<Effect>,
) -> Vec<&'static str> {
    let mut done = Vec::new();
    while let Some(wanted) = effect {
        done.push(match wanted {
            Effect::Read => "read",
            Effect::Cas(_) => "cas",
            Effect::RowToSolo { .. } => "row solo",
            Effect::RowToSync { .. } => "row sync",
        });
        let result = world.act(wanted);
        effect = machine.step(now_ms, result);
    }
    done
}

#[test]
fn a_lost_standby_moves_the_register_before_the_row() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    assert_eq!(machine.step(now_ms - 1, Event::Tick), None, "not a moment early");
    let effect = machine.step(now_ms, Event::Tick);
    assert_eq!(finish(&mut world, &mut machine, now_ms, effect), ["read", "cas", "row solo"]);
    assert_eq!((world.register.mode, world.row.mode), (Mode::Solo, Mode::Solo));
    assert_eq!(machine.step(now_ms + 1_000, Event::Tick), None, "and is content");
}

#[test]
fn solo_sets_the_register_again_even_if_it_says_so() {
    // The standby's agent announced a new life: register solo, row still sync. Somebody may at this moment be
    // waiting to set the register to sync; only a new version stops him.
    let mut world = World::new(Mode::Solo, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    let before = world.register.version;
    let effect = machine.step(now_ms, Event::Tick);
    assert_eq!(finish(&mut world, &mut machine, now_ms, effect), ["read", "cas", "row solo"]);
    assert_eq!(world.register.version, before + 1);
}

#[test]
fn a_standby_that_caught_up_is_waited_for_before_the_register_says_sync() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let (mut machine, effect) = kept_up(&mut world);
    assert_eq!(finish(&mut world, &mut machine, 10, effect), ["read", "row sync"]);
    assert_eq!((world.register.mode, world.row.mode), (Mode::Solo, Mode::Sync));
    assert_eq!(machine.step(20, world.mark(0)), None, "an old watermark proves nothing of the row change");
    world.standby_catches_up();
    let effect = machine.step(30, world.mark(0));
    assert_eq!(finish(&mut world, &mut machine, 30, effect), ["cas"]);
    assert_eq!((world.register.mode, world.row.mode), (Mode::Sync, Mode::Sync));
}

#[test]
fn sync_draws_a_new_token_even_if_the_row_says_so() {
    let mut world = World::new(Mode::Solo, Mode::Sync);
    let token = world.row.token;
    let (mut machine, effect) = kept_up(&mut world);
    assert_eq!(finish(&mut world, &mut machine, 10, effect), ["read", "row sync"]);
    assert_ne!(world.row.token, token);
}

#[test]
fn a_watermark_of_another_life_does_not_end_the_wait() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let (mut machine, effect) = kept_up(&mut world);
    finish(&mut world, &mut machine, 10, effect);
    world.standby_catches_up();
    assert_eq!(machine.step(20, world.mark(9)), None);
    assert_eq!(world.register.mode, Mode::Solo);
}

#[test]
fn a_standby_of_another_life_has_not_caught_up() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let mut machine = world.machine(0);
    world.write();
    machine.step(0, Event::Committed(at(world.log)));
    world.standby_catches_up();
    assert_eq!(machine.step(10, world.mark(9)), None);
}

#[test]
fn a_new_life_announced_during_the_wait_ends_the_attempt() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let (mut machine, effect) = kept_up(&mut world);
    finish(&mut world, &mut machine, 10, effect);
    world.register = Register { version: 8, standby_incarnation: Incarnation(1), ..world.register.clone() };
    assert_eq!(machine.step(20, Event::RegisterSeen(world.register.clone())), None);
    world.standby_catches_up();
    assert_eq!(machine.step(30, world.mark(0)), None, "the old life's watermark is worth nothing now");
    // The new life's proof starts a new attempt, from the beginning.
    world.write();
    machine.step(300, Event::Committed(at(world.log)));
    world.standby_catches_up();
    let effect = machine.step(310, world.mark(1));
    assert_eq!(finish(&mut world, &mut machine, 310, effect), ["read", "row sync"]);
    world.standby_catches_up();
    let effect = machine.step(320, world.mark(1));
    assert_eq!(finish(&mut world, &mut machine, 320, effect), ["cas"]);
    assert_eq!(world.register.mode, Mode::Sync);
}

#[test]
fn a_standby_lost_during_the_wait_leads_to_a_whole_new_attempt_at_solo() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let (mut machine, effect) = kept_up(&mut world);
    finish(&mut world, &mut machine, 10, effect);
    assert_eq!(machine.step(2_010, Event::Tick), None, "given up");
    let effect = machine.step(2_300, Event::Tick);
    assert_eq!(finish(&mut world, &mut machine, 2_300, effect), ["read", "cas", "row solo"]);
}

#[test]
fn nobody_is_lost_who_had_nothing_to_do() {
    let world = World::new(Mode::Sync, Mode::Sync);
    let mut machine = world.machine(0);
    assert_eq!(machine.step(60_000, Event::Tick), None);
}

#[test]
fn a_standby_that_moves_is_not_lost_until_it_is_further_behind_than_answers_may_wait() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let mut machine = world.machine(0);
    for second in 0..10 {
        world.log += 100;
        assert_eq!(machine.step(second * 1_000, Event::Committed(at(world.log))), None, "second {second}");
        world.standby += 1;
        assert_eq!(machine.step(second * 1_000 + 1, world.mark(0)), None, "second {second}");
    }
    assert_eq!(machine.step(10_000, Event::Tick), Some(Effect::Read));
}

#[test]
fn a_register_that_does_not_answer_leaves_everything_as_it_is() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    assert_eq!(machine.step(now_ms, Event::Tick), Some(Effect::Read));
    assert_eq!(machine.step(now_ms, Event::Failed), None);
    assert_eq!(machine.step(now_ms + 100, Event::Tick), None, "and is not asked in a tight loop");
    assert_eq!(machine.step(now_ms + 200, Event::Tick), Some(Effect::Read));
    assert_eq!((world.register.mode, world.row.mode), (Mode::Sync, Mode::Sync));
}

#[test]
fn a_failover_that_was_faster_wins() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    let effect = machine.step(now_ms, Event::Tick).unwrap();
    let read = world.act(effect);
    world.register =
        Register { version: 8, epoch: Epoch(2), primary: Site::new("aws"), ..world.register.clone() };
    let effect = machine.step(now_ms, read);
    assert_eq!(finish(&mut world, &mut machine, now_ms, effect), ["cas"]);
    assert_eq!(world.row.mode, Mode::Sync, "answers go on waiting");
    assert_eq!(machine.step(now_ms + 60_000, Event::Tick), None, "and this machine's time is over");
}

#[test]
fn a_row_of_another_epoch_is_left_alone() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    world.row = Row { epoch: Epoch(2), primary: Site::new("aws"), ..world.row.clone() };
    let effect = machine.step(now_ms, Event::Tick);
    assert_eq!(finish(&mut world, &mut machine, now_ms, effect), ["read"]);
}

#[test]
fn stall_waits_for_ever_and_goes_to_sync_by_itself() {
    let mut world = World::new(Mode::Solo, Mode::Solo);
    let mut machine = world.machine_with(0, WhenStandbyLost::Stall);
    let effect = machine.step(200, Event::Tick);
    assert_eq!(finish(&mut world, &mut machine, 200, effect), ["read", "row sync"]);
    machine.step(300, Event::Committed(at(world.log)));
    assert_eq!(machine.step(900_000, Event::Tick), None, "no standby, no answers");
    world.standby_catches_up();
    let effect = machine.step(900_001, world.mark(0));
    assert_eq!(finish(&mut world, &mut machine, 900_001, effect), ["cas"]);
    assert_eq!(machine.step(990_000, Event::Tick), None);
}

/// Every attempt, cut off after every number of its steps: with the effect done and its answer lost, and with the
/// effect never done. Then a new machine (a restarted agent) must bring the world where it belongs.
#[test]
fn any_interruption_is_mended_by_a_new_machine() {
    for to_solo in [true, false] {
        for steps in 0..4 {
            for last_is_done in [true, false] {
                let mode = if to_solo { Mode::Sync } else { Mode::Solo };
                let mut world = World::new(mode, mode);
                let (mut machine, mut effect, mut now_ms) = if to_solo {
                    let (mut machine, now_ms) = lost(&mut world);
                    let effect = machine.step(now_ms, Event::Tick);
                    (machine, effect, now_ms)
                } else {
                    let (machine, effect) = kept_up(&mut world);
                    (machine, effect, 10)
                };
                for _ in 0..steps {
                    if effect.is_none() && !to_solo {
                        world.standby_catches_up();
                        effect = machine.step(now_ms, world.mark(0));
                    }
                    let Some(wanted) = effect.take() else { break };
                    let result = world.act(wanted);
                    effect = machine.step(now_ms, result);
                }
                if let Some(wanted) = effect
                    && last_is_done
                {
                    world.act(wanted); // And the agent dies before it hears of it.
                }
                drop(machine);
                world.write();

                // The new agent finds the standby as the old one did.
                let mut machine = world.machine(now_ms);
                world.write();
                machine.step(now_ms, Event::Committed(at(world.log)));
                for _ in 0..20 {
                    now_ms += 500;
                    world.write();
                    let mut effect = machine.step(now_ms, Event::Committed(at(world.log)));
                    if !to_solo {
                        world.standby_catches_up();
                        effect = effect.or_else(|| machine.step(now_ms, world.mark(0)));
                    }
                    finish(&mut world, &mut machine, now_ms, effect);
                }
                let wanted = if to_solo { Mode::Solo } else { Mode::Sync };
                assert_eq!(
                    (world.register.mode, world.row.mode),
                    (wanted, wanted),
                    "to_solo {to_solo}, steps {steps}, last_is_done {last_is_done}"
                );
            }
        }
    }
}

/// Two machines of one epoch (a paused agent and its successor) with opposite wishes, interleaved in every way:
/// whatever happens, the invariant that [`World::check`] asserts at every write and every effect must hold.
#[test]
fn two_machines_interleaved_in_every_way_never_break_the_invariant() {
    for order in 0_u32..(1 << 12) {
        let mut world = World::new(Mode::Solo, Mode::Solo);
        // One believes that the standby has caught up, the other that it is lost.
        let (mut a, mut a_effect) = kept_up(&mut world);
        let (mut b, now_ms) = lost(&mut world);
        let mut b_effect = b.step(now_ms, Event::Tick);
        for turn in 0..12 {
            if order & (1 << turn) == 0 {
                if a_effect.is_none() {
                    world.standby_catches_up();
                    let mark = world.mark(0);
                    a_effect = a.step(20, mark);
                }
                if let Some(wanted) = a_effect.take() {
                    let result = world.act(wanted);
                    a_effect = a.step(20, result);
                }
            } else {
                if let Some(wanted) = b_effect.take() {
                    let result = world.act(wanted);
                    b_effect = b.step(now_ms, result);
                } else {
                    // It saw a row or a register that it does not like, and begins again.
                    b_effect = b
                        .step(now_ms + 1_000, Event::RegisterSeen(world.register.clone()))
                        .or_else(|| b.step(now_ms + 1_000, Event::RowSeen(world.row.clone())));
                }
            }
            world.write();
        }
    }
}

/// What a server holds that takes the primary's place and has lost the row's last change.
fn another_server(world: &mut World, lost: Row) {
    world.row = lost;
    world.here = StreamId("of another server".into());
}

#[test]
fn an_attempt_at_solo_dies_with_its_stream_though_the_token_that_it_read_comes_back() {
    let mut world = World::new(Mode::Sync, Mode::Sync);
    let (mut machine, now_ms) = lost(&mut world);
    let read = machine.step(now_ms, Event::Tick).unwrap();
    let before = world.row.clone();
    let event = world.act(read);
    let cas = machine.step(now_ms, event).unwrap();
    let event = world.act(cas);
    let row = machine.step(now_ms, event).unwrap();
    assert!(matches!(row, Effect::RowToSolo { .. }), "{row:?}");
    // Another instance sets the row to `sync` meanwhile; then a server that lacks that change takes the place.
    world.set_row(Mode::Sync);
    another_server(&mut world, before.clone());
    assert!(matches!(world.act(row), Event::RowNotMatched));
    assert_eq!(world.row, before, "the row of the other server is as it was");
}

#[test]
fn no_attempt_begins_on_a_row_that_another_server_wrote() {
    // With the row as it was, and with one that has lost the change to `sync`.
    for mode in [Mode::Sync, Mode::Solo] {
        let mut world = World::new(Mode::Sync, Mode::Sync);
        let (mut machine, now_ms) = lost(&mut world);
        let held = Row { mode, ..world.row.clone() };
        another_server(&mut world, held.clone());
        let effect = machine.step(now_ms, Event::Tick);
        assert_eq!(finish(&mut world, &mut machine, now_ms, effect), ["read"], "neither record is moved");
        assert_eq!((world.register.mode, &world.row), (Mode::Sync, &held));
    }
}
