//! One round as one horizontal story: what state the service was in, what happened when, and what visitors got,
//! all on the same axis.

use maud::{Markup, html};

use crate::{
    drill::site_loss::{PLOT_BEFORE_MS, Round},
    ledger::to_f64,
};

/// The drawing's width; it scales to the page.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 8.0;
const RIGHT: f64 = 8.0;
const LANE: f64 = 19.0;
const BAND: f64 = 26.0;
const PLOT: f64 = 96.0;
/// Seconds that are shown before the kill.
const BEFORE_S: f64 = 3.0;

/// One thing that happened.
struct Event {
    at_s: f64,
    label: String,
    class: &'static str,
}

/// A label's place: which lane above the band.
struct Placed<'a> {
    event: &'a Event,
    x: f64,
    lane: usize,
    /// Whether the text stands to the left of its moment.
    leftward: bool,
}

struct Axis {
    until_s: f64,
}

impl Axis {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + (at_s + BEFORE_S) / (self.until_s + BEFORE_S) * (WIDTH - LEFT - RIGHT)
    }

    /// Whole seconds, at most a dozen of them.
    fn ticks(&self) -> Vec<f64> {
        let span = self.until_s + BEFORE_S;
        let step =
            [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0].into_iter().find(|s| span / s <= 12.0).unwrap_or(120.0);
        (0..).map(|n| f64::from(n) * step).take_while(|s| *s <= self.until_s).collect()
    }
}

/// The picture of a round.
pub(super) fn draw(round: &Round) -> Markup {
    let events = events(round);
    let last = events.iter().map(|e| e.at_s).fold(5.0, f64::max);
    let axis = Axis { until_s: last * 1.04 + 0.5 };
    let placed = place(&events, &axis);
    let lanes = placed.iter().map(|p| p.lane).max().unwrap_or(0) + 1;
    let band_y = to_f64(lanes as u64) * LANE + 14.0;
    let plot_y = band_y + BAND + 34.0;
    let height = plot_y + PLOT + 26.0;
    let lane_y = |lane: usize| band_y - 12.0 - to_f64(lane as u64) * LANE;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(spoken(round)) {
            (band(round, &axis, band_y))
            @for p in &placed {
                path.leader d=(format!("M{:.1} {:.1}V{:.1}", p.x, lane_y(p.lane) + 4.0, band_y)) {}
            }
            @for p in &placed {
                @let x = if p.leftward { p.x - 6.0 } else { p.x + 6.0 };
                text x=(n(x)) y=(n(lane_y(p.lane))) text-anchor=(if p.leftward { "end" } else { "start" }) {
                    (p.event.label) " "
                    tspan.time { (format!("{:.1} s", p.event.at_s)) }
                }
                circle class=(format!("dot {}", p.event.class)) cx=(n(p.x)) cy=(n(band_y)) r="4.5" {}
            }
            path.kill d=(format!("M{0:.1} {1:.1}V{2:.1}", axis.x(0.0), band_y - 8.0, plot_y + PLOT)) {}
            (plot(round, &axis, plot_y))
            @for tick in axis.ticks() {
                text.time x=(n(axis.x(tick))) y=(n(plot_y + PLOT + 18.0)) text-anchor="middle" {
                    @if tick == 0.0 { "kill" } @else { (format!("{tick:.0} s")) }
                }
            }
        }
    }
}

fn events(round: &Round) -> Vec<Event> {
    let p = &round.phases_ms;
    let all = [
        (p.detected, "loss detected", ""),
        (p.register_moved, "register moved", ""),
        (p.promoted, "standby promoted", ""),
        (p.steered, "name steered", ""),
        (p.first_acknowledged, "first booking", "back"),
        (p.dns_acknowledged, "last DNS follower", "back"),
        (p.load_ended, "doors closed", ""),
        (p.restored, "site restored", ""),
        (p.seeding, "being filled", ""),
        (p.attached, "standby attached", ""),
        (p.sync, "in sync", "back"),
    ];
    let mut events: Vec<Event> = all
        .into_iter()
        .filter_map(|(at_ms, label, class)| {
            let at_s = to_f64(at_ms?) / 1_000.0;
            Some(Event { at_s, label: label.to_owned(), class })
        })
        .collect();
    events.push(Event { at_s: 0.0, label: format!("{} goes dark", round.killed), class: "lost" });
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    events
}

