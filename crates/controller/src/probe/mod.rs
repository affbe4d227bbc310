//! Looking at the sites. A probe has a deadline and ends in one word: answered, refused, silent, or told no.
//!
//! Three targets a site: the transaction path (a heartbeat committed on demand), the agent's status, and the
//! gateway's door. [`Tally`] counts how they go.

mod http;
mod tally;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use model::{
    Place, Site,
    agent::{AgentStatus, ProbeReply},
    observation::ProbeResult,
    topology::Topology,
};
use runtime::{
    admin::{Client, ClientError},
    secret::Secret,
};
pub use tally::Tally;

/// What of a site is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The transaction path.
    Commit,
    /// The agent, by its status.
    Agent,
    /// The gateway, by its health path.
    Gateway,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Target::Commit, Target::Agent, Target::Gateway];

    /// For metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Commit => "commit",
            Target::Agent => "agent",
            Target::Gateway => "gateway",
        }
    }
}

/// How a place reaches the sites. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Eyes {
    service: String,
    timeout: Duration,
    sites: BTreeMap<Site, (Client, SocketAddr)>,
    gateways: BTreeMap<Site, Client>,
}

impl Eyes {
    /// From `place`: its own site directly, the other one over the link, both directly from the witness.
    pub fn new(place: &Place, topology: &Topology, token: &Secret) -> Eyes {
        let sites = topology.sites.keys().filter_map(|site| {
            let (agent, gateway) = reach(place, site, topology)?;
            Some((site.clone(), (Client::new(agent, token.clone()), gateway)))
        });
        let gateways = topology.sites.keys().filter_map(|site| {
            Some((site.clone(), Client::new(gateway_admin(place, site, topology)?, token.clone())))
        });
        Eyes {
            gateways: gateways.collect(),
            service: topology.service.name.clone(),
            timeout: Duration::from_millis(topology.policy.probe_timeout_ms),
            sites: sites.collect(),
        }
    }

    /// One probe. Ends within the time-out of the policy.
    pub async fn probe(&self, of: &Site, target: Target) -> (ProbeResult, Option<AgentStatus>) {
        let Some((agent, gateway)) = self.sites.get(of) else {
            return (ProbeResult::Failed { why: format!("{of} is not in the topology") }, None);
        };
        match target {
            Target::Commit => {
                let nothing = BTreeMap::<(), ()>::new();
                let reply = agent.post::<ProbeReply>("/v1/probe", &nothing, self.timeout).await;
                (reply.map_or_else(|e| word(&e), |_| ProbeResult::Ok), None)
            }
            Target::Agent => match agent.get::<AgentStatus>("/v1/status", self.timeout).await {
                Ok(status) => (ProbeResult::Ok, Some(status)),
                Err(e) => (word(&e), None),
            },
            Target::Gateway => {
                (http::get(*gateway, &self.service, "/ghostlight/serving", self.timeout).await, None)
            }
        }
    }

    /// The admin API of a site's agent.
    pub fn agent(&self, of: &Site) -> Option<&Client> {
        self.sites.get(of).map(|(agent, _)| agent)
    }

    /// The admin API of a site's gateway.
    pub fn gateway(&self, of: &Site) -> Option<&Client> {
        self.gateways.get(of)
    }
}

/// The addresses of a site's agent and gateway, as reached from `place`.
fn reach(place: &Place, site: &Site, topology: &Topology) -> Option<(SocketAddr, SocketAddr)> {
    match place {
        Place::Site(here) if here != site => {
            topology.sites.get(here).map(|c| (c.peer.agent_admin, c.peer.gateway))
        }
        _ => topology.sites.get(site).map(|c| (c.agent.admin, c.gateway.listen)),
    }
}

/// The address of a gateway's admin API, as reached from `place`.
fn gateway_admin(place: &Place, site: &Site, topology: &Topology) -> Option<SocketAddr> {
    let own = topology.sites.get(site)?.gateway.admin;
    match place {
        Place::Site(here) if here != site => {
            topology.sites.get(here).map(|c| c.peer.gateway_admin.unwrap_or(own))
        }
        _ => Some(own),
    }
}

/// A broken connection proves no more than a refused one: nobody is there who would answer.
fn word(e: &ClientError) -> ProbeResult {
    match e {
        ClientError::Refused(_) | ClientError::Broken(..) => ProbeResult::Refused,
        ClientError::Silent(..) => ProbeResult::Silent,
        ClientError::Status(_, _, why) => ProbeResult::Failed { why: why.clone() },
        ClientError::Unreadable(..) => ProbeResult::Failed { why: e.to_string() },
    }
}
