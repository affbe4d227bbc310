//! When one process is started, asked to end, killed and started again.
//!
//! Give it what happened and the time; get back what to do. It starts nothing and reads no clock.
//!
//! Always true here: a process that is wanted and down is started again after a wait that grows from
//! [`RETRY_MS_MIN`] to [`RETRY_MS_MAX`] and begins anew once it has stayed up for [`STEADY_MS`]; one that is not
//! wanted is never started; one that was asked to end and has not by its deadline is killed.

/// The wait before the first restart.
pub const RETRY_MS_MIN: u64 = 100;
/// The longest wait before a restart.
pub const RETRY_MS_MAX: u64 = 2_000;
/// A process that has been up for so long is not failing at its start.
pub const STEADY_MS: u64 = 10_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is wanted.
    Run,
    /// It is not wanted any more; it may tidy up.
    Stop,
    /// It is not wanted any more, and is to die at once.
    Kill,
    /// It is to die at once, and is still wanted: what a crash looks like.
    Crash,
    /// It is to stand still, as a machine that is suspended does: it neither ends nor answers.
    Pause,
    /// It may go on.
    Resume,
    /// It was started.
    Started {
        /// Its process number.
        pid: u32,
    },
    /// It could not be started.
    NotStarted,
    /// It ended, for whatever reason.
    Ended,
    /// The time that was asked for has come.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start it, and tell how that went.
    Start,
    /// Send SIGTERM, and SIGCONT behind it: who stands still cannot tidy up.
    AskToEnd,
    /// Send SIGSTOP.
    Pause,
    /// Send SIGCONT.
    Resume,
    /// Send SIGKILL.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { retry_at_ms: Option<u64> },
    Starting,
    Up { pid: u32, since_ms: u64 },
    Ending { pid: u32, kill_at_ms: u64 },
}

/// One process.
#[derive(Clone, Debug)]
pub struct Core {
    wanted: bool,
    state: State,
    /// How long it may take to end after it was asked to.
    end_within_ms: u64,
    /// Failures since it was last steady.
    failures: u32,
    restarts: u64,
}

impl Core {
    /// A process that is neither wanted nor running.
    pub fn new(end_within_ms: u64) -> Core {
        Core {
            wanted: false,
            state: State::Down { retry_at_ms: None },
            end_within_ms,
            failures: 0,
            restarts: 0,
        }
    }

