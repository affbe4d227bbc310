//! What is known of every target: configured, checked, failing, leaving. Decides which may be asked.
//!
//! Give it what happened and the time; get back what to do. It opens no socket and reads no clock.
//!
//! Always true here:
//! * A target's state changes only after enough checks in a row; a new one needs one success.
//! * A target that is left out because visitors' requests failed on it (ejected) comes back when its time is over *and* a
//!   check has succeeded since: no visitor is sent to find out. At least half of the healthy targets are never ejected.
//! * A group's targets are those that it was given and those that its names lead to. A name that leads nowhere keeps those that
//!   it led to before.
//! * A target that was taken out gets nothing new and is forgotten when `deregistration_delay_ms` has passed; what it has
//!   begun goes on meanwhile.
//! * When no target of a group is fit, all that are not leaving are, unless `fail_open` is off: a wrong health path must
//!   not turn a working site off, and a dead target costs a refused connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use model::{
    gateway::{TargetReason, TargetState, TargetStatus},
    topology::edge::{self, DnsTargets, HealthCheck, Protocol, Routing, TargetGroup},
};

use super::{Group, Identity, Snapshot, Target, cookie_name};
use crate::rules::Table;

/// Which target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) group: Arc<str>,
    pub(crate) address: SocketAddr,
}

/// Why a check failed, in ALB's word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    pub(crate) reason: TargetReason,
    pub(crate) why: String,
}

impl Miss {
    fn initial() -> Miss {
        Miss { reason: TargetReason::InitialHealthChecking, why: "no check has ended yet".into() }
    }
}

/// What can happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Groups and rules are these from now on. Targets that stay keep what is known of them.
    Configured(Routing),
    /// The targets of one group, those aside that its names lead to, are these from now on.
    Targets { group: Arc<str>, targets: Vec<edge::Target> },
    /// One of a group's names leads to these addresses.
    Found { group: Arc<str>, from: DnsTargets, addresses: Vec<IpAddr> },
    /// A check that began at `began_ms` has ended.
    Checked { key: Key, began_ms: u64, result: Result<(), Miss> },
    /// A serving thread saw as many failures in a row as its group bears.
    Failing(Key),
    /// Time passed; due at [`Core::wake_at_ms`].
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Check this target from now on, at once and again and again, in the language it speaks. Replaces an earlier order.
    Watch(Key, HealthCheck, Protocol),
    /// Check it no more.
    Unwatch(Key),
    /// Ask for these names of a group, and for no others of it.
    Follow(Arc<str>, Vec<DnsTargets>),
    /// Threads must hear of this: [`Core::snapshot`].
    Publish,
    /// For the log.
    Tell { key: Key, state: TargetState, why: Option<String> },
}

/// Owns what is known of all targets. Drive it with [`Core::step`].
#[derive(Debug)]
pub(crate) struct Core {
    /// The zone in which the gateway stands.
    zone: Option<String>,
    table: Arc<Table>,
    groups: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    config: Arc<TargetGroup>,
    cookie: Option<Arc<str>>,
    /// Some rule forwards to it.
    used: bool,
    /// What it was told its targets are.
    given: Vec<edge::Target>,
    /// What its names led to last.
    found: Vec<(DnsTargets, Vec<IpAddr>)>,
    targets: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    target: edge::Target,
    identity: Arc<Identity>,
    state: TargetState,
    miss: Option<Miss>,
    successes: u32,
    failures: u32,
    healthy_since_ms: u64,
    ejected: Option<Ejected>,
    /// How often it was ejected, with pauses that were short, and when that ended last.
    ejections: u32,
    ejection_ended_ms: u64,
    /// It was taken out and is forgotten then.
    leaves_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    at_ms: u64,
    until_ms: u64,
    /// A check that began after it has succeeded.
    checked: bool,
}

impl Core {
    pub(crate) fn new(zone: Option<String>) -> Core {
        Core { zone, table: Arc::new(Table::new(&Routing::default())), groups: Vec::new() }
    }

    /// When [`Event::Tick`] is due, in milliseconds; `None` while nothing depends on time.
    pub(crate) fn wake_at_ms(&self) -> Option<u64> {
        let targets = self.groups.iter().flat_map(|g| &g.targets);
        let times =
            targets.flat_map(|t| [t.leaves_at_ms, t.ejected.filter(|e| e.checked).map(|e| e.until_ms)]);
        times.flatten().min()
    }

