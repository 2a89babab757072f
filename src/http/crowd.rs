//! Who is connected, so that there is room for whoever has something to ask.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::progress::{Patience, Progress};

/// The clients that are connected.
#[derive(Clone, Default)]
pub(super) struct Crowd {
    clients: Arc<Mutex<HashMap<u64, Progress>>>,
    next: Arc<AtomicU64>,
}

/// A client is in the crowd until this is dropped.
pub(super) struct Member {
    crowd: Crowd,
    number: u64,
    progress: Progress,
}

impl Crowd {
    /// A client joins the crowd, and so much patience is had with it.
    pub(super) fn join(&self, patience: Patience) -> Member {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Progress::new(patience);
        self.clients().insert(number, progress.clone());
        Member { crowd: self.clone(), number, progress }
    }

    /// Ends the patience with one client that has no whole request yet: with the one with which it would
    /// end next. So those go first that are slow or never asked anything, then those that haven't for
    /// longest, and who scrapes regularly stays. Returns whether there was one.
    pub(super) fn thin(&self) -> bool {
        let clients = self.clients();
        let waiting =
            clients.values().filter_map(|progress| Some((progress.waits_until()?, progress)));
        let first = waiting.min_by_key(|(until, _)| *until);
        first.inspect(|(_, progress)| progress.hurry()).is_some()
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Progress>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Tells it apart from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What it is at.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.clients().remove(&self.number);
    }
}
