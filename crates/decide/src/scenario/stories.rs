//! The stories themselves, by name, for whoever plays them elsewhere: a drill looks up here what must be concluded.

/// Every story in `scenarios/`: its file's name without `.txt`, and its text.
pub const STORIES: &[(&str, &str)] = &[
    ("agent-crash-long", include_str!("../../../../scenarios/agent-crash-long.txt")),
    ("agent-crash-short", include_str!("../../../../scenarios/agent-crash-short.txt")),
    ("clock-skew", include_str!("../../../../scenarios/clock-skew.txt")),
    ("controller-lost", include_str!("../../../../scenarios/controller-lost.txt")),
    ("database-only", include_str!("../../../../scenarios/database-only.txt")),
    ("disk-full", include_str!("../../../../scenarios/disk-full.txt")),
    ("failover-pause", include_str!("../../../../scenarios/failover-pause.txt")),
    ("first-start", include_str!("../../../../scenarios/first-start.txt")),
    ("flapping", include_str!("../../../../scenarios/flapping.txt")),
    ("forced-failover", include_str!("../../../../scenarios/forced-failover.txt")),
    ("gateway-lost", include_str!("../../../../scenarios/gateway-lost.txt")),
    ("lag", include_str!("../../../../scenarios/lag.txt")),
    ("link-cut", include_str!("../../../../scenarios/link-cut.txt")),
    ("link-flapping", include_str!("../../../../scenarios/link-flapping.txt")),
    ("link-one-way", include_str!("../../../../scenarios/link-one-way.txt")),
    ("link-slow", include_str!("../../../../scenarios/link-slow.txt")),
    ("maintenance-weekly", include_str!("../../../../scenarios/maintenance-weekly.txt")),
    ("maintenance", include_str!("../../../../scenarios/maintenance.txt")),
    ("name-server-lost", include_str!("../../../../scenarios/name-server-lost.txt")),
    ("observe", include_str!("../../../../scenarios/observe.txt")),
    ("old-primary-returns-open", include_str!("../../../../scenarios/old-primary-returns-open.txt")),
    ("orders-unknown", include_str!("../../../../scenarios/orders-unknown.txt")),
    ("paused-primary", include_str!("../../../../scenarios/paused-primary.txt")),
    ("primary-read-only", include_str!("../../../../scenarios/primary-read-only.txt")),
    ("primary-replaced", include_str!("../../../../scenarios/primary-replaced.txt")),
    ("primary-site-lost", include_str!("../../../../scenarios/primary-site-lost.txt")),
    ("promoted-not-reachable", include_str!("../../../../scenarios/promoted-not-reachable.txt")),
    ("promotion-refused", include_str!("../../../../scenarios/promotion-refused.txt")),
    ("register-behind", include_str!("../../../../scenarios/register-behind.txt")),
    ("register-majority-lost", include_str!("../../../../scenarios/register-majority-lost.txt")),
    ("resumed-after-the-promotion", include_str!("../../../../scenarios/resumed-after-the-promotion.txt")),
    (
        "resumed-after-the-register-moved",
        include_str!("../../../../scenarios/resumed-after-the-register-moved.txt"),
    ),
    ("retention-short", include_str!("../../../../scenarios/retention-short.txt")),
    ("solo", include_str!("../../../../scenarios/solo.txt")),
    ("standby-alone-loses-it", include_str!("../../../../scenarios/standby-alone-loses-it.txt")),
    ("standby-cannot-serve", include_str!("../../../../scenarios/standby-cannot-serve.txt")),
    ("standby-lost", include_str!("../../../../scenarios/standby-lost.txt")),
    ("standby-not-ready", include_str!("../../../../scenarios/standby-not-ready.txt")),
    ("standby-viewpoint-missing", include_str!("../../../../scenarios/standby-viewpoint-missing.txt")),
    ("stopped-in-a-switchover", include_str!("../../../../scenarios/stopped-in-a-switchover.txt")),
    ("stopped", include_str!("../../../../scenarios/stopped.txt")),
    ("switchover-aborts", include_str!("../../../../scenarios/switchover-aborts.txt")),
    ("switchover-primary-lost", include_str!("../../../../scenarios/switchover-primary-lost.txt")),
    ("switchover-refused", include_str!("../../../../scenarios/switchover-refused.txt")),
    ("switchover-rolled-back", include_str!("../../../../scenarios/switchover-rolled-back.txt")),
    ("switchover", include_str!("../../../../scenarios/switchover.txt")),
    ("witness-alone-loses-it", include_str!("../../../../scenarios/witness-alone-loses-it.txt")),
    ("witness-lost", include_str!("../../../../scenarios/witness-lost.txt")),
];

/// What a moment of a story says must be concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The moment's heading.
    pub title: String,
    /// The problems' names, as [`super::name`] gives them.
    pub problems: Vec<String>,
    /// The steps, in words, in order.
    pub plan: Vec<String>,
    /// The reasons, in words, in order.
    pub reasons: Vec<String>,
}

/// What the story `name` says must be concluded in its last moment; `None`: there is no such story.
pub fn expectation(name: &str) -> Option<Expectation> {
    expectations(name)?.pop()
}

/// What the story `name` says must be concluded, moment by moment.
pub fn expectations(name: &str) -> Option<Vec<Expectation>> {
    let (_, text) = STORIES.iter().find(|(story, _)| *story == name)?;
    let mut moments: Vec<Expectation> = Vec::new();
    let mut title = "the beginning";
    for line in text.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix("==") {
            title = heading.trim();
        } else if let Some(problems) = line.strip_prefix("problems:") {
            let (title, problems) = (title.to_owned(), list(problems, ","));
            moments.push(Expectation { title, problems, plan: Vec::new(), reasons: Vec::new() });
        } else if let Some(last) = moments.last_mut() {
            if let Some(plan) = line.strip_prefix("plan:") {
                last.plan = list(plan, "→");
            } else if let Some(reason) = line.strip_prefix("because:") {
                last.reasons.push(reason.trim().to_owned());
            }
        }
    }
    Some(moments)
}

fn list(text: &str, between: &str) -> Vec<String> {
    text.split(between)
        .map(str::trim)
        .filter(|word| !word.is_empty() && *word != "none")
        .map(str::to_owned)
        .collect()
}
