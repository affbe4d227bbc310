//! The request's parts, taken apart once and kept.
//!
//! A look is a field behind a chain of transformations. Looks form a tree, each one transformation longer than its parent,
//! and a [`Batch`] is what one comes to: the field's values as buffers. Where the bytes of a batch prove that a
//! transformation leaves all of them as they are, the look has its parent's batch; where some values stay as they are,
//! the two share those buffers. So an honest form, which has few escapes within escapes, is a few buffers a value however
//! many chains are asked for, and each buffer is scanned once. Values that are known to hold nothing ([`sift`]) come into
//! no batch at all.

mod parts;
mod sift;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::{
    acl::{Field, On, Oversize},
    bank::{Lane, Met},
    bytes::ByteSet,
    effort::Effort,
    injection,
    memo::{Memo, Print},
    plan::{Asked, Marks, Patterns, Plan},
    request::RequestView,
    transform::Transformation,
};

/// Of [`Buffer::next`]: not asked yet.
const UNKNOWN: u32 = u32::MAX;

/// Headers and cookies beyond these are not inspected.
pub(crate) const HEADERS_MAX: usize = 200;
/// Bytes of headers and of cookies that are inspected.
pub(crate) const HEADER_BYTES_MAX: usize = 8_192;

/// A value of a field: its name there and its bytes.
pub(crate) struct Value<'r> {
    pub(crate) name: Cow<'r, [u8]>,
    buffer: usize,
    /// Nothing of all that is asked of the field is in it.
    inert: bool,
}

struct Buffer<'r> {
    bytes: Cow<'r, [u8]>,
    /// Which bytes and marks occur in it.
    set: Option<(ByteSet, Marks)>,
    /// What each transformation makes of it.
    next: [u32; Transformation::ALL.len()],
    /// Where the patterns that may match stand in `hits`, by lane.
    hits: [Option<(usize, usize)>; Lane::COUNT],
    /// What libinjection says: SQL at either sensitivity, scripts.
    sqli: [Option<bool>; 2],
    xss: Option<bool>,
    /// What stands for it in the memo.
    print: Option<Print>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Unknown,
    No,
    Yes,
}

struct Hit {
    pattern: usize,
    matches: Known,
}

/// A field's values.
#[derive(Clone, Copy, Default)]
struct Loaded {
    start: usize,
    end: usize,
    /// How many of them are not inert.
    live: usize,
    oversize: bool,
    /// The field stands for a match by itself (fallbacks).
    verdict: Option<bool>,
}

/// What a look comes to.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    /// Its (buffer, value) pairs in [`Inspector::pairs`].
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The values stand in it as they came.
    raw: bool,
    /// Which bytes and marks occur in it.
    set: Option<(ByteSet, Marks)>,
    /// Where the set of the patterns that may match begins in `may`, by lane.
    may: [Option<usize>; Lane::COUNT],
}

/// Hashes where a slice stands: the places are ours, not a client's, so a multiplication does.
#[derive(Default)]
struct ByPlace(u64);

