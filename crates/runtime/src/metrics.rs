//! Metrics in the Prometheus text format.
//!
//! Each crate declares its own in one file (`metrics.rs`) as a struct of `prometheus_client` families with a
//! `register(&self, &mut Registry)`; names carry their unit, all begin with `ghostlight_`.

use std::sync::{Arc, Mutex, PoisonError};

pub use prometheus_client;
use prometheus_client::{encoding::text::encode, registry::Registry};

/// The metrics of one process.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Metrics(Arc::new(Mutex::new(Registry::with_prefix("ghostlight"))))
    }
}

impl Metrics {
    /// Lets a crate add its own.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The exposition, as `GET /metrics` answers it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            Ok(()) => text,
            Err(e) => format!("# the metrics could not be written: {e}\n"),
        }
    }
}
