//! Where everything of a lab is: its addresses, its files.
//!
//! A lab with number K has the loopback networks `127.10.K.0/24` (nhn), `127.20.K.0/24` (aws) and `127.30.K.0/24`
//! (the witness); the last byte is the role. No address is used twice, so a whole site can go dark by its network.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
};

use model::Site;
use serde::{Deserialize, Serialize};

/// One of the lab's two sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// The preferred primary.
    Nhn,
    /// The standby at the first start.
    Aws,
}

impl Cloud {
    /// Both.
    pub const BOTH: [Cloud; 2] = [Cloud::Nhn, Cloud::Aws];

    /// Its name in the topology file.
    pub fn name(self) -> &'static str {
        match self {
            Cloud::Nhn => "nhn",
            Cloud::Aws => "aws",
        }
    }

    /// Its name as the model has it.
    pub fn site(self) -> Site {
        Site::new(self.name())
    }

    /// The one of this name.
    pub fn of(site: &Site) -> Option<Cloud> {
        Cloud::BOTH.into_iter().find(|c| c.name() == site.as_str())
    }

    /// The other one.
    pub fn peer(self) -> Cloud {
        match self {
            Cloud::Nhn => Cloud::Aws,
            Cloud::Aws => Cloud::Nhn,
        }
    }

    /// The second byte of its addresses.
    pub fn network(self) -> u8 {
        match self {
            Cloud::Nhn => 10,
            Cloud::Aws => 20,
        }
    }
}

const WITNESS_NETWORK: u8 = 30;
/// Instances of the ticketing service in each site.
pub const INSTANCES: u8 = 2;

/// The addresses of a lab.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    number: u8,
}

impl Addresses {
    /// Of the lab with this number.
    pub fn of(number: u8) -> Addresses {
        Addresses { number }
    }

    fn at(self, network: u8, host: u8, port: u16) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::new(127, network, self.number, host), port).into()
    }

    /// All addresses of a site, as `nft` writes a network.
    pub fn network(self, cloud: Cloud) -> String {
        format!("127.{}.{}.0/24", cloud.network(), self.number)
    }

    /// Where visitors arrive.
    pub fn gateway(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 1, 8080)
    }

    /// The gateway's admin API.
    pub fn gateway_admin(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 1, 7200)
    }

    /// The agent's admin API.
    pub fn agent_admin(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 2, 7100)
    }

    /// Where the agent accepts its peer.
    pub fn agent_link(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 2, 7101)
    }

    /// The database.
    pub fn database(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 3, 13_306)
    }

    /// The site's controller.
    pub fn controller(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 4, 7300)
    }

    /// This site's end of the link to the other one's agent.
    pub fn peer_agent_link(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 9, 7101)
    }

    /// This site's end of the link to the other one's agent's admin API.
    pub fn peer_agent_admin(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 9, 7100)
    }

    /// This site's end of the link to the other one's gateway.
    pub fn peer_gateway(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 9, 8080)
    }

    /// This site's end of the link to the other one's gateway's admin API.
    pub fn peer_gateway_admin(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 9, 7200)
    }

    /// This site's end of the link to the other one's controller.
    pub fn peer_controller(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 9, 7300)
    }

    /// An instance of the ticketing service; `instance` counts from 1.
    pub fn ticketing(self, cloud: Cloud, instance: u8) -> SocketAddr {
        self.at(cloud.network(), 10 + instance, 9000)
    }

    /// The security-test target, where the lab runs it.
    pub fn security_test(self, cloud: Cloud) -> SocketAddr {
        self.at(cloud.network(), 21, 9100)
    }

    /// The witness's controller, which serves the register.
    pub fn witness_controller(self) -> SocketAddr {
        self.at(WITNESS_NETWORK, 4, 7300)
    }

    /// A place's member of etcd, for clients; the witness's if `None`.
    pub fn etcd(self, place: Option<Cloud>) -> SocketAddr {
        self.at(place.map_or(WITNESS_NETWORK, Cloud::network), 5, 2379)
    }

    /// A place's member of etcd, for the other members.
    pub fn etcd_peer(self, place: Option<Cloud>) -> SocketAddr {
        self.at(place.map_or(WITNESS_NETWORK, Cloud::network), 5, 2380)
    }

    /// The name server.
    pub fn nameserver(self) -> SocketAddr {
        self.at(WITNESS_NETWORK, 53, 5353)
    }

    /// The name server's admin API.
    pub fn nameserver_admin(self) -> SocketAddr {
        self.at(WITNESS_NETWORK, 53, 7400)
    }

    /// The lab's own control API.
    pub fn control(self) -> SocketAddr {
        self.at(WITNESS_NETWORK, 1, 7000)
    }
}

/// The files of a lab.
#[derive(Clone, Debug)]
pub struct Files {
    /// `.ghostlight`, as an absolute path.
    pub folder: PathBuf,
    /// Where the databases are: `folder`, unless the database's user cannot reach it.
    pub databases: PathBuf,
}

impl Files {
    /// The topology file.
    pub fn topology(&self) -> PathBuf {
        self.folder.join("ghostlight.toml")
    }

    /// A secret's file.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(name)
    }

    /// The log of a process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{process}.log"))
    }

    /// The data of a site's database.
    pub fn data(&self, cloud: Cloud) -> PathBuf {
        self.databases.join(cloud.name()).join("data")
    }

    /// The folder around a site's database: its data, its temporary tables. The whole of it may be a disk of its own.
    pub fn disk(&self, cloud: Cloud) -> PathBuf {
        self.databases.join(cloud.name())
    }

    /// The journal of the controller at a place.
    pub fn journal(&self, place: &str) -> PathBuf {
        self.folder.join("journal").join(format!("{place}.jsonl"))
    }

    /// Where the members of etcd keep their data.
    pub fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// Letters to visitors, a file each.
    pub fn letters(&self) -> PathBuf {
        self.folder.join("letters")
    }

    /// Says who runs a lab in this folder, and is locked by that process.
    pub fn running(&self) -> PathBuf {
        running_file(&self.folder)
    }
}

/// Says who runs a lab in `folder`, and is locked by that process.
pub fn running_file(folder: &Path) -> PathBuf {
    folder.join("lab.pid")
}
