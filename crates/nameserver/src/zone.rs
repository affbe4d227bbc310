//! What is answered: one immutable snapshot of the zone.

use std::net::IpAddr;

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, NS, SOA},
};

/// The first label of the name server's own name.
const SERVER_LABEL: &str = "ns";
/// The first label of the mailbox in the SOA record.
const MAILBOX_LABEL: &str = "hostmaster";
/// SOA's times for secondary servers. There are none: steering is the only way in which this zone changes.
const REFRESH_S: i32 = 3_600;
const RETRY_S: i32 = 600;
const EXPIRE_S: i32 = 86_400;

/// The zone whose apex is the service's name. Below it stands only the name server itself, as `ns`.
///
/// It is cheap to build and never changed: steering builds another and swaps it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    apex: Name,
    server: Name,
    mailbox: Name,
    addresses: Vec<IpAddr>,
    server_address: IpAddr,
    ttl_s: u32,
    serial: u32,
}

/// What the zone says about a name and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These records, owned by the name that was asked for.
    Records(Vec<RData>),
    /// The name exists and has nothing of this type.
    NoData,
    /// There is no such name in the zone.
    NoName,
    /// The name is not in this zone.
    Elsewhere,
}

/// The service's name cannot be the apex of a zone.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` cannot be a DNS zone: {why}; mend service.name in the topology file")]
pub struct BadName {
    name: String,
    why: String,
}

impl Zone {
    /// The zone of `name`, answering `addresses` (those of one site). `server_address` is where this server itself
    /// is reached. `serial` must change whenever the addresses do.
    pub fn new(
        name: &str,
        addresses: Vec<IpAddr>,
        server_address: IpAddr,
        ttl_s: u32,
        serial: u32,
    ) -> Result<Zone, BadName> {
        let bad = |e: hickory_proto::ProtoError| BadName { name: name.to_owned(), why: e.to_string() };
        let mut apex = Name::from_ascii(name).map_err(bad)?;
        apex.set_fqdn(true);
        let server = apex.prepend_label(SERVER_LABEL).map_err(bad)?;
        let mailbox = apex.prepend_label(MAILBOX_LABEL).map_err(bad)?;
        Ok(Zone { apex, server, mailbox, addresses, server_address, ttl_s, serial })
    }

    /// Seconds that a resolver may keep anything of this zone, a denial too.
    pub fn ttl_s(&self) -> u32 {
        self.ttl_s
    }

    /// The addresses that the service's name leads to.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Looks `name` up, upper and lower case alike. `ANY` finds the addresses only (RFC 8482).
    pub fn find(&self, name: &Name, kind: RecordType) -> Found {
        if !self.apex.zone_of(name) {
            return Found::Elsewhere;
        }
        let records: Vec<RData> = if *name == self.apex {
            match kind {
                RecordType::SOA => vec![RData::SOA(self.soa())],
                RecordType::NS => vec![RData::NS(NS(self.server.clone()))],
                _ => self.addresses.iter().filter_map(|ip| address(*ip, kind)).collect(),
            }
        } else if *name == self.server {
            address(self.server_address, kind).into_iter().collect()
        } else {
            return Found::NoName;
        };
        if records.is_empty() { Found::NoData } else { Found::Records(records) }
    }

    /// The record that goes with every denial, so that it may be kept no longer than an answer (RFC 2308).
    pub fn denial(&self) -> Record {
        Record::from_rdata(self.apex.clone(), self.ttl_s, RData::SOA(self.soa()))
    }

    /// The name server's own address: what goes beside an answer that names it.
    pub fn glue(&self) -> Record {
        let data = match self.server_address {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        Record::from_rdata(self.server.clone(), self.ttl_s, data)
    }

    fn soa(&self) -> SOA {
        let (server, mailbox) = (self.server.clone(), self.mailbox.clone());
        SOA::new(server, mailbox, self.serial, REFRESH_S, RETRY_S, EXPIRE_S, self.ttl_s)
    }
}

fn address(ip: IpAddr, kind: RecordType) -> Option<RData> {
    match (ip, kind) {
        (IpAddr::V4(ip), RecordType::A | RecordType::ANY) => Some(RData::A(A(ip))),
        (IpAddr::V6(ip), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(ip))),
        _ => None,
    }
}