    /// Takes in what happened; appends what is to be done to `effects`.
    pub(crate) fn step(&mut self, now_ms: u64, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Configured(routing) => self.configured(now_ms, routing, effects),
            Event::Targets { group, targets } => {
                if let Some(known) = self.groups.iter_mut().find(|g| g.name == group) {
                    known.given = targets;
                    known.set_targets(now_ms, effects);
                    effects.push(Effect::Publish);
                }
            }
            Event::Found { group, from, addresses } => {
                if let Some(known) = self.groups.iter_mut().find(|g| g.name == group)
                    && known.finds(from, addresses)
                {
                    known.set_targets(now_ms, effects);
                    effects.push(Effect::Publish);
                }
            }
            Event::Checked { key, began_ms, result } => self.checked(now_ms, key, began_ms, result, effects),
            Event::Failing(key) => self.failing(now_ms, key, effects),
            Event::Tick => {}
        }
        self.pass_time(now_ms, effects);
    }

    /// What threads are to know now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let group = |known: &Known| Group {
            config: known.config.clone(),
            cookie: known.cookie.clone(),
            fit: known.fit(self.zone.as_deref()),
        };
        let status = self.groups.iter().flat_map(|g| g.targets.iter().map(|t| t.status(&g.name)));
        Snapshot {
            table: self.table.clone(),
            groups: self.groups.iter().map(group).collect(),
            status: status.collect(),
        }
    }

    fn configured(&mut self, now_ms: u64, routing: Routing, effects: &mut Vec<Effect>) {
        let table = Table::new(&routing);
        let mut before = std::mem::take(&mut self.groups);
        for (place, mut config) in routing.groups.into_iter().enumerate() {
            let given = std::mem::take(&mut config.targets);
            let old = before.iter().position(|g| *g.name == *config.name).map(|at| before.swap_remove(at));
            let mut known = Known {
                name: config.name.as_str().into(),
                cookie: cookie_name(&config).map(Into::into),
                used: table.uses(place),
                config: Arc::new(config),
                given,
                found: Vec::new(),
                targets: Vec::new(),
            };
            let followed = old.as_ref().map(|old| old.config.dns.as_slice()).unwrap_or_default();
            if *followed != known.config.dns {
                effects.push(Effect::Follow(known.name.clone(), known.config.dns.clone()));
            }
            let rewatch = old.as_ref().is_some_and(|old| {
                old.used != known.used
                    || old.config.health_check != known.config.health_check
                    || old.config.protocol != known.config.protocol
            });
            if let Some(old) = old {
                (known.targets, known.found) = (old.targets, old.found);
                known.found.retain(|(from, _)| known.config.dns.contains(from));
            }
            known.set_targets(now_ms, effects);
            if rewatch {
                known.rewatch(effects);
            }
            self.groups.push(known);
        }
        for gone in before {
            effects.extend(gone.targets.iter().map(|t| Effect::Unwatch(gone.key(t))));
            effects.push(Effect::Follow(gone.name.clone(), Vec::new()));
        }
        self.table = Arc::new(table);
        effects.push(Effect::Publish);
    }

    fn record(&mut self, key: &Key) -> Option<(&Arc<TargetGroup>, &mut Record)> {
        let known = self.groups.iter_mut().find(|g| g.name == key.group)?;
        let record = known.targets.iter_mut().find(|t| t.target.address == key.address)?;
        Some((&known.config, record))
    }

    fn checked(
        &mut self,
        now_ms: u64,
        key: Key,
        began_ms: u64,
        result: Result<(), Miss>,
        effects: &mut Vec<Effect>,
    ) {
        let Some((config, record)) = self.record(&key) else { return };
        if record.leaves_at_ms.is_some() {
            return;
        }
        let before = record.state;
        match result {
            Ok(()) => record.succeeded(now_ms, began_ms, config),
            Err(miss) => record.failed(miss, config),
        }
        if record.state != before {
            let why = record.miss.as_ref().map(|m| m.why.clone());
            effects.push(Effect::Tell { key, state: record.state, why });
            effects.push(Effect::Publish);
        }
    }

    fn failing(&mut self, now_ms: u64, key: Key, effects: &mut Vec<Effect>) {
        let Some(known) = self.groups.iter_mut().find(|g| g.name == key.group) else { return };
        let healthy = known.targets.iter().filter(|t| t.is_healthy()).count();
        let ejected = known.targets.iter().filter(|t| t.is_healthy() && t.ejected.is_some()).count();
        let config = known.config.clone();
        let Some(record) = known.targets.iter_mut().find(|t| t.target.address == key.address) else { return };
        if (ejected + 1) * 2 > healthy || !record.is_healthy() || record.ejected.is_some() {
            return;
        }
        let for_ms = config.circuit_breaker.for_ms;
        if now_ms.saturating_sub(record.ejection_ended_ms) > for_ms.saturating_mul(10) {
            record.ejections = 0;
        }
        let longer = 1u64.checked_shl(record.ejections).unwrap_or(u64::MAX).min(10);
        let until_ms = now_ms.saturating_add(for_ms.saturating_mul(longer));
        record.ejections += 1;
        record.ejected = Some(Ejected { at_ms: now_ms, until_ms, checked: false });
        let why = Some(format!("{} requests in a row failed on it", config.circuit_breaker.failures));
        effects.push(Effect::Tell { key, state: TargetState::Unhealthy, why });
        effects.push(Effect::Publish);
    }

    /// What is over by now: ejections, and the time of targets that leave.
    fn pass_time(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for known in &mut self.groups {
            let mut changed = false;
            for record in &mut known.targets {
                if record.ejected.is_some_and(|e| e.checked && e.until_ms <= now_ms) {
                    record.ejected = None;
                    record.ejection_ended_ms = now_ms;
                    record.healthy_since_ms = now_ms;
                    changed = true;
                    let key = Key { group: known.name.clone(), address: record.target.address };
                    effects.push(Effect::Tell { key, state: record.state, why: None });
                }
            }
            let before = known.targets.len();
            known.targets.retain(|t| t.leaves_at_ms.is_none_or(|at| at > now_ms));
            if changed || known.targets.len() != before {
                effects.push(Effect::Publish);
            }
        }
    }
}

