//! The bodies that pass through: the visitor's on its way to the application, and the answer on its way back.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

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

/// The visitor's request body: streamed, counted against a limit, and not waited for endlessly.
pub(crate) struct VisitorBody {
    inner: Incoming,
    left_bytes: u64,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Rc<Cell<Upload>>,
    heads: HeadWatch,
}

impl VisitorBody {
    pub(crate) fn new(inner: Incoming, bytes_max: u64, idle: Duration, heads: HeadWatch) -> VisitorBody {
        let progress = Rc::new(Cell::new(Upload::UnderWay));
        if inner.is_end_stream() {
            progress.set(Upload::Complete);
            heads.next_head();
        }
        VisitorBody { inner, left_bytes: bytes_max, idle, timer: None, progress, heads }
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
}

impl Body for VisitorBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let idle = this.idle;
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
            ready!(timer.as_mut().poll(cx));
            this.ends(Upload::Stalled);
            return Poll::Ready(Some(Err("the visitor stopped sending".into())));
        };
        if let Some(timer) = &mut this.timer {
            timer.as_mut().reset(Instant::now() + this.idle);
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
                let bytes = frame.data_ref().map_or(0, |d| d.len() as u64);
                match this.left_bytes.checked_sub(bytes) {
                    Some(left) => {
                        this.left_bytes = left;
                        if this.inner.is_end_stream() {
                            this.ends(Upload::Complete);
                        }
                        Some(Ok(frame))
                    }
                    None => {
                        this.ends(Upload::TooLarge);
                        Some(Err("the body is larger than allowed".into()))
                    }
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Empty => true,
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Streamed(answer) => answer.is_end_stream(),
            AnswerBody::Spilled(reader) => reader.left_bytes() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Empty => SizeHint::with_exact(0),
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            AnswerBody::Streamed(answer) => answer.size_hint(),
            AnswerBody::Spilled(reader) => SizeHint::with_exact(reader.left_bytes()),
        }
    }
}
