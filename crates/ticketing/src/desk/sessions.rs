//! Sessions that were ended before their time: after a new password, and with an account.
//!
//! A session is a signed cookie and says nothing of this. The few accounts with an end are read every [`LOOK`] and kept
//! in memory, so that no page waits for it; an instance that cannot read goes on with what it knew.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use crate::{clock::Clock, session::Session, store::Store};

/// How often ends are read.
const LOOK: Duration = Duration::from_secs(2);
/// No session is older than this.
const OLDEST_MS: u64 = 31 * 86_400_000;

type Ends = RwLock<HashMap<u64, u64>>;

/// Which sessions still count. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    ends: Arc<Ends>,
}

impl Sessions {
    /// Starts to read.
    pub(super) fn start(store: Store, clock: Clock) -> Sessions {
        let sessions = Sessions::default();
        tokio::spawn(keep_reading(Arc::downgrade(&sessions.ends), store, clock));
        sessions
    }

    /// Whether nobody ended this session.
    pub fn stands(&self, session: &Session) -> bool {
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        ends.get(&session.account).is_none_or(|from_s| session.issued_s >= *from_s)
    }

    /// The first moment from which a session that begins now is dated so that it stands: after a new password that is
    /// up to a second ahead.
    pub(super) fn begin_ms(&self, account: u64, now_ms: u64) -> u64 {
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        ends.get(&account).map_or(now_ms, |from_s| now_ms.max(from_s.saturating_mul(1_000)))
    }

    /// Ends the sessions of an account that were begun before `from_s`, here at once and elsewhere at the next look.
    pub(super) fn cut(&self, account: u64, from_s: u64) {
        self.ends.write().unwrap_or_else(PoisonError::into_inner).insert(account, from_s);
    }
}

async fn keep_reading(ends: Weak<Ends>, store: Store, clock: Clock) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let read = store.session_cuts(clock.now_ms().saturating_sub(OLDEST_MS)).await;
        let Some(ends) = ends.upgrade() else { return };
        match read {
            Ok(read) => {
                let mut known = ends.write().unwrap_or_else(PoisonError::into_inner);
                for (account, from_s) in read {
                    let end = known.entry(account).or_default();
                    *end = (*end).max(from_s);
                }
            }
            Err(e) => tracing::debug!("ended sessions cannot be read: {e}"),
        }
    }
}
