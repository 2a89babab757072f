use std::{convert::Infallible, io};

use axum::{Router, extract::Request, response::Response};
use futures::TryFutureExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Simulator;

/// Marks an answer that must not be sent: the connection is closed instead.
#[derive(Clone, Copy)]
pub(super) struct NoAnswer;

impl Simulator {
    /// Answers requests on this listener until it is stopped. Connections are then closed at once,
    /// because a hanging answer would never end. The error is the listener's.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let router = self.router();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "A connection to the simulated API panicked.");
                },
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, router.clone()));
                    }
                    Err(error) if is_the_clients(&error) => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = router.clone().oneshot(request);
        answer
            .map_err(|never: Infallible| match never {})
            .and_then(|answer| std::future::ready(sendable(answer)))
    });
    // The API's own Date header must follow the injected clock, or be missing.
    let connection = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "A connection to the simulated API ended early.");
    }
}

fn sendable(answer: Response) -> io::Result<Response> {
    if answer.extensions().get::<NoAnswer>().is_some() {
        return Err(io::Error::other("no answer was wanted"));
    }
    Ok(answer)
}

/// Whether accepting failed because the client went away in the meantime.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}
