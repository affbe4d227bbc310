//! The safety rules, as data: what must not be done although it could be.
//!
//! [`TABLE`] is the whole list. A rule that stands against something is a reason of the verdict and begins with its
//! name, so that whoever reads a journal at night can look it up here. To add a rule: a variant, a row, a story.
//!
//! Two kinds: what concerns [`Reach::Everything`] empties the plan of all but what takes a switchover back (the global stop,
//! observing); the others only stand against beginning a failover. An operator's approval overrides what is marked so, never the rest:
//! a site that could not serve, or data that must not be promoted, stay where they are, whoever asks.

use model::{
    Epoch, Mode, Plan, Step,
    register::Approval,
    sabotage::{self, Sabotage},
    weekly::Weekly,
};

use crate::{
    problem::Language,
    switchover,
    world::{Beliefs, is_gone},
};

/// A rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An operator has stopped everything.
    Stop,
    /// Controllers only watch.
    Observe,
    /// What operators ordered is not known.
    OrdersUnknown,
    /// A maintenance window is open.
    Maintenance,
    /// One that recurs every week is.
    WeeklyMaintenance,
    /// The last change of primary was a moment ago.
    Pause,
    /// In `solo` a failover loses acknowledged writes.
    NoLoss,
    /// At least one site serves.
    OneSiteServes,
}

/// What a rule stands against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every step.
    Everything,
    /// A failover that nobody ordered.
    Automatic,
    /// Every failover, ordered or not.
    Failover,
}

/// One rule.
pub struct Entry {
    /// Which.
    pub rule: Rule,
    /// As reasons, scenarios and commands write it.
    pub name: &'static str,
    /// What it stands against.
    pub reach: Reach,
    /// What it says, in English.
    pub en: &'static str,
    /// The same in Korean.
    pub ko: &'static str,
    /// Why it stands against acting now, if it does.
    pub against: fn(&Beliefs<'_>) -> Option<String>,
}

/// The rules, the most general first.
pub const TABLE: &[Entry] = &[
    Entry {
        rule: Rule::Stop,
        name: "stop",
        reach: Reach::Everything,
        en: "An operator has stopped everything: controllers watch and take no step but to take back a switchover that was under way. `ghostlight stop --lift` ends it.",
        ko: "운영자가 모든 동작을 정지했습니다. 컨트롤러는 관측만 하며, 진행 중이던 계획 전환을 되돌리는 것 외에는 아무 조치도 하지 않습니다. `ghostlight stop --lift`로 해제합니다.",
        against: |b| {
            let halt = b.orders()?.stopped.as_ref()?;
            Some(format!("{} has stopped everything: {}", halt.by, halt.why))
        },
    },
    Entry {
        rule: Rule::Observe,
        name: "observe",
        reach: Reach::Everything,
        en: "Controllers only write down what they would do. `ghostlight observe --off` lets them act again.",
        ko: "컨트롤러는 수행할 조치를 기록만 하고 실행하지 않습니다. `ghostlight observe --off`로 해제합니다.",
        against: |b| b.orders()?.observe.then(|| "nothing is done, only written down".into()),
    },
    Entry {
        rule: Rule::OrdersUnknown,
        name: "orders_unknown",
        reach: Reach::Failover,
        en: "What operators ordered could not be read: no failover is begun without it.",
        ko: "운영자 지시를 읽을 수 없습니다. 확인 전에는 장애 조치를 시작하지 않습니다.",
        against: |b| b.orders().is_none().then(|| "what operators have ordered could not be read".into()),
    },
    Entry {
        rule: Rule::Maintenance,
        name: "maintenance",
        reach: Reach::Automatic,
        en: "A maintenance window is open: nothing moves automatically. `ghostlight hold --lift` ends it.",
        ko: "점검 시간입니다. 자동 장애 조치를 하지 않습니다. `ghostlight hold --lift`로 해제합니다.",
        against: |b| {
            let window = b.orders()?.windows.iter().find(|w| w.is_open(b.world.wall_ms))?;
            Some(format!("a window that {} ordered is open ({})", window.by, window.why))
        },
    },
    Entry {
        rule: Rule::WeeklyMaintenance,
        name: "weekly_maintenance",
        reach: Reach::Automatic,
        en: "A weekly maintenance window is open: nothing moves automatically until its end. `policy.maintenance` lists them.",
        ko: "정기 점검 시간입니다. 끝날 때까지 자동 장애 조치를 하지 않습니다. `policy.maintenance`에 설정되어 있습니다.",
        against: |b| open_week(b).map(|window| format!("the weekly window {window} is open")),
    },
    Entry {
        rule: Rule::NoLoss,
        name: "no_loss",
        reach: Reach::Automatic,
        en: "In solo a failover would lose acknowledged writes: only an operator may order it, with `ghostlight failover --accept-data-loss`.",
        ko: "단독 모드에서는 장애 조치 시 응답된 쓰기가 유실될 수 있습니다. 운영자만 `ghostlight failover --accept-data-loss`로 지시할 수 있습니다.",
        against: |b| {
            (b.register.mode == Mode::Solo && !sabotage::is(Sabotage::PromoteInSolo)).then(|| {
                format!(
                    "the mode is solo: {} is behind, and a failover would lose acknowledged writes; that is an operator's decision",
                    b.standby
                )
            })
        },
    },
    Entry {
        rule: Rule::Pause,
        name: "pause",
        reach: Reach::Automatic,
        en: "The primary changed a moment ago: a second automatic failover waits for `policy.failover_pause_ms`.",
        ko: "주 사이트가 방금 바뀌었습니다. 다음 자동 장애 조치는 `policy.failover_pause_ms` 이후에만 가능합니다.",
        against: |b| {
            let pause_ms = b.policy.failover_pause_ms;
            (b.register.epoch > Epoch::FIRST && b.world.epoch_age_ms < pause_ms).then(|| {
                format!("the primary changed less than {pause_ms} ms ago: a second automatic failover waits")
            })
        },
    },
    Entry {
        rule: Rule::OneSiteServes,
        name: "one_site_serves",
        reach: Reach::Failover,
        en: "At least one site must serve: nothing moves to a site whose gateway does not answer.",
        ko: "최소 한 사이트는 서비스해야 합니다. 게이트웨이가 응답하지 않는 사이트로는 전환하지 않습니다.",
        against: |b| {
            let mut looked = b.seen_by_all(b.standby).peekable();
            let gone = looked.peek().is_some() && looked.all(|o| is_gone(&o.gateway, b.policy));
            gone.then(|| {
                format!("the gateway of {} does not answer: nobody would be served there", b.standby)
            })
        },
    },
];

/// The weekly window that is open now, if one is.
pub(crate) fn open_week<'w>(b: &Beliefs<'w>) -> Option<&'w Weekly> {
    b.policy.maintenance.iter().find(|window| window.is_open(b.world.wall_ms))
}

