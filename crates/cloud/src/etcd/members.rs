//! Asking a cluster: whichever member answers.
//!
//! Each member has a connection of its own, so that one that is dark costs nothing once another has answered. A question
//! goes to the member that answered last; if that one fails, or has said nothing for a moment, the others are asked
//! *besides*, and the first answer counts. So every question must bear being answered twice. A member that fails is asked
//! again until the time is over: an election of etcd's takes about a second and is nobody's fault.

use std::{
    error::Error as _,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use tonic::Code;

use crate::register::{EtcdConfig, RegisterError};

/// A member that has just failed is left alone for so long.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The members of a cluster, and the connections to them.
pub(super) struct Members {
    all: Vec<Member>,
    /// The one that answered last.
    preferred: AtomicUsize,
    limit: Duration,
}

/// One member.
pub(super) struct Member {
    pub(super) url: String,
    options: ConnectOptions,
    /// Made at the first question, and anew after a question that it left open: a connection that was cut without a
    /// word would swallow the next ones, too.
    client: Mutex<Option<Client>>,
}

/// Why one attempt at one member came to nothing.
enum Fault {
    /// Another member, or this one a little later, may answer.
    Passing(String),
    /// Every member would say the same.
    Final(RegisterError),
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|m| &m.url)).finish()
    }
}

impl Members {
    pub(super) fn new(config: EtcdConfig) -> Members {
        let mut options = ConnectOptions::new()
            .with_timeout(config.limit)
            .with_connect_timeout(config.limit)
            // A member that is cut off from the others says so at once instead of waiting for them.
            .with_require_leader(true);
        if let Some((name, password)) = &config.user {
            options = options.with_user(name, password.expose());
        }
        if let Some(tls) = &config.tls {
            let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                with = with.identity(Identity::from_pem(certificate, key.expose()));
            }
            options = options.with_tls(with);
        }
        let member = |url| Member { url, options: options.clone(), client: Mutex::default() };
        Members {
            all: config.endpoints.into_iter().map(member).collect(),
            preferred: AtomicUsize::new(0),
            limit: config.limit,
        }
    }

    pub(super) fn all(&self) -> &[Member] {
        &self.all
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// When a question that begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// A member that says nothing for so long is no longer waited for alone.
    fn patience(&self) -> Duration {
        (self.limit / 4).clamp(Duration::from_millis(50), Duration::from_millis(300))
    }

    /// Asks until one member has answered, at the latest until `by`. `call` may be sent several times.
    pub(super) async fn ask<T, F>(
        &self,
        by: Instant,
        what: &str,
        call: impl Fn(Client) -> F + Sync,
    ) -> Result<T, RegisterError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let round =
            Round { failed: Notify::new(), said: self.all.iter().map(|_| Mutex::default()).collect() };
        let mut under_way: FuturesUnordered<_> =
            (0..self.all.len()).map(|i| self.attempts(i, &round, &call)).collect();
        if let Ok(Some((i, answer))) = timeout_at(by, under_way.next()).await {
            if answer.is_ok() {
                self.preferred.store(i, Ordering::Relaxed);
            }
            return answer;
        }
        drop(under_way);
        let words = self.all.iter().zip(&round.said).map(|(member, said)| {
            let why = hold(said).take();
            format!("{}: {}", member.url, why.as_deref().unwrap_or("no answer"))
        });
        Err(RegisterError::Unreachable(format!(
            "{what}: no member of etcd could answer within {} ms; {}",
            self.limit.as_millis(),
            words.collect::<Vec<_>>().join("; ")
        )))
    }

    /// Asks one member again and again, until it has answered; the preferred one at once, the others in turn when it
    /// keeps us waiting or any of them has failed.
    async fn attempts<T, F>(
        &self,
        i: usize,
        round: &Round,
        call: &(impl Fn(Client) -> F + Sync),
    ) -> (usize, Result<T, RegisterError>)
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let all = self.all.len();
        let rank = (i + all - self.preferred.load(Ordering::Relaxed) % all) % all;
        if rank > 0 {
            tokio::select! {
                () = round.failed.notified() => {}
                () = sleep(self.patience() * u32::try_from(rank).unwrap_or(u32::MAX)) => {}
            }
        }
        loop {
            match self.all[i].attempt(call).await {
                Ok(answer) => return (i, Ok(answer)),
                Err(Fault::Final(e)) => return (i, Err(e)),
                Err(Fault::Passing(why)) => *hold(&round.said[i]) = Some(why),
            }
            round.failed.notify_waiters();
            sleep(AFTER_FAILURE).await; // its election, or its restart, is not told to us
        }
    }
}

