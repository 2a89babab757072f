use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::connection_state::ConnectionState;

/// The incoming side of a connection. Observes what hyper doesn't report: the first byte of a
/// request, and a client that breaks an idle connection off.
pub(super) struct ObservedReader<R> {
    reader: R,
    state: ConnectionState,
    broke_off: Arc<AtomicBool>,
}

impl<R> ObservedReader<R> {
    /// `broke_off` is set when the client breaks off.
    pub(super) fn new(reader: R, state: ConnectionState, broke_off: Arc<AtomicBool>) -> Self {
        Self { reader, state, broke_off }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ObservedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.reader).poll_read(cx, buffer));
        match &read {
            Ok(()) if buffer.filled().len() > before => self.state.head_begins(),
            // Many clients close TLS without the message that ends it.
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                self.broke_off.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        Poll::Ready(read)
    }
}
