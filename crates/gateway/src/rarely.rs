//! A future that is polled when it is woken itself, however often its task is.
//!
//! A connection waits for its next bytes and, beside that, for its end: an order to close that comes once, if ever. Whoever
//! waits for both in one task asks both each time the task is woken, and asking whether a token is cancelled takes a lock,
//! of a token of the whole process one that all threads fight over. This asks once, and then only after it was called.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

/// Owns the future. Costs two allocations, and a look at a flag with each poll.
pub(crate) struct Rarely<F> {
    inner: Pin<Box<F>>,
    bell: Option<Arc<Bell>>,
}

/// What the future wakes: it notes that, and wakes the task.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Release);
        self.task.wake_by_ref();
    }
}

impl<F> Rarely<F> {
    pub(crate) fn new(inner: F) -> Rarely<F> {
        Rarely { inner: Box::pin(inner), bell: None }
    }
}

impl<F: Future> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let bell = match &self.bell {
            Some(bell) if bell.task.will_wake(cx.waker()) => {
                if !bell.rung.load(Acquire) {
                    return Poll::Pending;
                }
                // Before it is polled: what rings during that counts for the next time.
                bell.rung.store(false, Release);
                bell.clone()
            }
            // The first time, or another task.
            _ => Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() }),
        };
        self.bell = Some(bell.clone());
        self.inner.as_mut().poll(&mut Context::from_waker(&Waker::from(bell)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use tokio_util::sync::CancellationToken;

    use super::*;

    /// In a task of its own: only a task's waker is the same each time.
    #[tokio::test]
    async fn it_is_asked_once_until_it_calls_and_then_ends() {
        let (token, asked) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (waiting, count) = (token.clone(), asked.clone());
        let mut rarely = Rarely::new(async move {
            let mut cancelled = std::pin::pin!(waiting.cancelled());
            poll_fn(|cx| {
                count.fetch_add(1, Relaxed);
                cancelled.as_mut().poll(cx)
            })
            .await;
        });
        let task = tokio::spawn(async move {
            for _ in 0..5 {
                let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut rarely).poll(cx))).await;
                assert!(polled.is_pending());
            }
            let before = asked.load(Relaxed);
            let thread = std::thread::spawn(move || token.cancel());
            tokio::time::timeout(Duration::from_secs(10), &mut rarely).await.unwrap();
            thread.join().unwrap();
            (before, asked.load(Relaxed))
        });
        let (before, after) = task.await.unwrap();
        assert_eq!(before, 1);
        assert!((2..=3).contains(&after), "{after}");
    }

    #[tokio::test]
    async fn another_task_is_woken_too() {
        let token = CancellationToken::new();
        let mut rarely = Rarely::new(token.clone().cancelled_owned());
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut rarely).poll(cx))).await;
        assert!(polled.is_pending());
        let task = tokio::spawn(rarely);
        tokio::task::yield_now().await;
        token.cancel();
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }
}
