//! `ghostlight gateway --site NAME`: the edge of one site.

use std::{num::NonZero, path::Path, process::ExitCode, thread::available_parallelism};

use gateway::{
    Config, Gateway, Limits, SpillLimits,
    access::{self, Format},
};
use model::{Site, topology::AccessLogFormat};
use runtime::metrics::Metrics;

use crate::topology;

pub(crate) fn run(config: &Path, site: Site) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(config)?;
    let here = topology::site(&loaded, &site)?;
    let edge = &here.gateway;
    let config = Config {
        listen: edge.listen,
        admin: edge.admin,
        agent: here.agent.admin,
        peer: here.peer.gateway,
        zone: edge.zone.clone(),
        routing: loaded.value.routing(&site),
        gate: edge.gate,
        hold_max_ms: loaded.value.policy.hold_max_ms,
        admin_token: topology::secret(&loaded, &loaded.value.secrets.admin_token)?,
        limits: Limits { body_bytes_max: edge.body_bytes_max, ..Limits::default() },
        spill: SpillLimits::default(),
        access: edge.access_log.as_ref().map(|log| access::Settings {
            file: loaded.folder().join(&log.file),
            format: match log.format {
                AccessLogFormat::Json => Format::Json,
                AccessLogFormat::Combined => Format::Combined,
            },
        }),
        threads: available_parallelism().map_or(1, NonZero::get),
        site,
    };
    super::serve("gateway", async |shutdown| {
        let (site, gate) = (config.site.clone(), config.gate);
        let targets: Vec<_> =
            config.routing.groups.iter().flat_map(|g| &g.targets).map(|t| t.address).collect();
        let gateway = Gateway::bind(config).await?;
        tracing::info!(%site, listen = %gateway.address(), admin = %gateway.admin_address(), gate, ?targets,
            "taking visitors' requests");
        Ok(gateway.run(Metrics::default(), shutdown).await?)
    })
}
