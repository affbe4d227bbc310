//! What a provider can do to fence a site from the outside: take its machines off the network, or stop them.

use model::{
    Site,
    agent::{FenceDriver, FenceMeans, FenceResult},
};

/// A provider's way of fencing a site.
pub trait Provider: Send + Sync {
    /// Isolates `site` and says what came of it. It may be asked twice.
    fn isolate(&self, site: &Site) -> impl Future<Output = FenceDriver> + Send;
}

/// Where there is no provider (a lab on one machine, machines of one's own): says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProvider;

impl Provider for NoProvider {
    async fn isolate(&self, site: &Site) -> FenceDriver {
        FenceDriver {
            driver: FenceMeans::Provider,
            result: FenceResult::NotPossible,
            why: Some(format!("no provider here that could isolate {site}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_there_is_no_provider_nothing_is_claimed() {
        let told = NoProvider.isolate(&Site::new("nhn")).await;
        assert_eq!(told.result, FenceResult::NotPossible);
        assert!(told.why.is_some_and(|why| why.contains("no provider here")));
    }
}
