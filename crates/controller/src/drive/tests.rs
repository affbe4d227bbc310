//! The core against a scripted world: two sites, three controllers, a register and a name server in one thread, by a
//! clock of its own. Every story here is the same on every run.

use model::{
    Incarnation, Position, StreamId,
    agent::{Fence, Role, Row, Slot, StandbyPhase},
    register::{Approval, Halt, Lease},
};

use super::*;

/// An answer takes this long; silence takes the probe's time-out; a supervisor needs a second.
const ANSWER_MS: u64 = 3;
const SILENCE_MS: u64 = 500;
const RESTART_MS: u64 = 1_000;

fn nhn() -> Site {
    Site::new("nhn")
}
fn aws() -> Site {
    Site::new("aws")
}

struct FakeSite {
    /// Nothing of it answers, and its processes are gone.
    dark: bool,
    agent_up: bool,
    database_up: bool,
    row: Row,
    open: bool,
    beat_heard_ms: u64,
    /// How long its agent takes to fence.
    fence_ms: u64,
    slot_epoch: Epoch,
    /// Its gateway lets requests wait.
    parked: bool,
}

struct Sim {
    now: u64,
    count: u64,
    mail: BTreeMap<(u64, u64), (Place, Event)>,
    cores: BTreeMap<Place, Core>,
    restarts: Vec<(u64, Place)>,
    sites: BTreeMap<Site, FakeSite>,
    link_cut: bool,
    /// Whether the standby catches up with a closed primary in time.
    catches_up: bool,
    register: Register,
    orders: Orders,
    lease: (Option<String>, u64),
    steering: Steering,
    /// Every step that was begun: when, by whom, what.
    taken: Vec<(u64, Place, Step)>,
    /// Kills whoever begins step number `.0`, before (`true`) or after the step has taken effect.
    kill_at: Option<(usize, bool)>,
    /// Happens just before the first step takes effect.
    race: Option<fn(&mut Register)>,
    reasons: Vec<String>,
}

impl Sim {
    /// A healthy service in `sync`, epoch 3 of nhn, watched from three places, led by `leader`.
    fn healthy(leader: &str) -> Sim {
        let site = |primary: bool| FakeSite {
            dark: false,
            agent_up: true,
            database_up: true,
            row: Row {
                epoch: Epoch(3),
                primary: nhn(),
                mode: Mode::Sync,
                token: 1,
                stream: StreamId::default(),
            },
            open: primary,
            beat_heard_ms: 0,
            fence_ms: ANSWER_MS,
            slot_epoch: Epoch(3),
            parked: false,
        };
        let places = [Place::Witness, Place::Site(nhn()), Place::Site(aws())];
        let mut sim = Sim {
            now: 0,
            count: 0,
            mail: BTreeMap::new(),
            cores: places.iter().map(|p| (p.clone(), core(p))).collect(),
            restarts: Vec::new(),
            sites: [(nhn(), site(true)), (aws(), site(false))].into(),
            link_cut: false,
            catches_up: true,
            register: Register {
                version: 9,
                epoch: Epoch(3),
                mode: Mode::Sync,
                standby_incarnation: Incarnation(2),
                ..Register::first(nhn(), 0)
            },
            orders: Orders::default(),
            lease: (Some(leader.to_owned()), 1_500),
            steering: Steering { site: nhn(), epoch: Epoch(3) },
            taken: Vec::new(),
            kill_at: None,
            race: None,
            reasons: Vec::new(),
        };
        sim.run(10_000);
        assert!(sim.taken.is_empty(), "a healthy service needs nothing: {:?}", sim.taken);
        sim
    }

