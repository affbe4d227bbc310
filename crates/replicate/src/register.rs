//! Questions to the register, asked over a channel: which driver answers is not known here.

use std::time::Duration;

use model::{
    Register,
    register::{CasReply, CasRequest},
};
use runtime::{clock::Boot, process::Shutdown};
use tokio::sync::{mpsc, oneshot, watch};

/// Longer than this the register is taken not to answer.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// The register did not answer. A compare-and-set may have taken effect.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the register did not answer: {0}")]
pub struct Silent(pub String);

/// One question, with where to put the answer.
#[derive(Debug)]
pub enum RegisterRequest {
    /// The record as it stands.
    Read {
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Register, Silent>>,
    },
    /// Replace the record if it is still at the expected version.
    Cas {
        /// What to compare and what to set.
        request: CasRequest,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<CasReply, Silent>>,
    },
}

/// A record, and when it was asked for: what it says was true then or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The record.
    pub register: Register,
    /// When the question was sent.
    pub asked: Boot,
}

/// Asks the register. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RegisterHandle(mpsc::Sender<RegisterRequest>);

impl RegisterHandle {
    /// Asks whoever receives from the other end.
    pub fn new(questions: mpsc::Sender<RegisterRequest>) -> RegisterHandle {
        RegisterHandle(questions)
    }

    /// The record as it stands.
    pub async fn read(&self) -> Result<Seen, Silent> {
        let asked = Boot::now();
        let register = self.ask(|reply| RegisterRequest::Read { reply }).await?;
        Ok(Seen { register, asked })
    }

    /// Compare-and-set.
    pub async fn cas(&self, request: CasRequest) -> Result<CasReply, Silent> {
        self.ask(|reply| RegisterRequest::Cas { request, reply }).await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, Silent>>) -> RegisterRequest,
    ) -> Result<T, Silent> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let ended = || Silent("its driver has ended".into());
            self.0.send(question(reply)).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Silent(format!("no answer within {} ms", TIMEOUT.as_millis()))),
        }
    }
}

/// Reads the record every `every` until `shutdown`, and tells each that was read.
pub async fn poll(
    register: RegisterHandle,
    every: Duration,
    seen: watch::Sender<Option<Seen>>,
    shutdown: Shutdown,
) {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut silent = false;
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match register.read().await {
            Ok(now) => {
                if std::mem::take(&mut silent) {
                    tracing::info!("the register answers again");
                }
                seen.send_replace(Some(now));
            }
            Err(e) => {
                if !std::mem::replace(&mut silent, true) {
                    tracing::warn!("{e}; no failover is possible until it does");
                }
            }
        }
    }
}
