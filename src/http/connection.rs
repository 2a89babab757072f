//! One client connection. hyper's own time limit for headers also counts while a connection is
//! idle between two scrapes, and it has none for an answer that isn't read; so the limits are here.

use std::{io, net::IpAddr, sync::Arc};

use axum::{Router, body::Body, response::Response};
use hyper::{
    Method, Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulConnection,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::{
    crowd::Member,
    held::Held,
    progress::{Ending, Progress},
    scrapes::Scrapes,
    tls,
    watched::Watched,
};

/// A request line and its headers may be so long.
const LONGEST_HEAD: usize = 16 << 10;

/// Marks an answer as an exposition with this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scraped(pub(super) u64);

/// Marks a request with the address that it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Marks a request with the number of the connection that it comes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) u64);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What a connection is served with.
pub(super) struct Conversation {
    pub(super) peer: Peer,
    pub(super) router: Router,
    pub(super) scrapes: Scrapes,
    pub(super) member: Member,
    pub(super) stop: CancellationToken,
}

impl Conversation {
    /// Serves a client that has connected, in TLS if there is a configuration for it.
    pub(super) async fn hold(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let Some(tls) = tls else { return self.serve(stream, Protocol::Http1).await };
        let progress = self.member.progress();
        let greeted = tokio::select! {
            greeted = tls::accept(stream, tls) => greeted,
            _ = progress.expired() => Err(io::Error::other("it took too long")),
            () = self.stop.cancelled() => return,
        };
        match greeted {
            Ok(stream) => {
                progress.begin();
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
                self.serve(stream, protocol).await;
            }
            Err(error) => debug!(%error, client = %self.peer.0, "A client failed to set up TLS."),
        }
    }

    /// Serves until the client or its patience ends it, or `stop` and the request in work is
    /// answered.
    pub(super) async fn serve<S>(self, stream: S, protocol: Protocol)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let Self { peer, router, scrapes, member, stop } = self;
        let progress = member.progress();
        let watched =
            Watched::new(stream, protocol, progress.clone(), scrapes.clone(), stop.clone());
        let service = service_fn({
            let progress = progress.clone();
            move |mut request: Request<Incoming>| {
                progress.answer_begins();
                if protocol == Protocol::Http2 {
                    // It may have only one request under way, so the last answer has arrived.
                    scrapes.heard_of();
                }
                let is_get = request.method() == Method::GET;
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(Client(scrapes.client()));
                let answer = router.clone().oneshot(request.map(Body::new));
                let scrapes = scrapes.clone();
                let ending = (protocol == Protocol::Http1).then(|| Ending(progress.clone()));
                async move {
                    let answer: Response = answer.await?;
                    let number = answer.extensions().get::<Scraped>().filter(|_| is_get);
                    scrapes.sending(number.map(|Scraped(number)| *number));
                    let held = answer.map(|body| Held::new(body, ending));
                    Ok::<_, std::convert::Infallible>(held)
                }
            }
        });
        let io = TokioIo::new(watched);
        match protocol {
            Protocol::Http1 => {
                let mut http1 = http1::Builder::new();
                http1.header_read_timeout(None).max_buf_size(LONGEST_HEAD);
                drive(http1.serve_connection(io, service), &progress, &stop).await;
            }
            Protocol::Http2 => {
                let mut http2 = http2::Builder::new(TokioExecutor::new());
                http2.max_concurrent_streams(1).max_header_list_size(LONGEST_HEAD as u32);
                drive(http2.serve_connection(io, service), &progress, &stop).await;
            }
        }
    }
}

async fn drive<C>(connection: C, progress: &Progress, stop: &CancellationToken)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = std::pin::pin!(connection);
    let mut expired = std::pin::pin!(progress.expired());
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
                debug!(?stage, "Closing a connection: its client takes too long, or makes room.");
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
