//! The bodies that pass through: the visitor's on its way to the application, and the answer on its way back.

mod ahead;

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::{Body, Frame, Incoming, SizeHint},
};
use model::topology::edge::Limits;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{framing::HeadWatch, spill, upstream};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the visitor's body ended early, if it did. Read after the exchange with the application failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    /// Not at its end yet.
    UnderWay,
    /// Read to its end.
    Complete,
    /// Larger than allowed.
    TooLarge,
    /// The visitor stopped sending.
    Stalled,
    /// The visitor's connection broke.
    Broken,
}

/// How large a visitor's body may be, and how slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) bytes_max: u64,
    /// It may stand still for so long.
    pub(crate) idle: Duration,
    /// Bytes a second, at least; 0: any.
    pub(crate) bytes_per_s_min: u64,
}

/// Time for which nobody's rate is looked at: a phone that changes its cell.
const RATE_GRACE: Duration = Duration::from_secs(5);

impl Pace {
    pub(crate) fn of(limits: &Limits) -> Pace {
        Pace {
            bytes_max: limits.body_bytes_max,
            idle: Duration::from_millis(limits.body_idle_ms),
            bytes_per_s_min: limits.body_bytes_per_s_min,
        }
    }

    /// How much longer the next bytes may take, after so many bytes and so much waiting for them.
    fn left(&self, bytes: u64, waited: Duration) -> Duration {
        if self.bytes_per_s_min == 0 {
            return self.idle;
        }
        let earned_ms = bytes.saturating_mul(1_000) / self.bytes_per_s_min;
        let may_wait = RATE_GRACE.max(Duration::from_millis(earned_ms));
        self.idle.min(may_wait.saturating_sub(waited))
    }
}

/// The visitor's request body: streamed, counted against a limit, and not waited for endlessly. Only time in which we
/// wait for the visitor counts, not time in which the application is slow to take it.
pub(crate) struct VisitorBody {
    /// None: there is none, or it was read before.
    inner: Option<Incoming>,
    ahead: ahead::Ahead,
    pace: Pace,
    bytes: u64,
    waited: Duration,
    waits_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Rc<Cell<Upload>>,
    heads: HeadWatch,
}

impl VisitorBody {
    pub(crate) fn new(inner: Incoming, pace: Pace, heads: HeadWatch) -> VisitorBody {
        let inner = Some(inner).filter(|body| !body.is_end_stream());
        if inner.is_none() {
            heads.next_head();
        }
        VisitorBody::with(inner, pace, heads)
    }

    fn with(inner: Option<Incoming>, pace: Pace, heads: HeadWatch) -> VisitorBody {
        let upload = if inner.is_none() { Upload::Complete } else { Upload::UnderWay };
        let progress = Rc::new(Cell::new(upload));
        let (waited, waits_since, timer) = (Duration::ZERO, None, None);
        let ahead = ahead::Ahead::default();
        VisitorBody { inner, ahead, pace, bytes: 0, waited, waits_since, timer, progress, heads }
    }

    /// The body of a copy of a request that has none.
    pub(crate) fn ended(&self) -> VisitorBody {
        VisitorBody::with(None, self.pace, self.heads.clone())
    }

    /// Lets others see how far it came, also after it was dropped.
    pub(crate) fn progress(&self) -> Rc<Cell<Upload>> {
        self.progress.clone()
    }

    fn ends(&self, how: Upload) {
        if self.progress.get() == Upload::UnderWay {
            self.progress.set(how);
            self.heads.next_head();
        }
    }

    /// Nothing has come yet: how long is that allowed?
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = self.pace.left(self.bytes, self.waited);
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(since + left)));
        if timer.deadline() != since + left {
            timer.as_mut().reset(since + left);
        }
        ready!(timer.as_mut().poll(cx));
        self.ends(Upload::Stalled);
        Poll::Ready(Some(Err("the visitor stopped sending, or sends too slowly".into())))
    }
}

