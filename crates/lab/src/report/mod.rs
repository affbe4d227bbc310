//! A drill's report: one HTML file that needs nothing else, to be sent to somebody who was not there.
//!
//! The first line is the verdict in words; every figure behind it says what it is measured from and to. Light and
//! dark follow the reader's system.

mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::drill::site_loss::{Round, SiteLoss, Summary};

const STYLE: &str = include_str!("report.css");

/// The whole page for a finished (or aborted) site-loss drill.
pub fn site_loss(config: &SiteLoss, rounds: &[Round], aborted: Option<&str>) -> String {
    let summary = Summary::of(rounds);
    html! {
        (DOCTYPE)
        html lang="ko" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Ghostlight · site-loss drill" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.eyebrow { "Ghostlight · 사이트 상실 훈련 · site-loss drill" }
                        (verdict(&summary, aborted))
                        p.lead { (setting(config)) }
                    }
                    (figures(&summary))
                    @for round in rounds { (story(round)) }
                    (table(rounds))
                    (violations(rounds))
                    (method())
                }
            }
        }
    }
    .into_string()
}

fn verdict(summary: &Summary, aborted: Option<&str>) -> Markup {
    let good = summary.violations == 0 && summary.lost == 0 && aborted.is_none() && summary.rounds > 0;
    let (ko, en) = match (good, summary.lost) {
        (true, _) => (
            format!(
                "안전합니다: {}번 멈췄고, 확인된 예매 {}건 가운데 사라진 것은 없어요.",
                summary.rounds,
                grouped(summary.acknowledged)
            ),
            format!(
                "The primary cloud was lost {} times. Of {} acknowledged bookings none is missing.",
                summary.rounds,
                grouped(summary.acknowledged)
            ),
        ),
        (false, 0) => (
            "확인이 필요해요: 지켜지지 않은 약속이 있어요.".to_owned(),
            format!("Not good: {} violations in {} rounds.", summary.violations, summary.rounds),
        ),
        (false, lost) => (
            format!("확인된 예매 {}건이 사라졌어요.", grouped(lost as u64)),
            format!(
                "{} of {} acknowledged bookings are lost.",
                grouped(lost as u64),
                grouped(summary.acknowledged)
            ),
        ),
    };
    html! {
        h1 class=(if good { "verdict good" } else { "verdict bad" }) {
            span.mark aria-hidden="true" { (if good { "✓" } else { "✕" }) }
            span { (ko) }
        }
        p.en { (en) }
        @if let Some(why) = aborted { p.aborted { "The drill ended early: " (why) } }
    }
}

fn setting(config: &SiteLoss) -> String {
    let gate = if config.gate { "commit gate on" } else { "commit gate OFF: answers do not wait" };
    let rtt = config.link_rtt_ms.map(|ms| format!(", link round trip {ms} ms")).unwrap_or_default();
    format!("{} visitors a second, open loop · {gate}{rtt} · seed {}", config.rate_per_s, config.seed)
}

fn figures(summary: &Summary) -> Markup {
    let tile = |name: &str, value: String, note: String| {
        html! { div.tile { p.name { (name) } p.value { (value) } p.note { (note) } } }
    };
    let worst = |p99: Option<f64>| format!("worst {}", seconds(p99));
    html! {
        section.tiles aria-label="Figures" {
            (tile("Booking again", seconds(summary.rto_s_p50), worst(summary.rto_s_p99)))
            (tile("…following DNS only", seconds(summary.rto_dns_s_p50), worst(summary.rto_dns_s_p99)))
            (tile("Acknowledged bookings lost", summary.lost.to_string(), format!("of {}", grouped(summary.acknowledged))))
            (tile("Seats sold twice", summary.double_sold.to_string(), format!("{} violations in all", summary.violations)))
        }
    }
}

fn story(round: &Round) -> Markup {
    html! {
        section.round {
            h2 {
                "Round " (round.round)
                span.sub {
                    (round.killed) " killed in mode " (round.mode_at_kill) " at "
                    (round.acknowledged_per_s_before_kill) " acknowledged bookings/s · addresses dark by "
                    (round.how.replace('_', " "))
                }
            }
            @if let Some(shortfall) = &round.shortfall { p.short { "Load fell short: " (shortfall) } }
            (timeline::draw(round))
        }
    }
}

