//! `ghostlight dns`: answers for the service's name.

use std::{path::Path, process::ExitCode, sync::Arc};

use nameserver::{
    api,
    metrics::Metrics,
    server,
    steering::{Service, Steerer},
};
use runtime::{admin, listen};

use crate::topology;

pub(crate) fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(config)?;
    let topology = &loaded.value;
    let token = topology::secret(&loaded, &topology.secrets.admin_token)?;
    let file = loaded.folder().join(&topology.witness.nameserver.steering_file);
    super::serve("dns", async |shutdown| {
        let at = &topology.witness.nameserver;
        let (udp, tcp) = server::listen("witness.nameserver.listen", at.listen).await?;
        let admin = listen::tcp("witness.nameserver.admin", at.admin).await?;
        let steerer = Arc::new(Steerer::open(Service::of(topology), &file)?);
        tracing::info!(
            name = topology.service.name,
            listen = %at.listen,
            admin = %at.admin,
            ttl_s = topology.service.ttl_s,
            "answering"
        );
        let (metrics, exposed) = (Metrics::default(), runtime::metrics::Metrics::default());
        exposed.register(|registry| metrics.register(registry));
        let routes = api::routes(steerer.clone(), metrics.clone());
        let (_, served) = tokio::join!(
            server::serve(udp, tcp, steerer, metrics, shutdown.clone()),
            admin::serve(admin, token, exposed, routes, shutdown),
        );
        Ok(served?)
    })
}
