//! What goes wrong in a history, and when: drawn from the seed before it begins.
//!
//! Some faults come at a time, others are aimed: they strike shortly after the register has moved, because that is
//! where a protocol is most easily caught with one foot in the air. A site that is named by its part ("the primary")
//! is looked up when the fault strikes. What operators ask for (a switchover, a failover at any price, a standby filled
//! anew) is drawn in the same way, and is no fault.
//!
//! A few plans are whole stories: each puts the processes where one rule alone keeps them from doing harm. They are
//! mixed among the others by weight, with the same random faults on top.

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
    /// An operator asks for a switchover to the other site.
    Switchover,
    /// An operator orders a failover to the other site, whatever it costs.
    Failover,
}

impl Fault {
    /// Whether it is none: an operator has asked for something.
    pub fn is_request(self) -> bool {
        matches!(self, Fault::Seed | Fault::Switchover | Fault::Failover)
    }
}

/// What of the register's changes is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Any.
    Any,
    /// A switchover is announced.
    Intent,
    /// A switchover is withdrawn.
    Withdrawn,
    /// An epoch begins by an operator's order.
    Forced,
}

/// When it strikes.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Then.
    At(u64),
    /// So long after the register has moved in this way for this time.
    After {
        /// How.
        moved: Move,
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
    match rng.below(100) {
        0..=54 => lost_primary(rng, &mut plan),
        55..=62 => blind_standby(rng, &mut plan),
        63..=67 => doubled_on_the_way_to_solo(rng, &mut plan),
        68..=72 => doubled_while_filled_anew(rng, &mut plan),
        73..=80 => ordered_out_of_solo(rng, &mut plan),
        81..=84 => late_to_open(rng, &mut plan),
        _ => {}
    }
    if rng.chance(220) {
        switchover(rng, &mut plan);
    }
    for _ in 0..rng.between(1, 4) {
        let when = match rng.below(3) {
            0 => after(Move::Any, 1 + rng.below(5), rng.below(60)),
            _ => When::At(rng.between(600, 8_000)),
        };
        plan.push(Planned { when, fault: any(rng), for_ms: rng.between(50, 2_500) });
    }
    plan
}

fn after(moved: Move, nth: u64, after_ms: u64) -> When {
    When::After { moved, nth, after_ms }
}

/// The primary is lost, for good or for a while.
fn lost_primary(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let when = match rng.below(3) {
        0 => after(Move::Any, 1 + rng.below(3), rng.below(120)),
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

/// A primary stands still and comes back, while the standby has two agents of which one sees nothing.
fn blind_standby(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let at = rng.between(1_500, 4_500);
    let frozen = When::At(at + rng.below(1_500));
    let for_ms = rng.between(1_600, 3_500);
    plan.push(Planned { when: When::At(at), fault: Fault::Blind(Part::Standby), for_ms: 5_000 });
    plan.push(Planned { when: frozen, fault: Fault::Frozen(Part::Primary), for_ms });
}

/// The link is cut until the primary's agent has moved the register to `solo`. Then it stands still before it has
/// changed the row; another one is started beside it, finds the link mended and returns to `sync`; the first one goes on.
fn doubled_on_the_way_to_solo(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let (at, cut_ms) = (rng.between(900, 2_200), rng.between(1_500, 2_300));
    let (moved, for_ms) = (after(Move::Any, 2, rng.below(13)), rng.between(4_000, 6_500));
    plan.push(Planned { when: When::At(at), fault: Fault::LinkCut, for_ms: cut_ms });
    plan.push(Planned { when: moved, fault: Fault::Twice(Part::Primary), for_ms });
}

/// The standby has two agents, one of which sees nothing and goes on following. The other one is told to fill the data
/// anew, announces that, and stands still before it has touched them.
fn doubled_while_filled_anew(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let at = rng.between(1_000, 3_000);
    let (seeded, moved) = (When::At(at + rng.between(700, 1_800)), after(Move::Any, 2, rng.below(13)));
    let for_ms = rng.between(1_800, 3_500);
    plan.push(Planned { when: When::At(at), fault: Fault::Blind(Part::Standby), for_ms: 6_000 });
    plan.push(Planned { when: seeded, fault: Fault::Seed, for_ms: 0 });
    plan.push(Planned { when: moved, fault: Fault::Pause(Process::Agent(Part::Standby)), for_ms });
}

/// The standby falls behind, and an operator orders a failover to it all the same: the old primary may still answer
/// alone until its lease ends. Something there stands still meanwhile, now and then.
fn ordered_out_of_solo(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let (at, cut_ms) = (rng.between(900, 2_200), rng.between(2_500, 5_000));
    let ordered = When::At(at + rng.between(1_300, 2_600));
    plan.push(Planned { when: When::At(at), fault: Fault::LinkCut, for_ms: cut_ms });
    plan.push(Planned { when: ordered, fault: Fault::Failover, for_ms: 0 });
    if rng.chance(500) {
        // Of the old primary, which is the standby once the register has moved.
        let process = [Process::Gateway(Part::Standby), Process::Agent(Part::Standby)][rng.index(2)];
        let (when, for_ms) = (after(Move::Forced, 1, rng.below(2_500)), rng.between(300, 2_500));
        plan.push(Planned { when, fault: Fault::Pause(process), for_ms });
    }
}

/// A switchover is withdrawn when the primary is closed already. The agent that is to open it again stands still, and so
/// does its gateway; meanwhile the other site takes over and this one is taken back. Then both go on.
fn late_to_open(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let asked = When::At(rng.between(1_200, 2_000));
    let (closed, withdrawn) = (after(Move::Intent, 1, rng.between(30, 150)), rng.below(260));
    let withdrawn = after(Move::Withdrawn, 1, withdrawn);
    let (still_ms, dark_ms) = (rng.between(2_500, 3_400), rng.between(1_700, 2_200));
    plan.push(Planned { when: asked, fault: Fault::Switchover, for_ms: 0 });
    plan.push(Planned { when: closed, fault: Fault::LinkCut, for_ms: 900 });
    plan.push(Planned { when: withdrawn, fault: Fault::Dark(Part::Primary), for_ms: dark_ms });
    let gateway = Fault::Pause(Process::Gateway(Part::Primary));
    plan.push(Planned { when: withdrawn, fault: gateway, for_ms: still_ms + rng.below(120) });
    plan.push(Planned { when: withdrawn, fault: Fault::Twice(Part::Primary), for_ms: 2 * still_ms });
}

/// A switchover is asked for, and often something goes wrong in the middle of it.
fn switchover(rng: &mut Rng, plan: &mut Vec<Planned>) {
    let asked = When::At(rng.between(1_200, 5_500));
    plan.push(Planned { when: asked, fault: Fault::Switchover, for_ms: 0 });
    if rng.chance(600) {
        let (when, for_ms) = (after(Move::Intent, 1, rng.below(500)), rng.between(200, 3_000));
        plan.push(Planned { when, fault: any(rng), for_ms });
    }
    if rng.chance(300) {
        // Back again, or the same once more after it was rolled back.
        let again = When::At(rng.between(5_500, 7_500));
        plan.push(Planned { when: again, fault: Fault::Switchover, for_ms: 0 });
    }
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
        _ => [Fault::Seed, Fault::Seed, Fault::Failover][rng.index(3)],
    }
}
