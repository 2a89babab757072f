use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::metrics;

/// Sends an exposition part by part, as they are: none is copied first.
pub(super) struct Pieces {
    body: metrics::Body,
    next: usize,
    rest: u64,
}

impl Pieces {
    pub(super) fn new(body: metrics::Body) -> Self {
        let rest = body.length();
        Self { body, next: 0, rest }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.body.part(self.next);
        self.next += 1;
        self.rest -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}
