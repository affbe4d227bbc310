//! Sees what hyper hides: a request that carried both `Content-Length` and `Transfer-Encoding`.
//!
//! hyper takes such a request as chunked, drops the length and closes the connection after it, and what we send on
//! is built anew, so it can never become two requests. But it is either an attack or a fault, and RFC 9112 §6.3
//! lets a server refuse it. So the connection's bytes are looked at on their way to hyper: within a head, is there
//! a line that begins with `content-length:`?
//!
//! The watch stops at a head's end and is set again when that request's body has been read. Empty lines before a head
//! belong to none (RFC 9112 §2.2). Of requests that were pipelined into one read only the first is seen; the others are
//! still read safely by hyper. A line that ends without CR is a line, here as there, and leaves with CR.
//!
//! It is also where slowness is seen (slow loris): a head that has begun must be complete in time, however steadily its
//! bytes drip; and a visitor who takes nothing of his answer is hung up on. A head that comes in one read, an answer that
//! is taken at once, start no clock.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use model::topology::edge::Limits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::metrics::GatewayMetrics;

const NAME: &[u8] = b"content-length:";

/// Tells whether the head just read had a length, and when to look for the next head.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadWatch(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    had_length: AtomicBool,
    rearm: AtomicBool,
}

impl HeadWatch {
    /// Whether a `Content-Length` line stood in the head of the request under way.
    pub(crate) fn had_length(&self) -> bool {
        self.0.had_length.load(Relaxed)
    }

    /// Of a protocol that frames requests itself (HTTP/2): every head stands alone.
    pub(crate) fn framed() -> HeadWatch {
        let watch = HeadWatch::default();
        watch.next_head();
        watch
    }

    /// The request under way is read completely: the next bytes begin a new head.
    pub(crate) fn next_head(&self) {
        self.0.rearm.store(true, Relaxed);
        // One that came in the same read is not looked at, and must not be taken for this one.
        self.0.had_length.store(false, Relaxed);
    }

    /// Whether the request under way is read completely.
    pub(crate) fn is_read(&self) -> bool {
        self.0.rearm.load(Relaxed)
    }
}

/// The line scanner. Fed with bytes in pieces of any size.
#[derive(Debug)]
struct Scanner {
    /// Bytes of the current line that match [`NAME`], `None` once the line differs.
    matched: Option<usize>,
    line_is_empty: bool,
    /// A line that was not empty has been seen.
    begun: bool,
    in_head: bool,
}

impl Scanner {
    fn new() -> Scanner {
        Scanner { matched: Some(0), line_is_empty: true, begun: false, in_head: true }
    }

    /// Whether a head has begun and not ended.
    fn is_within_head(&self) -> bool {
        self.begun && self.in_head
    }

    /// Whether a length line ended its name within `bytes`.
    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while self.in_head && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            found |= self.feed_line(line);
            bytes = rest.get(1..).unwrap_or_default();
            if end.is_some() {
                self.in_head = !(self.line_is_empty && self.begun);
                (self.matched, self.line_is_empty) = (Some(0), true);
            }
        }
        found
    }

    /// A line, or a piece of one. Only its beginning is looked at.
    fn feed_line(&mut self, piece: &[u8]) -> bool {
        for byte in piece.iter().filter(|b| **b != b'\r') {
            (self.line_is_empty, self.begun) = (false, true);
            let Some(matched) = self.matched else { return false };
            let is_next = NAME.get(matched).is_some_and(|want| *want == byte.to_ascii_lowercase());
            self.matched = is_next.then_some(matched + 1);
            if self.matched == Some(NAME.len()) {
                self.matched = None;
                return true;
            }
        }
        false
    }
}

/// A visitor's connection, watched while hyper reads and writes it.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    scanner: Scanner,
    watch: HeadWatch,
    /// Runs from a head's first bytes to its last.
    head: Clock,
    /// Runs while the visitor takes nothing.
    reader: Clock,
    metrics: Arc<GatewayMetrics>,
}

/// A time limit that costs nothing until it is needed.
#[derive(Debug)]
struct Clock {
    within: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn of(within_ms: u64) -> Clock {
        Clock { within: Duration::from_millis(within_ms), timer: None }
    }

    fn stop(&mut self) {
        self.timer = None;
    }

    /// Starts it if it does not run; ready when it has run out.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let within = self.within;
        self.timer.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(cx)
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, limits: &Limits, metrics: Arc<GatewayMetrics>) -> (Watched<S>, HeadWatch) {
        let watch = HeadWatch::default();
        let watched = Watched {
            stream,
            scanner: Scanner::new(),
            watch: watch.clone(),
            head: Clock::of(limits.head_ms),
            reader: Clock::of(limits.reader_idle_ms),
            metrics,
        };
        (watched, watch)
    }

    fn too_slow(&self, what: &'static str) -> io::Error {
        self.metrics.too_slow.inc();
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    /// What was tried to write: `result`. A visitor who takes nothing has so long, and no longer.
    fn paced<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.reader.stop();
            return result;
        }
        match self.reader.poll_over(cx) {
            Poll::Ready(()) => Poll::Ready(Err(self.too_slow("the visitor takes nothing of his answer"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() {
            let read = buf.filled().get(before..).unwrap_or_default();
            if !read.is_empty() && this.watch.0.rearm.swap(false, Relaxed) {
                this.scanner = Scanner::new();
                this.watch.0.had_length.store(false, Relaxed);
            }
            if this.scanner.feed(read) {
                this.watch.0.had_length.store(true, Relaxed);
            }
            // The end of the connection is told as it is.
            if !this.scanner.is_within_head() || read.is_empty() {
                this.head.stop();
                return result;
            }
        } else if !this.scanner.is_within_head() {
            return result;
        }
        match this.head.poll_over(cx) {
            Poll::Ready(()) => Poll::Ready(Err(this.too_slow("the head of a request does not end"))),
            Poll::Pending => result,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(cx, result)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.paced(cx, result)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.paced(cx, result)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.paced(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text whole and byte by byte: both must find the same.
    #[track_caller]
    fn check(text: &str, want: bool) {
        assert_eq!(Scanner::new().feed(text.as_bytes()), want, "{text:?} whole");
        let mut scanner = Scanner::new();
        let found = text.as_bytes().chunks(1).fold(false, |found, b| scanner.feed(b) | found);
        assert_eq!(found, want, "{text:?} in bytes");
    }

    #[test]
    fn a_length_line_is_found_in_the_head_only() {
        check("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", true);
        check("POST / HTTP/1.1\ncontent-LENGTH:5\n\n", true);
        check("POST / HTTP/1.1\r\nHost: a\r\n\r\nContent-Length: 5\r\n", false);
        check("POST / HTTP/1.1\r\nX-Content-Length: 5\r\n\r\n", false);
        check("POST / HTTP/1.1\r\nContent-Lengthy: 5\r\n\r\n", false);
        check("GET /?content-length: HTTP/1.1\r\n\r\n", false);
        check("\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", true);
        check("\nGET / HTTP/1.1\r\n\r\nContent-Length: 5\r\n", false);
        check("POST / HTTP/1.1\r\nA: b\r\n\r\r\nContent-Length: 5\r\n", false);
        check("POST / HTTP/1.1\r\nContent\r-Length: 5\r\n\r\n", true);
    }
}
