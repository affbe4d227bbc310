//! Values that hold nothing of all that is asked of their field, told before any rule is tried.
//!
//! Two ways to know: the value, decoded, is left alone by every chain, and one look at it finds no pattern; or the value
//! was found to hold nothing in an earlier request. What is left goes through all of the chains.

use super::{Buffer, Inspector};
use crate::{
    bank::Lane,
    plan::{Asked, Opaque, Sieve},
    transform::Transformation,
};

impl<'r, 'p> Inspector<'r, 'p> {
    /// Marks the values from `start` on, which are the field's; how many are left.
    pub(super) fn sift(&mut self, field: usize, start: usize) -> usize {
        let plan = self.plan;
        let sieve = &plan.sieves[field];
        if !sieve.sifts {
            return self.values.len() - start;
        }
        let mut live = 0;
        for value in start..self.values.len() {
            let buffer = self.values[value].buffer;
            let inert =
                sieve.repeats && self.is_remembered(field, buffer) || self.holds_nothing(sieve, buffer);
            self.values[value].inert = inert;
            live += usize::from(!inert);
        }
        live
    }

    fn is_remembered(&mut self, field: usize, buffer: usize) -> bool {
        let memo = self.memo;
        let Buffer { bytes, print, .. } = &mut self.buffers[buffer];
        if print.is_none() {
            *print = memo.print(bytes);
        }
        print.is_some_and(|print| memo.knows(field, print))
    }

    /// Keeps in mind what held nothing, of what many visitors say alike. For when nothing has refused the request: then
    /// nearly all that is asked here has been answered on the way.
    pub(crate) fn remember(&mut self) {
        let plan = self.plan;
        for (field, sieve) in plan.sieves.iter().enumerate() {
            let Some(loaded) = self.fields[field] else { continue };
            if !(sieve.sifts && sieve.repeats && loaded.live > 0 && loaded.verdict.is_none()) {
                continue;
            }
            if !sieve.asks.iter().all(|&(look, asked)| self.has_nothing(look, asked)) {
                continue;
            }
            for value in loaded.start..loaded.end {
                let held = &self.values[value];
                if let (false, Some(print)) = (held.inert, self.buffers[held.buffer].print) {
                    self.memo.remember(field, print);
                }
            }
        }
    }

    /// Whether one look at the decoded value tells that nothing is in it. `false`: it may be so all the same.
    fn holds_nothing(&mut self, sieve: &'p Sieve, buffer: usize) -> bool {
        let Some(touched_before) = sieve.touched_before else { return false };
        let bytes = &self.buffers[buffer].bytes;
        if touched_before.iter().any(|b| memchr::memchr(b, bytes).is_some())
            || sieve.asks_in(Lane::Raw) && self.finds(sieve, Lane::Raw, buffer)
        {
            return false;
        }
        let decoded = self.transformed(buffer, Transformation::UrlDecodeUni);
        if self.set_in(decoded).0.meets(sieve.touched) || self.finds(sieve, Lane::Decoded, decoded) {
            return false;
        }
        let injected = sieve.asks(Asked::SqlLow) && self.sqli(decoded, false)
            || sieve.asks(Asked::SqlHigh) && self.sqli(decoded, true)
            || sieve.asks(Asked::Scripts) && self.xss(decoded);
        !injected && sieve.opaque.iter().all(|opaque| self.holds_nothing_behind(sieve, opaque, decoded))
    }

    /// The same of what the opaque transformation makes of it.
    fn holds_nothing_behind(&mut self, sieve: &'p Sieve, opaque: &Opaque, decoded: usize) -> bool {
        if !self.matters(opaque.look, opaque.transformation, decoded) {
            return true;
        }
        let behind = self.transformed(decoded, opaque.transformation);
        // SQL and scripts are asked for in texts: what is asked behind it are patterns.
        behind == decoded
            || !self.set_in(behind).0.meets(opaque.touched) && !self.finds(sieve, Lane::Decoded, behind)
    }

    /// Whether a pattern that is asked of the field matches.
    fn finds(&mut self, sieve: &'p Sieve, lane: Lane, buffer: usize) -> bool {
        let (start, end) = self.scan(buffer, lane);
        (start..end).any(|at| sieve.asks_for(lane, self.hits[at].pattern) && self.is_hit(at, buffer))
    }
}
