//! Waiting for the end of what runs beside the loop; for ever, while nothing does.

use std::future::pending;

use model::{Epoch, agent::Role};
use runtime::clock::Boot;
use tokio::task::JoinHandle;

use crate::{
    apply::StandbyError,
    database::DatabaseError,
    work::{Done, Standby},
};

/// How the last follower ended, for the epoch and life in which it ran.
pub(super) struct StandbyEnd {
    pub(super) key: (Epoch, model::Incarnation),
    /// What to tell until somebody acts; `None`: it is simply begun again after `not_before`.
    pub(super) role: Option<Role>,
    /// Why its place in the primary's log is lost, if so: these data must be filled anew.
    pub(super) lost: Option<String>,
    pub(super) not_before: Boot,
}

pub(super) async fn end_of(act: &mut Option<JoinHandle<Done>>) -> Done {
    let Some(task) = act else { return pending().await };
    match task.await {
        Ok(done) => done,
        Err(e) => Done {
            conn: None,
            look: None,
            renamed: false,
            seen: None,
            standby: None,
            error: Some(DatabaseError::Unexpected(format!("an act ended badly: {e}")).into()),
        },
    }
}

pub(super) async fn end_of_standby(standby: &mut Option<Standby>) -> Result<(), StandbyError> {
    let Some(standby) = standby else { return pending().await };
    match (&mut standby.task).await {
        Ok(result) => result,
        Err(e) => Err(StandbyError::Database(DatabaseError::Unexpected(format!("it ended badly: {e}")))),
    }
}