impl Known {
    fn key(&self, record: &Record) -> Key {
        Key { group: self.name.clone(), address: record.target.address }
    }

    /// What a name leads to now; whether that changes anything.
    fn finds(&mut self, from: DnsTargets, mut addresses: Vec<IpAddr>) -> bool {
        if addresses.is_empty() || !self.config.dns.contains(&from) {
            return false;
        }
        // Name servers turn the order with every answer.
        addresses.sort_unstable();
        addresses.dedup();
        match self.found.iter_mut().find(|(known, _)| *known == from) {
            Some((_, before)) if *before == addresses => return false,
            Some((_, before)) => *before = addresses,
            None => self.found.push((from, addresses)),
        }
        true
    }

    /// Those that were given and those that were found, each once.
    fn wanted(&self) -> Vec<edge::Target> {
        let mut wanted = self.given.clone();
        for (from, addresses) in &self.found {
            for ip in addresses {
                let address = SocketAddr::new(*ip, from.port);
                if !wanted.iter().any(|w| w.address == address) {
                    let DnsTargets { site, zone, weight, .. } = from.clone();
                    wanted.push(edge::Target { site, address, name: None, zone, weight });
                }
            }
        }
        wanted
    }

    /// Targets that are new begin, those that are missing leave, those that stay keep what is known of them.
    fn set_targets(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let wanted = self.wanted();
        let leaves_at_ms = now_ms.saturating_add(self.config.deregistration_delay_ms);
        for record in &mut self.targets {
            let stays = wanted.iter().any(|w| w.address == record.target.address);
            if !stays && record.leaves_at_ms.is_none() {
                record.leaves_at_ms = Some(leaves_at_ms);
                record.state = TargetState::Draining;
                let key = Key { group: self.name.clone(), address: record.target.address };
                effects.push(Effect::Unwatch(key));
            }
        }
        for target in wanted {
            let identity = Arc::new(Identity::new(&self.config, &target));
            let known = self.targets.iter_mut().find(|t| t.target.address == target.address);
            if let Some(record) = known.filter(|t| t.leaves_at_ms.is_none()) {
                (record.target, record.identity) = (target, identity);
                continue;
            }
            // Of one that had left and is back nothing is known either.
            self.targets.retain(|t| t.target.address != target.address);
            if self.used {
                let key = Key { group: self.name.clone(), address: target.address };
                effects.push(Effect::Watch(key, self.config.health_check.clone(), self.config.protocol));
            }
            self.targets.push(Record::new(target, identity, self.used));
        }
    }

