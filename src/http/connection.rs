//! One client connection, in HTTP/1.1. hyper's own timeout for headers also counts while a
//! connection is idle between two scrapes, and it has none for an answer that isn't read; so the
//! timeouts are set here.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, body::Body, response::Response};
use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::{
    MetricsSource, connection_state::AnswerGuard, connections::ConnectionGuard,
    guarded_body::GuardedBody, observed_reader::ObservedReader, scrapes::Scrapes, tls,
};

/// Maximum length of a request line and its headers.
const MAX_HEAD: usize = 16 << 10;

/// Marks an answer as a scrape that contains this version of the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scraped(pub(super) u64);

/// Marks a request with the address that it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Marks a request with the number of the connection that it comes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionNumber(pub(super) u64);

/// A connection, and what it is served with.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) router: Router,
    pub(super) source: Arc<dyn MetricsSource>,
    pub(super) guard: ConnectionGuard,
    pub(super) stop: CancellationToken,
}

impl Connection {
    /// Serves a client that has connected, in TLS if there is a configuration for it.
    pub(super) async fn accept(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let Some(tls) = tls else { return self.serve(stream).await };
        let state = &self.guard.state;
        let accepted = tokio::select! {
            accepted = tls::accept(stream, tls) => accepted,
            _ = state.expired() => Err(io::Error::other("it took too long")),
            () = self.stop.cancelled() => return,
        };
        match accepted {
            Ok(stream) => {
                state.established();
                self.serve(stream).await;
            }
            Err(error) => debug!(%error, client = %self.peer.0, "A client failed to set up TLS."),
        }
    }

    /// Serves until the client ends it or times out, or `stop` and the present request is answered.
    pub(super) async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + 'static,
    {
        let state = &self.guard.state;
        let scrapes = Arc::new(Scrapes::new(self.guard.number, Arc::clone(&self.source)));
        let broke_off = Arc::new(AtomicBool::new(false));
        let (reader, writer) = tokio::io::split(stream);
        let reader = ObservedReader::new(reader, state.clone(), Arc::clone(&broke_off));
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(tokio::io::join(reader, writer)),
                service_fn(|request| self.answer(request, Arc::clone(&scrapes))),
            );
        let (mut connection, mut expired) = (pin!(connection), pin!(state.expired()));
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    match ended {
                        Ok(()) if !broke_off.load(Ordering::Relaxed) => scrapes.received(),
                        ended => debug!(error = ?ended.err(), "A client broke its connection off."),
                    }
                    return;
                }
                phase = &mut expired => {
                    debug!(?phase, "Closing a connection: its client takes too long, or makes room.");
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// hyper asks for one answer after the other.
    fn answer(
        &self,
        mut request: Request<Incoming>,
        scrapes: Arc<Scrapes>,
    ) -> impl Future<Output = Result<hyper::Response<GuardedBody<AnswerGuard>>, Infallible>> + use<>
    {
        self.guard.state.answer_begins();
        scrapes.asked();
        let guard = AnswerGuard(self.guard.state.clone());
        let is_get = request.method() == Method::GET;
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(ConnectionNumber(self.guard.number));
        let answer = self.router.clone().oneshot(request.map(Body::new));
        async move {
            let answer: Response = answer.await?;
            let version = answer.extensions().get().filter(|_| is_get);
            scrapes.answered(version.map(|Scraped(version)| *version));
            Ok(answer.map(|body| GuardedBody::new(body, guard)))
        }
    }
}
