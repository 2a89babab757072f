use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use futures::future::join_all;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    AccessControl, Endpoints, MetricsSource,
    connection::{Connection, Peer},
    connection_state::Timeouts,
    connections::Connections,
    router::router,
};
use crate::config::Web;

/// Maximum number of connections. Each takes a file descriptor and up to 16 KiB of headers.
const MAX_CONNECTIONS: usize = 512;

/// File descriptors that are left for the ledger, the API and the log.
const RESERVED_DESCRIPTORS: usize = 64;

/// How often a connection is evicted while a client waits for one to close.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// The longest pause after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How often it is logged that clients can't be accepted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}: {cause}; choose another with --web.listen-address", display(.address))]
pub struct BindError {
    /// The address.
    address: SocketAddr,
    /// The system's error.
    cause: io::Error,
}

/// Open listeners; clients that connect wait until they are served.
pub struct Server {
    listeners: Vec<TcpListener>,
    web: Web,
    access_control: Arc<AccessControl>,
    pub(super) timeouts: Timeouts,
    pub(super) max_connections: usize,
}

impl Server {
    /// Opens all addresses.
    pub async fn bind(web: &Web) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for &address in &web.listen_addresses {
            let bound = bind(address).await;
            listeners.push(bound.map_err(|cause| BindError { address, cause })?);
        }
        Ok(Self {
            listeners,
            web: web.clone(),
            access_control: Arc::new(AccessControl::new(web.config.clone())),
            timeouts: Timeouts::default(),
            max_connections: max_connections(),
        })
    }

    /// The addresses that it listens on; for port 0, with the port that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }

    /// Who is let in; for reading and replacing.
    pub fn access_control(&self) -> Arc<AccessControl> {
        Arc::clone(&self.access_control)
    }

    /// Serves until `stop`, then answers the present requests for at most `grace`.
    pub async fn serve(self, endpoints: Endpoints, stop: CancellationToken, grace: Duration) {
        let acceptor = Acceptor {
            source: Arc::clone(&endpoints.metrics),
            router: router(&self.web, Arc::clone(&self.access_control), endpoints),
            access_control: self.access_control,
            timeouts: self.timeouts,
            permits: Arc::new(Semaphore::new(self.max_connections)),
            connections: Connections::default(),
            logged: Mutex::default(),
            stop,
            grace,
        };
        join_all(self.listeners.into_iter().map(|listener| acceptor.run(listener))).await;
    }
}

/// What the listeners share.
struct Acceptor {
    source: Arc<dyn MetricsSource>,
    router: Router,
    access_control: Arc<AccessControl>,
    timeouts: Timeouts,
    permits: Arc<Semaphore>,
    connections: Connections,
    /// When it was last logged that clients can't be accepted.
    logged: Mutex<Option<Instant>>,
    stop: CancellationToken,
    grace: Duration,
}

impl Acceptor {
    async fn run(&self, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        while let Some((stream, peer)) = self.stop.run_until_cancelled(self.accept(&listener)).await
            && let Some(permit) = self.stop.run_until_cancelled(self.permit()).await
        {
            while let Some(ended) = tasks.try_join_next() {
                report(ended);
            }
            let connection = self.connection(peer);
            let access_control = Arc::clone(&self.access_control);
            tasks.spawn(async move {
                connection.accept(stream, access_control.tls().await).await;
                drop(permit);
            });
        }
        // New clients are refused from here on, not left waiting.
        drop(listener);
        let drained = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if timeout(self.grace, drained).await.is_err() {
            warn!("Closing connections whose answers weren't taken in time.");
        }
    }

    fn connection(&self, peer: SocketAddr) -> Connection {
        Connection {
            peer: Peer(peer.ip().to_canonical()),
            router: self.router.clone(),
            source: Arc::clone(&self.source),
            guard: self.connections.add(self.timeouts),
            stop: self.stop.clone(),
        }
    }

    /// The next client. Where file descriptors have run out, one that has no request makes room.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // A small answer shouldn't wait for the acknowledgement of the one before.
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%error, "A client went away at once.");
                    }
                    return (stream, peer);
                }
                Err(error) if is_clients_fault(&error) => {}
                Err(error) => {
                    self.log_shortage(&error);
                    let closed = self.connections.closed();
                    self.connections.evict_one();
                    // A descriptor is free as soon as one has closed.
                    let _ = timeout(ACCEPT_PAUSE, closed).await;
                }
            }
        }
    }

    fn log_shortage(&self, error: &io::Error) {
        let mut logged = self.logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            error!(%error, "Cannot accept a connection; closing idle ones to make room.");
        }
    }

    /// Permits one more connection, once there is room. A client that has no request makes room.
    async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return permit;
        }
        if !self.connections.evict_one() {
            warn!(
                "The maximum number of clients is connected, all with a request; more have to wait."
            );
        }
        loop {
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = timeout(EVICTION_INTERVAL, permit).await {
                return permit;
            }
            self.connections.evict_one();
        }
    }
}

/// The maximum number of connections that leaves file descriptors for everything else.
fn max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    limit.saturating_sub(RESERVED_DESCRIPTORS).clamp(limit / 4, limit).min(MAX_CONNECTIONS)
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "Serving a connection failed; this is a bug.");
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn is_wildcard(address: &SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn display(address: &SocketAddr) -> String {
    if is_wildcard(address) { format!(":{}", address.port()) } else { address.to_string() }
}

/// `[::]` takes IPv4 clients too; where there is no IPv6 at all, `0.0.0.0` stands in for it.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    match TcpListener::bind(address).await {
        Err(error)
            if is_wildcard(&address) && !matches!(error.kind(), AddrInUse | PermissionDenied) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}
