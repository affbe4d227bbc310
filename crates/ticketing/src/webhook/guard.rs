//! Where events may be sent: to public addresses, and into networks that the operator names.
//!
//! An organiser writes the address, and a request from our machine reaches what nobody outside can: the cloud's
//! metadata, the database, an agent. So it is not the name that is judged but every address that it has at the moment
//! of sending, and the connection goes to the very address that was judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;

/// Endpoints' addresses are no longer than this.
const URL_MAX_BYTES: usize = 500;

/// A network: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.trim().split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Network { address, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(of), IpAddr::V4(a)) => {
                (u64::from(of.to_bits()) ^ u64::from(a.to_bits())) >> (32 - self.prefix) == 0
            }
            (IpAddr::V6(of), IpAddr::V6(a)) => {
                (of.to_bits() ^ a.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// An endpoint's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether over TLS.
    pub tls: bool,
    /// Host: a name, or an address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What `Host` says.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads an endpoint's address; or says what is wrong with it.
    pub fn parse(url: &str) -> Result<Target, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no address")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https://"),
        };
        let authority = uri.authority().ok_or("it names no host")?.clone();
        if authority.as_str().contains('@') {
            return Err("it has a user name in it");
        }
        if url.len() > URL_MAX_BYTES || url.contains('#') {
            return Err("it is too long, or has a # in it");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Target {
            tls,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            authority: authority.to_string(),
            host,
        })
    }
}

/// Whether events may be sent to an address. Without TLS only to this machine itself.
pub fn check(address: IpAddr, tls: bool, allowed: &[Network]) -> Result<(), String> {
    let address = address.to_canonical();
    if !tls && !address.is_loopback() {
        return Err(format!("{address} is another machine: events go there over https only"));
    }
    if is_public(address) || allowed.iter().any(|network| network.has(address)) {
        return Ok(());
    }
    Err(format!("{address} is no public address; the operator may allow it with TICKETING_WEBHOOK_NETWORKS"))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => is_public_v4(a),
        IpAddr::V6(a) => is_public_v6(a),
    }
}

fn is_public_v4(a: Ipv4Addr) -> bool {
    let [x, y, z, _] = a.octets();
    let special = a.is_loopback()
        || a.is_private()
        || a.is_link_local()
        || a.is_documentation()
        || a.is_multicast()
        || x == 0
        // Shared between carriers and their customers, protocol assignments, benchmarks, reserved and broadcast.
        || (x == 100 && (64..128).contains(&y))
        || (x == 192 && y == 0 && z == 0)
        || (x == 198 && (18..20).contains(&y))
        || x >= 240;
    !special
}

fn is_public_v6(a: Ipv6Addr) -> bool {
    let [x, y, ..] = a.segments();
    let global = x & 0xe000 == 0x2000;
    // Documentation, protocol assignments with Teredo, 6to4: the last two lead to IPv4 addresses.
    let special = (x == 0x2001 && (y == 0x0db8 || y < 0x0200)) || x == 0x2002 || (x == 0x3fff && y < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_and_what_the_operator_allows() {
        let check =
            |address: &str, allowed: &[Network]| check(address.parse().unwrap(), true, allowed).is_ok();
        for public in ["1.1.1.1", "211.249.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(check(public, &[]), "{public}");
        }
        let inside = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
        ];
        let loopback = [Network::parse("127.0.0.0/8").unwrap(), Network::parse("::1/128").unwrap()];
        for address in inside {
            assert!(!check(address, &[]), "{address}");
            let own = matches!(address, "127.0.0.1" | "::1" | "::ffff:127.0.0.1");
            assert_eq!(check(address, &loopback), own, "{address}");
        }
        let everything = [Network::parse("0.0.0.0/0").unwrap(), Network::parse("::/0").unwrap()];
        assert!(inside.iter().all(|address| check(address, &everything)));
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("10.0.0.0").is_none());
    }

    #[test]
    fn without_tls_only_to_this_machine() {
        let all = [Network::parse("0.0.0.0/0").unwrap()];
        assert!(super::check("127.0.0.1".parse().unwrap(), false, &all).is_ok());
        assert!(super::check("10.0.0.1".parse().unwrap(), false, &all).is_err());
        assert!(super::check("1.1.1.1".parse().unwrap(), false, &all).is_err());
    }

    #[test]
    fn an_endpoint_is_an_address_of_the_web() {
        let target = Target::parse("https://hooks.example.com:8443/in?a=b").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("hooks.example.com", 8443, "/in?a=b")
        );
        assert_eq!(Target::parse("http://[::1]:80/").unwrap().host, "::1");
        let long = format!("https://a.test/{}", "x".repeat(500));
        for odd in ["", "/in", "ftp://a.test/", "https://u:p@a.test/", "https://a.test/#x", &long, "https://"]
        {
            assert!(Target::parse(odd).is_err(), "{odd}");
        }
    }
}
