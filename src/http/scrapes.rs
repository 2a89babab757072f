//! When a scrape counts as completed.

use std::sync::{Arc, Mutex, PoisonError};

use super::Exposition;

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
    /// The connection broke before the client can have shown that it received it.
    Broken,
}

impl Scrapes {
    pub(super) fn new(client: u64, exposition: Arc<dyn Exposition>) -> Self {
        Self(Arc::new(Scraping { client, exposition, under_way: Mutex::default() }))
    }

    /// An answer begins; a scrape has a number.
    pub(super) fn sending(&self, number: Option<u64>) {
        *self.under_way() = number.map_or(UnderWay::Nothing, UnderWay::Sending);
    }

    /// The system has all that was to be sent.
    pub(super) fn sent(&self) {
        let mut under_way = self.under_way();
        if let UnderWay::Sending(number) = *under_way {
            *under_way = UnderWay::Sent(number);
        }
    }

    /// The connection's number.
    pub(super) fn client(&self) -> u64 {
        self.0.client
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(*self.under_way(), UnderWay::Sent(_))
    }

    /// The connection broke.
    pub(super) fn broke(&self) {
        let mut under_way = self.under_way();
        if !matches!(*under_way, UnderWay::Nothing) {
            *under_way = UnderWay::Broken;
        }
    }

    /// The client did what shows that it has received what was sent.
    pub(super) fn heard_of(&self) {
        let under_way = std::mem::take(&mut *self.under_way());
        match under_way {
            UnderWay::Sent(number) => self.0.exposition.completed(self.0.client, number),
            UnderWay::Sending(_) | UnderWay::Broken => *self.under_way() = under_way,
            UnderWay::Nothing => {}
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner);
        let broke_off = !matches!(under_way, UnderWay::Nothing);
        self.exposition.left(self.client, broke_off);
    }
}
