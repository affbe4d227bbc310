//! What goes wrong in a history, and when: drawn from the seed before it begins.
//!
//! Some faults come at a time, others are aimed: they strike shortly after the register has moved, because that is
//! where a protocol is most easily caught with one foot in the air. A site that is named by its part ("the primary")
//! is looked up when the fault strikes.

use crate::{message::WITNESS, register::Tear, rng::Rng};

/// From here on nothing new strikes, and everything is mended.
pub const MENDED_AT_MS: u64 = 8_500;
/// The end of a history.
pub const END_MS: u64 = 11_500;

/// A site by its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whom the register names.
    Primary,
    /// The other one.
    Standby,
}

/// A process by its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// A site's database.
    Database(Part),
    /// A site's agent.
    Agent(Part),
    /// A site's gateway.
    Gateway(Part),
    /// A place's controller.
    Controller(usize),
    /// The register.
    Register,
    /// The name server.
    NameServer,
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A site is cut off from everybody, and goes on inside.
    Dark(Part),
    /// A site loses its power.
    Dead(Part),
    /// A process dies and is started again.
    Crash(Process),
    /// A process stands still, as after SIGSTOP.
    Pause(Process),
    /// Everything at a site stands still.
    Frozen(Part),
    /// An agent stands still, is taken for dead, and another one is started beside it.
    Twice(Part),
    /// An agent's looks hang, it is taken for dead, and another one is started beside it.
    Blind(Part),
    /// Nothing passes from one place to another, in this direction.
    OneWay(usize, usize),
    /// Nothing passes between the sites.
    LinkCut,
    /// The register is out of everybody's reach.
    WitnessDark,
    /// Messages between two places are lost, doubled and held up.
    Storm(usize, usize),
    /// A wall clock jumps.
    Clock(usize),
    /// The register's next write is torn.
    Torn(Tear),
    /// An operator has the standby filled anew.
    Seed,
}

/// When it strikes.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Then.
    At(u64),
    /// So long after the register has moved for this time.
    AfterMove {
        /// For which time.
        nth: u64,
        /// How long after.
        after_ms: u64,
    },
}

/// One entry of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// When.
    pub when: When,
    /// What.
    pub fault: Fault,
    /// For how long.
    pub for_ms: u64,
}

/// The plan of a seed.
pub fn plan(rng: &mut Rng) -> Vec<Planned> {
    let mut plan = Vec::new();
    if rng.chance(700) {
        // The primary is lost, for good or for a while.
        let when = match rng.below(3) {
            0 => When::AfterMove { nth: 1 + rng.below(3), after_ms: rng.below(120) },
            _ => When::At(rng.between(1_200, 5_000)),
        };
        let fault = [Fault::Dark(Part::Primary), Fault::Dead(Part::Primary), Fault::Frozen(Part::Primary)];
        let fault = fault[rng.index(3)];
        plan.push(Planned { when, fault, for_ms: rng.between(1_800, 5_000) });
        if rng.chance(350) {
            // And then the one that took over.
            let when = When::At(rng.between(5_200, 7_800));
            plan.push(Planned { when, fault: Fault::Dark(Part::Primary), for_ms: 4_000 });
        }
    }
    if rng.chance(100) {
        // A primary stands still and comes back, while the standby has two agents of which one sees nothing.
        let at = rng.between(1_500, 4_500);
        let blind = Planned { when: When::At(at), fault: Fault::Blind(Part::Standby), for_ms: 5_000 };
        let after = at + rng.below(1_500);
        let frozen = Fault::Frozen(Part::Primary);
        plan.push(blind);
        plan.push(Planned { when: When::At(after), fault: frozen, for_ms: rng.between(1_600, 3_500) });
    }
    for _ in 0..rng.between(1, 4) {
        let when = match rng.below(3) {
            0 => When::AfterMove { nth: 1 + rng.below(5), after_ms: rng.below(60) },
            _ => When::At(rng.between(600, 8_000)),
        };
        plan.push(Planned { when, fault: any(rng), for_ms: rng.between(50, 2_500) });
    }
    plan
}

fn part(rng: &mut Rng) -> Part {
    if rng.chance(600) { Part::Primary } else { Part::Standby }
}

fn process(rng: &mut Rng) -> Process {
    let part = part(rng);
    match rng.below(10) {
        0 | 1 => Process::Database(part),
        2..=5 => Process::Agent(part),
        6 => Process::Gateway(part),
        7 => Process::Controller(rng.index(3)),
        8 => Process::Register,
        _ => Process::NameServer,
    }
}

fn pair(rng: &mut Rng) -> (usize, usize) {
    let pairs = [(0, 1), (1, 0), (0, 1), (1, 0), (0, WITNESS), (WITNESS, 0), (1, WITNESS), (WITNESS, 1)];
    pairs[rng.index(8)]
}

fn any(rng: &mut Rng) -> Fault {
    match rng.below(20) {
        0 => Fault::Dark(part(rng)),
        1 => Fault::Dead(part(rng)),
        2 | 3 => Fault::Crash(process(rng)),
        4..=6 => Fault::Pause(process(rng)),
        7 => Fault::Frozen(part(rng)),
        8 => Fault::Twice(part(rng)),
        9 => Fault::Blind(part(rng)),
        10 => {
            let (from, to) = pair(rng);
            Fault::OneWay(from, to)
        }
        11 | 12 => Fault::LinkCut,
        13 => Fault::WitnessDark,
        14 => {
            // Inside a site everything is slow.
            let site = rng.index(2);
            Fault::Storm(site, site)
        }
        15 | 16 => {
            let (from, to) = pair(rng);
            Fault::Storm(from, to)
        }
        17 => Fault::Clock(rng.index(3)),
        18 => Fault::Torn([Tear::Before, Tear::Between, Tear::After][rng.index(3)]),
        _ => Fault::Seed,
    }
}
