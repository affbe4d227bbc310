//! Twenty thousand histories, and the protocol broken on purpose.
//!
//! What was found is written past the test runner's capture, so that it stands in every log of `make test`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests end a test as the tests themselves do")]

mod histories;
mod sabotage;

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Both tests use every core; one after the other, so that each one's time means something.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Two cores are what everybody has.
const THREADS: usize = 2;

fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

fn say(line: &str) {
    // Not `eprintln!`: the runner keeps that for tests that fail.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Gives seeds from `first` on to `work` on all threads, in order, until it says that it has had enough. Returns what each thread made.
fn seeds<T: Default + Send>(first: u64, work: impl Fn(u64, &mut T) -> bool + Sync) -> Vec<T> {
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut made = T::default();
                    while work(next.fetch_add(1, Ordering::Relaxed), &mut made) {}
                    made
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
