//! What a controller knows of switchovers: who asked, what its own steps of one came to, and how it is told.
//!
//! It is knowledge only; what follows from it is judged in `decide::switchover`. A controller that leads anew knows none
//! of it, and takes the steps again.

use decide::switchover::Known;
use model::{
    Epoch, Mode, Register, Site, Step, Verdict,
    switchover::{Phase, Request, State, Told},
};

use crate::execute::Outcome;

/// A request that was not announced within this time is forgotten: what spoke for it may not be true any more.
const ASKED_MS: u64 = 3_000;

#[derive(Debug, Default)]
pub(super) struct Switchover {
    preferred: Option<Site>,
    /// When anything was wrong last, or we began.
    unwell_ms: Option<u64>,
    intent_since: Option<(u64, u64)>,
    asked: Option<(Site, u64)>,
    known: Known,
    telling: Option<Telling>,
}

/// The switchover that is told of, and since when.
#[derive(Debug)]
struct Telling {
    told: Told,
    since_ms: u64,
    synced: bool,
}

impl Switchover {
    pub(super) fn prefer(&mut self, site: Site) {
        self.preferred = Some(site);
    }

    /// What the judgement is to know.
    pub(super) fn known(&self, now_ms: u64) -> Known {
        let asked = self.asked.as_ref().filter(|(_, at_ms)| now_ms.saturating_sub(*at_ms) < ASKED_MS);
        Known {
            asked: asked.map(|(to, _)| to.clone()),
            preferred: self.preferred.clone(),
            well_ms: self.unwell_ms.map_or(0, |at| now_ms.saturating_sub(at)),
            intent_age_ms: self.intent_since.map_or(0, |(_, since)| now_ms.saturating_sub(since)),
            ..self.known.clone()
        }
    }

    pub(super) fn told(&self) -> Option<Told> {
        self.telling.as_ref().map(|t| t.told.clone())
    }

    pub(super) fn asked(
        &mut self,
        now_ms: u64,
        wall_ms: u64,
        number: u64,
        request: &Request,
        register: Option<&Register>,
        against: Vec<String>,
    ) {
        if let Some(telling) = &mut self.telling
            && telling.told.state == State::UnderWay
        {
            // There is one at most: whoever asks besides is told of that one.
            telling.told.number = number;
            return;
        }
        let state = if against.is_empty() { State::Asked } else { State::Refused };
        if against.is_empty() {
            tracing::info!(to = %request.to, by = request.by, "a switchover is asked for");
            self.asked = Some((request.to.clone(), now_ms));
        }
        self.telling = Some(Telling {
            told: Told {
                number,
                from: register.map_or_else(|| Site::new("unknown"), |r| r.primary.clone()),
                to: request.to.clone(),
                state,
                reasons: against,
                epoch: register.map_or(Epoch(0), |r| r.epoch),
                began_ms: wall_ms,
                phases: Vec::new(),
            },
            since_ms: now_ms,
            synced: false,
        });
    }

    /// Nothing is well while there is anything to do.
    pub(super) fn judged(&mut self, now_ms: u64, verdict: &Verdict) {
        if self.unwell_ms.is_none() || !verdict.problems.is_empty() || !verdict.plan.steps.is_empty() {
            self.unwell_ms = Some(now_ms);
        }
        if let Some(telling) = &mut self.telling
            && telling.told.state == State::Asked
            && now_ms.saturating_sub(telling.since_ms) >= ASKED_MS
        {
            telling.told.state = State::Refused;
            telling.told.reasons.clone_from(&verdict.reasons);
        }
    }

    /// A record of the register that was not overtaken.
    pub(super) fn learn(&mut self, now_ms: u64, record: &Register) {
        let id = record.intent.as_ref().map(|i| i.id);
        match (id, self.intent_since) {
            (Some(id), Some((known, _))) if id == known => {}
            (Some(id), _) => self.intent_since = Some((id, now_ms)),
            (None, Some(_)) => {
                self.intent_since = None;
                self.unwell_ms = Some(now_ms);
            }
            (None, None) => {}
        }
        if id.is_some() {
            self.asked = None;
        }
        if self.known.epoch.is_some_and(|epoch| epoch != record.epoch) {
            // Gateways go on by themselves in a new epoch.
            self.known.parked.clear();
        }
        let Some(telling) = &mut self.telling else { return };
        let told = &mut telling.told;
        match told.state {
            State::Asked if id.is_some() => told.state = State::UnderWay,
            State::UnderWay if record.epoch == told.epoch && id.is_none() => {
                told.state = State::RolledBack;
                told.reasons = vec![record.why.clone()];
            }
            _ => {}
        }
        let back = record.epoch > told.epoch && record.primary == told.to && record.mode == Mode::Sync;
        if back && !telling.synced {
            telling.synced = true;
            let ended_ms = now_ms.saturating_sub(telling.since_ms);
            let opened_ms = told.phases.iter().rev().find(|p| p.phase == "promote").map_or(0, |p| p.ended_ms);
            let took_ms = ended_ms.saturating_sub(opened_ms);
            let site = told.from.clone();
            told.phases.push(Phase { phase: "sync".into(), site, ended_ms, took_ms, done: true });
        }
    }

