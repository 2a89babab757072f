//! One client connection. hyper's own time limit for headers also counts while a connection is
//! idle between two scrapes, and it has none for an answer that isn't read; so the limits are here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::Exposition;

/// A request line and its headers may be so long.
const LONGEST_HEAD: usize = 16 << 10;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To send a request's headers, from its first byte (a new connection: from its start).
    pub head: Duration,
    /// To take an answer, from the end of the request's headers.
    pub answer: Duration,
    /// To begin with the next request.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            // Prometheus itself closes what was idle for 5 minutes. It must be the first to do so:
            // a connection that is closed while a scrape is being sent fails that scrape.
            idle: Duration::from_secs(360),
        }
    }
}

/// Marks an answer as an exposition with this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scraped(pub(super) u64);

/// Serves one connection until the client or its patience ends it, or `stop` and the request in
/// work is answered.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    scrapes: Scrapes,
    patience: Patience,
    stop: CancellationToken,
) {
    let progress = Progress::new(patience);
    let mut stages = progress.0.subscribe();
    let io = TokioIo::new(Watched {
        stream,
        progress: progress.clone(),
        patience,
        scrapes: scrapes.clone(),
        stop: stop.clone(),
    });
    let service = service_fn(|request: Request<Incoming>| {
        let progress = progress.clone();
        progress.turn(|_| true, Stage::Answering, Some(patience.answer));
        let is_get = request.method() == Method::GET;
        let answer = router.clone().oneshot(request.map(Body::new));
        let scrapes = &scrapes;
        async move {
            let answer: Response = answer.await?;
            let number = answer.extensions().get::<Scraped>().filter(|_| is_get);
            scrapes.sending(number.map(|Scraped(number)| *number));
            Ok::<_, std::convert::Infallible>(answer.map(|body| Held::new(body, Ending(progress))))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(io, service)
    );
    let mut expired = std::pin::pin!(expired(&mut stages));
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(%error, "A connection ended early.");
                }
                return;
            }
            stage = &mut expired => {
                debug!(?stage, "Closing the connection of a client that took too long.");
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for a request.
    Idle,
    /// Some of a request's headers have come.
    Head,
    /// A request is being answered.
    Answering,
    /// All of the answer is on its way to the socket.
    Flushing,
    /// The last answer is with the client, which is to close the connection.
    Closing,
}

/// The stage of a connection, and when the client's patience with it ends.
#[derive(Clone)]
struct Progress(Arc<watch::Sender<(Stage, Instant)>>);

impl Progress {
    fn new(patience: Patience) -> Self {
        let start = (Stage::Idle, Instant::now() + patience.head);
        Self(Arc::new(watch::Sender::new(start)))
    }

    /// Goes on to `stage` if the present one is right for that. Without a limit, the present one
    /// goes on.
    fn turn(&self, from: impl Fn(Stage) -> bool, stage: Stage, limit: Option<Duration>) {
        self.0.send_if_modified(|now| {
            let turns = from(now.0);
            if turns {
                *now = (stage, limit.map_or(now.1, |limit| Instant::now() + limit));
            }
            turns
        });
    }
}

async fn expired(stages: &mut watch::Receiver<(Stage, Instant)>) -> Stage {
    loop {
        let (stage, deadline) = *stages.borrow_and_update();
        tokio::select! {
            () = sleep_until(deadline) => return stage,
            changed = stages.changed() => if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// A body that holds something until hyper has taken all of it, or gave up.
pub(super) struct Held<T> {
    body: Body,
    _held: T,
}

impl<T> Held<T> {
    pub(super) fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notes that hyper has taken all of an answer.
struct Ending(Progress);

impl Drop for Ending {
    fn drop(&mut self) {
        let answering = |stage| stage == Stage::Answering;
        self.0.turn(answering, Stage::Flushing, None);
    }
}

/// The scrapes of one connection, and who wants to know when they are complete.
#[derive(Clone)]
pub(super) struct Scrapes(Arc<Scraping>);

struct Scraping {
    client: u64,
    exposition: Arc<dyn Exposition>,
    under_way: Mutex<UnderWay>,
}

/// How far the last scrape is.
#[derive(Clone, Copy, Debug, Default)]
enum UnderWay {
    #[default]
    Nothing,
    /// The exposition with this number is being sent.
    Sending(u64),
    /// The system has all of it. That the client has received it, its next request shows, or that
    /// it closes the connection in order: one that goes away before resets it.
    Sent(u64),
}

impl Scrapes {
    pub(super) fn new(client: u64, exposition: Arc<dyn Exposition>) -> Self {
        Self(Arc::new(Scraping { client, exposition, under_way: Mutex::default() }))
    }

    /// An answer begins; a scrape has a number.
    fn sending(&self, number: Option<u64>) {
        *self.under_way() = number.map_or(UnderWay::Nothing, UnderWay::Sending);
    }

    /// The system has all that was to be sent.
    fn sent(&self) {
        let mut under_way = self.under_way();
        if let UnderWay::Sending(number) = *under_way {
            *under_way = UnderWay::Sent(number);
        }
    }

    fn is_sent(&self) -> bool {
        matches!(*self.under_way(), UnderWay::Sent(_))
    }

    /// The client did what shows that it has received what was sent.
    fn heard_of(&self) {
        let under_way = std::mem::take(&mut *self.under_way());
        match under_way {
            UnderWay::Sent(number) => self.0.exposition.completed(self.0.client, number),
            UnderWay::Sending(_) => *self.under_way() = under_way,
            UnderWay::Nothing => {}
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        self.exposition.left(self.client);
    }
}

/// A stream that notes where the conversation is.
struct Watched<S> {
    stream: S,
    progress: Progress,
    patience: Patience,
    scrapes: Scrapes,
    stop: CancellationToken,
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
            .inspect_err(|_| self.scrapes.sending(None))?;
        self.scrapes.heard_of();
        if buffer.filled().len() > before {
            let idle = |stage| stage == Stage::Idle;
            self.progress.turn(idle, Stage::Head, Some(self.patience.head));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all it has, so an answer that it took all of has then gone
    /// out completely.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let flushing = |stage| stage == Stage::Flushing;
        if flushing(self.progress.0.borrow().0) {
            self.scrapes.sent();
        }
        self.progress.turn(flushing, Stage::Idle, Some(self.patience.idle));
        Poll::Ready(Ok(()))
    }

    /// A client that wanted only one answer shows that it has received it by closing in its turn,
    /// which is waited for.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let idle = |stage| stage == Stage::Idle;
        self.progress.turn(idle, Stage::Closing, Some(self.patience.head));
        while self.scrapes.is_sent() && !self.stop.is_cancelled() {
            let mut rest = [0; 64];
            let mut rest = ReadBuf::new(&mut rest);
            let received = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest));
            match received {
                Ok(()) if rest.filled().is_empty() => self.scrapes.heard_of(),
                Ok(()) => {}
                Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
