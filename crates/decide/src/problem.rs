//! Every failure mode: its name, an operator's sentence, how bad it is, and when it holds.
//!
//! [`TABLE`] is the whole list, worst first; verdicts, console, journal and scenarios speak its names. To add a
//! failure mode, add a variant to [`Problem`], a row here and a scenario.

use model::{
    Epoch, Mode, Problem, Site,
    agent::{Fence, Role, StandbyPhase},
};

use crate::world::{Beliefs, Loss, Promotion, Sight, is_gone};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Visitors notice, or would notice the next fault: wake somebody.
    Critical,
    /// The service runs; a promise is in danger: look today.
    Error,
    /// Worth knowing.
    Warning,
}

/// A language of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Korean.
    Ko,
    /// English.
    En,
}

/// One failure mode.
pub struct Entry {
    /// Its name.
    pub problem: Problem,
    /// How bad it is.
    pub severity: Severity,
    /// The sentence in Korean; `{primary}` and `{standby}` stand for the sites' names.
    pub ko: &'static str,
    /// The same in English.
    pub en: &'static str,
    /// When it holds.
    pub holds: fn(&Beliefs<'_>) -> bool,
}

/// The failure modes, worst first.
pub const TABLE: &[Entry] = &[
    Entry {
        problem: Problem::PrimarySiteLost,
        severity: Severity::Critical,
        en: "The primary site {primary} is lost: neither its agent nor its gateway answers, from the witness and from {standby}.",
        ko: "주 사이트 {primary} 전체가 응답하지 않습니다. 증인과 {standby} 양쪽에서 에이전트와 게이트웨이 모두 확인되지 않습니다.",
        holds: |b| both_down(b) == Some(Loss::Site),
    },
    Entry {
        problem: Problem::PrimaryDatabaseLost,
        severity: Severity::Critical,
        en: "The primary database of {primary} does not commit; its agent answers.",
        ko: "{primary}의 주 데이터베이스가 커밋하지 못합니다. 에이전트는 응답합니다.",
        holds: |b| both_down(b) == Some(Loss::Database),
    },
    Entry {
        problem: Problem::PrimaryAgentLost,
        severity: Severity::Critical,
        en: "The agent of the primary {primary} does not answer; its gateway does. Held answers wait.",
        ko: "주 사이트 {primary}의 에이전트가 응답하지 않습니다. 게이트웨이는 응답하며, 보류된 응답은 대기 중입니다.",
        holds: |b| both_down(b) == Some(Loss::Agent),
    },
    Entry {
        problem: Problem::PrimaryGatewayLost,
        severity: Severity::Critical,
        en: "The gateway of the primary {primary} does not answer; its database commits. Restart the gateway.",
        ko: "주 사이트 {primary}의 게이트웨이가 응답하지 않습니다. 데이터베이스는 정상입니다. 게이트웨이를 재시작하십시오.",
        holds: |b| b.from_witness == Sight::Healthy && gateway_gone(b),
    },
    Entry {
        problem: Problem::PromotionRefused,
        severity: Severity::Critical,
        en: "The register names {primary}, but its database has refused its promotion for good. An operator must decide.",
        ko: "레지스터는 {primary}를 지정하지만 그 데이터베이스가 승격을 영구히 거부했습니다. 운영자의 판단이 필요합니다.",
        holds: promotion_refused,
    },
    Entry {
        problem: Problem::PromotionUnfinished,
        severity: Severity::Critical,
        en: "The register names {primary}, but its database is not promoted yet.",
        ko: "레지스터는 {primary}를 지정하지만 데이터베이스 승격이 아직 끝나지 않았습니다.",
        holds: |b| {
            let known = b.ahead_of_register().is_none() && !promotion_refused(b);
            b.register.epoch > Epoch::FIRST && b.promotion() == Promotion::Missing && known
        },
    },
    Entry {
        problem: Problem::RegisterBehind,
        severity: Severity::Critical,
        en: "A database or the name server knows a newer epoch than the register: the register lost a change, or is not the right one. Nothing is decided until somebody has looked.",
        ko: "데이터베이스나 네임서버가 레지스터보다 새로운 에포크를 알고 있습니다. 레지스터가 변경을 잃었거나 잘못 연결되었습니다. 확인 전에는 아무것도 결정하지 않습니다.",
        holds: |b| b.register_lost_a_change(),
    },
    Entry {
        problem: Problem::RegisterUnreachable,
        severity: Severity::Critical,
        en: "The register does not answer: answers go on while sites are in sync, no failover is possible.",
        ko: "레지스터가 응답하지 않습니다. 동기 상태에서는 서비스가 계속되지만 장애 조치는 불가능합니다.",
        holds: |b| !b.register_fresh,
    },
    Entry {
        problem: Problem::FenceUnfinished,
        severity: Severity::Error,
        en: "The database of {standby}, which is not the primary, was last seen open to the application.",
        ko: "주 사이트가 아닌 {standby}의 데이터베이스가 애플리케이션에 열려 있는 것으로 마지막에 확인되었습니다.",
        holds: |b| b.standby_said.is_some_and(|s| s.status.fence == Fence::Open),
    },
    Entry {
        problem: Problem::SteeringUnfinished,
        severity: Severity::Error,
        en: "The service's name does not lead to {primary} yet, or the name server does not say so.",
        ko: "서비스 이름이 아직 {primary}를 가리키지 않거나 네임서버가 응답하지 않습니다.",
        holds: |b| !steered(b),
    },
    Entry {
        problem: Problem::PrimarySuspected,
        severity: Severity::Error,
        en: "One viewpoint alone has lost the primary {primary}; the other sees it.",
        ko: "한쪽 관측 지점에서만 주 사이트 {primary}가 보이지 않습니다. 다른 쪽에서는 보입니다.",
        holds: |b| b.from_witness.down().is_some() != b.standby_probes.down().is_some() && !link_cut(b),
    },
    Entry {
        problem: Problem::ReplicationStopped,
        severity: Severity::Error,
        en: "The stream into {standby} has stopped at a conflict; the row is named by its agent.",
        ko: "{standby}로의 복제가 충돌로 멈췄습니다. 해당 행은 에이전트가 표시합니다.",
        holds: |b| b.standby_said.is_some_and(|s| matches!(s.status.role, Role::Stopped { .. })),
    },
    Entry {
        problem: Problem::StandbyLost,
        severity: Severity::Error,
        en: "The standby {standby} does not answer: nothing protects the primary.",
        ko: "대기 사이트 {standby}가 응답하지 않습니다. 주 사이트가 보호되지 않습니다.",
        holds: standby_lost,
    },
    Entry {
        problem: Problem::LinkCut,
        severity: Severity::Error,
        en: "Both sites are seen, but {standby} does not hear the stream of {primary}: the link between them is cut.",
        ko: "두 사이트 모두 보이지만 {standby}가 {primary}의 복제 스트림을 받지 못합니다. 사이트 간 링크가 끊겼습니다.",
        holds: link_cut,
    },
    Entry {
        problem: Problem::StandbyNotReady,
        severity: Severity::Error,
        en: "The standby {standby} could not take over now; its agent says why.",
        ko: "대기 사이트 {standby}는 지금 인계받을 수 없습니다. 이유는 에이전트가 표시합니다.",
        holds: |b| {
            !standby_lost(b)
                && b.standby_said.is_some()
                && !b.standby_said.is_some_and(|s| matches!(s.status.role, Role::Stopped { .. }))
                && b.standby_unready().is_some()
        },
    },
    Entry {
        problem: Problem::ViewpointMissing,
        severity: Severity::Error,
        en: "The witness's or the controller of {standby} is not heard: nobody could confirm a loss of {primary}.",
        ko: "증인 또는 {standby}의 관측을 들을 수 없어 {primary}의 장애를 확인해 줄 곳이 없습니다.",
        holds: |b| {
            matches!(b.from_witness, Sight::Blind { .. }) || matches!(b.from_standby, Sight::Blind { .. })
        },
    },
    Entry {
        problem: Problem::RunningSolo,
        severity: Severity::Warning,
        en: "Answers do not wait for {standby}: no automatic failover is possible.",
        ko: "응답이 {standby}를 기다리지 않습니다. 자동 장애 조치가 불가능합니다.",
        holds: |b| b.register.mode == Mode::Solo,
    },
];

/// Everything that is wrong, worst first.
pub fn named(beliefs: &Beliefs<'_>) -> Vec<Problem> {
    TABLE.iter().filter(|entry| (entry.holds)(beliefs)).map(|entry| entry.problem).collect()
}

/// Its row in the table.
pub fn entry(problem: Problem) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.problem == problem)
}

