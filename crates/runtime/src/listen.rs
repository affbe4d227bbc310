//! Opening the sockets that a process listens on; when an address is taken, saying by whom.
//!
//! Who owns a port is looked up in `/proc`. Without it (another OS, another user's process) the error says less, and
//! is the same error.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use tokio::net::{TcpListener, UdpSocket};

/// The address cannot be listened on. The process ends with [`crate::EXIT_UNAVAILABLE`]; a retry helps once the
/// owner has gone.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{what} cannot listen on {address}: the address is in use by {owner}; stop it, or give `{what}` another address in the topology file"
    )]
    InUse {
        /// Whose listener, by its key in the configuration.
        what: String,
        /// Where.
        address: SocketAddr,
        /// The process that has it.
        owner: Owner,
    },
    /// The system refuses for another reason.
    #[error("{what} cannot listen on {address}: {source}; is that an address of this machine?")]
    Refused {
        /// Whose listener, by its key in the configuration.
        what: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Who has a port, as far as this process may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A process whose open files this user may not see.
    Unseen,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Owner::Unseen => f.write_str("a process of another user"),
        }
    }
}

/// Listens for TCP connections. `what` is the key of the address in the configuration.
pub async fn tcp(what: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|e| refusal(what, address, e, "tcp"))
}

/// Listens for UDP datagrams. `what` is the key of the address in the configuration.
pub async fn udp(what: &str, address: SocketAddr) -> Result<UdpSocket, ListenError> {
    UdpSocket::bind(address).await.map_err(|e| refusal(what, address, e, "udp"))
}

fn refusal(what: &str, address: SocketAddr, source: io::Error, protocol: &str) -> ListenError {
    let what = what.to_owned();
    if source.kind() != io::ErrorKind::AddrInUse {
        return ListenError::Refused { what, address, source };
    }
    ListenError::InUse { what, address, owner: owner(address, protocol).unwrap_or(Owner::Unseen) }
}

fn owner(address: SocketAddr, protocol: &str) -> Option<Owner> {
    let mut sockets = Vec::new();
    for table in [protocol.to_owned(), format!("{protocol}6")] {
        let Ok(table) = fs::read_to_string(format!("/proc/net/{table}")) else { continue };
        let inodes = table.lines().skip(1).filter_map(|line| inode(line, address, protocol));
        sockets.extend(inodes.map(|inode| format!("socket:[{inode}]")));
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| sockets.iter().any(|socket| target == Path::new(socket)));
        if has_it {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Owner::Process { pid, name: name.trim().to_owned() });
        }
    }
    None
}

/// The inode of the socket in a line of `/proc/net/{tcp,udp}{,6}`, if it keeps others from `wanted`.
fn inode<'a>(line: &'a str, wanted: SocketAddr, protocol: &str) -> Option<&'a str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let (ip, port) = (kernel_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
    let clashes =
        port == wanted.port() && (ip == wanted.ip() || ip.is_unspecified() || wanted.ip().is_unspecified());
    (clashes && (protocol == "udp" || *state == LISTEN)).then_some(inode)
}

/// The kernel prints addresses as words in its own byte order.
fn kernel_ip(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u8>> = (0..hex.len() / 8)
        .map(|i| {
            hex.get(i * 8..i * 8 + 8).and_then(|w| u32::from_str_radix(w, 16).ok()).map(u32::to_ne_bytes)
        })
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let bytes = words?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(v6.to_ipv4_mapped().map_or(v6.into(), IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_the_process_that_has_it() {
        let first = tcp("first", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = tcp("sites.nhn.gateway.listen", first.local_addr().unwrap()).await.unwrap_err();
        let ListenError::InUse { owner: Owner::Process { pid, .. }, .. } = &error else { panic!("{error}") };
        assert_eq!(*pid, std::process::id());
        assert!(error.to_string().contains("sites.nhn.gateway.listen"), "{error}");
    }

    #[tokio::test]
    async fn a_listener_on_every_address_is_found_too() {
        let first = udp("first", ([0, 0, 0, 0], 0).into()).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let error = udp("second", ([127, 0, 0, 1], port).into()).await.unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_no_interface_is_not_called_taken() {
        let error = tcp("x", ([192, 0, 2, 1], 1).into()).await.unwrap_err();
        assert!(matches!(error, ListenError::Refused { .. }), "{error}");
    }
}
