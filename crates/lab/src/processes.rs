//! Which processes a lab has, how each is started, and in which order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use cloud::local::{etcd, mariadb::Server};
use tokio::process::Command;

use crate::{
    layout::{Addresses, Cloud, Files, INSTANCES},
    ready::Ready,
    secrets,
    supervisor::{Keeper, Spec},
};

/// Whoever signs up with this address, and follows the link in the letter, sees the organiser's pages.
pub const ORGANISER: &str = "organiser@example.com";

/// A role drains within 5 s of being asked to end; a little more, then it is killed.
const ROLE_ENDS_WITHIN: Duration = Duration::from_secs(6);
/// A database writes back what it holds.
const DATABASE_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// The part that a process plays: what it needs to be up before it, what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The database server.
    Database,
    /// A member of etcd, where that holds the register.
    Etcd,
    /// A controller; the witness's serves the register.
    Controller,
    /// The name server.
    Nameserver,
    /// The agent.
    Agent,
    /// An instance of the ticketing service.
    Ticketing,
    /// The gateway.
    Gateway,
}

impl Part {
    /// All, in the order in which they are started.
    pub const IN_ORDER: [Part; 7] = [
        Part::Database,
        Part::Etcd,
        Part::Controller,
        Part::Nameserver,
        Part::Agent,
        Part::Ticketing,
        Part::Gateway,
    ];

    /// All, in the order in which they are ended: first those who would take the end of the others for a fault.
    pub const IN_ORDER_OF_END: [Part; 7] = [
        Part::Controller,
        Part::Gateway,
        Part::Ticketing,
        Part::Nameserver,
        Part::Agent,
        Part::Database,
        Part::Etcd,
    ];
}

/// One process of the lab.
#[derive(Debug)]
pub struct Member {
    /// Where it runs; the witness's if `None`.
    pub cloud: Option<Cloud>,
    /// What it is.
    pub part: Part,
    /// How it shows that it is ready.
    pub ready: Ready,
    /// Who keeps it running.
    pub keeper: Keeper,
}

/// Where the programs are and which topology they are given.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The folder with `ghostlight` and `ticketing`.
    pub folder: PathBuf,
    /// The lab's files.
    pub files: Files,
    /// The lab's addresses.
    pub at: Addresses,
    /// Where people find the site, if this lab is for people: then letters are written, too.
    pub visitors_at: Option<String>,
}

impl Programs {
    /// The witness's processes.
    pub fn of_witness(&self) -> Vec<Member> {
        vec![
            self.role(
                None,
                Part::Controller,
                "witness-controller",
                &["controller", "--place", "witness"],
                Ready::Http(self.at.witness_controller(), "/healthz"),
            ),
            self.role(
                None,
                Part::Nameserver,
                "witness-dns",
                &["dns"],
                Ready::Http(self.at.nameserver_admin(), "/healthz"),
            ),
        ]
    }

    /// A site's processes; `server` is its database, with its data in place.
    pub fn of_site(&self, cloud: Cloud, server: Arc<Server>) -> Vec<Member> {
        let name = |part: &str| format!("{}-{part}", cloud.name());
        let at_site = ["--site", cloud.name()];
        let mut members = vec![self.database(cloud, server)];
        members.push(self.role(
            Some(cloud),
            Part::Controller,
            &name("controller"),
            &["controller", "--place", cloud.name()],
            Ready::Http(self.at.controller(cloud), "/healthz"),
        ));
        members.push(self.role(
            Some(cloud),
            Part::Agent,
            &name("agent"),
            &[&["agent"], &at_site[..]].concat(),
            Ready::Http(self.at.agent_admin(cloud), "/healthz"),
        ));
        for instance in 1..=INSTANCES {
            members.push(self.ticketing(cloud, instance));
        }
        members.push(self.role(
            Some(cloud),
            Part::Gateway,
            &name("gateway"),
            &[&["gateway"], &at_site[..]].concat(),
            Ready::Http(self.at.gateway_admin(cloud), "/healthz"),
        ));
        members
    }

    /// A place's member of etcd.
    pub fn of_etcd(&self, place: Option<Cloud>, member: etcd::Member) -> Member {
        let ready = Ready::Http(member.place().client, "/health");
        let name = member.place().name.clone();
        let command = Arc::new(move || member.command().map_err(|e| e.to_string()));
        self.member(place, Part::Etcd, name, ready, command, ROLE_ENDS_WITHIN)
    }

    fn database(&self, cloud: Cloud, server: Arc<Server>) -> Member {
        let name = format!("{}-database", cloud.name());
        let ready = Ready::Database(server.address());
        let command = Arc::new(move || server.command().map_err(|e| e.to_string()));
        self.member(Some(cloud), Part::Database, name, ready, command, DATABASE_ENDS_WITHIN)
    }

    fn role(&self, cloud: Option<Cloud>, part: Part, name: &str, arguments: &[&str], ready: Ready) -> Member {
        let (program, topology) = (self.folder.join("ghostlight"), self.files.topology());
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let command = Arc::new(move || {
            let mut command = Command::new(&program);
            command.arg("--die-with-parent").arg("--config").arg(&topology).args(&arguments);
            Ok(command)
        });
        self.member(cloud, part, name.to_owned(), ready, command, ROLE_ENDS_WITHIN)
    }

    fn ticketing(&self, cloud: Cloud, instance: u8) -> Member {
        let listen = self.at.ticketing(cloud, instance);
        let url = format!("mysql://ticketing@{}/ticketing", self.at.database(cloud));
        let (program, files) = (self.folder.join("ticketing"), self.files.clone());
        let visitors_at = self.visitors_at.clone();
        let command = Arc::new(move || {
            let mut command = Command::new(&program);
            command
                .env("TICKETING_LISTEN", listen.to_string())
                .env("DATABASE_URL", &url)
                .env("DATABASE_PASSWORD_FILE", files.secret(secrets::APPLICATION_PASSWORD))
                .env("TICKETING_KEY_FILE", files.secret(secrets::TICKETING_KEY))
                .env("TICKETING_ORGANISERS", ORGANISER)
                .env("TICKETING_DIE_WITH_PARENT", "1");
            if let Some(site) = &visitors_at {
                command
                    .env("TICKETING_MAIL_FOLDER", files.letters())
                    .env("TICKETING_MAIL_FROM", "tickets@example.com")
                    .env("TICKETING_SITE", site);
            }
            Ok(command)
        });
        let name = format!("{}-ticketing-{instance}", cloud.name());
        let ready = Ready::Http(listen, "/healthz");
        self.member(Some(cloud), Part::Ticketing, name, ready, command, ROLE_ENDS_WITHIN)
    }

    fn member(
        &self,
        cloud: Option<Cloud>,
        part: Part,
        name: String,
        ready: Ready,
        command: Arc<dyn Fn() -> Result<Command, String> + Send + Sync>,
        end_within: Duration,
    ) -> Member {
        let log = self.files.log(&name);
        Member { cloud, part, ready, keeper: Keeper::new(Spec { name, command, log, end_within }) }
    }
}