impl Entry {
    /// The operator's sentence.
    pub fn sentence(&self, language: Language, primary: &Site, standby: &Site) -> String {
        let text = match language {
            Language::Ko => self.ko,
            Language::En => self.en,
        };
        text.replace("{primary}", primary.as_str()).replace("{standby}", standby.as_str())
    }
}

/// What is down, by both viewpoints; the witness's word for it.
fn both_down(b: &Beliefs<'_>) -> Option<Loss> {
    b.from_standby.down().and(b.from_witness.down())
}

/// Whether the primary's gateway shows a closed door to every place that has looked lately.
fn gateway_gone(b: &Beliefs<'_>) -> bool {
    let mut looked = b.seen_by_all(b.primary).peekable();
    looked.peek().is_some() && looked.all(|o| is_gone(&o.gateway, b.policy))
}

/// Whether the primary's database has said that it will never be promoted to the register's epoch.
pub(crate) fn promotion_refused(b: &Beliefs<'_>) -> bool {
    let e = b.register.epoch;
    let told = b.world.refused.as_ref().is_some_and(|(site, epoch, _)| site == b.primary && *epoch == e);
    // A refusal is written into the row: the epoch, with somebody else for its primary.
    told || b.primary_row().is_some_and(|row| row.epoch == e && row.primary != *b.primary)
}

/// Whether the name leads to the register's primary.
pub(crate) fn steered(b: &Beliefs<'_>) -> bool {
    b.world.steering.as_ref().is_some_and(|s| s.site == *b.primary && s.epoch == b.register.epoch)
}

fn standby_lost(b: &Beliefs<'_>) -> bool {
    let mut looked = b.seen_by_all(b.standby).peekable();
    looked.peek().is_some() && looked.all(|o| is_gone(&o.agent, b.policy))
}

/// Whether the two sites live and do not hear each other.
pub(crate) fn link_cut(b: &Beliefs<'_>) -> bool {
    let followed = b.standby_said.is_some_and(|s| {
        let phase = matches!(
            s.status.role,
            Role::Standby { phase: StandbyPhase::Attached | StandbyPhase::Connecting }
        );
        s.fresh && phase && s.status.slot.is_some()
    });
    b.from_witness == Sight::Healthy && followed && b.beats == Some(false)
}