    /// Its checks are others now, or it is used where it was not, or the other way round.
    fn rewatch(&mut self, effects: &mut Vec<Effect>) {
        for record in self.targets.iter_mut().filter(|t| t.leaves_at_ms.is_none()) {
            let key = Key { group: self.name.clone(), address: record.target.address };
            if self.used {
                if record.state == TargetState::Unused {
                    (record.state, record.miss) = (TargetState::Initial, Some(Miss::initial()));
                }
                effects.push(Effect::Watch(key, self.config.health_check.clone(), self.config.protocol));
            } else {
                record.state = TargetState::Unused;
                effects.push(Effect::Unwatch(key));
            }
        }
    }

    /// The targets that may be asked, in the order in which they were given.
    fn fit(&self, zone: Option<&str>) -> Vec<Target> {
        let near = |t: &Record| self.config.cross_zone || zone.is_none() || t.target.zone.as_deref() == zone;
        let healthy = |t: &Record| t.is_healthy() && t.ejected.is_none();
        let stays = |t: &Record| t.leaves_at_ms.is_none();
        let these = |fits: &dyn Fn(&Record) -> bool| {
            self.targets.iter().filter(|t| fits(t)).map(Record::view).collect::<Vec<_>>()
        };
        let mut fit = these(&|t| healthy(t) && near(t));
        if fit.is_empty() {
            fit = these(&healthy);
        }
        if fit.is_empty() && self.config.fail_open {
            fit = these(&stays);
        }
        fit
    }
}

impl Record {
    fn new(target: edge::Target, identity: Arc<Identity>, used: bool) -> Record {
        Record {
            target,
            identity,
            state: if used { TargetState::Initial } else { TargetState::Unused },
            miss: used.then(Miss::initial),
            successes: 0,
            failures: 0,
            healthy_since_ms: 0,
            ejected: None,
            ejections: 0,
            ejection_ended_ms: 0,
            leaves_at_ms: None,
        }
    }

    fn is_healthy(&self) -> bool {
        self.state == TargetState::Healthy
    }

    fn succeeded(&mut self, now_ms: u64, began_ms: u64, config: &TargetGroup) {
        (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
        let enough = if self.state == TargetState::Initial { 1 } else { config.health_check.healthy_after };
        if self.successes >= enough {
            if !self.is_healthy() {
                self.healthy_since_ms = now_ms;
            }
            self.state = TargetState::Healthy;
            self.miss = None;
        }
        if let Some(ejected) = &mut self.ejected {
            ejected.checked |= began_ms >= ejected.at_ms;
        }
    }

    fn failed(&mut self, miss: Miss, config: &TargetGroup) {
        (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        self.miss = Some(miss);
        if let Some(ejected) = &mut self.ejected {
            ejected.checked = false;
        }
        if self.failures >= config.health_check.unhealthy_after {
            self.state = TargetState::Unhealthy;
            // The checks have found it themselves: they alone decide now.
            self.ejected = None;
        }
    }

    fn view(&self) -> Target {
        Target {
            address: self.target.address,
            identity: self.identity.clone(),
            weight: self.target.weight,
            since_ms: self.healthy_since_ms,
        }
    }

    fn status(&self, group: &str) -> TargetStatus {
        let miss = self.miss.as_ref();
        let (state, reason, why) = match (self.state, self.ejected) {
            (TargetState::Draining, _) => (
                TargetState::Draining,
                Some(TargetReason::DeregistrationInProgress),
                Some("it was taken out and finishes what it has begun".into()),
            ),
            (TargetState::Unused, _) => (
                TargetState::Unused,
                Some(TargetReason::NotInUse),
                Some("no rule forwards to its group".into()),
            ),
            (TargetState::Healthy, Some(_)) => (
                TargetState::Unhealthy,
                Some(TargetReason::Ejected),
                Some("visitors' requests failed on it in a row".into()),
            ),
            (state, _) => (state, miss.map(|m| m.reason), miss.map(|m| m.why.clone())),
        };
        TargetStatus {
            group: group.to_owned(),
            name: self.identity.name.clone(),
            address: self.target.address,
            zone: self.target.zone.clone(),
            state,
            reason,
            why,
        }
    }
}

#[cfg(test)]
mod tests;
