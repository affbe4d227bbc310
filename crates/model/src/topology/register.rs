//! `[register]`: where the record stands that says who is primary.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Fault, SecretRef};

/// `[register]`: what keeps the record of who is primary, and the leader's lease.
///
/// ```toml
/// [register]
/// kind = "etcd"
/// endpoints = ["https://10.1.0.5:2379", "https://10.2.0.5:2379", "https://10.3.0.5:2379"]
/// authority = "etcd/authority.pem"
/// user = "ghostlight"
/// password = { file = "secrets/etcd.password" }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegisterConfig {
    /// `file` (default): a file that the witness's controller keeps and serves to the others (`witness.register_file`).
    /// `etcd`: a cluster of etcd v3 that everybody asks directly, so that the loss of any one machine, the witness's
    /// too, leaves the register there. When the witness's controller finds an empty cluster it begins with the record
    /// in `witness.register_file`, if there is one: so an installation moves from the one to the other.
    pub kind: RegisterKind,
    /// Only with etcd: every member, `http://…` or `https://…`; one in each place. With three members one may be lost.
    pub endpoints: Vec<String>,
    /// Only with etcd: what our keys begin with. Installations that share a cluster need one each.
    pub prefix: String,
    /// Only with etcd: the name with which we log in. It needs the right to read and write below `prefix`.
    pub user: Option<String>,
    /// Only with etcd: the password of `user`.
    pub password: Option<SecretRef>,
    /// Only with etcd: the certificate (PEM) of the authority that signed the members'; needed with `https://`. Files
    /// are relative to the topology file.
    pub authority: Option<PathBuf>,
    /// Only with etcd: our own certificate (PEM), where the members ask for one.
    pub certificate: Option<PathBuf>,
    /// Only with etcd: the key of `certificate` (PEM, all lines).
    pub key: Option<PathBuf>,
}

/// Which engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterKind {
    /// A file on the witness.
    #[default]
    File,
    /// A cluster of etcd.
    Etcd,
}

impl RegisterKind {
    /// As it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            RegisterKind::File => "file",
            RegisterKind::Etcd => "etcd",
        }
    }
}

impl Default for RegisterConfig {
    fn default() -> Self {
        RegisterConfig {
            kind: RegisterKind::File,
            endpoints: Vec::new(),
            prefix: "/ghostlight".into(),
            user: None,
            password: None,
            authority: None,
            certificate: None,
            key: None,
        }
    }
}