impl Hasher for ByPlace {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_usize(usize::from(b)));
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = (self.0.rotate_left(5) ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// See the module.
pub(crate) struct Inspector<'r, 'p> {
    pub(crate) request: &'r RequestView<'r>,
    pub(crate) plan: &'p Plan,
    memo: &'p Memo,
    pub(crate) body_limit: usize,
    fields: Vec<Option<Loaded>>,
    values: Vec<Value<'r>>,
    buffers: Vec<Buffer<'r>>,
    /// The buffer of each slice of the request.
    by_place: HashMap<(usize, usize), usize, BuildHasherDefault<ByPlace>>,
    hits: Vec<Hit>,
    looked: Vec<Option<usize>>,
    /// Of each look and each of [`Asked`], whether nothing was found.
    nothing: Vec<[Option<bool>; Asked::COUNT]>,
    batches: Vec<Batch>,
    /// (buffer, value), by [`Batch`].
    pub(crate) pairs: Vec<(usize, usize)>,
    /// Sets of patterns, one bit each.
    may: Vec<u64>,
    met: Met,
    scratch: Vec<usize>,
    parsed: Option<parts::ParsedBody<'r>>,
    pub(crate) oversize: Vec<&'static str>,
    pub(crate) effort: Effort,
}

impl<'r, 'p> Inspector<'r, 'p> {
    pub(crate) fn new(
        request: &'r RequestView<'r>,
        plan: &'p Plan,
        memo: &'p Memo,
        body_limit: usize,
    ) -> Self {
        Self {
            request,
            plan,
            memo,
            body_limit,
            fields: vec![None; plan.fields.len()],
            values: Vec::with_capacity(64),
            buffers: Vec::with_capacity(64),
            by_place: HashMap::default(),
            hits: Vec::new(),
            looked: vec![None; plan.looks.len()],
            nothing: vec![[None; Asked::COUNT]; plan.looks.len()],
            batches: Vec::with_capacity(64),
            pairs: Vec::with_capacity(128),
            may: Vec::new(),
            met: Met::default(),
            scratch: Vec::new(),
            parsed: None,
            oversize: Vec::new(),
            effort: Effort::default(),
        }
    }

    pub(crate) fn name(&self, value: usize) -> &[u8] {
        &self.values[value].name
    }

    pub(crate) fn bytes(&self, buffer: usize) -> &[u8] {
        &self.buffers[buffer].bytes
    }

    pub(crate) fn on(&self, look: usize) -> &'p On {
        &self.plan.looks[look]
    }

    /// What the field decides by itself: a fallback, or oversize handling that is not CONTINUE.
    pub(crate) fn verdict(&mut self, look: usize) -> Option<bool> {
        let field = self.plan.field_of[look];
        let loaded = self.load(field);
        if loaded.oversize {
            match oversize_handling(&self.plan.fields[field]) {
                Oversize::Match => return Some(true),
                Oversize::NoMatch => return Some(false),
                Oversize::Continue => {}
            }
        }
        loaded.verdict
    }

    /// How many bytes are there beyond what is inspected: a size constraint on a body that was cut is decided by it.
    pub(crate) fn is_oversize(&mut self, look: usize) -> bool {
        self.load(self.plan.field_of[look]).oversize
    }

    /// The field's values behind the chain.
    pub(crate) fn look(&mut self, look: usize) -> Batch {
        let at = self.batch(look);
        self.batches[at]
    }

    fn batch(&mut self, look: usize) -> usize {
        if let Some(at) = self.looked[look] {
            return at;
        }
        let at = match self.plan.parent_of[look] {
            None => {
                let loaded = self.load(self.plan.field_of[look]);
                let start = self.pairs.len();
                let live = (loaded.start..loaded.end).filter(|v| !self.values[*v].inert);
                self.pairs.extend(live.map(|v| (self.values[v].buffer, v)));
                self.push_batch(start, true)
            }
            Some((parent, transformation)) => {
                let parent = self.batch(parent);
                self.derived(parent, transformation, look)
            }
        };
        self.looked[look] = Some(at);
        at
    }

    fn push_batch(&mut self, start: usize, raw: bool) -> usize {
        let end = self.pairs.len();
        self.batches.push(Batch { start, end, raw, set: None, may: [None; Lane::COUNT] });
        self.batches.len() - 1
    }

    /// The batch behind one transformation more; the same one where that changes nothing. Values that cannot matter to
    /// whoever asks are left out.
    fn derived(&mut self, parent: usize, transformation: Transformation, look: usize) -> usize {
        let Batch { start, end, raw, .. } = self.batches[parent];
        // What came as it came is nearly always decoded first, and decoding finds its own bytes faster than all bytes are
        // looked at.
        if !raw
            && let Some(touched) = self.plan.touched(look, transformation)
            && !self.set_of(parent).0.meets(touched)
        {
            return parent;
        }
        if !raw && !self.plan.may_matter(look, transformation, self.set_of(parent)) {
            let first = self.pairs.len();
            return self.push_batch(first, false);
        }
        let only_with = if raw { self.plan.only_with[look] } else { self.plan.touched(look, transformation) };
        let first = self.pairs.len();
        let mut changed = false;
        for at in start..end {
            let (buffer, value) = self.pairs[at];
            if let Some(only_with) = only_with
                && !self.set_in(buffer).0.meets(only_with)
            {
                self.pairs.push((buffer, value));
                continue;
            }
            if !raw && !self.matters(look, transformation, buffer) {
                changed = true;
                continue;
            }
            let next = self.transformed(buffer, transformation);
            changed |= next != buffer;
            self.pairs.push((next, value));
        }
        if changed {
            return self.push_batch(first, false);
        }
        self.pairs.truncate(first);
        // It is as good as decoded.
        self.batches[parent].raw = false;
        parent
    }

    /// Whether the value may matter to the look, behind this transformation.
    fn matters(&mut self, look: usize, transformation: Transformation, buffer: usize) -> bool {
        let set = self.set_in(buffer);
        self.plan.matters(look, transformation, &self.buffers[buffer].bytes, set)
    }

    /// The bytes that occur in a batch.
    fn set_of(&mut self, batch: usize) -> (ByteSet, Marks) {
        let Batch { start, end, set, .. } = self.batches[batch];
        if let Some(set) = set {
            return set;
        }
        let mut set = (ByteSet::default(), 0);
        for at in start..end {
            let (bytes, marks) = self.set_in(self.pairs[at].0);
            set.0.add(bytes);
            set.1 |= marks;
        }
        self.batches[batch].set = Some(set);
        set
    }

    /// The bytes that occur in a buffer.
    fn set_in(&mut self, buffer: usize) -> (ByteSet, Marks) {
        let Buffer { bytes, set, .. } = &mut self.buffers[buffer];
        *set.get_or_insert_with(|| {
            let set = ByteSet::in_value(bytes);
            (set, self.plan.classes.in_bytes(set))
        })
    }

    /// Whether nothing is to be found in the look that was asked for there: what is nearly always so, and then no statement
    /// about it has to be tried.
    pub(crate) fn has_nothing(&mut self, look: usize, asked: Asked) -> bool {
        if let Some(known) = self.nothing[look][asked as usize] {
            return known;
        }
        let nothing = self.verdict(look).is_none() && {
            self.load(self.plan.field_of[look]).live == 0 || self.finds_nothing(look, asked)
        };
        self.nothing[look][asked as usize] = Some(nothing);
        nothing
    }

    fn finds_nothing(&mut self, look: usize, asked: Asked) -> bool {
        let batch = self.batch(look);
        let Batch { start, end, raw, .. } = self.batches[batch];
        let plan = self.plan;
        // What the bytes rule out already needs no scan, and one answer for all values is had first.
        if asked == Asked::Patterns
            && (!raw && !plan.wants[look].meets(self.set_of(batch).1)
                || !self.may_match(look, &plan.asked[look]))
        {
            return true;
        }
        (start..end).all(|at| {
            let buffer = self.pairs[at].0;
            match asked {
                Asked::Patterns => self.matches(look, buffer, &plan.asked[look]).is_none(),
                Asked::SqlLow => !self.sqli(buffer, false),
                Asked::SqlHigh => !self.sqli(buffer, true),
                Asked::Scripts => !self.xss(buffer),
            }
        })
    }

    /// Whether any of these patterns may match in the look: a literal of it stands there.
    pub(crate) fn may_match(&mut self, look: usize, set: &Patterns) -> bool {
        let lane = Lane::of(&self.plan.looks[look].transformations);
        let at = self.batch(look);
        let words = self.plan.bank.len().div_ceil(64);
        let Batch { start, end, may, .. } = self.batches[at];
        let first = may[lane as usize].unwrap_or_else(|| {
            let first = self.may.len();
            self.may.resize(first + words, 0);
            for pair in start..end {
                let buffer = self.pairs[pair].0;
                let (from, to) = self.scan(buffer, lane);
                for hit in &self.hits[from..to] {
                    self.may[first + hit.pattern / 64] |= 1 << (hit.pattern % 64);
                }
            }
            self.batches[at].may[lane as usize] = Some(first);
            first
        });
        set.meets(&self.may[first..first + words])
    }

    fn transformed(&mut self, buffer: usize, transformation: Transformation) -> usize {
        let slot = transformation as usize;
        let known = self.buffers[buffer].next[slot];
        if known != UNKNOWN {
            return known as usize;
        }
        let next = match transformation.apply(&self.buffers[buffer].bytes) {
            None => buffer,
            Some(bytes) => {
                self.effort.transformed += 1;
                self.push_buffer(Cow::Owned(bytes))
            }
        };
        // More buffers than a u32 counts do not fit in memory; were there some, they would be made again.
        self.buffers[buffer].next[slot] = u32::try_from(next).unwrap_or(UNKNOWN);
        next
    }

    fn push_buffer(&mut self, bytes: Cow<'r, [u8]>) -> usize {
        self.buffers.push(Buffer {
            bytes,
            set: None,
            next: [UNKNOWN; Transformation::ALL.len()],
            hits: [None; Lane::COUNT],
            sqli: [None; 2],
            xss: None,
            print: None,
        });
        self.buffers.len() - 1
    }

    fn push_value(&mut self, name: Cow<'r, [u8]>, bytes: Cow<'r, [u8]>) {
        // The same header may stand in several fields, and a body that is text is its own only value.
        let place = match bytes {
            Cow::Borrowed(slice) => Some((slice.as_ptr().addr(), slice.len())),
            Cow::Owned(_) => None,
        };
        let known = place.and_then(|place| self.by_place.get(&place).copied());
        let buffer = known.unwrap_or_else(|| {
            self.effort.values += 1;
            let buffer = self.push_buffer(bytes);
            self.by_place.extend(place.map(|place| (place, buffer)));
            buffer
        });
        self.values.push(Value { name, buffer, inert: false });
    }

    fn scan(&mut self, buffer: usize, lane: Lane) -> (usize, usize) {
        if let Some(range) = self.buffers[buffer].hits[lane as usize] {
            return range;
        }
        let start = self.hits.len();
        let (there, _) = self.set_in(buffer);
        let bytes: &[u8] = &self.buffers[buffer].bytes;
        self.effort.passes += 1;
        self.effort.bytes += bytes.len();
        self.scratch.clear();
        self.plan.bank.candidates(lane, bytes, there, &mut self.met, &mut self.scratch);
        self.hits.extend(self.scratch.iter().map(|&pattern| Hit { pattern, matches: Known::Unknown }));
        let range = (start, self.hits.len());
        self.buffers[buffer].hits[lane as usize] = Some(range);
        range
    }

    /// The first pattern of the set that matches in the buffer.
    pub(crate) fn matches(&mut self, look: usize, buffer: usize, set: &Patterns) -> Option<usize> {
        let lane = Lane::of(&self.plan.looks[look].transformations);
        let (start, end) = self.scan(buffer, lane);
        for at in start..end {
            let pattern = self.hits[at].pattern;
            if !set.contains(pattern) {
                continue;
            }
            if self.is_hit(at, buffer) {
                return Some(pattern);
            }
        }
        set.always.iter().copied().find(|&p| self.plan.bank.find(p, &self.buffers[buffer].bytes).is_some())
    }

    /// Whether the pattern of this hit matches in its buffer: run once.
    fn is_hit(&mut self, at: usize, buffer: usize) -> bool {
        if self.hits[at].matches == Known::Unknown {
            self.effort.patterns += 1;
            let is = self.plan.bank.find(self.hits[at].pattern, &self.buffers[buffer].bytes).is_some();
            self.hits[at].matches = if is { Known::Yes } else { Known::No };
        }
        self.hits[at].matches == Known::Yes
    }

    /// SQL injection, at HIGH or LOW sensitivity.
    pub(crate) fn sqli(&mut self, buffer: usize, high: bool) -> bool {
        let slot = usize::from(high);
        if let Some(known) = self.buffers[buffer].sqli[slot] {
            return known;
        }
        let (set, _) = self.set_in(buffer);
        let value = self.buffers[buffer].bytes.as_ref();
        let may = injection::may_be_sql(value, set) && (high || injection::has_evidence(value, set));
        self.effort.injections += usize::from(may);
        let found = may && injection::is_sql(value);
        self.buffers[buffer].sqli[slot] = Some(found);
        found
    }

    pub(crate) fn xss(&mut self, buffer: usize) -> bool {
        if let Some(known) = self.buffers[buffer].xss {
            return known;
        }
        let value = injection::without_xml_declaration(&self.buffers[buffer].bytes);
        let may = injection::may_be_script(value);
        self.effort.injections += usize::from(may);
        let found = may && injection::is_script(value);
        self.buffers[buffer].xss = Some(found);
        found
    }

    fn load(&mut self, field: usize) -> Loaded {
        if let Some(loaded) = self.fields[field] {
            return loaded;
        }
        let start = self.values.len();
        let (oversize, verdict) = self.fill(field);
        let live = self.sift(field, start);
        let loaded = Loaded { start, end: self.values.len(), live, oversize, verdict };
        self.fields[field] = Some(loaded);
        loaded
    }
}

fn oversize_handling(field: &Field) -> Oversize {
    match field {
        Field::Headers { oversize, .. }
        | Field::Cookies { oversize, .. }
        | Field::JsonBody { oversize, .. }
        | Field::Body(oversize)
        | Field::HeaderOrder(oversize) => *oversize,
        _ => Oversize::Continue,
    }
}