    fn run(&mut self, for_ms: u64) {
        let end = self.now + for_ms;
        while self.now < end {
            self.now += 1;
            self.beat();
            self.agents_and_gateways_see_to_themselves();
            let back: Vec<Place> =
                self.restarts.iter().filter(|(at, _)| *at == self.now).map(|(_, p)| p.clone()).collect();
            for place in back {
                self.cores.insert(place.clone(), core(&place));
                if place == Place::Witness {
                    self.lease = (None, self.now + 1_500); // nobody leads until an older lease has ended
                }
            }
            if self.now.is_multiple_of(TICK_MS) {
                for place in self.cores.keys().cloned().collect::<Vec<_>>() {
                    self.tell(&place, Event::Tick);
                }
            }
            while let Some(entry) = self.mail.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let (place, event) = entry.remove();
                self.tell(&place, event);
            }
        }
    }

    /// The primary's heartbeats reach the standby.
    fn beat(&mut self) {
        if !self.now.is_multiple_of(200) || self.link_cut {
            return;
        }
        let beating: Vec<Site> = self
            .sites
            .iter()
            .filter(|(s, f)| self.commits(s) && f.agent_up)
            .map(|(s, _)| s.clone())
            .collect();
        for (site, fake) in self.sites.iter_mut() {
            if beating.iter().any(|b| b != site) {
                fake.beat_heard_ms = self.now;
            }
        }
    }

    /// An agent opens a primary that is closed for no intent; gateways let go on when a new primary is open.
    fn agents_and_gateways_see_to_themselves(&mut self) {
        if !self.now.is_multiple_of(250) {
            return;
        }
        let register = self.register.clone();
        for (site, fake) in self.sites.iter_mut().filter(|(_, f)| !f.dark && f.agent_up) {
            let began = fake.row.epoch == register.epoch && register.primary == *site;
            fake.open |= began && fake.row.primary == *site && register.intent.is_none();
        }
        let open = self.sites.get(&register.primary).is_some_and(|f| f.open && f.row.epoch == register.epoch);
        if open && register.epoch > Epoch(3) {
            self.sites.values_mut().for_each(|f| f.parked = false);
        }
    }

    fn commits(&self, site: &Site) -> bool {
        self.sites.get(site).is_some_and(|f| !f.dark && f.database_up && f.row.primary == *site)
    }

    fn tell(&mut self, place: &Place, event: Event) {
        let Some(core) = self.cores.get_mut(place) else { return };
        for effect in core.apply(self.now, self.now, event) {
            self.carry_out(place, effect);
        }
    }

    fn post(&mut self, after_ms: u64, to: &Place, event: Event) {
        self.count += 1;
        self.mail.insert((self.now + after_ms, self.count), (to.clone(), event));
    }

    fn reaches(&self, place: &Place, site: &Site) -> bool {
        !self.sites[site].dark && (!self.link_cut || !matches!(place, Place::Site(here) if here != site))
    }

    fn register_is_up(&self) -> bool {
        self.cores.contains_key(&Place::Witness)
    }

    fn carry_out(&mut self, place: &Place, effect: Effect) {
        let sent_ms = self.now;
        match effect {
            Effect::Probe { of, target, sequence } => {
                let fake = &self.sites[&of];
                let (result, status) = match target {
                    _ if !self.reaches(place, &of) => (ProbeResult::Silent, None),
                    Target::Commit | Target::Agent if !fake.agent_up => (ProbeResult::Refused, None),
                    Target::Commit if !self.commits(&of) => (ProbeResult::Failed { why: "no".into() }, None),
                    Target::Agent => (ProbeResult::Ok, Some(Box::new(self.status(&of)))),
                    Target::Gateway if !fake.agent_up => (ProbeResult::Failed { why: "503".into() }, None),
                    Target::Commit | Target::Gateway => (ProbeResult::Ok, None),
                };
                let after_ms = if result == ProbeResult::Silent { SILENCE_MS } else { ANSWER_MS };
                self.post(after_ms, place, Event::Probed { of, target, sequence, result, status });
            }
            Effect::Ask { place: other } => {
                let observations = self.cores.get(&other).map(|c| c.observations(self.now));
                let after_ms = if observations.is_some() { ANSWER_MS } else { SILENCE_MS };
                self.post(after_ms, place, Event::Told { place: other, sent_ms, observations });
            }
            Effect::ReadRegister => {
                let record = self.register_is_up().then(|| self.register.clone());
                self.post(ANSWER_MS, place, Event::RegisterRead { sent_ms, record });
            }
            Effect::ReadOrders => {
                let orders = self.register_is_up().then(|| self.orders.clone());
                self.post(ANSWER_MS, place, Event::OrdersRead { sent_ms, orders });
            }
            Effect::ReadSteering => {
                let steering = Some(self.steering.clone());
                self.post(ANSWER_MS, place, Event::SteeringRead { sent_ms, steering });
            }
            Effect::AskLease { request } => {
                let reply = self.register_is_up().then(|| self.ask_lease(&request));
                self.post(ANSWER_MS, place, Event::Leased { sent_ms, request, reply });
            }
            Effect::Take { step } => self.take(place, step),
            Effect::Note(entry) => {
                if let What::Judged { verdict, .. } = entry.what {
                    self.reasons = verdict.reasons;
                }
            }
        }
    }

    fn ask_lease(&mut self, request: &LeaseRequest) -> LeaseReply {
        let (holder, until) = &mut self.lease;
        let held = *until > self.now;
        let mine = holder.as_deref() == Some(request.holder.as_str());
        if request.ttl_ms == 0 && held && mine {
            *until = self.now;
        } else if request.ttl_ms > 0 && (!held || mine) {
            (*holder, *until) = (Some(request.holder.clone()), self.now + request.ttl_ms);
        }
        let remaining_ms = until.saturating_sub(self.now);
        let holder = holder.clone().filter(|_| remaining_ms > 0).unwrap_or_default();
        LeaseReply {
            granted: holder == request.holder && remaining_ms > 0,
            lease: Lease { holder, remaining_ms },
        }
    }

    fn take(&mut self, place: &Place, step: Step) {
        self.taken.push((self.now, place.clone(), step.clone()));
        if let Some(change) = self.race.take() {
            change(&mut self.register);
        }
        let killed = self.kill_at.filter(|(n, _)| *n == self.taken.len());
        if killed == Some((self.taken.len(), true)) {
            return self.kill(place);
        }
        let (after_ms, outcome) = self.effect_of(place, &step);
        if killed.is_some() {
            return self.kill(place);
        }
        self.post(after_ms, place, Event::Ended { step, began_ms: self.now, outcome });
    }

    fn effect_of(&mut self, place: &Place, step: &Step) -> (u64, Outcome) {
        match step {
            Step::MoveRegister { record } | Step::Announce { record } | Step::Withdraw { record } => {
                if self.register.version + 1 != record.version {
                    return (ANSWER_MS, Outcome::Stale { record: self.register.clone() });
                }
                let ordered = record.forced_now().is_some() || matches!(step, Step::Withdraw { .. });
                assert!(self.register.mode == Mode::Sync || ordered, "nothing moves out of solo by itself");
                self.register = record.clone();
                (ANSWER_MS, Outcome::Moved { record: record.clone() })
            }
            Step::Promote { site, epoch } => {
                assert!(self.reaches(place, site), "a dark site was asked");
                assert_eq!(
                    (&self.register.primary, self.register.epoch),
                    (site, *epoch),
                    "not by the register"
                );
                let fake = self.sites.get_mut(site).unwrap();
                if fake.row.epoch < *epoch {
                    fake.row = Row { epoch: *epoch, primary: site.clone(), ..fake.row.clone() };
                }
                fake.open = true;
                (40, Outcome::Promoted)
            }
            Step::Park { site, epoch, .. } => {
                assert_eq!(self.register.epoch, *epoch, "parked for another epoch");
                self.sites.get_mut(site).unwrap().parked = true;
                (ANSWER_MS, Outcome::Parked)
            }
            Step::Close { site, intent, .. } => {
                if self.register.intent.as_ref().map(|i| i.id) != Some(*intent) {
                    return (ANSWER_MS, Outcome::Failed { why: "the register holds no such intent".into() });
                }
                assert!(self.sites.values().all(|f| f.parked), "closed before the gateways were parked");
                self.sites.get_mut(site).unwrap().open = false;
                (40, Outcome::Fenced)
            }
            Step::CatchUp { site, .. } => {
                assert!(!self.sites[site].open, "an open primary's log has no end");
                match self.catches_up {
                    true => (ANSWER_MS, Outcome::CaughtUp),
                    false => (1_000, Outcome::Failed { why: "not within 1000 ms".into() }),
                }
            }
            Step::Unpark { site, .. } => {
                assert!(self.sites[&self.register.primary].open, "let go on towards a closed database");
                self.sites.get_mut(site).unwrap().parked = false;
                (ANSWER_MS, Outcome::Unparked)
            }
            Step::Fence { site, epoch, primary } => {
                let fake = self.sites.get_mut(site).unwrap();
                if fake.row.epoch < *epoch {
                    fake.row = Row { epoch: *epoch, primary: primary.clone(), ..fake.row.clone() };
                }
                fake.open = false;
                (fake.fence_ms, Outcome::Fenced)
            }
            Step::Steer { site, epoch } => {
                assert!(*epoch >= self.steering.epoch, "steered back");
                self.steering = Steering { site: site.clone(), epoch: *epoch };
                (ANSWER_MS, Outcome::Steered { steering: self.steering.clone() })
            }
        }
    }

    fn kill(&mut self, place: &Place) {
        self.cores.remove(place);
        self.restarts.push((self.now + RESTART_MS, place.clone()));
    }

    fn go_dark(&mut self, site: &Site) {
        self.sites.get_mut(site).unwrap().dark = true;
        self.cores.remove(&Place::Site(site.clone()));
    }

    fn status(&self, site: &Site) -> AgentStatus {
        let fake = &self.sites[site];
        let other = if *site == nhn() { aws() } else { nhn() };
        let primary = fake.row.primary == *site;
        let position = Position { stream: StreamId(other.to_string()), file: 1, offset: 4 };
        let slot = Slot { position, epoch: fake.slot_epoch, origin: other };
        AgentStatus {
            site: site.clone(),
            role: if primary { Role::Primary } else { Role::Standby { phase: StandbyPhase::Attached } },
            row: fake.database_up.then(|| fake.row.clone()),
            slot: (!primary).then_some(slot),
            incarnation: (!primary).then_some(Incarnation(2)),
            heartbeat_age_ms: (!primary).then(|| self.now - fake.beat_heard_ms),
            fence: if fake.open { Fence::Open } else { Fence::Closed },
            ..AgentStatus::starting(site.clone())
        }
    }

    fn steps(&self) -> Vec<String> {
        self.taken.iter().map(|(_, _, step)| step.to_string()).collect()
    }

    /// aws serves in epoch 4, and everybody is led there.
    fn assert_failed_over(&self, story: &str) {
        assert_eq!(
            (self.register.epoch, &self.register.primary),
            (Epoch(4), &aws()),
            "{story}: the register"
        );
        let fake = &self.sites[&aws()];
        assert!(
            fake.open && fake.row.epoch == Epoch(4) && fake.row.primary == aws(),
            "{story}: the database"
        );
        assert_eq!(self.steering, Steering { site: aws(), epoch: Epoch(4) }, "{story}: the name");
    }
}

