//! The drills that are one fault each: what is broken, what is expected, for how long.
//!
//! To add a drill, add a row here, its subcommand in `ghostlight`, and, if `scenarios/` tells nothing like it, a story.
//! The drills with more to measure than that ([`super::site_loss`], [`super::binlog_purged`]) are modules of their own.

use std::time::Duration;

use super::{
    fault::{ETCD, Fault, Side::*},
    story::Story,
};

/// One drill.
#[derive(Debug)]
pub struct Row {
    /// Its name, also of the subcommand.
    pub name: &'static str,
    /// Its rounds take these in turn.
    pub cases: &'static [Case],
}

/// One thing that is broken.
#[derive(Debug)]
pub struct Case {
    /// In words.
    pub what: &'static str,
    /// How.
    pub fault: Fault,
    /// What must be concluded.
    pub story: Story,
    /// Whether the standby is to take over. The story says so, too; a test holds them against each other.
    pub failover: bool,
    /// Whether visitors are served while the fault is there and nobody takes over.
    pub served: bool,
    /// Without a failover, the fault is there for so long; with one, until visitors book again.
    pub lasts: Duration,
}

macro_rules! story {
    ($file:literal, $moment:literal) => {
        Story { file: $file, text: include_str!(concat!("../../../../scenarios/", $file)), moment: $moment }
    };
}

/// A case whose answer is a failover.
const fn failover(what: &'static str, fault: Fault, story: Story) -> Case {
    Case { what, fault, story, failover: true, served: true, lasts: Duration::ZERO }
}

/// A case whose answer is to hold still, with visitors served all the while.
const fn hold(what: &'static str, fault: Fault, story: Story, seconds: u64) -> Case {
    Case { what, fault, story, failover: false, served: true, lasts: Duration::from_secs(seconds) }
}

/// The drills.
pub const TABLE: &[Row] = &[
    Row {
        name: "db-loss",
        cases: &[failover(
            "the primary's database dies and stays down",
            Fault::Down(Primary, "database"),
            story!("database-only.txt", "Two seconds: it does not come back"),
        )],
    },
    Row {
        name: "link-cut",
        cases: &[hold(
            "the link between the sites is cut",
            Fault::LinkCut,
            story!("link-cut.txt", "nhn's agent has taken the mode to solo"),
            7,
        )],
    },
    Row {
        name: "link-one-way",
        cases: &[
            hold(
                "what the primary sends over the link is lost",
                Fault::LostFrom(Primary),
                story!("link-cut.txt", "nhn's agent has taken the mode to solo"),
                7,
            ),
            hold(
                "what the standby sends over the link is lost",
                Fault::LostFrom(Standby),
                story!("standby-alone-loses-it.txt", "aws's probes fail, the stream beats"),
                7,
            ),
        ],
    },
    Row {
        name: "standby-loss",
        cases: &[hold(
            "the standby's site goes dark",
            Fault::Dark(Standby),
            story!("standby-lost.txt", "The mode is solo"),
            7,
        )],
    },
    Row {
        name: "witness-loss",
        cases: &[hold(
            "the witness dies, and the register with it",
            Fault::Down(Witness, "controller"),
            story!("witness-lost.txt", "The register does not answer"),
            7,
        )],
    },
    Row {
        name: "register-loss",
        cases: &[
            hold(
                "the primary's member of etcd dies and stays down",
                Fault::Down(Primary, ETCD),
                story!("register-majority-lost.txt", "All three members answer"),
                5,
            ),
            hold(
                "the standby's member of etcd dies and stays down",
                Fault::Down(Standby, ETCD),
                story!("register-majority-lost.txt", "All three members answer"),
                5,
            ),
            hold(
                "the witness's member of etcd dies and stays down",
                Fault::Down(Witness, ETCD),
                story!("register-majority-lost.txt", "All three members answer"),
                5,
            ),
            hold(
                "two of three members of etcd die and stay down: the register does not answer",
                Fault::DownAt(&[Primary, Witness], ETCD),
                story!("register-majority-lost.txt", "Two members are gone"),
                7,
            ),
        ],
    },
    Row {
        name: "controller-loss",
        cases: &[
            hold(
                "the standby's controller dies and stays down",
                Fault::Down(Standby, "controller"),
                story!("controller-lost.txt", "aws's controller is down"),
                5,
            ),
            hold(
                "the primary's controller dies and stays down",
                Fault::Down(Primary, "controller"),
                story!("controller-lost.txt", "nhn's controller is down instead"),
                5,
            ),
        ],
    },
    Row {
        name: "paused-primary",
        cases: &[
            Case {
                served: false,
                ..hold(
                    "the primary's agent stands still for two seconds",
                    Fault::Paused(Primary, "agent"),
                    story!("agent-crash-short.txt", "More than a second"),
                    2,
                )
            },
            failover(
                "the primary's agent stands still",
                Fault::Paused(Primary, "agent"),
                story!("agent-crash-long.txt", "Five seconds"),
            ),
            failover(
                "the primary's database stands still",
                Fault::Paused(Primary, "database"),
                story!("database-only.txt", "Two seconds: it does not come back"),
            ),
            failover(
                "every process of the primary's site stands still",
                Fault::AllPaused(Primary),
                story!("primary-site-lost.txt", "Both have lost it"),
            ),
        ],
    },
    Row {
        name: "disk-full",
        cases: &[failover(
            "the disk under the primary's database is full",
            Fault::FullDisk(Primary),
            story!("disk-full.txt", "Nobody frees any in two seconds"),
        )],
    },
    Row {
        name: "flap",
        cases: &[
            Case {
                served: false,
                ..hold(
                    "the primary's site stands still for a moment, again and again",
                    Fault::Flapping {
                        fault: &Fault::AllPaused(Primary),
                        on: Duration::from_millis(800),
                        off: Duration::from_millis(1_200),
                        times: 5,
                    },
                    story!("flapping.txt", "A pause"),
                    0,
                )
            },
            hold(
                "the link is cut for a moment, again and again",
                Fault::Flapping {
                    fault: &Fault::LinkCut,
                    on: Duration::from_millis(700),
                    off: Duration::from_millis(1_300),
                    times: 5,
                },
                story!("link-flapping.txt", "A moment's cut"),
                0,
            ),
        ],
    },
];

/// The drill of this name.
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

impl Row {
    /// What is broken in round `n`, counted from 1.
    pub fn case(&self, n: u32) -> Option<&'static Case> {
        let at = usize::try_from(n.saturating_sub(1)).unwrap_or(0);
        self.cases.get(at.checked_rem(self.cases.len())?)
    }

    /// Whether the register must be in etcd.
    pub fn needs_etcd(&self) -> bool {
        self.cases.iter().any(|case| case.fault.needs_etcd())
    }

    /// Whether it needs a database on a small disk.
    pub fn needs_small_disk(&self) -> bool {
        self.cases.iter().any(|case| case.fault.needs_small_disk())
    }
}
