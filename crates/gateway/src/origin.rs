//! Where a request comes from: what we believe of what it says, and what we say to the application.
//!
//! Trust boundary: a connection says who is at its other end, and nothing more. If that is one of
//! `gateway.trusted_proxies`, what it says of the hop before it is believed, and so on until an address that is not
//! trusted: that one is the visitor. What it says of the protocol and the host that the visitor used is believed too.
//! Everybody else's `Forwarded` and `X-Forwarded-*` are replaced whole. So the last untrusted address in the list is true,
//! and what stands left of it is a visitor's claim, passed on as the list's format wants it.
//!
//! Always true here: `Forwarded` (RFC 7239) and `X-Forwarded-For` leave with the same
//! addresses; a visitor who is trusted by nobody cannot put a word into either.

use std::{fmt::Write, net::IpAddr};

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use model::topology::edge::Cidr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// What some proxies say instead; nobody before us may.
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Hops that are followed at most: a longer list is an attack or a loop.
const HOPS_MAX: usize = 32;

/// One hop's element of `Forwarded` is rarely longer.
const FORWARDED_BYTES: usize = 128;

/// The connection on which a request came.
pub(crate) struct Hop {
    pub(crate) address: IpAddr,
    /// `http` or `https`.
    pub(crate) protocol: &'static str,
}

/// The visitor's address: the last one in the list that no trusted proxy has.
pub(crate) fn source(headers: &HeaderMap, hop: IpAddr, trusted: &[Cidr]) -> IpAddr {
    if !is_trusted(hop, trusted) {
        return hop;
    }
    let mut source = hop;
    for said in list(headers).iter().rev() {
        // Whoever cannot be read (`unknown`, `_hidden`) ends what is known.
        let Some(address) = said else { break };
        source = *address;
        if !is_trusted(source, trusted) {
            break;
        }
    }
    source
}

/// Writes where the request comes from, for the application.
pub(crate) fn say(headers: &mut HeaderMap, hop: &Hop, trusted: &[Cidr]) {
    headers.remove(X_REAL_IP);
    let host = headers.get(header::HOST).cloned();
    if is_trusted(hop.address, trusted) {
        // One list out of what came: of two that differ nobody could tell which is true.
        let before: Vec<Option<IpAddr>> = list(headers);
        let mut for_them = String::new();
        let mut forwarded = String::new();
        for said in &before {
            match said {
                Some(address) => {
                    // Writing into a string does not fail.
                    write!(for_them, "{address}, ").ok();
                    write!(forwarded, "for={}, ", node(*address)).ok();
                }
                None => {
                    for_them.push_str("unknown, ");
                    forwarded.push_str("for=unknown, ");
                }
            }
        }
        write!(for_them, "{}", hop.address).ok();
        let protocol = believed_protocol(headers).unwrap_or(hop.protocol);
        let host = headers.get(X_FORWARDED_HOST).cloned().or(host);
        write_element(&mut forwarded, &node(hop.address), protocol, host.as_ref());
        put(headers, X_FORWARDED_FOR, HeaderValue::try_from(for_them).ok());
        put(headers, X_FORWARDED_PROTO, Some(HeaderValue::from_static(protocol)));
        put(headers, X_FORWARDED_HOST, host);
        put(headers, header::FORWARDED, HeaderValue::try_from(forwarded).ok());
        return;
    }
    let node = node(hop.address);
    let mut forwarded = String::with_capacity(FORWARDED_BYTES);
    write_element(&mut forwarded, &node, hop.protocol, host.as_ref());
    let address = node.trim_start_matches("\"[").trim_end_matches("]\"");
    put(headers, X_FORWARDED_FOR, HeaderValue::from_str(address).ok());
    put(headers, header::FORWARDED, HeaderValue::from_str(&forwarded).ok());
    put(headers, X_FORWARDED_PROTO, Some(HeaderValue::from_static(hop.protocol)));
    put(headers, X_FORWARDED_HOST, host);
    headers.remove(X_FORWARDED_PORT);
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

/// The addresses that the proxies before us have written down, the visitor's own first: those of `X-Forwarded-For`, or, where
/// that is missing, of `Forwarded`. `None`: something that is no address.
fn list(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap_or("unreadable"));
    let mut all: Vec<Option<IpAddr>> = if headers.contains_key(X_FORWARDED_FOR) {
        lines(X_FORWARDED_FOR).flat_map(|line| line.split(',')).map(address).collect()
    } else {
        lines(header::FORWARDED).flat_map(|line| line.split(',')).map(for_of).collect()
    };
    let surplus = all.len().saturating_sub(HOPS_MAX);
    all.drain(..surplus);
    all
}

/// `for=` of one element of `Forwarded`.
fn for_of(element: &str) -> Option<IpAddr> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"').to_owned())
    };
    element.split(';').find_map(pair).and_then(|value| address(&value))
}

