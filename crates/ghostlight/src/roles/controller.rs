//! `ghostlight controller --place NAME`: watches both sites from one place; on the witness, keeps the register too.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use cloud::{
    local::{register_file::RegisterFile, register_remote::RemoteRegister},
    register::AnyRegister,
};
use controller::Setup;
use model::{Place, Register, Site};
use runtime::{clock::Wall, listen, metrics::Metrics};

use crate::topology;

pub(crate) fn run(config: &Path, place: &str) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(config)?;
    let topology = loaded.value.clone();
    let token = topology::secret(&loaded, &topology.secrets.admin_token)?;
    let (place, key, address) = if place == "witness" {
        (Place::Witness, "witness.controller".to_owned(), topology.witness.controller)
    } else {
        let site = Site::new(place);
        let address = topology::site(&loaded, &site)?.controller;
        (Place::Site(site.clone()), format!("sites.{site}.controller"), address)
    };
    let journal = loaded.folder().join("journal").join(format!("{place}.jsonl"));
    let register_file = loaded.folder().join(&topology.witness.register_file);
    super::serve("controller", async |shutdown| {
        let listener = listen::tcp(&key, address).await?;
        let policy = &topology.policy;
        let register = match &place {
            Place::Witness => {
                let first = Register::first(topology.service.preferred.clone(), Wall::now().as_ms());
                let pause = Duration::from_millis(policy.leader_lease_ms);
                AnyRegister::File(Arc::new(RegisterFile::open(&register_file, first, pause)?))
            }
            Place::Site(_) => {
                let timeout = Duration::from_millis(policy.probe_timeout_ms);
                AnyRegister::Remote(RemoteRegister::new(topology.witness.controller, token.clone(), timeout))
            }
        };
        tracing::info!(%place, admin = %address, journal = %journal.display(), "watching both sites");
        let setup = Setup { place, topology, token, register, journal, metrics: Metrics::default() };
        Ok(controller::run(listener, setup, shutdown).await?)
    })
}