impl Body for VisitorBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(frame) = this.ahead.pop() {
            return Poll::Ready(frame.map(Ok));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else { return this.poll_wait(cx) };
        if let Some(since) = this.waits_since.take() {
            this.waited += since.elapsed();
        }
        Poll::Ready(match frame {
            None => {
                this.ends(Upload::Complete);
                None
            }
            Some(Err(e)) => {
                this.ends(Upload::Broken);
                Some(Err(e.into()))
            }
            Some(Ok(frame)) => {
                this.bytes += frame.data_ref().map_or(0, |d| d.len() as u64);
                if this.bytes > this.pace.bytes_max {
                    this.ends(Upload::TooLarge);
                    return Poll::Ready(Some(Err("the body is larger than allowed".into())));
                }
                if this.inner.as_ref().is_none_or(Body::is_end_stream) {
                    this.ends(Upload::Complete);
                }
                Some(Ok(frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_end(self.inner.as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        self.ahead.size(&self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint))
    }
}

/// What a visitor is answered with.
pub(crate) enum AnswerBody {
    /// Nothing. A `Content-Length` header may still speak of what HEAD did not fetch.
    Empty,
    /// Held answers that were small, and our own.
    Whole(Option<Bytes>),
    /// Streamed from the application or the peer: nothing was held.
    Streamed(upstream::Answer),
    /// Held answers that were large.
    Spilled(spill::Reader),
    /// A held answer with something behind its body: gRPC's status.
    Trailed(Box<AnswerBody>, Option<HeaderMap>),
}

impl AnswerBody {
    /// With trailers behind it, if there are any.
    pub(crate) fn trailed(self, trailers: Option<HeaderMap>) -> AnswerBody {
        match trailers {
            Some(trailers) => AnswerBody::Trailed(Box::new(self), Some(trailers)),
            None => self,
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> AnswerBody {
        if bytes.is_empty() { AnswerBody::Empty } else { AnswerBody::Whole(Some(bytes)) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            AnswerBody::Empty => Poll::Ready(None),
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            AnswerBody::Streamed(answer) => Pin::new(answer).poll_frame(cx),
            AnswerBody::Spilled(reader) => {
                reader.poll_chunk(cx).map(|c| c.map(|r| r.map(Frame::data).map_err(Into::into)))
            }
            AnswerBody::Trailed(body, trailers) => match ready!(Pin::new(&mut **body).poll_frame(cx)) {
                None => Poll::Ready(trailers.take().map(|t| Ok(Frame::trailers(t)))),
                frame => Poll::Ready(frame),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Empty => true,
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Streamed(answer) => answer.is_end_stream(),
            AnswerBody::Spilled(reader) => reader.left_bytes() == 0,
            AnswerBody::Trailed(body, trailers) => trailers.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Empty => SizeHint::with_exact(0),
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            AnswerBody::Streamed(answer) => answer.size_hint(),
            AnswerBody::Spilled(reader) => SizeHint::with_exact(reader.left_bytes()),
            // Over HTTP/1.1 trailers come behind chunks, never behind a length.
            AnswerBody::Trailed(..) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_allowed_as_long_as_bytes_have_earned_it() {
        let pace = Pace { bytes_max: 0, idle: Duration::from_secs(30), bytes_per_s_min: 240 };
        let check = |bytes, waited_s, left_s| {
            let left = pace.left(bytes, Duration::from_secs(waited_s));
            assert_eq!(left, Duration::from_secs(left_s), "{bytes} bytes, {waited_s} s");
        };
        check(0, 0, 5);
        check(1, 4, 1);
        check(1, 5, 0);
        check(2_400, 5, 5);
        check(2_400, 11, 0);
        check(240_000, 10, 30);
        let any = Pace { bytes_per_s_min: 0, ..pace };
        assert_eq!(any.left(0, Duration::from_secs(1_000)), any.idle);
    }
}