fn core(place: &Place) -> Core {
    Core::new(place.clone(), [aws(), nhn()], Policy::default())
}

const FAILOVER: [&str; 3] =
    ["move the register to aws in epoch 4", "promote aws to epoch 4", "steer visitors to aws in epoch 4"];

#[test]
fn a_dark_primary_is_replaced_in_three_steps_soon_after_four_intervals() {
    for phase_ms in (0..250).step_by(10) {
        for leader in ["witness", "aws"] {
            let mut sim = Sim::healthy(leader);
            sim.run(phase_ms);
            let dark_at = sim.now;
            sim.go_dark(&nhn());
            sim.run(5_000);
            sim.assert_failed_over(leader);
            assert_eq!(sim.steps(), FAILOVER, "{leader}");
            let decided_ms = sim.taken[0].0 - dark_at;
            assert!((1_200..=1_600).contains(&decided_ms), "{leader}, phase {phase_ms}: {decided_ms} ms");
            let steered_ms = sim.taken[2].0 - sim.taken[0].0;
            assert!(steered_ms <= 100, "{leader}: nothing dark is waited for: {steered_ms} ms");
        }
    }
}

/// The heart of resumption: whoever leads dies just before, or just after, each step takes effect.
#[test]
fn a_leader_that_dies_between_any_two_steps_is_finished_by_the_next() {
    for leader in ["witness", "aws"] {
        for step in 1..=FAILOVER.len() {
            for before in [true, false] {
                let story = format!("{leader} dies {} step {step}", if before { "before" } else { "after" });
                let mut sim = Sim::healthy(leader);
                sim.kill_at = Some((step, before));
                sim.go_dark(&nhn());
                sim.run(12_000);
                sim.assert_failed_over(&story);
                let (_, dead, _) = &sim.taken[step - 1];
                assert_eq!(dead.to_string(), leader, "{story}");
                sim.cores.keys().for_each(|place| {
                    let plan = &sim.cores[place].verdict.plan;
                    assert!(plan.steps.is_empty(), "{story}: {place} finds more to do: {plan:?}");
                });
            }
        }
    }
}