/// Labels take the lowest lane in which they touch nobody, and whose leader line crosses no text if that can be had.
/// The ones at the right end are written leftward.
fn place<'a>(events: &'a [Event], axis: &Axis) -> Vec<Placed<'a>> {
    let width = |event: &Event| to_f64(event.label.chars().count() as u64) * 7.0 + 46.0;
    let (leftward, rightward): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| axis.x(event.at_s) + width(event) > WIDTH);
    let mut placed: Vec<Placed<'a>> = Vec::new();
    let mut taken: Vec<(usize, f64, f64)> = Vec::new();
    // A label covers what is beside it on one side only: whoever stands on that side goes first, and lower.
    let leftward = leftward.into_iter().map(|event| (event, true));
    let rightward = rightward.into_iter().rev().map(|event| (event, false));
    for (event, leftward) in leftward.chain(rightward) {
        let x = axis.x(event.at_s);
        let (from, to) = if leftward { (x - width(event), x) } else { (x, x + width(event)) };
        let free = |lane: &usize| taken.iter().all(|(l, a, b)| l != lane || to + 6.0 < *a || from - 6.0 > *b);
        let clear = |lane: &usize| taken.iter().all(|(l, a, b)| l >= lane || x < *a - 3.0 || x > *b + 3.0);
        let lanes = 0..=events.len();
        let lane = lanes.clone().find(|lane| free(lane) && clear(lane)).or_else(|| lanes.clone().find(free));
        let lane = lane.unwrap_or(events.len());
        taken.push((lane, from, to));
        placed.push(Placed { event, x, lane, leftward });
    }
    placed
}

/// The service's state as visitors meet it: in sync, dark, solo, in sync.
fn band(round: &Round, axis: &Axis, y: f64) -> Markup {
    let p = &round.phases_ms;
    let at = |ms: Option<u64>| ms.map_or(axis.until_s, |ms| to_f64(ms) / 1_000.0);
    let (back, sync) = (at(p.first_acknowledged), at(p.sync));
    let parts = [
        (-BEFORE_S, 0.0, "sync", "sync"),
        (0.0, back, "dark", "no booking"),
        (back, sync, "solo", "solo: one site serves"),
        (sync, axis.until_s, "sync", "sync"),
    ];
    html! {
        @for (from, to, class, word) in parts {
            @let (x, width) = (axis.x(from), axis.x(to) - axis.x(from));
            @if width > 0.5 {
                g {
                    rect class=(class) x=(n(x)) y=(n(y)) width=(n(width)) height=(n(BAND)) rx="4" {}
                    @if width > to_f64(word.len() as u64) * 7.0 + 20.0 {
                        text x=(n(x + width / 2.0)) y=(n(y + BAND / 2.0 + 4.5)) text-anchor="middle" { (word) }
                    }
                }
            }
        }
    }
}

/// Acknowledged bookings per 100 ms while visitors arrived.
fn plot(round: &Round, axis: &Axis, y: f64) -> Markup {
    let most = round.acknowledged_per_100_ms.iter().copied().max().unwrap_or(0).max(1);
    let ended_s = round.phases_ms.load_ended.map_or(axis.until_s, |ms| to_f64(ms) / 1_000.0);
    let bars = (0u64..).zip(&round.acknowledged_per_100_ms).filter_map(|(i, count)| {
        let at_s = (to_f64(i * 100) - to_f64(PLOT_BEFORE_MS)) / 1_000.0;
        (at_s >= -BEFORE_S && at_s < ended_s.min(axis.until_s) && *count > 0).then_some((at_s, *count))
    });
    let width = (axis.x(0.1) - axis.x(0.0) - 0.4).max(0.6);
    html! {
        text.time x=(n(axis.x(0.0) + 8.0)) y=(n(y - 8.0)) { "acknowledged bookings per 100 ms, at most " (most) }
        g.bars {
            @for (at_s, count) in bars {
                @let h = to_f64(count) / to_f64(most) * PLOT;
                rect x=(n(axis.x(at_s))) y=(n(y + PLOT - h)) width=(n(width)) height=(n(h)) {}
            }
        }
        path.axis d=(format!("M{LEFT} {0:.1}H{1}", y + PLOT, WIDTH - RIGHT)) {}
    }
}

/// The picture in a sentence, for those who cannot see it.
fn spoken(round: &Round) -> String {
    let s =
        |ms: Option<u64>| ms.map_or("never".to_owned(), |ms| format!("after {:.1} s", to_f64(ms) / 1_000.0));
    let p = &round.phases_ms;
    format!(
        "{} was killed; the loss was detected {}, the standby promoted {}, the first booking acknowledged {}, by DNS {}, in sync again {}.",
        round.killed,
        s(p.detected),
        s(p.promoted),
        s(p.first_acknowledged),
        s(p.dns_acknowledged),
        s(p.sync)
    )
}

fn n(value: f64) -> String {
    format!("{value:.1}")
}