    /// A step of ours ended.
    pub(super) fn ended(&mut self, now_ms: u64, wall_ms: u64, began_ms: u64, step: &Step, outcome: &Outcome) {
        self.learn_outcome(step, outcome);
        if let (Step::Announce { record }, Outcome::Moved { .. }) = (step, outcome) {
            self.announced(began_ms, wall_ms, record);
        }
        let Some(telling) = &mut self.telling else { return };
        let told = &mut telling.told;
        // A request that lost its race for the register, or was not asked for in vain before.
        if matches!(told.state, State::Refused | State::RolledBack)
            && !matches!(step, Step::Unpark { .. } | Step::Promote { .. })
        {
            return;
        }
        told.phases.push(Phase {
            phase: step.kind().to_owned(),
            site: step.site().clone(),
            ended_ms: now_ms.saturating_sub(telling.since_ms),
            took_ms: now_ms.saturating_sub(began_ms),
            done: outcome.is_done(),
        });
        if let (Step::Promote { site, epoch }, Outcome::Promoted) = (step, outcome)
            && *site == told.to
            && *epoch > told.epoch
        {
            told.state = State::Done;
        }
    }

    /// A switchover that nobody asked for (a failback) is told from here on.
    fn announced(&mut self, began_ms: u64, wall_ms: u64, record: &Register) {
        let number = match &self.telling {
            Some(t) if matches!(t.told.state, State::Asked | State::UnderWay) => return,
            other => other.as_ref().map_or(0, |t| t.told.number),
        };
        let Some(intent) = &record.intent else { return };
        let told = Told {
            number,
            from: record.primary.clone(),
            to: intent.to.clone(),
            state: State::UnderWay,
            reasons: Vec::new(),
            epoch: record.epoch,
            began_ms: wall_ms,
            phases: Vec::new(),
        };
        self.telling = Some(Telling { told, since_ms: began_ms, synced: false });
    }

    fn learn_outcome(&mut self, step: &Step, outcome: &Outcome) {
        let known = &mut self.known;
        match (step, outcome) {
            (Step::Park { site, epoch, intent }, Outcome::Parked) => {
                known.epoch = Some(*epoch);
                known.parked.retain(|(s, _)| s != site);
                known.parked.push((site.clone(), *intent));
            }
            (Step::Park { site, epoch, intent }, Outcome::Failed { why }) => {
                // It may be parked all the same: it is told to go on when the intent has been withdrawn.
                known.epoch = Some(*epoch);
                known.parked.retain(|(s, _)| s != site);
                known.parked.push((site.clone(), *intent));
                known.failed = Some((*intent, format!("the requests at {site} could not be parked: {why}")));
            }
            (Step::Close { epoch, intent, .. }, Outcome::Fenced) => {
                (known.epoch, known.closed) = (Some(*epoch), Some(*intent));
            }
            (Step::Close { site, epoch, intent }, Outcome::Failed { why }) => {
                (known.epoch, known.closed) = (Some(*epoch), Some(*intent));
                known.failed = Some((*intent, format!("{site} could not be closed: {why}")));
            }
            (Step::CatchUp { intent, .. }, Outcome::CaughtUp) => known.caught_up = Some(*intent),
            (Step::CatchUp { intent, .. }, Outcome::Failed { why }) => {
                known.failed = Some((*intent, format!("the standby did not catch up: {why}")));
            }
            (Step::Promote { epoch, .. }, Outcome::Promoted) if known.epoch == Some(*epoch) => {
                known.closed = None;
            }
            (Step::Unpark { site, .. }, Outcome::Unparked) => known.parked.retain(|(s, _)| s != site),
            _ => {}
        }
    }
}