/// Every step kills its taker, as often as anybody tries, three times in a row.
#[test]
fn leaders_that_die_one_after_the_other_do_not_stop_it_either() {
    let mut sim = Sim::healthy("witness");
    sim.go_dark(&nhn());
    for n in 1..=3 {
        sim.kill_at = Some((n, n != 2));
        sim.run(6_000);
    }
    sim.run(12_000);
    sim.assert_failed_over("three deaths");
}

/// Nobody is left who saw the primary alive; the standby's agent and fresh probes are enough.
#[test]
fn controllers_that_were_all_restarted_in_the_dark_find_the_loss_themselves() {
    let mut sim = Sim::healthy("witness");
    sim.go_dark(&nhn());
    for place in [Place::Witness, Place::Site(aws())] {
        sim.kill(&place);
    }
    sim.run(6_000);
    sim.assert_failed_over("restarted in the dark");
}

#[test]
fn a_mode_that_goes_solo_at_the_same_moment_wins_and_nothing_moves() {
    let mut sim = Sim::healthy("witness");
    sim.race = Some(|register| {
        register.version += 1;
        register.mode = Mode::Solo;
    });
    sim.go_dark(&nhn());
    sim.run(10_000);
    assert_eq!(sim.steps(), FAILOVER[..1], "the move was tried once and came too late");
    assert_eq!((sim.register.epoch, &sim.register.primary), (Epoch(3), &nhn()));
    assert!(sim.reasons.iter().any(|r| r.contains("solo")), "{:?}", sim.reasons);
}