    /// Its process number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        match self.state {
            State::Up { pid, .. } | State::Ending { pid, .. } => Some(pid),
            State::Down { .. } | State::Starting => None,
        }
    }

    /// How often it was started again after it had ended by itself.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Whether it is neither running nor going to.
    pub fn is_at_rest(&self) -> bool {
        !self.wanted && matches!(self.state, State::Down { .. })
    }

    /// When it wants [`Event::Tick`], in milliseconds on the caller's clock.
    pub fn wake_at_ms(&self) -> Option<u64> {
        match self.state {
            State::Down { retry_at_ms } if self.wanted => retry_at_ms,
            State::Ending { kill_at_ms, .. } => Some(kill_at_ms),
            _ => None,
        }
    }

    /// Takes note of `event` and says what to do now.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Option<Effect> {
        match (event, self.state) {
            (Event::Run, State::Down { .. }) => {
                self.wanted = true;
                self.state = State::Starting;
                Some(Effect::Start)
            }
            (Event::Run, _) => {
                self.wanted = true;
                None
            }
            (Event::Stop, State::Up { pid, .. }) => {
                self.wanted = false;
                self.state = State::Ending { pid, kill_at_ms: now_ms + self.end_within_ms };
                Some(Effect::AskToEnd)
            }
            (Event::Kill, State::Up { .. } | State::Ending { .. }) => {
                self.wanted = false;
                Some(Effect::Kill)
            }
            (Event::Stop | Event::Kill, _) => {
                self.wanted = false;
                None
            }
            (Event::Crash, State::Up { .. }) => Some(Effect::Kill),
            (Event::Pause, State::Up { .. }) => Some(Effect::Pause),
            (Event::Resume, State::Up { .. }) => Some(Effect::Resume),
            (Event::Crash | Event::Pause | Event::Resume, _) => None,
            (Event::Started { pid }, _) => {
                self.state = State::Up { pid, since_ms: now_ms };
                // It may have become unwanted while it was being started.
                if self.wanted { None } else { self.step(now_ms, Event::Stop) }
            }
            (Event::NotStarted, _) => {
                self.retry(now_ms);
                None
            }
            (Event::Ended, state) => {
                if let State::Up { since_ms, .. } = state
                    && now_ms.saturating_sub(since_ms) >= STEADY_MS
                {
                    self.failures = 0;
                }
                self.retry(now_ms);
                None
            }
            (Event::Tick, State::Down { retry_at_ms: Some(at) }) if self.wanted && now_ms >= at => {
                self.restarts += 1;
                self.state = State::Starting;
                Some(Effect::Start)
            }
            (Event::Tick, State::Ending { kill_at_ms, .. }) if now_ms >= kill_at_ms => Some(Effect::Kill),
            (Event::Tick, _) => None,
        }
    }

    fn retry(&mut self, now_ms: u64) {
        let wait_ms = RETRY_MS_MIN.saturating_mul(1 << self.failures.min(10)).min(RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Down { retry_at_ms: self.wanted.then_some(now_ms + wait_ms) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_WITHIN_MS: u64 = 5_000;

    fn running(now_ms: u64) -> Core {
        let mut core = Core::new(END_WITHIN_MS);
        assert_eq!(core.step(now_ms, Event::Run), Some(Effect::Start));
        assert_eq!(core.step(now_ms, Event::Started { pid: 7 }), None);
        assert_eq!(core.pid(), Some(7));
        core
    }

    /// How long after its end the process is started again.
    fn wait_after_end(core: &mut Core, now_ms: u64) -> u64 {
        assert_eq!(core.step(now_ms, Event::Ended), None);
        let at = core.wake_at_ms().unwrap();
        assert_eq!(core.step(at - 1, Event::Tick), None, "too early");
        assert_eq!(core.step(at, Event::Tick), Some(Effect::Start));
        assert_eq!(core.step(at, Event::Started { pid: 8 }), None);
        at - now_ms
    }

    #[test]
    fn a_process_that_keeps_ending_is_restarted_ever_more_slowly_until_it_is_steady() {
        let mut core = running(0);
        let mut now = 50;
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = wait_after_end(&mut core, now);
            waits.push(wait);
            now += wait + 50;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(core.restarts(), 7);
        now += STEADY_MS;
        assert_eq!(wait_after_end(&mut core, now), 100);
    }

    #[test]
    fn a_process_that_was_stopped_stays_down() {
        let mut core = running(0);
        assert_eq!(core.step(10, Event::Stop), Some(Effect::AskToEnd));
        assert!(!core.is_at_rest(), "it is still running");
        assert_eq!(core.step(20, Event::Ended), None);
        assert!(core.is_at_rest());
        assert_eq!(core.wake_at_ms(), None);
        assert_eq!(core.restarts(), 0);
    }

    #[test]
    fn a_process_that_does_not_end_in_time_is_killed() {
        let mut core = running(0);
        core.step(10, Event::Stop);
        assert_eq!(core.wake_at_ms(), Some(10 + END_WITHIN_MS));
        assert_eq!(core.step(9 + END_WITHIN_MS, Event::Tick), None);
        assert_eq!(core.step(10 + END_WITHIN_MS, Event::Tick), Some(Effect::Kill));
    }

    #[test]
    fn a_killed_process_stays_down_and_a_crashed_one_comes_back() {
        let mut core = running(0);
        assert_eq!(core.step(10, Event::Kill), Some(Effect::Kill));
        core.step(11, Event::Ended);
        assert!(core.is_at_rest());
        assert_eq!(core.step(20, Event::Run), Some(Effect::Start));
        core.step(20, Event::Started { pid: 9 });
        assert_eq!(core.step(30, Event::Crash), Some(Effect::Kill));
        wait_after_end(&mut core, 31);
        assert_eq!(core.pid(), Some(8));
    }

    #[test]
    fn only_a_process_that_is_up_stands_still_and_one_that_is_to_end_does_not() {
        let mut core = Core::new(END_WITHIN_MS);
        assert_eq!(core.step(0, Event::Pause), None);
        let mut core = running(0);
        assert_eq!(core.step(10, Event::Pause), Some(Effect::Pause));
        assert_eq!(core.step(20, Event::Resume), Some(Effect::Resume));
        assert_eq!(core.step(30, Event::Stop), Some(Effect::AskToEnd));
        assert_eq!(core.step(40, Event::Pause), None);
    }

    #[test]
    fn a_start_that_fails_is_tried_again_and_a_stop_during_the_wait_ends_it() {
        let mut core = Core::new(END_WITHIN_MS);
        core.step(0, Event::Run);
        core.step(1, Event::NotStarted);
        assert_eq!(core.wake_at_ms(), Some(101));
        core.step(50, Event::Stop);
        assert!(core.is_at_rest());
        assert_eq!(core.step(200, Event::Tick), None);
    }

    #[test]
    fn a_process_that_is_wanted_again_while_it_ends_is_started_once_it_has_ended() {
        let mut core = running(0);
        core.step(10, Event::Stop);
        assert_eq!(core.step(11, Event::Run), None);
        core.step(12, Event::Ended);
        assert_eq!(core.step(core.wake_at_ms().unwrap(), Event::Tick), Some(Effect::Start));
    }
}
