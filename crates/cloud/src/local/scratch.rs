//! Throw-away database servers, for tests.
//!
//! ```ignore
//! let lab = cloud::local::lab_number::claim()?;
//! let nhn = Scratch::start(&lab, 10).await?; // on 127.10.K.3:13306
//! let aws = Scratch::start(&lab, 20).await?; // on 127.20.K.3:13306
//! ```

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    ops::{Deref, DerefMut},
    path::PathBuf,
};

use runtime::secret::Secret;
use rustix::process::geteuid;

use super::{
    lab_number::LabNumber,
    mariadb::{Accounts, MariadbError, Options, Server, Template, folder_for_databases},
};

/// The port of every lab's databases.
const PORT: u16 = 13_306;

/// A fresh server with the two accounts and nothing else. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Scratch {
    server: Server,
    folder: PathBuf,
}

impl Scratch {
    /// The password of `ghostlight` on every scratch server.
    pub const AGENT_PASSWORD: &str = "scratch-agent";
    /// The password of `ticketing` on every scratch server.
    pub const APPLICATION_PASSWORD: &str = "scratch-application";

    /// Starts a server on `127.<network>.<lab>.3:13306`; its data are new. `network` also is the high part of its
    /// server id.
    pub async fn start(lab: &LabNumber, network: u8) -> Result<Scratch, MariadbError> {
        Scratch::start_with(lab, network, Options::default()).await
    }

    /// The same with other options.
    pub async fn start_with(lab: &LabNumber, network: u8, options: Options) -> Result<Scratch, MariadbError> {
        let root = PathBuf::from(format!("/var/tmp/ghostlight-scratch-{}", geteuid().as_raw()));
        let root = folder_for_databases(&root)?;
        let accounts = Accounts {
            agent: Secret::new(Scratch::AGENT_PASSWORD),
            application: Secret::new(Scratch::APPLICATION_PASSWORD),
        };
        let template = Template::prepare(&root, &accounts).await?;
        let folder = root.join(format!("{}-{network}", lab.get()));
        if folder.exists() {
            // The number is ours now: whoever had it before was killed before it could tidy up.
            fs::remove_dir_all(&folder)
                .map_err(|source| MariadbError::Io { what: folder.display().to_string(), source })?;
        }
        let address = SocketAddr::from((Ipv4Addr::new(127, network, lab.get(), 3), PORT));
        let server_id = u32::from(network) * 1000 + u32::from(lab.get());
        let server = Server::create(&template, &folder.join("data"), address, server_id, options).await?;
        let mut scratch = Scratch { server, folder };
        scratch.server.start().await?;
        Ok(scratch)
    }

    /// `mysql://ghostlight:…@address/`
    pub fn agent_url(&self) -> String {
        format!("mysql://ghostlight:{}@{}/", Scratch::AGENT_PASSWORD, self.server.address())
    }
}

impl Deref for Scratch {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.server.kill_now();
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            tracing::debug!("{} is left behind: {e}", self.folder.display());
        }
    }
}
