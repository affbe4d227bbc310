//! The register, as this process reaches it: by the topology file's `[register]`.

use std::{sync::Arc, time::Duration};

use cloud::{
    local::{register_file::RegisterFile, register_remote::RemoteRegister},
    register::{AnyRegister, EtcdConfig, EtcdTls, Register as _, RegisterError},
};
use model::{
    Register,
    topology::{RegisterKind, Topology},
};
use runtime::{clock::Wall, config::Loaded, secret::Secret};

use crate::topology;

/// The register as everybody but the witness's controller reaches it; every question may take `limit`.
pub(crate) fn of(loaded: &Loaded<Topology>, limit: Duration) -> anyhow::Result<AnyRegister> {
    match loaded.value.register.kind {
        RegisterKind::File => {
            let token = topology::secret(loaded, &loaded.value.secrets.admin_token)?;
            Ok(AnyRegister::Remote(Box::new(RemoteRegister::new(
                loaded.value.witness.controller,
                token,
                limit,
            ))))
        }
        RegisterKind::Etcd => Ok(AnyRegister::etcd(etcd(loaded, limit, None)?)?),
    }
}

/// The register as the witness's controller keeps it; a new installation begins here.
pub(crate) async fn of_witness(loaded: &Loaded<Topology>, limit: Duration) -> anyhow::Result<AnyRegister> {
    let topology = &loaded.value;
    let first = Register::first(topology.service.preferred.clone(), Wall::now().as_ms());
    let pause = Duration::from_millis(topology.policy.leader_lease_ms);
    let file = loaded.folder().join(&topology.witness.register_file);
    match topology.register.kind {
        RegisterKind::File => Ok(AnyRegister::File(Arc::new(RegisterFile::open(&file, first, pause)?))),
        RegisterKind::Etcd => {
            // An installation that had a file goes on from where it was, not from the first epoch.
            let first = match file.exists() {
                true => RegisterFile::open(&file, first, pause)?.read().await?,
                false => first,
            };
            Ok(AnyRegister::etcd(etcd(loaded, limit, Some(first))?)?)
        }
    }
}

fn etcd(loaded: &Loaded<Topology>, limit: Duration, first: Option<Register>) -> anyhow::Result<EtcdConfig> {
    let config = &loaded.value.register;
    let pem = |path| {
        let path = loaded.folder().join(path);
        std::fs::read(&path).map_err(|e| RegisterError::Refused(format!("{}: {e}", path.display())))
    };
    let user = match (&config.user, &config.password) {
        (Some(name), Some(password)) => Some((name.clone(), topology::secret(loaded, password)?)),
        _ => None,
    };
    let identity = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => {
            Some((pem(certificate)?, Secret::new(String::from_utf8_lossy(&pem(key)?))))
        }
        _ => None,
    };
    let tls =
        config.authority.as_ref().map(pem).transpose()?.map(|authority| EtcdTls { authority, identity });
    Ok(EtcdConfig {
        endpoints: config.endpoints.clone(),
        prefix: config.prefix.clone(),
        user,
        tls,
        limit,
        first,
    })
}

/// What `--register` says.
pub(crate) fn kind(text: &str) -> Result<RegisterKind, String> {
    let kinds = [RegisterKind::File, RegisterKind::Etcd];
    kinds.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| "write `file` or `etcd`".to_owned())
}