/// An address as proxies write it: bare, with a port, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(with_port) = text.parse::<std::net::SocketAddr>() {
        return Some(with_port.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// What a trusted proxy says of the visitor's protocol.
fn believed_protocol(headers: &HeaderMap) -> Option<&'static str> {
    let told = headers.get(X_FORWARDED_PROTO)?.as_bytes();
    // Of several the first is the visitor's.
    let told = told.split(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    ["http", "https"].into_iter().find(|known| told.eq_ignore_ascii_case(known.as_bytes()))
}

/// One hop's element of `Forwarded`.
fn write_element(out: &mut String, node: &str, protocol: &str, host: Option<&HeaderValue>) {
    out.push_str("for=");
    out.push_str(node);
    // A host that is more than a token (a port, brackets) stands in quotes; it holds none: `doubt` has looked.
    if let Some(host) = host.and_then(|h| h.to_str().ok()).filter(|h| !h.contains(['"', '\\'])) {
        out.push_str(";host=\"");
        out.push_str(host);
        out.push('"');
    }
    out.push_str(";proto=");
    out.push_str(protocol);
}

/// RFC 7239 §6: IPv6 in brackets and quotes.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "2001:db8::/32"];

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn trusted() -> Vec<Cidr> {
        PROXIES.map(|p| Cidr::try_from(p.to_owned()).unwrap()).to_vec()
    }

    #[track_caller]
    fn comes_from(hop: &str, lines: &[(&str, &str)], want: &str) {
        let found = source(&headers(lines), hop.parse().unwrap(), &trusted());
        assert_eq!(found.to_string(), want, "{hop} {lines:?}");
    }

    #[test]
    fn the_visitor_is_the_last_whom_no_trusted_proxy_is() {
        comes_from("203.0.113.7", &[("x-forwarded-for", "9.9.9.9")], "203.0.113.7");
        comes_from("10.0.0.1", &[("x-forwarded-for", "203.0.113.7")], "203.0.113.7");
        comes_from("10.0.0.1", &[("x-forwarded-for", "9.9.9.9, 203.0.113.7")], "203.0.113.7");
        comes_from("10.0.0.1", &[("x-forwarded-for", "9.9.9.9, 203.0.113.7, 10.0.0.2")], "203.0.113.7");
        let lines = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "203.0.113.7:4711, 10.0.0.2")];
        comes_from("10.0.0.1", &lines, "203.0.113.7");
        comes_from("10.0.0.1", &[], "10.0.0.1");
        comes_from("10.0.0.1", &[("x-forwarded-for", "9.9.9.9, unknown, 10.0.0.2")], "10.0.0.2");
        comes_from("10.0.0.1", &[("forwarded", "for=203.0.113.7;proto=https, for=10.0.0.2")], "203.0.113.7");
        comes_from("2001:db8::1", &[("forwarded", "For=\"[2001:db9::7]:4711\"")], "2001:db9::7");
        comes_from(
            "10.0.0.1",
            &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=9.9.9.9")],
            "203.0.113.7",
        );
    }

    #[track_caller]
    fn says(hop: &str, lines: &[(&str, &str)], want: [&str; 4]) {
        let mut map = headers(lines);
        say(&mut map, &Hop { address: hop.parse().unwrap(), protocol: "http" }, &trusted());
        let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
            .map(|name| map.get(name).map_or("", |v| v.to_str().unwrap()));
        assert_eq!(told, want, "{hop} {lines:?}");
        assert!(!map.contains_key("x-real-ip"));
    }

    #[test]
    fn a_strangers_words_are_replaced_and_a_trusted_proxys_added_to() {
        let words = [
            ("host", "a:8080"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b"),
            ("x-real-ip", "9.9.9.9"),
            ("forwarded", "for=9.9.9.9"),
        ];
        says(
            "203.0.113.7",
            &words,
            ["203.0.113.7", "http", "a:8080", "for=203.0.113.7;host=\"a:8080\";proto=http"],
        );
        says(
            "10.0.0.1",
            &words,
            ["9.9.9.9, 10.0.0.1", "https", "b", "for=9.9.9.9, for=10.0.0.1;host=\"b\";proto=https"],
        );
        says(
            "2001:db9::1",
            &[("host", "a")],
            ["2001:db9::1", "http", "a", "for=\"[2001:db9::1]\";host=\"a\";proto=http"],
        );
        says(
            "10.0.0.1",
            &[("host", "a"), ("x-forwarded-proto", "gopher")],
            ["10.0.0.1", "http", "a", "for=10.0.0.1;host=\"a\";proto=http"],
        );
    }

    #[test]
    fn an_endless_list_is_cut_where_it_is_oldest() {
        let long = vec!["9.9.9.9"; 1_000].join(", ");
        let mut map = headers(&[("host", "a"), ("x-forwarded-for", &long)]);
        say(&mut map, &Hop { address: "10.0.0.1".parse().unwrap(), protocol: "http" }, &trusted());
        let told = map.get(X_FORWARDED_FOR).unwrap().to_str().unwrap();
        assert_eq!(told.split(", ").count(), HOPS_MAX + 1);
        assert!(told.ends_with(", 10.0.0.1"));
    }
}
