//! A request as the engine sees it: borrowed, parsed by nobody yet.

use std::net::IpAddr;

/// One header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// In any case.
    pub name: &'a str,
    /// As received.
    pub value: &'a [u8],
}

/// What the engine looks at. It owns nothing; a gateway builds it from the parts that it has in its hands.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path as received, without the query.
    pub path: &'a [u8],
    /// The query as received, without the question mark.
    pub query: &'a [u8],
    /// What stood behind `#`; clients do not send it, tools do.
    pub fragment: &'a [u8],
    /// `HTTP/1.1`.
    pub version: &'a str,
    /// In the order received.
    pub headers: &'a [Header<'a>],
    /// The first bytes of the body: as many as the ACL inspects ([`crate::Engine::body_limit`]) and one more.
    pub body: &'a [u8],
    /// Who is connected.
    pub client_ip: IpAddr,
    /// The TLS client's JA3 fingerprint, where TLS ends here.
    pub ja3: Option<&'a str>,
    /// Its JA4 fingerprint.
    pub ja4: Option<&'a str>,
    /// What the log and the samples call it.
    pub request_id: &'a str,
    /// Milliseconds since 1970: rate windows, tokens and log lines go by it.
    pub now_ms: u64,
}

impl<'a> RequestView<'a> {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// Splits `/path?query#fragment`.
    pub fn split_target(target: &'a str) -> (&'a [u8], &'a [u8], &'a [u8]) {
        let (target, fragment) = target.split_once('#').unwrap_or((target, ""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (path.as_bytes(), query.as_bytes(), fragment.as_bytes())
    }
}

/// Where an address is. The data are the operator's (an mmdb, read outside of this crate).
pub trait Places {
    /// ISO 3166 alpha-2; `None`: unknown.
    fn country(&self, address: IpAddr) -> Option<[u8; 2]>;
    /// ISO 3166-2 without the country: `11` for Seoul.
    fn region(&self, _address: IpAddr) -> Option<String> {
        None
    }
    /// The autonomous system's number.
    fn asn(&self, _address: IpAddr) -> Option<u32> {
        None
    }
}

/// Knows no place: every country is unknown (`XX`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Places for Nowhere {
    fn country(&self, _address: IpAddr) -> Option<[u8; 2]> {
        None
    }
}
