//! `ghostlight agent --site NAME`: beside the database of one site.

use std::{path::Path, process::ExitCode, time::Duration};

use cloud::register::{AnyRegister, Register};
use model::Site;
use replicate::{
    agent::{AgentConfig, Listeners},
    database::DatabaseConfig,
    link::Identity,
    register::{RegisterRequest, Silent},
};
use runtime::{listen, metrics::Metrics};
use tokio::sync::mpsc;

use crate::{register, topology};

/// How long the register may take; the agent asks again by itself.
const REGISTER_TIMEOUT: Duration = Duration::from_millis(1_000);

pub(crate) fn run(config: &Path, site: Site) -> anyhow::Result<ExitCode> {
    let loaded = topology::load(config)?;
    let here = topology::site(&loaded, &site)?;
    let secrets = &loaded.value.secrets;
    let admin_token = topology::secret(&loaded, &secrets.admin_token)?;
    let register = register::of(&loaded, REGISTER_TIMEOUT)?;
    let config = AgentConfig {
        database: DatabaseConfig {
            address: here.database.address,
            user: here.database.user.clone(),
            password: topology::secret(&loaded, &here.database.password)?,
        },
        application_user: here.database.application_user.clone(),
        identity: Identity::load(&loaded.folder().join(&loaded.value.link.folder), &site)?,
        peer_link: here.peer.agent_link,
        policy: loaded.value.policy.clone(),
        data: topology::data_folder(&loaded, &site, here),
        site: site.clone(),
    };
    super::serve("agent", async |shutdown| {
        let listeners = Listeners {
            admin: listen::tcp(&format!("sites.{site}.agent.admin"), here.agent.admin).await?,
            link: listen::tcp(&format!("sites.{site}.agent.link"), here.agent.link).await?,
        };
        tracing::info!(%site, admin = %here.agent.admin, link = %here.agent.link, database = %here.database.address,
            "beside the database");
        let (questions, asked) = mpsc::channel(64);
        tokio::spawn(answer(register, asked));
        let metrics = Metrics::default();
        Ok(replicate::agent::run(config, listeners, admin_token, metrics, questions, shutdown).await?)
    })
}

/// Puts the agent's questions to the register, each on its own, so that a slow one delays no other.
async fn answer(register: AnyRegister, mut asked: mpsc::Receiver<RegisterRequest>) {
    while let Some(request) = asked.recv().await {
        let register = register.clone();
        tokio::spawn(async move {
            // Whoever asked may have given up meanwhile; then nobody reads the answer.
            match request {
                RegisterRequest::Read { reply } => {
                    drop(reply.send(register.read().await.map_err(|e| Silent(e.to_string()))));
                }
                RegisterRequest::Cas { request, reply } => {
                    drop(reply.send(register.cas(request).await.map_err(|e| Silent(e.to_string()))));
                }
            }
        });
    }
}
