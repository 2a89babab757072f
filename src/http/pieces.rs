use std::{
    array,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::metrics;

/// Sends an exposition's parts as they are: they are not copied first.
pub(super) struct Pieces {
    parts: array::IntoIter<Bytes, 2>,
    rest: u64,
}

impl Pieces {
    pub(super) fn new(body: metrics::Body) -> Self {
        let parts = [body.shared, body.live];
        let rest = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts: parts.into_iter(), rest }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.next();
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
