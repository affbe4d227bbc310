//! What a process has of the world: the time, chance, its post box, and a line in the trace.

use crate::{
    invariants::Truth,
    message::{Answer, Ask, Message, Who},
    rng::Rng,
};

/// What a process wants done.
#[derive(Debug)]
pub enum Out {
    /// Send it.
    Send(Who, Message),
    /// Wake me after so many milliseconds.
    Wake(u64, Timer),
}

/// Why a process is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A question was not answered in time.
    Call(u64),
    /// The process's own pace.
    Tick,
    /// Something that it set itself, under this number.
    Due(u64),
}

/// What happens to a process.
#[derive(Debug)]
pub enum Input {
    /// It has been started.
    Start,
    /// A message came.
    Message(Message),
    /// It is woken.
    Wake(Timer),
}

/// The trace of a history: one line for everything that matters. Kept only if somebody wants to read it.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether lines are kept.
    pub on: bool,
    /// They.
    pub lines: Vec<String>,
}

impl Trace {
    /// Adds a line.
    pub fn say(&mut self, now: u64, who: impl std::fmt::Display, what: impl FnOnce() -> String) {
        if self.on {
            self.lines.push(format!("{:>7} ms  {:<16} {}", now, who.to_string(), what()));
        }
    }
}

/// The world as one process meets it during one event.
pub struct Context<'a> {
    /// Milliseconds on the clock that runs through suspension.
    pub now: u64,
    /// The wall clock of its place. It may jump.
    pub wall_ms: u64,
    /// Who it is.
    pub me: Who,
    /// In which life.
    pub life: u32,
    /// Chance.
    pub rng: &'a mut Rng,
    /// What it wants done.
    pub out: Vec<Out>,
    /// What is true, for the invariants. No process reads it.
    pub truth: &'a mut Truth,
    /// The trace.
    pub trace: &'a mut Trace,
}

impl Context<'_> {
    /// Sends a message.
    pub fn send(&mut self, to: Who, message: Message) {
        self.out.push(Out::Send(to, message));
    }

    /// Answers a question.
    pub fn answer(&mut self, to: Caller, answer: Answer) {
        let Caller { who, life, call } = to;
        self.send(who, Message::Answer { life, call, answer });
    }

    /// Wants to be woken.
    pub fn wake(&mut self, after_ms: u64, timer: Timer) {
        self.out.push(Out::Wake(after_ms, timer));
    }

    /// A line in the trace.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        self.trace.say(self.now, self.me, what);
    }
}

/// Who asked, and under which number.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The process.
    pub who: Who,
    /// Its life.
    pub life: u32,
    /// The number.
    pub call: u64,
}

/// Questions under way, and what each is for. They are few: a search is shorter than an index.
#[derive(Debug)]
pub struct Calls<T> {
    next: u64,
    open: Vec<(u64, T)>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Calls { next: 0, open: Vec::new() }
    }
}

impl<T> Calls<T> {
    /// Asks; after `within_ms` the silence counts as an answer.
    pub fn ask(&mut self, ctx: &mut Context<'_>, to: Who, ask: Ask, within_ms: u64, purpose: T) {
        self.next += 1;
        let call = self.next;
        self.open.push((call, purpose));
        ctx.send(to, Message::Ask { from: ctx.me, life: ctx.life, call, ask });
        ctx.wake(within_ms, Timer::Call(call));
    }

    /// What the question was for, if it is still open. Its answer, or its end.
    pub fn close(&mut self, call: u64) -> Option<T> {
        let at = self.open.iter().position(|(open, _)| *open == call)?;
        Some(self.open.swap_remove(at).1)
    }
}