impl RegisterConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        match self.kind {
            RegisterKind::File => self.of_no_use(),
            RegisterKind::Etcd => self.of_etcd(),
        }
    }

    /// Keys that only etcd has: whoever wrote them meant etcd, and would have a file.
    fn of_no_use(&self) -> Vec<Fault> {
        let RegisterConfig { kind: _, endpoints, prefix, user, password, authority, certificate, key } = self;
        let written = [
            ("endpoints", !endpoints.is_empty()),
            ("prefix", *prefix != RegisterConfig::default().prefix),
            ("user", user.is_some()),
            ("password", password.is_some()),
            ("authority", authority.is_some()),
            ("certificate", certificate.is_some()),
            ("key", key.is_some()),
        ];
        let fault = |(key, _)| {
            fault(
                key,
                "belongs to etcd, and the register is a file",
                "write kind = \"etcd\", or leave it out",
            )
        };
        written.into_iter().filter(|(_, is)| *is).map(fault).collect()
    }

    fn of_etcd(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.endpoints.is_empty() {
            faults.push(fault(
                "endpoints",
                "no member is named",
                "list them all, e.g. endpoints = [\"http://10.1.0.5:2379\", \"http://10.2.0.5:2379\", \"http://10.3.0.5:2379\"]",
            ));
        }
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            if !is_endpoint(endpoint) {
                let what = format!("`{endpoint}` is no member's address");
                faults.push(fault(
                    "endpoints",
                    what,
                    "write http://HOST:PORT or https://HOST:PORT, and no path",
                ));
            }
            if self.endpoints[..i].contains(endpoint) {
                faults.push(fault(
                    "endpoints",
                    format!("{endpoint} is named twice"),
                    "name each member once",
                ));
            }
        }
        let plain = self.endpoints.iter().any(|e| e.starts_with("http://"));
        let secure = self.endpoints.iter().any(|e| e.starts_with("https://"));
        if plain && secure {
            faults.push(fault("endpoints", "some are http and some https", "write https for all of them"));
        }
        if secure && self.authority.is_none() {
            faults.push(fault(
                "authority",
                "without it nobody can tell whether the members are the right ones",
                "name the file with the certificate of the authority that signed theirs",
            ));
        }
        if plain && !secure && (self.authority.is_some() || self.certificate.is_some()) {
            faults.push(fault("authority", "there are no certificates in http", "write https:// endpoints"));
        }
        for (one, other, there) in [
            ("user", "password", (self.user.is_some(), self.password.is_some())),
            ("certificate", "key", (self.certificate.is_some(), self.key.is_some())),
        ] {
            if there.0 != there.1 {
                let (has, lacks) = if there.0 { (one, other) } else { (other, one) };
                faults.push(fault(has, format!("there is no `{lacks}` with it"), "write both or neither"));
            }
        }
        let body = self.prefix.strip_prefix('/').unwrap_or_default();
        if body.is_empty() || body.ends_with('/') || !body.bytes().all(|b| b.is_ascii_graphic()) {
            let what = format!("`{}` cannot begin a key of ours", self.prefix);
            faults.push(fault("prefix", what, "write / and a name, e.g. prefix = \"/ghostlight\""));
        }
        faults
    }
}

/// `http://host:port` or `https://host:port`.
fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some((host, port)) = rest.and_then(|rest| rest.rsplit_once(':')) else { return false };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn fault(key: &str, what: impl Into<String>, fix: &str) -> Fault {
    Fault { key: format!("register.{key}"), what: what.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd() -> RegisterConfig {
        let endpoints = ["http://10.1.0.5:2379", "http://[fd00::5]:2379", "http://etcd-3.example:2379"];
        RegisterConfig {
            kind: RegisterKind::Etcd,
            endpoints: endpoints.map(str::to_owned).into(),
            ..RegisterConfig::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut RegisterConfig), key: &str, words: &str) {
        let mut config = etcd();
        change(&mut config);
        let faults = config.faults();
        let hit = faults.iter().any(|f| f.key == format!("register.{key}") && f.what.contains(words));
        assert!(hit, "{faults:?}");
    }

    #[test]
    fn every_mistake_is_told_by_its_key() {
        assert_eq!(etcd().faults(), []);
        assert_eq!(RegisterConfig::default().faults(), []);
        check(|c| c.endpoints.clear(), "endpoints", "no member");
        check(|c| c.endpoints[0] = "10.1.0.5:2379".into(), "endpoints", "no member's address");
        check(|c| c.endpoints[0] = "http://10.1.0.5:2379/v3".into(), "endpoints", "no member's address");
        check(|c| c.endpoints[0] = "http://10.1.0.5:0".into(), "endpoints", "no member's address");
        check(|c| c.endpoints[1] = c.endpoints[0].clone(), "endpoints", "twice");
        check(|c| c.endpoints[1] = "https://10.2.0.5:2379".into(), "endpoints", "some are http");
        check(|c| c.endpoints = vec!["https://10.2.0.5:2379".into()], "authority", "right ones");
        check(|c| c.authority = Some("ca.pem".into()), "authority", "no certificates in http");
        check(|c| c.user = Some("ghostlight".into()), "user", "no `password`");
        check(|c| c.key = Some("our.key".into()), "key", "no `certificate`");
        for prefix in ["", "/", "ghostlight", "/a/", "/a b"] {
            check(|c| c.prefix = prefix.into(), "prefix", "cannot begin");
        }
        check(|c| c.kind = RegisterKind::File, "endpoints", "belongs to etcd");
    }
}
