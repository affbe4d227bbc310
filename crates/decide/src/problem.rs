//! Every failure mode: its name, an operator's sentence, how bad it is, and when it holds.
//!
//! [`TABLE`] is the whole list, worst first; verdicts, console, journal and scenarios speak its names. To add a
//! failure mode, add a variant to [`Problem`], a row here and a scenario.

use model::{
    Epoch, Mode, Place, Problem, Site, StreamId,
    agent::{Fence, LINK_ALIVE_MS, Role, StandbyPhase},
    observation::{Observation, ProbeResult},
};

use crate::{
    rules::open_week,
    world::{Beliefs, Loss, Promotion, Said, Sight, is_gone, seen, silent_ms},
};

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
        holds: |b| both_down(b) == Some(Loss::Database) && !read_only(b) && !disk_full(b) && !replaced(b),
    },
    Entry {
        problem: Problem::PrimaryReadOnly,
        severity: Severity::Critical,
        en: "The primary database of {primary} is read_only: no write of the application succeeds. Find out who set it; `SET GLOBAL read_only = 0` opens it.",
        ko: "{primary}의 주 데이터베이스가 읽기 전용(read_only)입니다. 애플리케이션의 쓰기가 모두 실패합니다. 누가 설정했는지 확인하고 `SET GLOBAL read_only = 0`으로 해제하십시오.",
        holds: read_only,
    },
    Entry {
        problem: Problem::PrimaryReplaced,
        severity: Severity::Critical,
        en: "Another server answers for the primary database of {primary}, and whether it holds everything that {standby} has is not proven: nothing is answered from it. In sync {standby} takes over; in solo order that (`ghostlight failover`), or take the server's data by `ghostlight reinstate`.",
        ko: "{primary}의 주 데이터베이스가 다른 서버로 바뀌었고, {standby}의 데이터를 모두 갖고 있는지 증명되지 않았습니다. 이 서버에서는 응답하지 않습니다. 동기 모드에서는 {standby}가 이어받으며, 단독 모드에서는 `ghostlight failover`로 전환하거나 `ghostlight reinstate`로 이 서버의 데이터를 받아들이십시오.",
        holds: replaced,
    },
    Entry {
        problem: Problem::PrimaryDiskFull,
        severity: Severity::Critical,
        en: "The disk of the primary database of {primary} is full: it does not commit. Free space there.",
        ko: "{primary} 주 데이터베이스의 디스크가 가득 찼습니다. 커밋할 수 없습니다. 공간을 확보하십시오.",
        holds: disk_full,
    },
    Entry {
        problem: Problem::BothPrimariesClaimed,
        severity: Severity::Critical,
        en: "Both sites hold themselves for the primary. The register says {primary}; nothing that {standby} writes is acknowledged, and it is fenced where it can be reached.",
        ko: "두 사이트가 모두 자신을 주 사이트로 여깁니다. 레지스터는 {primary}를 지정합니다. {standby}의 쓰기는 응답되지 않으며, 도달하는 대로 차단합니다.",
        holds: |b| claims(b.primary_said) && claims(b.standby_said),
    },
    Entry {
        problem: Problem::PromotedNotReachable,
        severity: Severity::Critical,
        en: "{primary} is promoted and its database is open, but its gateway lets no visitor in: look at its instances of the application and its agent.",
        ko: "{primary}가 승격되어 데이터베이스는 열려 있으나 게이트웨이가 방문자를 받지 않습니다. 애플리케이션 인스턴스와 에이전트를 확인하십시오.",
        holds: promoted_not_reachable,
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
        problem: Problem::WitnessLost,
        severity: Severity::Error,
        en: "The witness is not heard: nobody could confirm a loss of {primary}, so no failover is possible. Answers go on in sync.",
        ko: "증인의 관측을 들을 수 없습니다. {primary}의 장애를 확인해 줄 곳이 없어 장애 조치가 불가능합니다. 동기 상태에서는 서비스가 계속됩니다.",
        holds: |b| !witness_heard(b),
    },
    Entry {
        problem: Problem::LinkCut,
        severity: Severity::Error,
        en: "Both sites are seen, but {standby} does not hear the stream of {primary}: the link between them is cut.",
        ko: "두 사이트 모두 보이지만 {standby}가 {primary}의 복제 스트림을 받지 못합니다. 사이트 간 링크가 끊겼습니다.",
        holds: |b| link_cut(b) && standby_heard(b) != Some(true),
    },
    Entry {
        problem: Problem::LinkCutToStandby,
        severity: Severity::Error,
        en: "The link is cut in one direction: {standby} hears nothing of {primary}, while {primary} hears {standby}.",
        ko: "링크가 한 방향으로 끊겼습니다. {standby}는 {primary}의 신호를 받지 못하지만 {primary}는 {standby}의 신호를 받습니다.",
        holds: |b| link_cut(b) && standby_heard(b) == Some(true),
    },
    Entry {
        problem: Problem::LinkCutFromStandby,
        severity: Severity::Error,
        en: "The link is cut in one direction: {primary} hears nothing of {standby}, while {standby} hears {primary}.",
        ko: "링크가 한 방향으로 끊겼습니다. {primary}는 {standby}의 신호를 받지 못하지만 {standby}는 {primary}의 신호를 받습니다.",
        holds: |b| b.beats == Some(true) && standby_heard(b) == Some(false) && follows(b),
    },
    Entry {
        problem: Problem::LagAboveLimit,
        severity: Severity::Error,
        en: "{standby} follows too far behind {primary}: answers wait for it. Look at its database and the link.",
        ko: "{standby}의 복제 지연이 한도를 넘었습니다. 응답이 {standby}를 기다립니다. 데이터베이스와 링크를 확인하십시오.",
        holds: |b| follows(b) && lag_ms(b).is_some_and(|ms| ms > b.policy.lag_ms_max),
    },
    Entry {
        problem: Problem::RetentionShort,
        severity: Severity::Error,
        en: "The log of {primary} will soon no longer hold the place of {standby}: let it reach {primary}, or keep the log longer.",
        ko: "{primary}의 바이너리 로그가 곧 {standby}의 위치를 더 이상 보관하지 않습니다. 연결을 복구하거나 로그 보관 기간을 늘리십시오.",
        holds: |b| {
            let left_s = b.primary_said.and_then(|s| s.status.retention_left_s);
            left_s.is_some_and(|s| s < b.policy.retention_s_min)
        },
    },
    Entry {
        problem: Problem::Flapping,
        severity: Severity::Error,
        en: "{primary} is lost and comes back, again and again: no single loss lasts long enough for a failover. Find out why; `ghostlight switchover` moves the service away.",
        ko: "{primary}가 반복해서 끊겼다가 돌아옵니다. 장애 조치 기준에는 못 미칩니다. 원인을 확인하십시오. `ghostlight switchover`로 서비스를 옮길 수 있습니다.",
        holds: flapping,
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
        en: "The view from {standby}, or the witness's, is missing: nobody could confirm a loss of {primary}.",
        ko: "{standby} 또는 증인의 관측이 없어 {primary}의 장애를 확인해 줄 곳이 없습니다.",
        holds: |b| {
            let blind = |sight: &Sight| matches!(sight, Sight::Blind { .. });
            blind(&b.from_standby) || (blind(&b.from_witness) && witness_heard(b))
        },
    },
    Entry {
        problem: Problem::ClockSkew,
        severity: Severity::Warning,
        en: "The clocks of two places differ by more than the policy allows: start the time service there. No judgement rests on them, but maintenance windows and people do.",
        ko: "두 장소의 시계 차이가 정책 한도를 넘었습니다. 시간 동기화 서비스를 확인하십시오. 판단에는 쓰지 않지만 점검 시간과 기록에 영향을 줍니다.",
        holds: |b| {
            let limit_ms = b.policy.clock_skew_ms_max;
            b.world.clocks_ahead_ms.iter().any(|(_, ms)| ms.unsigned_abs() > limit_ms)
        },
    },
    Entry {
        problem: Problem::LinkSlow,
        severity: Severity::Warning,
        en: "Answers over the link between {primary} and {standby} take longer than the policy allows: every held answer takes as long.",
        ko: "{primary}와 {standby} 사이 링크의 응답이 정책 한도보다 느립니다. 보류된 응답도 그만큼 늦어집니다.",
        holds: link_slow,
    },
    Entry {
        problem: Problem::AgentPaused,
        severity: Severity::Warning,
        en: "An agent stood still for a time (a stopped process, a suspended machine) and is back. Nothing was let out on old knowledge.",
        ko: "에이전트가 한동안 멈췄다가(프로세스 정지, 장비 일시중지) 돌아왔습니다. 오래된 정보로 나간 응답은 없습니다.",
        holds: |b| [b.primary_said, b.standby_said].into_iter().flatten().any(paused),
    },
    Entry {
        problem: Problem::AutomationOff,
        severity: Severity::Warning,
        en: "Nothing is moved automatically: an operator has ordered a stop, observation or a maintenance window, or a weekly one is open.",
        ko: "자동 조치가 꺼져 있습니다. 운영자가 정지, 관측 모드 또는 점검 시간을 지시했거나 정기 점검 시간입니다.",
        holds: |b| {
            let ordered = b.orders().is_some_and(|o| {
                o.stopped.is_some() || o.observe || o.windows.iter().any(|w| w.is_open(b.world.wall_ms))
            });
            ordered || open_week(b).is_some()
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

/// Whether the two sites live and the standby does not hear the primary, in whatever direction the link is cut.
pub(crate) fn link_cut(b: &Beliefs<'_>) -> bool {
    b.from_witness == Sight::Healthy && follows(b) && b.beats == Some(false)
}

/// Whether the standby's agent is heard and holds a place in the primary's stream.
fn follows(b: &Beliefs<'_>) -> bool {
    b.standby_said.is_some_and(|s| {
        let phase = matches!(
            s.status.role,
            Role::Standby { phase: StandbyPhase::Attached | StandbyPhase::Connecting }
        );
        s.fresh && phase && s.status.slot.is_some()
    })
}

/// Whether the primary's agent hears the standby's over the link; `None`: it has never heard it, or is not heard
/// itself.
fn standby_heard(b: &Beliefs<'_>) -> Option<bool> {
    let age_ms = b.primary_said.filter(|s| s.fresh)?.status.standby_heard_age_ms?;
    Some(age_ms < LINK_ALIVE_MS + silent_ms(b.policy))
}

/// An agent's pause that ended longer ago is history.
const PAUSE_LATELY_MS: u64 = 60_000;

fn paused(said: Said<'_>) -> bool {
    said.fresh && said.status.paused.is_some_and(|p| p.ended_ms_ago < PAUSE_LATELY_MS)
}

fn claims(said: Option<Said<'_>>) -> bool {
    said.is_some_and(|s| s.fresh && s.status.role == Role::Primary)
}

/// Whether the witness's controller tells anything.
fn witness_heard(b: &Beliefs<'_>) -> bool {
    [b.primary, b.standby].into_iter().any(|site| b.seen_by_all(site).any(|o| o.by == Place::Witness))
}

fn read_only(b: &Beliefs<'_>) -> bool {
    b.primary_said
        .is_some_and(|s| s.fresh && s.status.role == Role::Primary && s.status.read_only == Some(true))
}

/// Whether the row of the primary's database was written in another log than the one that is there.
fn replaced(b: &Beliefs<'_>) -> bool {
    let Some(said) = b.primary_said.filter(|s| s.fresh) else { return false };
    let (Some(row), Some(here)) = (&said.status.row, &said.status.stream) else { return false };
    // An agent that does not tell where its row was written names an empty one.
    row.stream != StreamId::default() && row.stream != *here
}

fn disk_full(b: &Beliefs<'_>) -> bool {
    let least = b.policy.disk_free_bytes_min;
    b.primary_said.is_some_and(|s| s.fresh && s.status.disk_free_bytes.is_some_and(|free| free < least))
}

/// Whether the primary's gateway answers everybody who looks with a no, though its database commits.
fn promoted_not_reachable(b: &Beliefs<'_>) -> bool {
    let refused = |o: &Observation| {
        matches!(o.gateway.last, ProbeResult::Failed { .. })
            && o.gateway.failed_in_a_row >= b.policy.lost_after_probes
    };
    let mut looked = b.seen_by_all(b.primary).peekable();
    let open = b.promotion() == Promotion::Done && b.from_witness == Sight::Healthy;
    open && looked.peek().is_some() && looked.all(refused)
}

pub(crate) fn lag_ms(b: &Beliefs<'_>) -> Option<u64> {
    let by_primary = b.primary_said.filter(|s| s.fresh).and_then(|s| s.status.lag_ms);
    let by_standby = b.standby_said.filter(|s| s.fresh).and_then(|s| s.status.lag_ms);
    by_primary.max(by_standby)
}

/// Whether controllers wait too long for the other site's agent, over the link.
fn link_slow(b: &Beliefs<'_>) -> bool {
    link_took_ms(b).is_some_and(|ms| ms > b.policy.link_ms_max)
}

/// How long the slower of the last answers over the link took, of those that came.
pub(crate) fn link_took_ms(b: &Beliefs<'_>) -> Option<u64> {
    let over_the_link = |here: &Site, there: &Site| {
        let o = seen(b.world, &Place::Site(here.clone()), there)?;
        (o.agent.last == ProbeResult::Ok).then_some(o.agent.took_ms?)
    };
    let ways = [over_the_link(b.standby, b.primary), over_the_link(b.primary, b.standby)];
    ways.into_iter().flatten().max()
}

fn flapping(b: &Beliefs<'_>) -> bool {
    let losses = b.seen_by_all(b.primary).filter_map(|o| o.commit.as_ref()).map(|commit| commit.losses);
    losses.max().is_some_and(|most| most >= b.policy.flaps_max)
}
