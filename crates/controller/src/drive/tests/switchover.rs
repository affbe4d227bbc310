//! Switchovers in the scripted world.

use model::switchover::{Request, State, Told};

use super::*;

const SWITCHOVER: [&str; 9] = [
    "announce a switchover to aws",
    "park the requests at aws",
    "park the requests at nhn",
    "close nhn in epoch 3",
    "let the standby catch up with nhn",
    "move the register to aws in epoch 4",
    "fence nhn for epoch 4",
    "promote aws to epoch 4",
    "steer visitors to aws in epoch 4",
];

impl Sim {
    fn order(&mut self, place: &Place, to: Site) -> Option<Told> {
        let request = Request { to, by: "a test".into() };
        self.tell(place, Event::Asked { number: 1, request });
        self.told(place)
    }

    fn told(&self, place: &Place) -> Option<Told> {
        self.cores.get(place)?.view(self.now).switchover
    }

    fn assert_as_before(&self, story: &str) {
        let register = &self.register;
        assert_eq!((register.epoch, &register.primary), (Epoch(3), &nhn()), "{story}: the register");
        assert_eq!(register.intent, None, "{story}: the intent");
        assert!(self.sites[&nhn()].open, "{story}: the database");
        assert_eq!(self.steering.site, nhn(), "{story}: the name");
    }
}

#[test]
fn a_switchover_takes_its_steps_in_order_and_without_a_pause_between_them() {
    let mut sim = Sim::healthy("witness");
    let told = sim.order(&Place::Witness, aws()).unwrap();
    assert!(matches!(told.state, State::Asked | State::UnderWay), "{told:?}");
    let from = sim.now;
    sim.run(3_000);
    sim.assert_failed_over("switchover");
    assert_eq!(sim.steps(), SWITCHOVER);
    let promoted_ms = sim.taken[7].0 - from;
    // Four answers and 40 ms for closing.
    assert!(promoted_ms <= 70, "promoted only after {promoted_ms} ms");
    assert!(sim.sites.values().all(|f| !f.parked), "requests are still parked");
    let told = sim.told(&Place::Witness).unwrap();
    assert_eq!((told.state, told.epoch), (State::Done, Epoch(3)));
    assert_eq!(told.phases.len(), SWITCHOVER.len());
    sim.run(20_000);
    assert_eq!(sim.steps(), SWITCHOVER, "nothing more is done");
}

#[test]
fn a_leader_that_dies_between_any_two_steps_is_finished_or_taken_back_by_the_next() {
    let (mut done, mut back) = (0, 0);
    for step in 1..=SWITCHOVER.len() {
        for before in [true, false] {
            let story = format!("the leader dies {} step {step}", if before { "before" } else { "after" });
            let mut sim = Sim::healthy("aws");
            sim.kill_at = Some((step, before));
            sim.order(&Place::Site(aws()), aws());
            sim.run(15_000);
            assert_eq!(sim.register.intent, None, "{story}");
            if sim.register.epoch == Epoch(4) {
                sim.assert_failed_over(&story);
                done += 1;
            } else {
                sim.assert_as_before(&story);
                back += 1;
            }
            for (place, core) in &sim.cores {
                let plan = &core.verdict.plan;
                assert!(plan.steps.is_empty(), "{story}: {place} finds more to do: {plan:?}");
            }
        }
    }
    assert!(done >= 14 && back >= 1, "{done} were finished, {back} taken back");
}

#[test]
fn a_standby_that_does_not_catch_up_ends_in_a_rollback_with_its_reason() {
    let mut sim = Sim::healthy("witness");
    sim.catches_up = false;
    sim.order(&Place::Witness, aws());
    sim.run(4_000);
    sim.assert_as_before("no catching up");
    assert!(sim.sites.values().all(|f| !f.parked), "requests are still parked");
    let told = sim.told(&Place::Witness).unwrap();
    assert_eq!(told.state, State::RolledBack);
    assert!(told.reasons[0].contains("not within 1000 ms"), "{told:?}");
    let steps = sim.steps();
    assert_eq!(steps[..5], SWITCHOVER[..5]);
    assert_eq!(steps[5], "withdraw the switchover: nhn stays in epoch 3");
    assert!(steps[6..].iter().all(|s| s.starts_with("promote nhn") || s.starts_with("let the")), "{steps:?}");
    // And once more, when it can.
    sim.catches_up = true;
    sim.run(2_000);
    sim.order(&Place::Witness, aws());
    sim.run(3_000);
    sim.assert_failed_over("the second order");
}

#[test]
fn a_mode_that_goes_solo_in_the_middle_takes_the_switchover_back() {
    let mut sim = Sim::healthy("witness");
    sim.order(&Place::Witness, aws());
    sim.race = Some(|register| {
        register.version += 1;
        register.mode = Mode::Solo;
    });
    sim.run(5_000);
    sim.assert_as_before("solo");
}

#[test]
fn a_primary_that_dies_in_the_middle_is_failed_over_from() {
    for at_ms in (0..80).step_by(4) {
        let mut sim = Sim::healthy("witness");
        sim.order(&Place::Witness, aws());
        sim.run(at_ms);
        sim.go_dark(&nhn());
        sim.run(15_000);
        sim.assert_failed_over(&format!("dark after {at_ms} ms"));
    }
}

#[test]
fn who_does_not_lead_says_who_does_and_what_is_not_ready_is_not_begun() {
    let mut sim = Sim::healthy("witness");
    let told = sim.order(&Place::Site(aws()), aws()).unwrap();
    assert_eq!(
        (told.state, told.reasons),
        (State::Refused, vec!["witness leads the controllers: ask there".into()])
    );
    let told = sim.order(&Place::Witness, nhn()).unwrap();
    assert_eq!(told.state, State::Refused);
    sim.run(2_000);
    assert_eq!(sim.steps(), [""; 0]);
}

#[test]
fn the_service_returns_to_the_preferred_site_once_all_has_been_well_for_long_enough() {
    let policy =
        Policy { failback: model::topology::Failback::Auto, failback_after_ms: 20_000, ..Policy::default() };
    let prefers_aws =
        |place: &Place| Core::new(place.clone(), [aws(), nhn()], policy.clone()).preferring(aws());
    let mut sim = Sim::healthy("witness");
    let places: Vec<Place> = sim.cores.keys().cloned().collect();
    sim.cores = places.iter().map(|p| (p.clone(), prefers_aws(p))).collect();
    sim.lease = (None, 0);
    sim.run(19_000);
    assert_eq!(sim.steps(), [""; 0], "too early");
    // A gateway that is away for two seconds: it is not well, and the time begins again.
    sim.sites.get_mut(&nhn()).unwrap().agent_up = false;
    sim.run(2_000);
    sim.sites.get_mut(&nhn()).unwrap().agent_up = true;
    sim.run(18_000);
    assert_eq!(sim.steps(), [""; 0], "it was not well all the time");
    sim.run(5_000);
    sim.assert_failed_over("failback");
    assert_eq!(sim.steps(), SWITCHOVER);
}
