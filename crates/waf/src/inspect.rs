//! The request's parts, taken apart once and kept: fields when somebody first asks for them, transformed buffers by
//! (buffer, transformation), so that chains that change nothing share one buffer, and what was found in each buffer.

mod parts;

use std::borrow::Cow;

use crate::{
    acl::{Field, On, Oversize},
    plan::Plan,
    request::RequestView,
    transform::Transformation,
};

const UNKNOWN: usize = usize::MAX;

/// Headers and cookies beyond these are not inspected.
pub(crate) const HEADERS_MAX: usize = 200;
/// Bytes of headers and of cookies that are inspected.
pub(crate) const HEADER_BYTES_MAX: usize = 8_192;

/// A value of a field: its name there and its bytes.
pub(crate) struct Value<'r> {
    pub(crate) name: Cow<'r, [u8]>,
    buffer: usize,
}

struct Buffer<'r> {
    bytes: Cow<'r, [u8]>,
    /// What each transformation makes of it.
    next: [usize; Transformation::ALL.len()],
    /// Where the patterns that may match stand in `hits`.
    hits: Option<(usize, usize)>,
    sqli: Option<Sqli>,
    xss: Option<bool>,
}

/// What libinjection says.
#[derive(Clone, Copy)]
pub(crate) struct Sqli {
    pub(crate) low: bool,
    pub(crate) high: bool,
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
    oversize: bool,
    /// The field stands for a match by itself (fallbacks).
    verdict: Option<bool>,
}

/// A field behind a chain: its buffers.
#[derive(Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether any buffer has a pattern that may match.
    pub(crate) hot: Option<bool>,
}

/// See the module.
pub(crate) struct Inspector<'r, 'p> {
    pub(crate) request: &'r RequestView<'r>,
    pub(crate) plan: &'p Plan,
    pub(crate) body_limit: usize,
    fields: Vec<Option<Loaded>>,
    values: Vec<Value<'r>>,
    buffers: Vec<Buffer<'r>>,
    hits: Vec<Hit>,
    looked: Vec<Option<Looked>>,
    /// (buffer, value), by [`Looked`].
    pub(crate) pairs: Vec<(usize, usize)>,
    scratch: Vec<usize>,
    parsed: Option<parts::ParsedBody<'r>>,
    pub(crate) oversize: Vec<&'static str>,
}

impl<'r, 'p> Inspector<'r, 'p> {
    pub(crate) fn new(request: &'r RequestView<'r>, plan: &'p Plan, body_limit: usize) -> Self {
        Self {
            request,
            plan,
            body_limit,
            fields: vec![None; plan.fields.len()],
            values: Vec::with_capacity(64),
            buffers: Vec::with_capacity(64),
            hits: Vec::new(),
            looked: vec![None; plan.looks.len()],
            pairs: Vec::with_capacity(128),
            scratch: Vec::new(),
            parsed: None,
            oversize: Vec::new(),
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

    /// The field's values behind the chain, as pairs of buffer and value.
    pub(crate) fn look(&mut self, look: usize) -> Looked {
        if let Some(looked) = self.looked[look] {
            return looked;
        }
        let loaded = self.load(self.plan.field_of[look]);
        let start = self.pairs.len();
        let plan = self.plan;
        for value in loaded.start..loaded.end {
            let mut buffer = self.values[value].buffer;
            for &transformation in &plan.looks[look].transformations {
                buffer = self.transformed(buffer, transformation);
            }
            self.pairs.push((buffer, value));
        }
        let looked = Looked { start, end: self.pairs.len(), hot: None };
        self.looked[look] = Some(looked);
        looked
    }

    /// Whether any of the look's buffers holds a literal of any pattern.
    pub(crate) fn is_hot(&mut self, look: usize) -> bool {
        let mut looked = self.look(look);
        if let Some(hot) = looked.hot {
            return hot;
        }
        let mut hot = false;
        for pair in looked.start..looked.end {
            let (start, end) = self.scan(self.pairs[pair].0);
            hot |= start != end;
        }
        looked.hot = Some(hot);
        self.looked[look] = Some(looked);
        hot
    }

    fn transformed(&mut self, buffer: usize, transformation: Transformation) -> usize {
        let slot = transformation as usize;
        let known = self.buffers[buffer].next[slot];
        if known != UNKNOWN {
            return known;
        }
        let next = match transformation.apply(&self.buffers[buffer].bytes) {
            None => buffer,
            Some(bytes) => self.push_buffer(Cow::Owned(bytes)),
        };
        self.buffers[buffer].next[slot] = next;
        next
    }

    fn push_buffer(&mut self, bytes: Cow<'r, [u8]>) -> usize {
        self.buffers.push(Buffer {
            bytes,
            next: [UNKNOWN; Transformation::ALL.len()],
            hits: None,
            sqli: None,
            xss: None,
        });
        self.buffers.len() - 1
    }

    fn push_value(&mut self, name: Cow<'r, [u8]>, bytes: Cow<'r, [u8]>) {
        let buffer = self.push_buffer(bytes);
        self.values.push(Value { name, buffer });
    }

    fn scan(&mut self, buffer: usize) -> (usize, usize) {
        if let Some(range) = self.buffers[buffer].hits {
            return range;
        }
        let start = self.hits.len();
        self.scratch.clear();
        self.plan.bank.candidates(&self.buffers[buffer].bytes, &mut self.scratch);
        self.hits.extend(self.scratch.iter().map(|&pattern| Hit { pattern, matches: Known::Unknown }));
        let range = (start, self.hits.len());
        self.buffers[buffer].hits = Some(range);
        range
    }

    /// The first pattern of the set that matches in the buffer.
    pub(crate) fn matches(&mut self, buffer: usize, set: &crate::plan::Patterns) -> Option<usize> {
        let (start, end) = self.scan(buffer);
        for at in start..end {
            let pattern = self.hits[at].pattern;
            if !set.contains(pattern) {
                continue;
            }
            if self.hits[at].matches == Known::Unknown {
                let is = self.plan.bank.find(pattern, &self.buffers[buffer].bytes).is_some();
                self.hits[at].matches = if is { Known::Yes } else { Known::No };
            }
            if self.hits[at].matches == Known::Yes {
                return Some(pattern);
            }
        }
        set.always.iter().copied().find(|&p| self.plan.bank.find(p, &self.buffers[buffer].bytes).is_some())
    }

    pub(crate) fn sqli(&mut self, buffer: usize) -> Sqli {
        if let Some(known) = self.buffers[buffer].sqli {
            return known;
        }
        let found = crate::injection::sqli(&self.buffers[buffer].bytes);
        self.buffers[buffer].sqli = Some(found);
        found
    }

    pub(crate) fn xss(&mut self, buffer: usize) -> bool {
        if let Some(known) = self.buffers[buffer].xss {
            return known;
        }
        let found = crate::injection::xss(&self.buffers[buffer].bytes);
        self.buffers[buffer].xss = Some(found);
        found
    }

    fn load(&mut self, field: usize) -> Loaded {
        if let Some(loaded) = self.fields[field] {
            return loaded;
        }
        let start = self.values.len();
        let (oversize, verdict) = self.fill(field);
        let loaded = Loaded { start, end: self.values.len(), oversize, verdict };
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
