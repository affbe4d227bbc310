//! What tells early that a value of a field holds nothing of all that is asked of the field.

use super::{Asked, Plan};
use crate::{
    acl::{Field, Ours},
    bank::Lane,
    bytes::ByteSet,
    transform::Transformation as T,
};

/// Of one field.
///
/// Most values are words and numbers. Decoding them is all that happens to them, in whichever of the field's dozens of
/// chains; so one look at the decoded value stands for all of these.
#[derive(Default)]
pub(crate) struct Sieve {
    /// What is asked of the field is only what may be found in a value: patterns with literals, SQL, scripts. Without it
    /// no value is left out.
    pub(crate) sifts: bool,
    /// Many visitors say the same there.
    pub(crate) repeats: bool,
    /// All that is asked, and of which of its looks.
    pub(crate) asks: Vec<(usize, Asked)>,
    /// With none of these bytes a value stays as it is until it is decoded. `None`: some chain does not decode it.
    pub(crate) touched_before: Option<ByteSet>,
    /// With none of these a decoded value stays as it is, but for the opaque transformations.
    pub(crate) touched: ByteSet,
    pub(crate) opaque: Vec<Opaque>,
    /// The patterns that are looked for in values as they came, and behind transformations.
    patterns: [Vec<usize>; Lane::COUNT],
}

/// A transformation of decoded values that makes something else of whatever it is given, as Base64 does.
pub(crate) struct Opaque {
    /// The look behind it.
    pub(crate) look: usize,
    pub(crate) transformation: T,
    /// With none of these bytes it is left alone by what follows.
    pub(crate) touched: ByteSet,
}

impl Sieve {
    /// Whether the pattern is looked for anywhere behind these.
    pub(crate) fn asks_for(&self, lane: Lane, pattern: usize) -> bool {
        self.patterns[lane as usize].binary_search(&pattern).is_ok()
    }

    /// Whether anything is looked for there.
    pub(crate) fn asks_in(&self, lane: Lane) -> bool {
        !self.patterns[lane as usize].is_empty()
    }

    /// Whether this is asked anywhere.
    pub(crate) fn asks(&self, asked: Asked) -> bool {
        self.asks.iter().any(|(_, other)| *other == asked)
    }

    /// Takes account of a look. `false`: what it makes of a value cannot be told from the decoded value.
    fn takes(&mut self, plan: &Plan, look: usize) -> bool {
        let asked = || self.asks.iter().filter(|(other, _)| *other == look);
        let injected = asked().any(|(_, asked)| *asked != Asked::Patterns);
        let asked = asked().count() > 0;
        // libinjection is asked about decoded texts.
        let Some((parent, last)) = plan.parent_of[look] else { return !injected };
        let touched = plan.touched(look, last);
        let chain = &plan.looks[look].transformations;
        let Some(decoding) = chain.iter().position(|t| *t == T::UrlDecodeUni) else {
            return match (touched, &mut self.touched_before) {
                (Some(bytes), Some(before)) if !asked => {
                    before.add(bytes);
                    true
                }
                _ => false,
            };
        };
        if decoding + 1 == chain.len() {
            return true;
        }
        let behind = self.opaque.iter_mut().find(|o| {
            chain.starts_with(&plan.looks[o.look].transformations)
                && plan.looks[o.look].transformations.len() < chain.len()
        });
        match (touched, behind) {
            (Some(bytes), Some(opaque)) if !injected => opaque.touched.add(bytes),
            (Some(bytes), None) => self.touched.add(bytes),
            (None, None) if !injected && plan.looks[parent].transformations == [T::UrlDecodeUni] => {
                self.opaque.push(Opaque { look, transformation: last, touched: ByteSet::default() });
            }
            _ => return false,
        }
        true
    }
}

/// The sieve of each field of the plan. `exact`: of each look, whether more is asked of it than what may be found.
pub(super) fn sieves(plan: &Plan, asks: &[(usize, Asked)], exact: &[bool]) -> Vec<Sieve> {
    let of_field = |(at, field): (usize, &Field)| {
        let looks = || (0..plan.looks.len()).filter(|look| plan.field_of[*look] == at);
        let mut sieve = Sieve {
            sifts: looks().all(|look| !exact[look] && plan.asked[look].always.is_empty()),
            repeats: repeats(field),
            asks: asks.iter().filter(|(look, _)| plan.field_of[*look] == at).copied().collect(),
            touched_before: Some(ByteSet::default()),
            ..Sieve::default()
        };
        // A look comes behind the one that it goes on from.
        for look in looks() {
            let lane = &mut sieve.patterns[Lane::of(&plan.looks[look].transformations) as usize];
            lane.extend((0..plan.bank.len()).filter(|p| plan.asked[look].contains(*p)));
            if !sieve.takes(plan, look) {
                sieve.touched_before = None;
            }
        }
        for lane in &mut sieve.patterns {
            lane.sort_unstable();
            lane.dedup();
        }
        sieve
    };
    plan.fields.iter().enumerate().map(of_field).collect()
}

/// Paths, and what browsers say of themselves.
fn repeats(field: &Field) -> bool {
    matches!(
        field,
        Field::UriPath | Field::SingleHeader(_) | Field::Headers { .. } | Field::Ours(Ours::HeaderValues)
    )
}

/// All that is asked of values, look by look.
pub(super) fn asks(asked: &[Vec<usize>], injections: &[(usize, Asked)]) -> Vec<(usize, Asked)> {
    let with_patterns = (0..asked.len()).filter(|look| !asked[*look].is_empty());
    with_patterns.map(|look| (look, Asked::Patterns)).chain(injections.iter().copied()).collect()
}
