//! Passing a request to the other site's gateway, so that a visitor with an old DNS answer is still served.
//!
//! The peer holds the answer, not we: it knows the epoch in which the request reached the application. Its
//! `Ghostlight-Outcome` is passed on as it is. A request that was forwarded once is never forwarded again.

use std::{net::IpAddr, time::Duration};

use hyper::{HeaderMap, header::HeaderValue};
use model::Site;

use crate::{headers, keys::Keys};

/// How long a connection to the peer may take. Over it goes a tunnel between two clouds.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_millis(1_000);

/// How long the peer may take to answer: as long as it may hold, and its application's time before that.
pub(crate) fn answer_within(local: Duration, hold_max_ms: u64) -> Duration {
    local + Duration::from_millis(hold_max_ms)
}

/// What this site's gateway writes on requests that it forwards.
#[derive(Clone)]
pub(crate) struct Stamp {
    site: HeaderValue,
    token: HeaderValue,
}

impl Stamp {
    /// `None` if the site's name cannot stand in a header.
    pub(crate) fn new(site: &Site, keys: &Keys) -> Option<Stamp> {
        Some(Stamp {
            site: HeaderValue::try_from(site.as_str()).ok()?,
            token: HeaderValue::try_from(keys.forwarded_token(site)).ok()?,
        })
    }

    /// Marks a request as forwarded by this site, for a visitor who asks from `source`.
    pub(crate) fn put(&self, headers: &mut HeaderMap, source: IpAddr) {
        if let Ok(source) = HeaderValue::try_from(source.to_string()) {
            headers.insert(headers::SOURCE, source);
        }
        headers.insert(headers::FORWARDED, self.site.clone());
        headers.insert(headers::FORWARDED_TOKEN, self.token.clone());
    }

    /// Takes the mark off: the request stays here after all.
    pub(crate) fn take_off(headers: &mut HeaderMap) {
        headers.remove(headers::FORWARDED);
        headers.remove(headers::FORWARDED_TOKEN);
        headers.remove(headers::SOURCE);
    }
}
