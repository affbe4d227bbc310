use model::Site;

use super::*;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn target(port: u16) -> edge::Target {
    edge::Target { site: Site::new("nhn"), address: at(port), name: None, zone: None, weight: 1 }
}

/// A group `default` with these targets.
fn group(ports: &[u16], adjust: impl FnOnce(&mut TargetGroup)) -> Routing {
    let mut group = TargetGroup::named("default");
    group.targets = ports.iter().map(|p| target(*p)).collect();
    group.health_check = HealthCheck { healthy_after: 2, unhealthy_after: 3, ..HealthCheck::default() };
    adjust(&mut group);
    Routing { groups: vec![group], rules: vec![] }
}

/// A core, its time, and what it asked for.
struct Play {
    core: Core,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Play {
    fn new(routing: Routing) -> Play {
        let mut play = Play { core: Core::new(Some("a".into())), now_ms: 1_000_000, effects: Vec::new() };
        play.step(Event::Configured(routing));
        play
    }

    fn step(&mut self, event: Event) {
        self.core.step(self.now_ms, event, &mut self.effects);
    }

    fn key(port: u16) -> Key {
        Key { group: "default".into(), address: at(port) }
    }

    fn checked(&mut self, port: u16, success: bool) {
        let miss = Miss { reason: TargetReason::Timeout, why: "no answer within 1 ms".into() };
        let result = if success { Ok(()) } else { Err(miss) };
        self.step(Event::Checked { key: Play::key(port), began_ms: self.now_ms, result });
    }

    /// Time passes as the driver lets it: every moment that the core has asked for is told.
    fn pass_ms(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.core.wake_at_ms().filter(|due| *due <= end) {
            self.now_ms = due;
            self.step(Event::Tick);
            assert!(self.core.wake_at_ms().is_none_or(|next| next > due), "it would spin");
        }
        self.now_ms = end;
    }

    #[track_caller]
    fn fit(&self, want: &[u16]) {
        let snapshot = self.core.snapshot();
        let fit: Vec<u16> = snapshot.groups[0].fit.iter().map(|t| t.address.port()).collect();
        assert_eq!(fit, want);
    }

    #[track_caller]
    fn told(&self, port: u16, state: TargetState, reason: Option<TargetReason>) {
        let snapshot = self.core.snapshot();
        let told = snapshot.status.iter().find(|t| t.address.port() == port).unwrap();
        assert_eq!((told.state, told.reason), (state, reason));
    }
}

/// Feeds `results` (`+` success, `-` failure) of target 1 and checks which targets are fit at the end.
#[track_caller]
fn check(results: &str, want: &[u16]) {
    let mut play = Play::new(group(&[1, 2], |_| {}));
    play.checked(2, true);
    for result in results.chars() {
        play.checked(1, result == '+');
    }
    play.fit(want);
}

#[test]
fn states_change_only_after_enough_results_in_a_row_and_a_new_target_needs_one() {
    check("", &[2]);
    check("+", &[1, 2]);
    check("-+", &[1, 2]);
    check("+--", &[1, 2]);
    check("+--+--", &[1, 2]);
    check("+---", &[2]);
    check("+---+", &[2]);
    check("+---+-+", &[2]);
    check("+---++", &[1, 2]);
}

#[test]
fn when_nothing_is_healthy_everything_is_tried_or_nothing_as_one_chooses() {
    for fail_open in [true, false] {
        let mut play = Play::new(group(&[1, 2], |g| g.fail_open = fail_open));
        let all: &[u16] = if fail_open { &[1, 2] } else { &[] };
        play.fit(all);
        for port in [1, 1, 1, 2, 2, 2] {
            play.checked(port, false);
        }
        play.fit(all);
        play.checked(2, true);
        play.checked(2, true);
        play.fit(&[2]);
    }
}

#[test]
fn each_state_has_its_reason_in_albs_words() {
    let mut play = Play::new(group(&[1, 2], |_| {}));
    play.told(1, TargetState::Initial, Some(TargetReason::InitialHealthChecking));
    play.checked(1, true);
    play.told(1, TargetState::Healthy, None);
    for _ in 0..3 {
        play.checked(1, false);
    }
    play.told(1, TargetState::Unhealthy, Some(TargetReason::Timeout));
    let json = serde_json::to_value(play.core.snapshot().status).unwrap();
    assert_eq!((&json[0]["state"], &json[0]["reason"]), (&"unhealthy".into(), &"Target.Timeout".into()));
    play.step(Event::Targets { group: "default".into(), targets: vec![target(2)] });
    play.told(1, TargetState::Draining, Some(TargetReason::DeregistrationInProgress));
}

#[test]
fn a_target_that_is_taken_out_drains_and_is_forgotten_and_one_that_comes_back_is_new() {
    let mut play = Play::new(group(&[1, 2], |g| g.deregistration_delay_ms = 5_000));
    play.checked(1, true);
    play.checked(2, true);
    play.effects.clear();
    play.step(Event::Targets { group: "default".into(), targets: vec![target(2), target(3)] });
    assert!(play.effects.contains(&Effect::Unwatch(Play::key(1))), "{:?}", play.effects);
    assert!(matches!(&play.effects[1], Effect::Watch(key, ..) if key.address == at(3)), "{:?}", play.effects);
    play.fit(&[2]);
    // A check that was under way says nothing any more.
    play.checked(1, true);
    play.fit(&[2]);
    play.pass_ms(4_999);
    play.told(1, TargetState::Draining, Some(TargetReason::DeregistrationInProgress));
    play.pass_ms(1);
    assert_eq!(play.core.snapshot().status.len(), 2);
    play.step(Event::Targets { group: "default".into(), targets: [1, 2, 3].map(target).into() });
    play.told(1, TargetState::Initial, Some(TargetReason::InitialHealthChecking));
    play.fit(&[2]);
    // Gone and back before its time is over: it stays this time.
    play.step(Event::Targets { group: "default".into(), targets: [1, 3].map(target).into() });
    play.step(Event::Targets { group: "default".into(), targets: [1, 2, 3].map(target).into() });
    play.pass_ms(10_000);
    assert_eq!(play.core.snapshot().status.len(), 3);
}

#[test]
fn a_failing_target_is_left_out_until_its_time_is_over_and_a_check_has_succeeded() {
    let mut play = Play::new(group(&[1, 2], |_| {}));
    for port in [1, 2] {
        play.checked(port, true);
    }
    play.step(Event::Failing(Play::key(1)));
    play.fit(&[2]);
    play.told(1, TargetState::Unhealthy, Some(TargetReason::Ejected));
    // A check that began before says nothing of what visitors met since.
    play.now_ms += 10;
    let early = Event::Checked { key: Play::key(1), began_ms: play.now_ms - 20, result: Ok(()) };
    play.step(early);
    play.pass_ms(5_000);
    play.fit(&[2]);
    play.checked(1, true);
    play.fit(&[1, 2]);
    // Soon again: twice as long, though checks succeed all the while.
    play.step(Event::Failing(Play::key(1)));
    play.checked(1, true);
    play.pass_ms(1_999);
    play.fit(&[2]);
    play.pass_ms(1);
    play.fit(&[1, 2]);
    // After a long peace: as at first.
    play.pass_ms(60_000);
    play.step(Event::Failing(Play::key(1)));
    play.checked(1, true);
    play.pass_ms(1_000);
    play.fit(&[1, 2]);
}

#[test]
fn at_least_half_of_the_healthy_targets_are_never_ejected() {
    let mut play = Play::new(group(&[1, 2, 3], |_| {}));
    for port in [1, 2, 3] {
        play.checked(port, true);
        play.step(Event::Failing(Play::key(port)));
    }
    // The first one was alone in health when it failed, and with two healthy one may go.
    play.fit(&[1, 3]);
    play.step(Event::Failing(Play::key(1)));
    play.fit(&[1, 3]);
    let mut alone = Play::new(group(&[1], |_| {}));
    alone.checked(1, true);
    alone.step(Event::Failing(Play::key(1)));
    alone.fit(&[1]);
}

#[test]
fn targets_of_the_own_zone_are_preferred_while_one_of_them_is_fit() {
    let mut play = Play::new(group(&[1, 2, 3], |g| {
        g.cross_zone = false;
        for (target, zone) in g.targets.iter_mut().zip(["a", "c", "a"]) {
            target.zone = Some(zone.into());
        }
    }));
    for port in [1, 2, 3] {
        play.checked(port, true);
    }
    play.fit(&[1, 3]);
    for port in [1, 1, 1, 3, 3, 3] {
        play.checked(port, false);
    }
    play.fit(&[2]);
}

#[test]
fn a_new_configuration_keeps_what_is_known_and_a_group_without_use_is_not_checked() {
    let mut play = Play::new(group(&[1, 2], |_| {}));
    play.checked(1, true);
    play.effects.clear();
    let mut spare = TargetGroup::named("spare");
    spare.targets = vec![target(9)];
    let mut routing = group(&[1, 3], |g| g.slow_start_ms = 30_000);
    routing.groups.push(spare);
    play.step(Event::Configured(routing));
    play.fit(&[1]);
    play.told(2, TargetState::Draining, Some(TargetReason::DeregistrationInProgress));
    play.told(9, TargetState::Unused, Some(TargetReason::NotInUse));
    let watched = play.effects.iter().filter_map(|e| match e {
        Effect::Watch(key, ..) => Some(key.address.port()),
        _ => None,
    });
    assert_eq!(watched.collect::<Vec<_>>(), [3], "{:?}", play.effects);
    // Other checks: all are asked anew, and what is known stays until they answer.
    play.effects.clear();
    play.step(Event::Configured(group(&[1, 3], |g| g.health_check.path = "/other".into())));
    let asked = |e: &&Effect| matches!(e, Effect::Watch(_, check, _) if check.path == "/other");
    assert_eq!(play.effects.iter().filter(asked).count(), 2, "{:?}", play.effects);
    assert!(play.effects.contains(&Effect::Unwatch(Key { group: "spare".into(), address: at(9) })));
    play.fit(&[1]);
}

#[test]
fn targets_come_and_go_as_a_name_says_and_none_goes_when_it_says_nothing() {
    let name = |name: &str| DnsTargets {
        site: Site::new("nhn"),
        name: name.into(),
        port: 80,
        zone: Some("a".into()),
        weight: 2,
        server: None,
    };
    let ip = |last: u8| IpAddr::from([127, 0, 0, last]);
    let (web, api) = (name("web.test"), name("api.test"));
    let mut play = Play::new(group(&[8_001], |g| g.dns = vec![web.clone()]));
    assert_eq!(play.effects.first(), Some(&Effect::Follow("default".into(), vec![web.clone()])));
    let found = |play: &mut Play, from: &DnsTargets, last: &[u8]| {
        play.effects.clear();
        let addresses = last.iter().map(|l| ip(*l)).collect();
        play.step(Event::Found { group: "default".into(), from: from.clone(), addresses });
        play.effects.contains(&Effect::Publish)
    };
    let addresses = |play: &Play| {
        let stays = |t: &&TargetStatus| t.state != TargetState::Draining;
        let status = play.core.snapshot().status;
        status.iter().filter(stays).map(|t| t.address.to_string()).collect::<Vec<_>>()
    };
    assert!(found(&mut play, &web, &[3, 2, 3]));
    assert_eq!(addresses(&play), ["127.0.0.1:8001", "127.0.0.2:80", "127.0.0.3:80"]);
    assert!(!found(&mut play, &web, &[2, 3]), "another order is nothing new");
    assert!(!found(&mut play, &web, &[]), "no address is no news");
    assert!(!found(&mut play, &api, &[9]), "nobody asked for this name");
    assert!(found(&mut play, &web, &[3, 4]));
    assert_eq!(addresses(&play), ["127.0.0.1:8001", "127.0.0.3:80", "127.0.0.4:80"]);
    // Whoever sets the given ones does not touch the found ones.
    play.step(Event::Targets { group: "default".into(), targets: vec![target(8_002)] });
    assert_eq!(addresses(&play).len(), 3);
    assert!(addresses(&play).contains(&"127.0.0.1:8002".to_owned()));
    // A reload with the same name asks for nothing anew and keeps what was found; without it they leave.
    play.effects.clear();
    play.step(Event::Configured(group(&[8_001], |g| g.dns = vec![web.clone()])));
    assert!(!play.effects.iter().any(|e| matches!(e, Effect::Follow(..))));
    assert_eq!(addresses(&play), ["127.0.0.3:80", "127.0.0.4:80", "127.0.0.1:8001"]);
    play.step(Event::Configured(group(&[8_001], |_| {})));
    assert!(play.effects.contains(&Effect::Follow("default".into(), vec![])));
    assert_eq!(addresses(&play), ["127.0.0.1:8001"]);
}
