//! `ghostlight controller --place NAME`: watches both sites from one place; on the witness, keeps the register too.

use std::{path::Path, process::ExitCode, time::Duration};

use controller::Setup;
use model::{Place, Site};
use runtime::{listen, metrics::Metrics};

use crate::{register, topology};

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
    super::serve("controller", async |shutdown| {
        let listener = listen::tcp(&key, address).await?;
        let limit = Duration::from_millis(topology.policy.probe_timeout_ms);
        let register = match &place {
            Place::Witness => register::of_witness(&loaded, limit).await?,
            Place::Site(_) => register::of(&loaded, limit)?,
        };
        tracing::info!(%place, admin = %address, journal = %journal.display(), "watching both sites");
        let setup = Setup { place, topology, token, register, journal, metrics: Metrics::default() };
        Ok(controller::run(listener, setup, shutdown).await?)
    })
}
