//! A real name server of the test's own, steered by the test.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{Epoch, Site, plan::Steering};
use nameserver::{
    metrics::Metrics,
    server,
    steering::{Service, Steerer},
};
use runtime::process::Shutdown;

pub(crate) const NAME: &str = "tickets.ghostlight.test";

pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    steerer: Arc<Steerer>,
    shutdown: Shutdown,
    folder: PathBuf,
    epoch: AtomicU64,
}

impl Names {
    /// A name server that knows these sites and answers the first.
    pub(crate) async fn start(ttl_s: u32, sites: &[(&str, &[&str])]) -> Names {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ghostlight-names-{}-{number}", std::process::id()));
        let addresses = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let service = Service {
            name: NAME.into(),
            ttl_s,
            preferred: Site::new(sites[0].0),
            server_address: "127.30.0.53".parse().unwrap(),
            sites: sites.iter().map(|(site, ips)| (Site::new(*site), addresses(ips))).collect(),
        };
        let steerer = Arc::new(Steerer::open(service, &folder.join("steering.json")).unwrap());
        let (udp, tcp) = server::listen("test", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, shutdown) = (udp.local_addr().unwrap(), Shutdown::new());
        tokio::spawn(server::serve(udp, tcp, steerer.clone(), Metrics::default(), shutdown.clone()));
        Names { address, steerer, shutdown, folder, epoch: AtomicU64::new(0) }
    }

    /// Answers another site from now on.
    pub(crate) fn steer(&self, site: &str) {
        let epoch = Epoch(self.epoch.fetch_add(1, Ordering::Relaxed) + 1);
        self.steerer.steer(Steering { site: Site::new(site), epoch }).unwrap();
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.shutdown.cancel();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
