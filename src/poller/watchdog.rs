//! Whether the poll loop advances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::schedule::MAX_CONCURRENT;
use crate::{api::Client, model::Clock};

/// When the polls of one app last advanced, and whether they should.
#[derive(Clone)]
pub(super) struct Heartbeat {
    client: Client,
    clock: Arc<dyn Clock>,
    last_ms: Arc<AtomicI64>,
    at_work: Arc<AtomicUsize>,
}

/// Watches over the poll loop: while something is being read, requests must end from time to time.
#[derive(Clone)]
pub struct Watchdog {
    heartbeats: Vec<Heartbeat>,
}

/// Something is being read until this is dropped.
pub(super) struct AtWork<'a>(&'a Heartbeat);

/// Added to the time that requests can take: what else is done between two of them, above all
/// transactions of the ledger.
const GRACE: Duration = Duration::from_secs(60);

impl Heartbeat {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        let last_ms = Arc::new(AtomicI64::new(clock.steady_ms()));
        Self { client, clock, last_ms, at_work: Arc::default() }
    }

    /// Something is being read from now on.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        if self.at_work.fetch_add(1, SeqCst) == 0 {
            self.beat();
        }
        AtWork(self)
    }

    fn beat(&self) {
        self.last_ms.store(self.clock.steady_ms(), SeqCst);
    }

    /// Whether the polls advance, if they should. The error states for how long they haven't.
    fn check(&self) -> Result<(), String> {
        if self.at_work.load(SeqCst) == 0 {
            return Ok(());
        }
        if self.client.rate_limiter().pause_left().is_some() {
            // All requests wait, as they should.
            self.beat();
        }
        let last_ms = self.last_ms.load(SeqCst).max(self.client.last_heard_ms());
        let silent_ms = self.clock.steady_ms() - last_ms;
        let longest = self.client.longest_silence(MAX_CONCURRENT as u32) + GRACE;
        if silent_ms <= longest.as_millis() as i64 {
            return Ok(());
        }
        let seconds = silent_ms / 1000;
        Err(format!("the poll loop has stopped advancing: no progress for {seconds} seconds"))
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.at_work.fetch_sub(1, SeqCst);
    }
}

impl Watchdog {
    pub(super) fn new(heartbeats: Vec<Heartbeat>) -> Self {
        Self { heartbeats }
    }

    /// Whether the poll loop advances. The error states for how long it hasn't.
    pub fn check(&self) -> Result<(), String> {
        self.heartbeats.iter().try_for_each(Heartbeat::check)
    }

    /// Logs when the poll loop stops advancing, and when it continues, until it is stopped.
    pub async fn watch(self, stop: CancellationToken) {
        let mut stuck = false;
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.check() {
                Err(error) if !stuck => {
                    tracing::error!(
                        error,
                        "The poll loop hangs; /-/healthy fails until it continues. If it doesn't, \
                         restart the exporter: nothing is lost."
                    );
                    stuck = true;
                }
                Ok(()) if stuck => {
                    tracing::info!("The poll loop continues.");
                    stuck = false;
                }
                _ => {}
            }
        }
    }
}