fn table(rounds: &[Round]) -> Markup {
    html! {
        section {
            h2 { "Rounds" }
            div.scroll {
                table {
                    thead { tr {
                        th { "Round" } th { "Killed" } th { "RTO" } th { "RTO by DNS" } th { "Acknowledged" } th { "Lost" }
                        th { "Sold twice" } th { "Errors seen" } th { "Unknown" } th { "p50 / p99 while well" } th { "Back in sync" }
                    } }
                    tbody {
                        @for r in rounds {
                            tr class=[(r.violations > 0).then_some("bad")] {
                                td { (r.round) } td.text { (r.killed) } td { (seconds(r.rto_s)) } td { (seconds(r.rto_dns_s)) }
                                td { (grouped(r.acknowledged)) } td { (r.lost) } td { (r.double_sold) } td { (r.visitor_errors) }
                                td { (r.unknown_outcomes) }
                                td { (millis(r.booking_ms_p50)) " / " (millis(r.booking_ms_p99)) }
                                td { (seconds(r.resync_s)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn violations(rounds: &[Round]) -> Markup {
    let listed: Vec<_> =
        rounds.iter().flat_map(|r| r.violation_list.iter().map(move |v| (r.round, v))).collect();
    let found: usize = rounds.iter().map(|r| r.violations).sum();
    html! {
        @if found > 0 {
            section {
                h2 { "Violations" span.sub { (found) " found, " (listed.len()) " listed" } }
                ul.violations { @for (round, v) in &listed { li { b { (v.invariant) } " round " (round) ": " (v.what) } } }
            }
        }
    }
}

fn method() -> Markup {
    html! {
        section.method {
            h2 { "How it was measured" }
            dl {
                dt { "Booking again (RTO)" }
                dd { "From the first dropped packet to the acknowledgement of the first booking that was sent after it, by visitors who know both sites' addresses and try them in turn." }
                dt { "…following DNS only" }
                dd { "The same for eight visitors who only follow the public name, each through a DNS cache of random age that honours its TTL; the slowest of the eight counts." }
                dt { "Lost" }
                dd { "Bookings that a visitor was told to have and that the surviving database does not hold exactly as told: number, account, performance, seats, amount." }
                dt { "Errors seen" }
                dd { "Error answers and silences that visitors met, also those who booked in the end; unknown: those that left open whether the booking exists." }
                dt { "The kill" }
                dd { "Every process of the site ends by SIGKILL, its database too, and its addresses drop packets instead of refusing them. Afterwards its data are moved aside, never deleted, and it is filled anew." }
            }
        }
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |s| format!("{s:.1} s"))
}

fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0} ms"))
}

/// `12345` as `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checker::Violation, drill::watch::Phases};

    /// A round as it might have been, for looking at the page.
    pub(super) fn example(n: u32) -> Round {
        let before = [26, 24, 28, 25, 27];
        let mut bars: Vec<u64> = (0..50).map(|i| before[i % 5]).collect();
        bars.extend(std::iter::repeat_n(0, 22));
        bars.extend([12, 55, 80, 74, 60, 44, 38]);
        bars.extend((0..50).map(|i| before[i % 5]));
        Round {
            drill: "site-loss",
            round: n,
            seed: 7,
            killed: "nhn".into(),
            how: "nft".into(),
            mode_at_kill: "sync".into(),
            acknowledged_per_s_before_kill: 258,
            rto_s: Some(2.231),
            rto_dns_s: Some(6.904),
            acknowledged: 3_120,
            visitor_errors: 1_811,
            unknown_outcomes: 24,
            booking_ms_p50: Some(31.0),
            booking_ms_p99: Some(88.0),
            resync_s: Some(5.1),
            phases_ms: Phases {
                detected: Some(1_060),
                register_moved: Some(1_130),
                promoted: Some(1_420),
                steered: Some(1_515),
                first_acknowledged: Some(2_231),
                dns_acknowledged: Some(6_904),
                load_ended: Some(10_100),
                restored: Some(11_200),
                returned: Some(12_300),
                reinstating: Some(13_020),
                seeding: None,
                attached: Some(15_700),
                sync: Some(16_300),
            },
            acknowledged_per_100_ms: bars,
            ..Round::default()
        }
    }

    fn config() -> SiteLoss {
        SiteLoss { rounds: 2, seed: 7, rate_per_s: 260.0, link_rtt_ms: None, gate: true, divergent: 200 }
    }

    #[test]
    fn the_page_stands_alone_and_begins_with_the_verdict() {
        let page = site_loss(&config(), &[example(1), example(2)], None);
        assert!(page.contains("none is missing") && page.contains("6,240"), "{page}");
        for outside in ["http://", "https://", "<script", "src="] {
            let page = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(outside), "the page must not need {outside}");
        }
        // For the eyes: GHOSTLIGHT_EXAMPLE_REPORT=/tmp/report.html cargo test -p lab report
        if let Ok(path) = std::env::var("GHOSTLIGHT_EXAMPLE_REPORT") {
            std::fs::write(path, page).unwrap();
        }
    }

    #[test]
    fn what_was_lost_stands_first_and_names_its_rows_without_becoming_markup() {
        let mut round = example(1);
        round.lost = 3;
        round.violations = 3;
        round.violation_list = vec![Violation::new("I2", "booking <b>X</b> is not in the database")];
        let page = site_loss(&config(), &[round], Some("the witness went away"));
        assert!(page.contains("3 of 3,120 acknowledged bookings are lost"), "{page}");
        assert!(
            page.contains("booking &lt;b&gt;X&lt;/b&gt; is not") && page.contains("the witness went away")
        );
        assert!(!page.contains("none is missing"));
    }
}