/// What the attempts at one question tell each other.
struct Round {
    failed: Notify,
    /// What each member said last instead of an answer.
    said: Vec<Mutex<Option<String>>>,
}

impl Member {
    /// Asks this member alone, at the latest until `by`.
    pub(super) async fn ask<T, F>(&self, by: Instant, call: impl Fn(Client) -> F + Sync) -> Result<T, String>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        match timeout_at(by, self.attempt(&call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Fault::Passing(why))) => Err(why),
            Ok(Err(Fault::Final(e))) => Err(e.to_string()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    async fn attempt<T, F>(&self, call: &(impl Fn(Client) -> F + Sync)) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut question = Question { of: self, answered: false };
        let client = self.client().await.map_err(fault)?;
        let answer = call(client).await.map_err(fault);
        question.answered = !matches!(answer, Err(Fault::Passing(_)));
        answer
    }

    async fn client(&self) -> Result<Client, Error> {
        if let Some(client) = hold(&self.client).as_ref() {
            return Ok(client.clone());
        }
        let client = Client::connect([&self.url], Some(self.options.clone())).await?;
        *hold(&self.client) = Some(client.clone());
        Ok(client)
    }
}

/// A question under way. One that is dropped without an answer takes the connection with it.
struct Question<'a> {
    of: &'a Member,
    answered: bool,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.answered {
            *hold(&self.of.client) = None;
        }
    }
}

/// A poisoned lock only means that a thread ended while it held it; every value behind ours is whole at all times.
fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a lease that is not there any more makes of an answer: nothing, and no error.
pub(super) fn gone<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::GRpcStatus(status)) if status.code() == Code::NotFound => Ok(None),
        Err(Error::LeaseKeepAliveError(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whose fault it is.
fn fault(e: Error) -> Fault {
    let words = words(&e);
    let refused = |fix: &str| Fault::Final(RegisterError::Refused(format!("etcd says: {words}; {fix}")));
    match &e {
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
            refused("check [register] in the topology file")
        }
        Error::GRpcStatus(status) => match status.code() {
            Code::PermissionDenied => refused(
                "give register.user the right to read and write below register.prefix (etcdctl role grant-permission)",
            ),
            Code::InvalidArgument | Code::FailedPrecondition => {
                refused("check register.user and register.password against `etcdctl user list`")
            }
            Code::ResourceExhausted if status.message().contains("space") => {
                Fault::Final(RegisterError::Storage {
                    what:
                        "etcd takes no more changes (compact and defragment it, then `etcdctl alarm disarm`)"
                            .into(),
                    source: std::io::Error::other(words),
                })
            }
            _ => Fault::Passing(words),
        },
        _ => Fault::Passing(words),
    }
}

/// What happened, with its causes: the outermost says no more than "transport error".
fn words(e: &Error) -> String {
    let mut told = vec![match e {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    }];
    let mut cause = match e {
        Error::GRpcStatus(status) => status.source(),
        Error::TransportError(e) => e.source(),
        other => other.source(),
    };
    while let Some(e) = cause {
        let word = e.to_string();
        if !told.iter().any(|t| t.contains(&word)) {
            told.push(word);
        }
        cause = e.source();
    }
    told.join(": ")
}
