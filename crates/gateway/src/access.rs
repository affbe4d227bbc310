//! The access log: a line an answer, written when the answer has ended.
//!
//! Each thread gathers its own lines and appends them to the file when enough have come together or a second has passed,
//! many lines in one write. The file is opened anew for each, so whoever moves it away gets no line more after a second.
//! What that costs: a process that is killed loses its last second of lines.

mod line;

use std::{
    cell::{Cell, RefCell},
    fs::OpenOptions,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Frame, SizeHint},
    header::{self, HeaderValue},
};
use runtime::clock::{Boot, Wall};
use tokio::time::MissedTickBehavior;

use crate::{
    balance::Shares,
    body::{AnswerBody, BoxError},
};

pub use self::line::Format;

/// So many bytes of lines are written at once.
const WRITE_BYTES: usize = 64 << 10;
/// Lines wait no longer than this.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Where lines go, and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; lines are appended.
    pub file: PathBuf,
    /// How a line looks.
    pub format: Format,
}

/// A thread's log.
pub(crate) struct Log {
    settings: Settings,
    lines: RefCell<Vec<u8>>,
    clock: line::Clock,
    /// The last write failed: said once, not once a second.
    failing: Cell<bool>,
}

/// An answer under way, and what its line will say.
pub(crate) struct Entry {
    log: Rc<Log>,
    began: Boot,
    began_at: Wall,
    asked: Asked,
    status: StatusCode,
    bytes: u64,
    trace: Trace,
}

/// What was asked. Clones of what the request carries: they share its bytes.
struct Asked {
    from: IpAddr,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    id: HeaderValue,
}

/// What the phases tell of a request on its way.
#[derive(Clone, Default)]
pub(crate) struct Trace(Option<Rc<Traced>>);

#[derive(Default)]
struct Traced {
    /// The shares in which rule and group have their places.
    shares: RefCell<Option<Rc<Shares>>>,
    rule: Cell<Option<usize>>,
    group: Cell<Option<usize>>,
    target: Cell<Option<std::net::SocketAddr>>,
    source: Cell<Option<IpAddr>>,
}

impl Trace {
    /// Traces nothing; costs nothing.
    pub(crate) fn off() -> Trace {
        Trace(None)
    }

    /// For a log's entry.
    pub(crate) fn on() -> Trace {
        Trace(Some(Rc::default()))
    }

    /// The visitor's own address, where another gateway passed the request on.
    pub(crate) fn comes_from(&self, source: IpAddr) {
        if let Some(traced) = &self.0 {
            traced.source.set(Some(source));
        }
    }

    /// A rule took it: the rule's place, and that of the group it chose.
    pub(crate) fn ruled(&self, shares: &Rc<Shares>, rule: Option<usize>, group: Option<usize>) {
        if let Some(traced) = &self.0 {
            traced.shares.replace(Some(shares.clone()));
            traced.rule.set(rule);
            traced.group.set(group);
        }
    }

    /// It is sent there.
    pub(crate) fn sent_to(&self, target: std::net::SocketAddr) {
        if let Some(traced) = &self.0 {
            traced.target.set(Some(target));
        }
    }
}

impl Log {
    pub(crate) fn new(settings: Settings) -> Rc<Log> {
        let lines = RefCell::new(Vec::with_capacity(WRITE_BYTES + 4_096));
        Rc::new(Log { settings, lines, clock: line::Clock::default(), failing: Cell::new(false) })
    }

    /// Begins an entry; it is written when the answer's body is dropped.
    pub(crate) fn begin<B>(
        self: &Rc<Self>,
        request: &Request<B>,
        from: IpAddr,
        id: &HeaderValue,
        trace: Trace,
    ) -> Box<Entry> {
        let one = |name| request.headers().get(name).cloned();
        Box::new(Entry {
            log: self.clone(),
            began: Boot::now(),
            began_at: Wall::now(),
            asked: Asked {
                from,
                method: request.method().clone(),
                uri: request.uri().clone(),
                version: request.version(),
                host: one(header::HOST),
                referer: one(header::REFERER),
                agent: one(header::USER_AGENT),
                id: id.clone(),
            },
            status: StatusCode::OK,
            bytes: 0,
            trace,
        })
    }

    /// Writes what has come together, once a second, for as long as the thread lives.
    pub(crate) async fn keep_writing(self: Rc<Self>) {
        let mut every = tokio::time::interval(WRITE_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.write();
        }
    }

    fn add(&self, entry: &Entry) {
        let mut lines = self.lines.borrow_mut();
        line::append(&mut lines, self.settings.format, entry, &self.clock);
        if lines.len() >= WRITE_BYTES {
            drop(lines);
            self.write();
        }
    }

    /// Appends what has come together to the file.
    pub(crate) fn write(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.is_empty() {
            return;
        }
        let result = append(&self.settings.file, &lines);
        // What cannot be written is dropped: a full disk must not fill the memory too.
        lines.clear();
        match result {
            Ok(()) => self.failing.set(false),
            Err(e) if !self.failing.replace(true) => {
                let file = self.settings.file.display();
                tracing::warn!(%file, "the access log cannot be written, lines are lost: {e}");
            }
            Err(_) => {}
        }
    }
}

fn append(file: &Path, lines: &[u8]) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(lines)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.write();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.log.add(self);
    }
}

/// An answer's body on its way to the visitor, counted for the log.
pub(crate) struct Counted {
    inner: AnswerBody,
    entry: Option<Box<Entry>>,
}

impl Counted {
    pub(crate) fn answer(response: Response<AnswerBody>, entry: Option<Box<Entry>>) -> Response<Counted> {
        let status = response.status();
        response.map(|inner| {
            let entry = entry.map(|mut entry| {
                entry.status = status;
                entry
            });
            Counted { inner, entry }
        })
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(entry) = &mut self.entry
            && let Some(Ok(frame)) = &frame
        {
            entry.bytes += frame.data_ref().map_or(0, |d| d.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
