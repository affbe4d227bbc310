//! The topology file of a lab, written with its comments: it is also the example that operators start from.

use model::topology::RegisterKind;

use crate::{
    dvwa::SecurityTest,
    etcd,
    layout::{Addresses, Cloud, INSTANCES},
};

/// The name that visitors resolve.
pub const SERVICE_NAME: &str = "tickets.ghostlight.test";

/// What may differ from lab to lab.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// Whether the gateways hold answers to writes.
    pub gate: bool,
    /// What keeps the register.
    pub register: RegisterKind,
    /// The policy's `solo_after_ms`.
    pub solo_after_ms: u64,
    /// What stands behind `/DVWA`.
    pub security_test: Option<SecurityTest>,
    /// Whether the gateways enforce the web ACL in [`WEB_ACL`].
    pub web_acl: bool,
}

/// The lab's web ACL, beside its topology.
pub const WEB_ACL: &str = "web-acl.json";

/// The text of `ghostlight.toml` for the lab with these addresses.
pub fn text(at: Addresses, choices: Choices) -> String {
    let mut text = format!(
        r#"# The topology of this lab: two sites on one machine and a witness. Written by `ghostlight up`, anew at each start.

[service]
name = "{SERVICE_NAME}"
ttl_s = 5            # seconds that a resolver may keep an answer
preferred = "nhn"    # primary at the first start, and the goal of a failback

[policy]             # everything that is not written here has its default
when_standby_lost = "solo"
solo_after_ms = {}
hold_max_ms = 10000
failover_pause_ms = 5000   # drills fail over again and again

[secrets]            # files beside this one; never the secret itself
admin_token = {{ file = "secrets/admin.token" }}

[link]               # the agents' certificates, made by `ghostlight init`
folder = "link"

{register}
[witness]            # belongs to neither cloud; watches both
controller = "{}"
register_file = "witness/register.json"

[witness.nameserver]
listen = "{}"
admin = "{}"
"#,
        choices.solo_after_ms,
        at.witness_controller(),
        at.nameserver(),
        at.nameserver_admin(),
        register = register(at, choices.register),
    );
    for cloud in Cloud::BOTH {
        text.push_str(&site(at, cloud, choices));
    }
    text.push_str(&security_test(at, choices));
    text
}

/// The group and the rule that lead to the security-test target.
fn security_test(at: Addresses, choices: Choices) -> String {
    let Some(target) = choices.security_test else { return String::new() };
    let address = |cloud| match target {
        SecurityTest::BuiltIn => at.security_test(cloud),
        SecurityTest::At(address) => address,
    };
    let targets =
        Cloud::BOTH.map(|c| format!("    {{ site = \"{}\", address = \"{}\" }},\n", c.name(), address(c)));
    format!(
        "\n[[target_group]]\nname = \"security-test\"\nhealth_check = {{ path = \"/DVWA/login.php\" }}\ntarget = [\n{}]\n\n\
         [[rule]]\npriority = 10\npath = [\"/DVWA*\"]\nforward = [{{ target_group = \"security-test\" }}]\n",
        targets.concat()
    )
}

fn register(at: Addresses, kind: RegisterKind) -> String {
    match kind {
        RegisterKind::File => {
            "[register]           # who is primary: a file of the witness's, served to the others\n\
                               kind = \"file\"\n"
                .into()
        }
        RegisterKind::Etcd => {
            let endpoints = etcd::places(at).map(|member| format!("\"{}\"", member.url()));
            format!(
                "[register]           # who is primary: a cluster of etcd, a member in each place\n\
                 kind = \"etcd\"\nendpoints = [{}]\n",
                endpoints.join(", ")
            )
        }
    }
}

fn site(at: Addresses, cloud: Cloud, choices: Choices) -> String {
    let targets: Vec<String> = (1..=INSTANCES).map(|i| format!("\"{}\"", at.ticketing(cloud, i))).collect();
    let gate =
        if choices.gate { "" } else { "gate = false         # only to prove what the gate is worth\n" };
    format!(
        r#"
[sites.{name}]
controller = "{controller}"

[sites.{name}.database]
address = "{database}"
user = "ghostlight"
password = {{ file = "secrets/db-agent.password" }}
application_user = "ticketing"    # locked wherever it must not write

[sites.{name}.agent]
admin = "{agent_admin}"
link = "{agent_link}"

[sites.{name}.gateway]
listen = "{gateway}"              # also what the name server answers for this site
admin = "{gateway_admin}"
targets = [{targets}]
{gate}{waf}
[sites.{name}.peer]               # how this site reaches the other one, over the link
agent_link = "{peer_link}"
agent_admin = "{peer_admin}"
gateway = "{peer_gateway}"
gateway_admin = "{peer_gateway_admin}"
controller = "{peer_controller}"
"#,
        name = cloud.name(),
        controller = at.controller(cloud),
        database = at.database(cloud),
        agent_admin = at.agent_admin(cloud),
        agent_link = at.agent_link(cloud),
        gateway = at.gateway(cloud),
        gateway_admin = at.gateway_admin(cloud),
        targets = targets.join(", "),
        waf = if choices.web_acl {
            format!("waf = {{ acl = \"{WEB_ACL}\", log = \"logs/waf-{}.json\" }}\n", cloud.name())
        } else {
            String::new()
        },
        peer_link = at.peer_agent_link(cloud),
        peer_admin = at.peer_agent_admin(cloud),
        peer_gateway = at.peer_gateway(cloud),
        peer_gateway_admin = at.peer_gateway_admin(cloud),
        peer_controller = at.peer_controller(cloud),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::{Site, topology::Topology};
    use runtime::config;

    use super::*;

    #[test]
    fn what_is_written_is_a_topology_without_faults() {
        for (number, gate, register) in [(0, true, RegisterKind::File), (250, false, RegisterKind::Etcd)] {
            let security_test = (!gate).then_some(SecurityTest::BuiltIn);
            let choices = Choices { gate, register, solo_after_ms: 2_000, security_test, web_acl: !gate };
            let text = text(Addresses::of(number), choices);
            let loaded = config::parse::<Topology>(Path::new("ghostlight.toml"), text).unwrap();
            assert_eq!(loaded.value.faults(), []);
            assert_eq!(loaded.value.register.kind, register);
            let nhn = &loaded.value.sites[&Site::new("nhn")];
            assert_eq!(nhn.gateway.gate, gate);
            assert_eq!(nhn.gateway.waf.is_some(), !gate);
            assert_eq!(loaded.value.routing(&Site::new("nhn")).groups.len(), if gate { 1 } else { 2 });
            assert_eq!(nhn.gateway.listen, format!("127.10.{number}.1:8080").parse().unwrap());
            assert_eq!(nhn.peer.agent_link, format!("127.10.{number}.9:7101").parse().unwrap());
        }
    }
}
