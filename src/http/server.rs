use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use futures::future::join_all;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    AccessControl, Endpoints, Exposition,
    connection::{Conversation, Peer},
    crowd::Crowd,
    progress::Patience,
    router::router,
    scrapes::Scrapes,
};
use crate::config::Web;

/// So many clients may be connected at once. Each costs a file descriptor and up to 16 KiB of
/// headers; the usual limit is 1024 descriptors for the whole process.
const MOST_CONNECTIONS: usize = 512;

/// While a client waits for room, it is looked this often whether another one can go.
const AGAIN: Duration = Duration::from_millis(100);

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}: {cause}; choose another with --web.listen-address", display(.address))]
pub struct BindError {
    /// The address.
    address: SocketAddr,
    /// What the system said.
    cause: io::Error,
}

/// Listeners that nothing is served on yet; clients that connect wait.
pub struct Server {
    listeners: Vec<TcpListener>,
    web: Web,
    access_control: Arc<AccessControl>,
    pub(super) patience: Patience,
    pub(super) most_connections: usize,
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
            patience: Patience::default(),
            most_connections: MOST_CONNECTIONS,
        })
    }

    /// Where it listens; for port 0 the port that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }

    /// Who is let in; to look at and to change.
    pub fn access_control(&self) -> Arc<AccessControl> {
        Arc::clone(&self.access_control)
    }

    /// Serves until `stop`, then answers the requests in work for at most `grace`.
    pub async fn serve(self, endpoints: Endpoints, stop: CancellationToken, grace: Duration) {
        let acceptor = Acceptor {
            exposition: Arc::clone(&endpoints.exposition),
            router: router(&self.web, Arc::clone(&self.access_control), endpoints),
            access_control: self.access_control,
            patience: self.patience,
            room: Arc::new(Semaphore::new(self.most_connections)),
            crowd: Crowd::default(),
            stop,
            grace,
        };
        join_all(self.listeners.into_iter().map(|listener| acceptor.run(listener))).await;
    }
}

/// What the listeners share.
struct Acceptor {
    exposition: Arc<dyn Exposition>,
    router: Router,
    access_control: Arc<AccessControl>,
    patience: Patience,
    room: Arc<Semaphore>,
    crowd: Crowd,
    stop: CancellationToken,
    grace: Duration,
}

impl Acceptor {
    async fn run(&self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut waiting = None;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(ended) = connections.join_next() => notice(ended),
                accepted = accept(&listener), if waiting.is_none() => waiting = accepted,
                place = self.place(), if waiting.is_some() => {
                    let Some((stream, peer)) = waiting.take() else { continue };
                    let conversation = self.conversation(peer);
                    let access_control = Arc::clone(&self.access_control);
                    connections.spawn(async move {
                        conversation.hold(stream, access_control.tls().await).await;
                        drop(place);
                    });
                }
            }
        }
        // New clients are refused from here on, not left waiting.
        drop(listener);
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                notice(ended);
            }
        };
        if timeout(self.grace, drained).await.is_err() {
            warn!("Closing connections whose answers weren't taken in time.");
        }
    }

    fn conversation(&self, peer: SocketAddr) -> Conversation {
        let member = self.crowd.join(self.patience);
        Conversation {
            peer: Peer(peer.ip().to_canonical()),
            router: self.router.clone(),
            scrapes: Scrapes::new(member.number(), Arc::clone(&self.exposition)),
            member,
            stop: self.stop.clone(),
        }
    }

    /// A place for a client, once there is one. A client that has no whole request yet makes room.
    async fn place(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            return place;
        }
        if !self.crowd.thin() {
            warn!(
                "As many clients as allowed are connected, all with a request; more have to wait."
            );
        }
        loop {
            if let Ok(Ok(place)) = timeout(AGAIN, Arc::clone(&self.room).acquire_owned()).await {
                return place;
            }
            self.crowd.thin();
        }
    }
}

/// The next client; `None` if it went away or there are no file descriptors.
async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            // A small answer shouldn't wait for the acknowledgement of the one before.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "A client went away at once.");
            }
            Some((stream, peer))
        }
        Err(error) if is_clients_fault(&error) => None,
        Err(error) => {
            error!(%error, "Cannot accept connections; trying again in a second.");
            sleep(Duration::from_secs(1)).await;
            None
        }
    }
}

fn notice(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "Serving a connection failed; this is a bug.");
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn is_everywhere(address: &SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn display(address: &SocketAddr) -> String {
    if is_everywhere(address) { format!(":{}", address.port()) } else { address.to_string() }
}

/// `[::]` takes IPv4 clients too; where there is no IPv6 at all, `0.0.0.0` stands in for it.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    match TcpListener::bind(address).await {
        Err(error)
            if is_everywhere(&address) && !matches!(error.kind(), AddrInUse | PermissionDenied) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}
