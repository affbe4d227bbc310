//! Where a request goes. Pure: what is known in, the destination out.
//!
//! Always true here: a request that another gateway has forwarded already goes to a local target or nowhere, so
//! two gateways that are wrong about each other never pass a request round.

use model::{Epoch, Serving, StreamId};

/// What the agent said last when a request began. Its answer's barrier is asked in just that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Began {
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// The primary's stream.
    pub(crate) stream: StreamId,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To an instance of the application here, where it begins so.
    Local(Began),
    /// To the other site's gateway.
    Peer,
    /// Nowhere; the visitor is told to come again.
    Nowhere,
}

/// Chooses by what the agent said last. While it has said nothing, or its database is not open, the other site is
/// the better bet.
pub(crate) fn choose(serving: Option<&Serving>, forwarded: bool) -> Destination {
    match serving {
        Some(s) if is_open(s) => Destination::Local(Began { epoch: s.epoch, stream: s.stream.clone() }),
        _ if forwarded => Destination::Nowhere,
        _ => Destination::Peer,
    }
}

/// Whether this site is primary and open to the application.
pub(crate) fn is_open(serving: &Serving) -> bool {
    serving.primary == serving.site && serving.open
}

#[cfg(test)]
mod tests {
    use model::{Mode, Site};

    use super::*;

    fn serving(primary: &str, open: bool) -> Serving {
        Serving {
            site: Site::new("aws"),
            epoch: Epoch(4),
            stream: StreamId("s".into()),
            primary: Site::new(primary),
            mode: Mode::Sync,
            open,
        }
    }

    #[test]
    fn the_open_primary_serves_itself_and_all_others_ask_the_peer_once() {
        let check = |s: Option<Serving>, forwarded, want| assert_eq!(choose(s.as_ref(), forwarded), want);
        let local = || Destination::Local(Began { epoch: Epoch(4), stream: StreamId("s".into()) });
        check(Some(serving("aws", true)), false, local());
        check(Some(serving("aws", true)), true, local());
        check(Some(serving("aws", false)), false, Destination::Peer);
        check(Some(serving("nhn", true)), false, Destination::Peer);
        check(Some(serving("nhn", true)), true, Destination::Nowhere);
        check(None, false, Destination::Peer);
        check(None, true, Destination::Nowhere);
    }
}
