//! What the name server counts.

use std::sync::atomic::AtomicU64;

use runtime::metrics::prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::answer::Transport;

/// The name server's metrics; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    replies: Family<Reply, Counter>,
    ignored: Counter,
    steered_epoch: Gauge<u64, AtomicU64>,
}

/// `transport` and `rcode`.
type Reply = [(&'static str, &'static str); 2];

impl Metrics {
    /// Declares them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "dns_replies",
            "Replies sent, by transport and response code",
            self.replies.clone(),
        );
        registry.register(
            "dns_ignored",
            "Messages that got no reply because they were not queries",
            self.ignored.clone(),
        );
        registry.register(
            "dns_steered_epoch",
            "Epoch of the site that the service's name leads to; 0 before the first steering",
            self.steered_epoch.clone(),
        );
    }

    /// Counts what became of one message.
    pub(crate) fn answered(&self, transport: Transport, reply: Option<&[u8]>) {
        let Some(flags) = reply.and_then(|reply| reply.get(3)) else {
            self.ignored.inc();
            return;
        };
        let transport = match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        let rcode = match flags & 0x0f {
            0 => "noerror", // also the low bits of BADVERS
            1 => "formerr",
            3 => "nxdomain",
            4 => "notimp",
            5 => "refused",
            _ => "other",
        };
        self.replies.get_or_create(&[("transport", transport), ("rcode", rcode)]).inc();
    }

    /// Notes the epoch in force.
    pub(crate) fn steered(&self, epoch: model::Epoch) {
        self.steered_epoch.set(epoch.0);
    }
}