#[test]
fn an_agent_that_flaps_moves_nothing() {
    let mut sim = Sim::healthy("aws");
    for _ in 0..40 {
        sim.sites.get_mut(&nhn()).unwrap().agent_up = false;
        sim.run(900);
        sim.sites.get_mut(&nhn()).unwrap().agent_up = true;
        sim.run(600);
    }
    assert_eq!(sim.steps(), [""; 0]);
}

#[test]
fn a_cut_link_moves_nothing_however_long() {
    let mut sim = Sim::healthy("aws");
    sim.link_cut = true;
    sim.run(60_000);
    assert_eq!(sim.steps(), [""; 0]);
    assert!(sim.reasons.iter().any(|r| r.contains("cut link")), "{:?}", sim.reasons);
}

#[test]
fn a_dead_database_is_replaced_and_a_slow_fence_delays_nobody() {
    let mut sim = Sim::healthy("witness");
    let fake = sim.sites.get_mut(&nhn()).unwrap();
    (fake.database_up, fake.fence_ms) = (false, 2_500);
    let died_at = sim.now;
    sim.run(6_000);
    sim.assert_failed_over("database");
    let at = |words: &str| sim.taken.iter().find(|(_, _, s)| s.to_string().starts_with(words)).unwrap().0;
    assert!(at("move") - died_at >= 1_750, "a crashed database is given time to recover");
    assert!(at("steer") <= at("fence") + TICK_MS, "steering does not wait for the fence");
}

#[test]
fn an_old_primary_that_returns_open_is_fenced() {
    let mut sim = Sim::healthy("aws");
    sim.go_dark(&nhn());
    sim.run(20_000);
    sim.assert_failed_over("dark");
    sim.sites.get_mut(&nhn()).unwrap().dark = false;
    sim.run(2_000);
    assert_eq!(sim.steps()[3..], ["fence nhn for epoch 4"]);
    assert!(!sim.sites[&nhn()].open);
}

#[test]
fn a_name_server_that_forgot_is_steered_again() {
    let mut sim = Sim::healthy("aws");
    sim.steering = Steering { site: aws(), epoch: Epoch(1) };
    sim.run(2_000);
    assert_eq!(sim.steering, Steering { site: nhn(), epoch: Epoch(3) });
}

#[test]
fn the_controller_beside_the_primary_leads_only_while_nobody_else_would() {
    let mut sim = Sim::healthy("nhn");
    assert_ne!(sim.lease.0.as_deref(), Some("nhn"), "it stepped down");
    for place in [Place::Witness, Place::Site(aws())] {
        // Both others forget how to ask; the register itself goes on (a witness that only lost its controller).
        sim.cores.get_mut(&place).unwrap().due.lease_ms = u64::MAX;
    }
    sim.run(6_000);
    assert_eq!(sim.lease.0.as_deref(), Some("nhn"), "nobody else came");
}

