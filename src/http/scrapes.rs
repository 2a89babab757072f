//! Which scrapes a client has received.

use std::sync::Arc;

use parking_lot::Mutex;

use super::MetricsSource;

/// The scrapes of one connection. When this is dropped, the connection has ended.
pub(super) struct Scrapes {
    connection: u64,
    source: Arc<dyn MetricsSource>,
    last: Mutex<LastRequest>,
}

/// What has become of the last request.
#[derive(Clone, Copy, Debug, Default)]
enum LastRequest {
    /// It was no scrape, or nothing is open about it.
    #[default]
    Settled,
    /// It has no answer yet.
    Unanswered,
    /// It was a scrape, and was answered with this version of the state.
    Scraped(u64),
}

impl Scrapes {
    pub(super) fn new(connection: u64, source: Arc<dyn MetricsSource>) -> Self {
        Self { connection, source, last: Mutex::default() }
    }

    /// The client asks for something; so it has received the answer before.
    pub(super) fn asked(&self) {
        self.received();
        *self.last.lock() = LastRequest::Unanswered;
    }

    /// An answer is being sent; a scrape's contains a version of the state.
    pub(super) fn answered(&self, version: Option<u64>) {
        *self.last.lock() = version.map_or(LastRequest::Settled, LastRequest::Scraped);
    }

    /// The client has received the last answer.
    pub(super) fn received(&self) {
        let last = std::mem::take(&mut *self.last.lock());
        if let LastRequest::Scraped(version) = last {
            self.source.received(self.connection, version);
        }
    }
}

impl Drop for Scrapes {
    fn drop(&mut self) {
        let broke_off = !matches!(*self.last.lock(), LastRequest::Settled);
        self.source.disconnected(self.connection, broke_off);
    }
}
