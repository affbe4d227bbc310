//! `ghostlight gateway --site NAME`: the edge of one site.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
};

use gateway::{
    Config, Gateway, Limits, Listener, Reload, SpillLimits,
    access::{self, Format},
    guard::{self, Guard},
    tls::{CertificateFiles, Certificates},
};
use model::{
    Site,
    topology::{AccessLogFormat, Topology, WebAcl},
};
use runtime::{config::Loaded, metrics::Metrics};

use crate::{topology, waf::places};

pub(crate) fn run(file: &Path, site: Site, take_over: bool) -> anyhow::Result<ExitCode> {
    let mut config = read(file, &site)?;
    let again = (file.to_owned(), site);
    config.reload = Some(Reload::by(move || read(&again.0, &again.1).map_err(|e| format!("{e:#}"))));
    config.take_over = take_over;
    // A visitor's connection is an open file, and the usual 1,024 are few.
    runtime::process::raise_file_limit()?;
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

/// What the topology file says of this site's gateway.
fn read(config: &Path, site: &Site) -> anyhow::Result<Config> {
    let loaded = topology::load(config)?;
    let here = topology::site(&loaded, site)?;
    let edge = &here.gateway;
    let mut listeners = Vec::new();
    for more in &edge.listeners {
        let files = more.certificates.iter().map(|c| CertificateFiles {
            chain: loaded.folder().join(&c.chain),
            key: loaded.folder().join(&c.key),
        });
        let files: Vec<_> = files.collect();
        let certificates = if files.is_empty() { None } else { Some(Certificates::read(files)?) };
        listeners.push(Listener { listen: more.listen, certificates, proxy_protocol: more.proxy_protocol });
    }
    let https = edge.listeners.iter().find(|l| !l.certificates.is_empty()).map(|l| l.listen.port());
    Ok(Config {
        listen: edge.listen,
        listeners,
        redirect_to_https: https.filter(|_| edge.redirect_to_https),
        trusted_proxies: edge.trusted_proxies.clone(),
        admin: edge.admin,
        agent: here.agent.admin,
        peer: here.peer.gateway,
        zone: edge.zone.clone(),
        routing: loaded.value.routing(site),
        gate: edge.gate,
        hold_max_ms: loaded.value.policy.hold_max_ms,
        admin_token: topology::secret(&loaded, &loaded.value.secrets.admin_token)?,
        limits: Limits { body_bytes_max: edge.body_bytes_max, ..edge.limits.clone() },
        spill: SpillLimits::default(),
        access: edge.access_log.as_ref().map(|log| access::Settings {
            file: loaded.folder().join(&log.file),
            format: match log.format {
                AccessLogFormat::Json => Format::Json,
                AccessLogFormat::Combined => Format::Combined,
            },
        }),
        guard: edge.waf.as_ref().map(|waf| guard(&loaded, waf, site)).transpose()?,
        threads: available_parallelism().map_or(1, NonZero::get),
        take_over: false,
        reload: None,
        site: site.clone(),
    })
}

/// The site's web ACL, read and compiled.
fn guard(loaded: &Loaded<Topology>, acl: &WebAcl, site: &Site) -> anyhow::Result<Arc<Guard>> {
    let file = |path: &PathBuf| loaded.folder().join(path);
    let mmdb = acl.mmdb.as_ref().map(file);
    Ok(Guard::read(guard::Settings {
        acl: file(&acl.acl),
        log: acl.log.as_ref().map(file),
        logging: acl.logging.as_ref().map(file),
        places: places::open(mmdb.as_deref())?,
        mmdb,
        admin_token: topology::secret(loaded, &loaded.value.secrets.admin_token)?,
        id: site.to_string(),
    })?)
}
