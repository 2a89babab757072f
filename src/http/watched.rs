//! A stream that notes where the conversation on it is.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Protocol,
    frames::{Frames, Passed},
    progress::{Progress, Stage},
    scrapes::Scrapes,
};

/// What is noted is where the [`Progress`] is and what has become of the [`Scrapes`].
pub(super) struct Watched<S> {
    stream: S,
    notes: Notes,
    stop: CancellationToken,
}

struct Notes {
    progress: Progress,
    scrapes: Scrapes,
    /// What comes and what goes, where that is HTTP/2.
    frames: Option<(Frames, Frames)>,
}

impl<S> Watched<S> {
    pub(super) fn new(
        stream: S,
        protocol: Protocol,
        progress: Progress,
        scrapes: Scrapes,
        stop: CancellationToken,
    ) -> Self {
        let frames = match protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => Some((Frames::of_client(), Frames::of_server())),
        };
        Self { stream, notes: Notes { progress, scrapes, frames }, stop }
    }
}

impl Notes {
    /// What was read shows what the client has received: the whole last answer if it asks again or
    /// closes the connection in order. In HTTP/2, it sends much else; there asking again is noted
    /// where requests are taken.
    fn came(&mut self, bytes: &[u8]) {
        let Some((coming, _)) = &mut self.frames else {
            self.scrapes.heard_of();
            if !bytes.is_empty() {
                self.progress.head_begins();
            }
            return;
        };
        if bytes.is_empty() {
            self.scrapes.heard_of();
        }
        coming.pass(bytes, |passed| match passed {
            Passed::Head(frame) if frame.is_headers() => self.progress.head_begins(),
            // It doesn't want the answer any more.
            Passed::Head(frame) if frame.is_reset() => {
                self.scrapes.sending(None);
                self.progress.answer_ends();
                self.progress.flushed();
            }
            _ => {}
        });
    }

    /// After the last answer, only giving it up means something.
    fn came_late(&mut self, bytes: &[u8]) {
        if self.frames.is_some() {
            self.came(bytes);
        }
    }

    fn went(&mut self, bytes: &[u8]) {
        let Some((_, going)) = &mut self.frames else { return };
        going.pass(bytes, |passed| match passed {
            Passed::All(frame) if frame.ends_stream() => self.progress.answer_ends(),
            Passed::All(frame) if frame.is_reset() => {
                self.scrapes.sending(None);
                self.progress.answer_ends();
            }
            _ => {}
        });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // A broken connection is told once; reading on would look like an orderly end.
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))
            .inspect_err(|_| self.notes.scrapes.broke())?;
        self.notes.came(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.notes.went(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.notes.frames.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.notes.frames.is_none() && self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all it has, so an answer that it took all of has then gone
    /// out completely.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let Notes { progress, scrapes, .. } = &self.notes;
        if progress.stage() == Stage::Flushing {
            scrapes.sent();
        }
        progress.flushed();
        Poll::Ready(Ok(()))
    }

    /// A client that wanted only one answer shows that it has received it by closing in its turn,
    /// which is waited for.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.notes.progress.closing();
        while self.notes.scrapes.is_sent() && !self.stop.is_cancelled() {
            let mut rest = [0; 64];
            let mut rest = ReadBuf::new(&mut rest);
            let received = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest));
            match received {
                Ok(()) if rest.filled().is_empty() => self.notes.scrapes.heard_of(),
                Ok(()) => self.notes.came_late(rest.filled()),
                Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
