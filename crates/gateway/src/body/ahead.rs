//! Reading a body ahead: what somebody looked at before it goes its way, and that still goes it, as it came.

use std::{collections::VecDeque, pin::Pin};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{Upload, VisitorBody};

/// What was read ahead.
#[derive(Default)]
pub(super) struct Ahead {
    frames: VecDeque<Frame<Bytes>>,
    bytes: u64,
    /// Reading ahead has met the end.
    ended: bool,
}

impl Ahead {
    /// The next piece of it; `Some(None)`: nothing comes behind it either.
    pub(super) fn pop(&mut self) -> Option<Option<Frame<Bytes>>> {
        match self.frames.pop_front() {
            Some(frame) => {
                self.bytes -= length(&frame);
                Some(Some(frame))
            }
            None => self.ended.then_some(None),
        }
    }

    /// Whether the body is at its end, if the visitor's part of it is.
    pub(super) fn is_end(&self, visitors_is: bool) -> bool {
        self.frames.is_empty() && (self.ended || visitors_is)
    }

    /// With what is still to come from the visitor.
    pub(super) fn size(&self, to_come: &SizeHint) -> SizeHint {
        let mut whole = SizeHint::new();
        // The upper bound first: the lower one may not be above it.
        if let Some(upper) = to_come.upper().and_then(|upper| upper.checked_add(self.bytes)) {
            whole.set_upper(upper);
        }
        whole.set_lower(to_come.lower().saturating_add(self.bytes));
        whole
    }

    fn push(&mut self, frame: Frame<Bytes>) {
        self.bytes += length(&frame);
        self.frames.push_back(frame);
    }

    fn whole(&self) -> Bytes {
        let pieces: Vec<&Bytes> = self.frames.iter().filter_map(Frame::data_ref).collect();
        if let [one] = pieces[..] {
            return one.clone();
        }
        let mut whole = Vec::new();
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.into()
    }
}

impl VisitorBody {
    /// Reads until `wanted` bytes are there, or all; they stay in the body. The error says how it ended early.
    pub(crate) async fn peek(&mut self, wanted: usize) -> Result<Bytes, Upload> {
        let mut ahead = std::mem::take(&mut self.ahead);
        while ahead.bytes < wanted as u64 && !ahead.ended && !self.is_end_stream() {
            match std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                Some(Ok(frame)) => ahead.push(frame),
                Some(Err(_)) => return Err(self.progress.get()),
                None => ahead.ended = true,
            }
        }
        let whole = ahead.whole();
        self.ahead = ahead;
        Ok(whole)
    }
}

/// Bytes of data in a frame.
fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_ahead_comes_first_and_counts() {
        let mut ahead = Ahead::default();
        ahead.push(Frame::data(Bytes::from_static(b"abc")));
        ahead.push(Frame::data(Bytes::from_static(b"de")));
        assert_eq!(ahead.whole(), "abcde");
        assert_eq!(ahead.size(&SizeHint::with_exact(10)).exact(), Some(15));
        let unknown = ahead.size(&SizeHint::new());
        assert_eq!((unknown.lower(), unknown.upper()), (5, None));
        assert!(!ahead.is_end(true));
        assert!(ahead.pop().is_some() && ahead.pop().is_some());
        assert!(ahead.pop().is_none(), "the visitor is asked");
        assert!(ahead.is_end(true) && !ahead.is_end(false));
        ahead.ended = true;
        assert!(ahead.pop().is_some_and(|frame| frame.is_none()), "the visitor is not asked again");
    }
}
