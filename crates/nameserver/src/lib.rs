//! Authoritative DNS for one name: the service's.
//!
//! [`answer`] is the pure middle: a zone and the bytes of a query in, the bytes of the reply out. A [`zone::Zone`] is
//! immutable and is swapped whole when the leader steers ([`steering`]), so that no reply ever mixes two sites.
//! [`server`] is the driver: UDP and TCP sockets around `answer`. [`api`] is how the leader steers.
//!
//! Always true here: an older epoch never replaces a newer one, across restarts too; bytes from the network never
//! panic; only queries are answered, so two name servers can never talk to each other without end. Why a site is
//! answered is the controller's business, and is not known here.

pub mod answer;
pub mod api;
pub mod metrics;
pub mod server;
pub mod steering;
pub mod zone;
