//! Countries out of the operator's mmdb.

use std::{net::IpAddr, path::Path};

use anyhow::Context;
use waf::{Nowhere, Places};

/// A database in MaxMind's format, of whichever make: the flat records of `@ip-location-db` and GeoLite2's.
struct Mmdb(maxminddb::Reader<Vec<u8>>);

/// The database, or one that knows nothing.
pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Box<dyn Places + Send + Sync>> {
    let Some(path) = path else { return Ok(Box::new(Nowhere)) };
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let reader =
        maxminddb::Reader::from_source(bytes).with_context(|| format!("{} is no mmdb", path.display()))?;
    Ok(Box::new(Mmdb(reader)))
}

impl Mmdb {
    fn text(&self, address: IpAddr, path: &[&str]) -> Option<String> {
        let path: Vec<maxminddb::PathElement<'_>> =
            path.iter().map(|k| maxminddb::PathElement::Key(k)).collect();
        self.0.lookup(address).ok()?.decode_path::<String>(&path).ok()?
    }
}

impl Places for Mmdb {
    fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        let code =
            self.text(address, &["country_code"]).or_else(|| self.text(address, &["country", "iso_code"]))?;
        code.as_bytes().try_into().ok()
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        let path = [maxminddb::PathElement::Key("autonomous_system_number")];
        self.0.lookup(address).ok()?.decode_path::<u32>(&path).ok()?
    }
}
