//! A value that is read once and used by many for a while.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::StoreError;

/// Holds what was read last. One reads, the others wait for it.
pub(super) struct Fresh<T> {
    slot: Mutex<Option<(u64, Arc<T>)>>,
    valid_ms: u64,
}

impl<T> Fresh<T> {
    /// Empty; what is read stays valid for `valid_ms`.
    pub(super) fn new(valid_ms: u64) -> Fresh<T> {
        Fresh { slot: Mutex::new(None), valid_ms }
    }

    /// What was read lately is out of date.
    pub(super) async fn forget(&self) {
        *self.slot.lock().await = None;
    }

    /// What was read lately, or what `read` reads now.
    pub(super) async fn get(
        &self,
        now_ms: u64,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Arc<T>, StoreError> {
        let mut slot = self.slot.lock().await;
        if let Some((read_at_ms, value)) = &*slot
            && now_ms.abs_diff(*read_at_ms) < self.valid_ms
        {
            return Ok(value.clone());
        }
        let value = Arc::new(read.await?);
        *slot = Some((now_ms, value.clone()));
        Ok(value)
    }
}
