//! Keeps the lab's processes running, one loop a process.
//!
//! A [`Keeper`] owns one process: it starts it, writes its output to its log, starts it again when it dies, and
//! ends it when asked. What to do when is decided by [`core::Core`]; here it is only done.
//!
//! Always true here: every child dies with the lab, whatever kills the lab; dropping a keeper kills its process.

pub mod core;

use std::{fs::OpenOptions, path::PathBuf, sync::Arc, time::Duration};

use runtime::{clock::Boot, process};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use self::core::{Core, Effect, Event};

/// How a process is started and ended.
#[derive(Clone)]
pub struct Spec {
    /// Its name, also of its log.
    pub name: String,
    /// Makes the command. It is asked anew for every start.
    pub command: Arc<dyn Fn() -> Result<Command, String> + Send + Sync>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// How long it may take to end when asked.
    pub end_within: Duration,
}

/// A process as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its process number, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// Neither running nor going to.
    pub at_rest: bool,
    /// How its last life ended, or why it could not begin.
    pub last_end: Option<String>,
}

/// The handle of one supervised process.
#[derive(Debug)]
pub struct Keeper {
    name: String,
    log: PathBuf,
    orders: mpsc::UnboundedSender<Event>,
    seen: watch::Receiver<Seen>,
}

impl Keeper {
    /// A keeper for `spec`; the process is not started yet.
    pub fn new(spec: Spec) -> Keeper {
        let (orders, receive) = mpsc::unbounded_channel();
        let (tell, seen) = watch::channel(Seen { at_rest: true, ..Seen::default() });
        let (name, log) = (spec.name.clone(), spec.log.clone());
        tokio::spawn(keep(spec, receive, tell));
        Keeper { name, log, orders, seen }
    }

    /// The process's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log.
    pub fn log(&self) -> &std::path::Path {
        &self.log
    }

    /// The process as it is now.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Wants it to run, now and again whenever it ends.
    pub fn run(&self) {
        self.order(Event::Run);
    }

    /// Kills it as a crash would: it comes back.
    pub fn crash(&self) {
        self.order(Event::Crash);
    }

    /// Kills it for good, without waiting; [`Keeper::at_rest`] waits.
    pub fn kill(&self) {
        self.order(Event::Kill);
    }

    /// Lets it stand still (SIGSTOP): it is there, and does nothing.
    pub fn pause(&self) {
        self.order(Event::Pause);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.order(Event::Resume);
    }

    /// Asks it to end, without waiting; [`Keeper::at_rest`] waits.
    pub fn stop(&self) {
        self.order(Event::Stop);
    }

    /// Waits until it is down and not wanted.
    pub async fn at_rest(&self) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|s| s.at_rest).await.is_err() {
            tracing::debug!(process = self.name, "its keeper has ended, and the process with it");
        }
    }

    fn order(&self, order: Event) {
        if self.orders.send(order).is_err() {
            tracing::error!(process = self.name, "its keeper has ended");
        }
    }
}

/// The one loop of a process: gathers events, lets the core decide, does what it says.
async fn keep(spec: Spec, mut orders: mpsc::UnboundedReceiver<Event>, tell: watch::Sender<Seen>) {
    let mut core = Core::new(ms(spec.end_within));
    let mut child: Option<Child> = None;
    let mut last_end = None;
    loop {
        let wake = core.wake_at_ms().map(|at| {
            let wait = at.saturating_sub(Boot::now().as_ms());
            Instant::now() + Duration::from_millis(wait)
        });
        let event = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => order,
                // Nobody holds the keeper: the child is dropped, and dropping kills it.
                None => return,
            },
            end = ended(&mut child) => {
                tracing::debug!(process = spec.name, "ended: {end}");
                last_end = Some(end);
                child = None;
                Event::Ended
            }
            () = until(wake) => Event::Tick,
        };
        let mut effect = core.step(Boot::now().as_ms(), event);
        while let Some(e) = effect {
            effect = match e {
                Effect::Start => {
                    let event = match start_child(&spec).await {
                        Ok((started, pid)) => {
                            child = Some(started);
                            Event::Started { pid }
                        }
                        Err(why) => {
                            tracing::warn!(process = spec.name, "{why}");
                            last_end = Some(why);
                            Event::NotStarted
                        }
                    };
                    core.step(Boot::now().as_ms(), event)
                }
                Effect::AskToEnd => {
                    signal(&spec.name, &core, Signal::TERM);
                    signal(&spec.name, &core, Signal::CONT)
                }
                Effect::Pause => signal(&spec.name, &core, Signal::STOP),
                Effect::Resume => signal(&spec.name, &core, Signal::CONT),
                Effect::Kill => signal(&spec.name, &core, Signal::KILL),
            };
        }
        tell.send_replace(Seen {
            pid: core.pid(),
            restarts: core.restarts(),
            at_rest: core.is_at_rest(),
            last_end: last_end.clone(),
        });
    }
}

async fn start_child(spec: &Spec) -> Result<(Child, u32), String> {
    let mut command = (spec.command)()?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&spec.log)
        .and_then(|log| Ok((log.try_clone()?, log)))
        .map_err(|e| format!("its log {} cannot be written: {e}", spec.log.display()))?;
    command.stdin(std::process::Stdio::null()).stdout(log.0).stderr(log.1).kill_on_drop(true);
    // A process group of its own: Ctrl-C at the terminal is for the lab, which ends its children in order.
    command.process_group(0);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let child = process::spawn(command).await.map_err(|e| format!("{program} cannot be started: {e}"))?;
    let pid = child.id().ok_or_else(|| format!("{program} ended at once"))?;
    Ok((child, pid))
}

async fn ended(child: &mut Option<Child>) -> String {
    match child {
        Some(child) => match child.wait().await {
            Ok(status) => status.to_string(),
            Err(e) => format!("its end could not be waited for: {e}"),
        },
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn signal(name: &str, core: &Core, signal: Signal) -> Option<Effect> {
    let pid = core.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(Err(e)) = pid.map(|pid| kill_process(pid, signal)) {
        tracing::debug!(process = name, "has ended by itself: {e}");
    }
    None
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
