//! Choosing one of a group's fit targets. Reads no clock and opens nothing.
//!
//! Always true here: a target that was tried already, or has as many requests as it may, is not chosen; a visitor whose
//! cookie names a fit target gets that one.

use std::net::IpAddr;

use hyper::{HeaderMap, header};
use model::topology::edge::{Algorithm, HashOn};

use super::{Group, Share, Target, share::Slot};

/// What is known of the request: who asks, and which targets have failed it already.
pub(crate) struct Asking<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) path: &'a str,
    pub(crate) source: IpAddr,
    pub(crate) now_ms: u64,
}

/// Weights in thousandths, so that a slowly starting target can have less than one.
const WHOLE: u64 = 1_000;
/// The share with which a slow start begins, in thousandths.
const SLOW_START_FROM: u64 = 100;

impl Share {
    /// The place of the target that is to be asked; none if all were tried or are full.
    pub(crate) fn choose(&self, group: &Group, asking: &Asking<'_>, tried: &[usize]) -> Option<usize> {
        if let Some(bound) = bound_to(group, asking.headers)
            && self.is_free(bound, tried)
        {
            return Some(bound);
        }
        let free = || (0..self.slots.len()).filter(move |place| self.is_free(*place, tried));
        // Of those that are left none is preferred: targets of weight 0 are the reserve.
        let weightless = free().all(|place| group.fit.get(place).is_none_or(|t| t.weight == 0));
        let weight = |place: usize| {
            group
                .fit
                .get(place)
                .map_or(0, |t| if weightless { WHOLE } else { weight(t, group, asking.now_ms) })
        };
        match group.config.algorithm {
            Algorithm::RoundRobin => self.in_turn(free(), &weight),
            Algorithm::LeastOutstandingRequests => self.least_busy(free(), &weight),
            Algorithm::WeightedRandom => by_lot(free(), &weight, rand::random()),
            Algorithm::ConsistentHash => {
                let key = key(&group.config.hash_on, asking);
                free().filter(|place| weight(*place) > 0).max_by(|a, b| {
                    let score = |place| group.fit.get(place).map_or(0.0, |t| score(t, key, weight(place)));
                    score(*a).total_cmp(&score(*b))
                })
            }
        }
    }

    fn is_free(&self, place: usize, tried: &[usize]) -> bool {
        let has_room = |slot: &Slot| self.requests_max == 0 || slot.under_way.get() < self.requests_max;
        !tried.contains(&place) && self.slots.get(place).is_some_and(|slot| has_room(slot))
    }

    /// Smooth weighted round robin: the turns of a heavy target are spread, not bunched.
    fn in_turn(&self, free: impl Iterator<Item = usize>, weight: &dyn Fn(usize) -> u64) -> Option<usize> {
        let (mut total, mut best) = (0, None::<(i64, usize)>);
        for place in free {
            let Some(slot) = self.slots.get(place) else { continue };
            let own = i64::try_from(weight(place)).unwrap_or(i64::MAX / 1_024);
            if own == 0 {
                continue;
            }
            total += own;
            let credit = slot.credit.get() + own;
            slot.credit.set(credit);
            if best.is_none_or(|(most, _)| credit > most) {
                best = Some((credit, place));
            }
        }
        let (credit, place) = best?;
        if let Some(slot) = self.slots.get(place) {
            slot.credit.set(credit - total);
        }
        Some(place)
    }

    fn least_busy(&self, free: impl Iterator<Item = usize>, weight: &dyn Fn(usize) -> u64) -> Option<usize> {
        let count = self.slots.len().max(1);
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let busy =
            |place: usize| self.slots.get(place).map_or(u64::MAX, |s| u64::from(s.under_way.get()) + 1);
        free.filter(|place| weight(*place) > 0).min_by(|a, b| {
            let (of_a, of_b) = (busy(*a).saturating_mul(weight(*b)), busy(*b).saturating_mul(weight(*a)));
            // Equals take turns.
            let place = |p: usize| (p + count - turn % count) % count;
            of_a.cmp(&of_b).then_with(|| place(*a).cmp(&place(*b)))
        })
    }
}

/// A target's share now: its weight, or what a slow start has reached of it.
fn weight(target: &Target, group: &Group, now_ms: u64) -> u64 {
    let whole = u64::from(target.weight) * WHOLE;
    let slow_ms = group.config.slow_start_ms;
    let age_ms = now_ms.saturating_sub(target.since_ms);
    if slow_ms == 0 || age_ms >= slow_ms {
        return whole;
    }
    let reached = (age_ms * WHOLE / slow_ms).clamp(SLOW_START_FROM, WHOLE);
    (whole * reached / WHOLE).max(u64::from(target.weight > 0))
}

/// The fit target that the visitor's cookie names.
fn bound_to(group: &Group, headers: &HeaderMap) -> Option<usize> {
    let name = group.cookie.as_deref()?;
    let mark = cookie(headers, name)?;
    group.fit.iter().position(|t| t.identity.mark == mark)
}

/// Whether the visitor's cookie names this target already.
pub(crate) fn is_bound_to(group: &Group, place: usize, headers: &HeaderMap) -> bool {
    bound_to(group, headers) == Some(place)
}

fn by_lot(
    free: impl Iterator<Item = usize> + Clone,
    weight: &dyn Fn(usize) -> u64,
    lot: u64,
) -> Option<usize> {
    let total: u64 = free.clone().map(weight).sum();
    let mut left = lot.checked_rem(total)?;
    let mut free = free;
    free.find(|place| match left.checked_sub(weight(*place)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

fn key(on: &HashOn, asking: &Asking<'_>) -> u64 {
    let of_source = || hash(asking.source.to_string().as_bytes());
    match on {
        HashOn::SourceIp => of_source(),
        HashOn::Path => hash(asking.path.as_bytes()),
        HashOn::Header(name) => asking.headers.get(name).map_or_else(of_source, |v| hash(v.as_bytes())),
        HashOn::Cookie(name) => cookie(asking.headers, name).map_or_else(of_source, |v| hash(v.as_bytes())),
    }
}

/// The value of a cookie; of several with this name the first.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(n, _)| *n == name).map(|(_, value)| value).next()
}

/// Rendezvous hashing: every target has a score for every key, the highest takes it. When a target goes, only its keys
/// move. With weights: the score's expected rank is the weight's.
fn score(target: &Target, key: u64, weight: u64) -> f64 {
    const BITS: u32 = 53;
    let mixed = mix(key ^ target.identity.seed) >> (u64::BITS - BITS);
    // 53 bits and small weights are exact in an f64.
    let (uniform, weight) = ((mixed as f64 + 0.5) / (1u64 << BITS) as f64, weight as f64);
    -weight / uniform.ln()
}

/// FNV-1a, then mixed: short keys that differ in one digit must not stay neighbours.
fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
}

/// The finalizer of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