/// Its row in the table.
pub fn entry(rule: Rule) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.rule == rule)
}

impl Entry {
    /// The operator's sentence.
    pub fn sentence(&self, language: Language) -> &'static str {
        match language {
            Language::Ko => self.ko,
            Language::En => self.en,
        }
    }
}

/// Every rule that stands against a failover now; `ordered`: by an operator's order.
pub(crate) fn against_failover(b: &Beliefs<'_>, ordered: bool) -> Vec<String> {
    let concerns = |entry: &&Entry| match entry.reach {
        Reach::Everything => false, // said of every plan, by `obey`
        Reach::Automatic => !ordered,
        Reach::Failover => true,
    };
    let told = |entry: &Entry| (entry.against)(b).map(|why| format!("{}: {why}", entry.name));
    TABLE.iter().filter(concerns).filter_map(told).collect()
}

/// Every rule that stands against all steps now.
pub(crate) fn standing(b: &Beliefs<'_>) -> Vec<String> {
    let everything = TABLE.iter().filter(|entry| entry.reach == Reach::Everything);
    everything.filter_map(|entry| (entry.against)(b).map(|why| format!("{}: {why}", entry.name))).collect()
}

/// The last word on every plan: while everything is stopped, or only observed, nothing of it is left but a reason. Only a
/// switchover that the order met half-way is taken back all the same: its database is closed and its visitors wait.
pub(crate) fn obey(b: &Beliefs<'_>, steps: Vec<Step>, mut reasons: Vec<String>) -> (Plan, Vec<String>) {
    if standing(b).is_empty() {
        return (Plan { steps }, reasons);
    }
    let left_behind = switchover::left_behind(b);
    let takes_back = |step: &Step| matches!(step, Step::Withdraw { .. }) || left_behind.contains(step);
    let (taken, mut steps): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(takes_back);
    for entry in TABLE.iter().filter(|entry| entry.reach == Reach::Everything) {
        let Some(why) = (entry.against)(b) else { continue };
        let would: Vec<String> = std::mem::take(&mut steps).iter().map(ToString::to_string).collect();
        reasons.push(match would.as_slice() {
            [] => format!("{}: {why}", entry.name),
            would => format!("{}: {why}; it would now: {}", entry.name, would.join(" → ")),
        });
    }
    (Plan { steps: taken }, reasons)
}

/// The approval of a failover out of the present epoch, while it is good.
pub(crate) fn approval<'w>(b: &Beliefs<'w>) -> Option<&'w Approval> {
    let approval = b.orders()?.approval.as_ref()?;
    let good = approval.epoch == b.register.epoch
        && approval.to == *b.standby
        && b.world.wall_ms < approval.until_ms;
    good.then_some(approval)
}

/// How many seconds of acknowledged writes a failover now could lose at most; `None`: nobody knows.
///
/// In `sync` none. In `solo`, everything since the last heartbeat of the primary that came through the stream.
pub fn loss_s_max(b: &Beliefs<'_>) -> Option<u64> {
    if b.register.mode == Mode::Sync {
        return Some(0);
    }
    let said = b.standby_said.filter(|said| said.fresh)?;
    Some(said.status.heartbeat_age_ms?.saturating_add(said.age_ms).div_ceil(1_000))
}

/// Why what was approved does not cover what could be lost, if so.
pub(crate) fn loss_beyond(b: &Beliefs<'_>, approval: &Approval) -> Option<String> {
    let accepted = approval.accept_loss_s;
    if accepted == Approval::ANY_LOSS {
        return None;
    }
    match loss_s_max(b) {
        None => Some(format!(
            "approval: {} accepted a loss of {accepted} s, and how much {} lacks is not known",
            approval.by, b.standby
        )),
        Some(loss_s) => (loss_s > accepted).then(|| {
            format!("approval: {} accepted a loss of {accepted} s, and {} lacks more", approval.by, b.standby)
        }),
    }
}
