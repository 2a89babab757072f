//! The clients that are connected, so that there is room for those that ask for something.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::connection_state::{ConnectionState, Timeouts};

/// All open connections.
#[derive(Clone, Default)]
pub(super) struct Connections {
    states: Arc<Mutex<HashMap<u64, ConnectionState>>>,
    next: Arc<AtomicU64>,
    /// Notified when one has closed.
    closed: Arc<Notify>,
}

/// Keeps a connection among the open ones until it is dropped.
pub(super) struct ConnectionGuard {
    connections: Connections,
    /// Of this connection only, as long as the process runs.
    pub(super) number: u64,
    pub(super) state: ConnectionState,
}

impl Connections {
    /// Adds a connection that has just been accepted.
    pub(super) fn add(&self, timeouts: Timeouts) -> ConnectionGuard {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = ConnectionState::new(timeouts);
        self.states.lock().insert(number, state.clone());
        ConnectionGuard { connections: self.clone(), number, state }
    }

    /// Closes the connection that would time out next among those without a request: one that is
    /// slow or has asked for nothing yet, else one that hasn't for longest. So a server that
    /// scrapes regularly stays. Returns whether there was one.
    pub(super) fn evict_one(&self) -> bool {
        let states = self.states.lock();
        let waiting = states.values().filter_map(|state| Some((state.waits_until()?, state)));
        let first = waiting.min_by_key(|(until, _)| *until);
        first.inspect(|(_, state)| state.expire()).is_some()
    }

    /// Completes when one that is open now has closed.
    pub(super) fn closed(&self) -> Notified<'_> {
        self.closed.notified()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.states.lock().remove(&self.number);
        self.connections.closed.notify_waiters();
    }
}