/// aws is behind (`solo`), nhn goes dark, and an operator accepts the loss.
fn ordered_failover() -> Sim {
    let mut sim = Sim::healthy("witness");
    (sim.register.version, sim.register.mode) = (10, Mode::Solo);
    sim.run(2_000);
    sim.go_dark(&nhn());
    sim.run(8_000);
    assert_eq!(sim.steps(), [""; 0], "nothing moves by itself");
    assert!(sim.reasons.iter().any(|r| r.starts_with("no_loss: ")), "{:?}", sim.reasons);
    sim.orders = Orders {
        version: 1,
        approval: Some(Approval {
            epoch: Epoch(3),
            to: aws(),
            accept_loss_s: Approval::ANY_LOSS,
            by: "kim".into(),
            why: "fire".into(),
            until_ms: u64::MAX,
        }),
        ..Orders::default()
    };
    sim
}

#[test]
fn an_ordered_failover_waits_the_lease_out_before_anybody_is_promoted() {
    let mut sim = ordered_failover();
    sim.run(8_000);
    sim.assert_failed_over("ordered");
    assert_eq!(sim.steps(), FAILOVER);
    let waited_ms = sim.taken[1].0 - sim.taken[0].0;
    assert!((3_000..3_600).contains(&waited_ms), "{waited_ms} ms");
    assert_eq!(sim.register.forced_now().map(|f| (f.out_of, f.by.as_str())), Some((Mode::Solo, "kim")));
    // The approval was for one epoch: it stands there still, and does nothing any more.
    sim.run(20_000);
    assert_eq!(sim.steps(), FAILOVER);
}

#[test]
fn an_ordered_failover_is_finished_by_the_next_leader_and_never_before_the_lease_has_ended() {
    for step in 1..=FAILOVER.len() {
        for before in [true, false] {
            let story = format!("dies {} step {step}", if before { "before" } else { "after" });
            let mut sim = ordered_failover();
            sim.kill_at = Some((step, before));
            sim.run(15_000);
            sim.assert_failed_over(&story);
            let at = |words: &'static str| {
                sim.taken.iter().filter(move |(_, _, s)| s.to_string().starts_with(words)).map(|(at, ..)| *at)
            };
            let moved = if step == 1 && before { at("move").next_back() } else { at("move").next() };
            let waited_ms = at("promote").next().unwrap() - moved.unwrap();
            assert!(waited_ms >= 3_000, "{story}: {waited_ms} ms");
        }
    }
}

#[test]
fn while_everything_is_stopped_or_only_observed_no_step_is_taken_and_then_all_of_them() {
    let halt = Halt { by: "kim".into(), why: "rehearsal".into(), at_ms: 0 };
    let stop = Orders { version: 1, stopped: Some(halt), ..Orders::default() };
    let observe = Orders { version: 1, observe: true, ..Orders::default() };
    for (orders, name) in [(stop, "stop: "), (observe, "observe: ")] {
        let mut sim = Sim::healthy("witness");
        sim.orders = orders;
        sim.run(1_000);
        sim.go_dark(&nhn());
        sim.run(10_000);
        assert_eq!(sim.steps(), [""; 0]);
        let told =
            sim.reasons.iter().any(|r| r.starts_with(name) && r.contains("it would now: move the register"));
        assert!(told, "{name} {:?}", sim.reasons);
        sim.orders = Orders { version: 2, ..Orders::default() };
        sim.run(3_000);
        sim.assert_failed_over(name);
    }
}

/// A stop between any two steps holds what is left of a failover, whoever leads, until it is lifted.
#[test]
fn a_stop_in_the_middle_of_a_failover_holds_the_rest_of_it() {
    let mut sim = Sim::healthy("witness");
    sim.kill_at = Some((1, false));
    sim.go_dark(&nhn());
    sim.run(1_600);
    assert_eq!(sim.steps(), FAILOVER[..1], "the register moved, and its mover died");
    let halt = Halt { by: "kim".into(), why: "wait".into(), at_ms: 0 };
    sim.orders = Orders { version: 1, stopped: Some(halt), ..Orders::default() };
    sim.run(10_000);
    assert_eq!(sim.steps(), FAILOVER[..1]);
    sim.orders = Orders { version: 2, ..Orders::default() };
    sim.run(6_000);
    sim.assert_failed_over("lifted");
}
mod switchover;
