//! Statements about where a request comes from.

use std::net::IpAddr;

use super::Evaluation;
use crate::{
    acl::{AddressSource, Fallback, ForwardedPosition, mapped},
    verdict::Detail,
};

/// The addresses that a statement is about.
enum Addresses {
    These(Vec<IpAddr>),
    /// The header is there and holds no address.
    Malformed(Fallback),
    /// There is no such header: the statement does not apply.
    Absent,
}

impl Evaluation<'_, '_> {
    fn addresses(&self, source: &AddressSource) -> Addresses {
        let AddressSource::Forwarded { header, fallback, position } = source else {
            return Addresses::These(vec![self.request.client_ip]);
        };
        let Some(value) = self.request.header(header) else { return Addresses::Absent };
        let parts = || value.split(|&b| b == b',').map(address);
        let found: Option<Vec<IpAddr>> = match position {
            ForwardedPosition::First => parts().next().flatten().map(|a| vec![a]),
            ForwardedPosition::Last => parts().next_back().flatten().map(|a| vec![a]),
            // AWS looks at ten.
            ForwardedPosition::Any => {
                Some(parts().take(10).flatten().collect::<Vec<_>>()).filter(|l| !l.is_empty())
            }
        };
        found.map_or(Addresses::Malformed(*fallback), Addresses::These)
    }

    pub(super) fn forwarded(&self, source: &AddressSource) -> Result<IpAddr, bool> {
        match self.addresses(source) {
            Addresses::These(list) => list.first().copied().ok_or(false),
            Addresses::Malformed(fallback) => Err(fallback == Fallback::Match),
            Addresses::Absent => Err(false),
        }
    }

    pub(super) fn geo(&mut self, countries: &[[u8; 2]], source: &AddressSource) -> bool {
        let address = match self.forwarded(source) {
            Ok(address) => address,
            Err(matches) => return matches,
        };
        let country = self.places.country(address).unwrap_or(*b"XX");
        let name = String::from_utf8_lossy(&country).into_owned();
        let from = if *source == AddressSource::Client {
            self.verdict.country = Some(country);
            "clientip"
        } else {
            "forwardedip"
        };
        self.label(&format!("awswaf:{from}:geo:country:{name}").into());
        let region = self.places.region(address).map_or_else(|| "XX".to_owned(), |r| format!("{name}-{r}"));
        self.label(&format!("awswaf:{from}:geo:region:{region}").into());
        let is = countries.contains(&country);
        if is {
            self.details.push(Detail {
                condition: "GEO",
                location: "IP",
                name: address.to_string(),
                data: name,
            });
        }
        is
    }

    pub(super) fn ip(&mut self, ranges: &[(u128, u128)], source: &AddressSource) -> bool {
        let list = match self.addresses(source) {
            Addresses::These(list) => list,
            Addresses::Malformed(fallback) => return fallback == Fallback::Match,
            Addresses::Absent => return false,
        };
        let inside = |address: &IpAddr| {
            let address = mapped(*address);
            let at = ranges.partition_point(|(from, _)| *from <= address);
            at > 0 && ranges.get(at - 1).is_some_and(|(_, to)| address <= *to)
        };
        let Some(found) = list.iter().find(|a| inside(a)) else { return false };
        self.details.push(Detail {
            condition: "IP",
            location: "IP",
            name: String::new(),
            data: found.to_string(),
        });
        true
    }

    pub(super) fn asn(&mut self, numbers: &[u32], source: &AddressSource) -> bool {
        let address = match self.forwarded(source) {
            Ok(address) => address,
            Err(matches) => return matches,
        };
        // AWS: an address without a number is number 0.
        let number = self.places.asn(address).unwrap_or(0);
        let from = if *source == AddressSource::Client { "clientip" } else { "forwardedip" };
        self.label(&format!("awswaf:{from}:asn:{number}").into());
        let is = numbers.contains(&number);
        if is {
            self.details.push(Detail {
                condition: "ASN",
                location: "IP",
                name: address.to_string(),
                data: number.to_string(),
            });
        }
        is
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:443`, `2001:db8::1`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}
