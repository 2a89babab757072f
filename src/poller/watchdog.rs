//! Whether the poll loop advances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::Poller;
use crate::{api::Client, model::Clock};

/// When something last went on, and whether anything should.
#[derive(Clone)]
pub(super) struct Heartbeat {
    last_ms: Arc<AtomicI64>,
    at_work: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
}

/// Watches over the poll loop: while something is being read, there must be an answer, or an end of
/// it, from time to time.
#[derive(Clone)]
pub struct Watchdog {
    heartbeats: Vec<(Client, Heartbeat)>,
}

/// Something is being read until this is dropped.
pub(super) struct AtWork<'a>(&'a Heartbeat);

/// Added to what requests can take at the most: what else is done between two answers, above all
/// transactions of the ledger.
const PATIENCE_MS: i64 = 60_000;

/// How often one request is sent at the most, retries included.
const ATTEMPTS: i64 = 4;

/// How many requests can wait for a slot of the budget before one that comes now.
const IN_LINE: i64 = 16;

impl Heartbeat {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let last_ms = Arc::new(AtomicI64::new(clock.steady_ms()));
        Self { last_ms, at_work: Arc::default(), clock }
    }

    /// Something went on.
    pub(super) fn beat(&self) {
        self.last_ms.store(self.clock.steady_ms(), SeqCst);
    }

    /// Something is being read from now on.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        if self.at_work.fetch_add(1, SeqCst) == 0 {
            self.beat();
        }
        AtWork(self)
    }

    /// For how long nothing went on although something should.
    fn silent_ms(&self) -> i64 {
        let silent_ms = self.clock.steady_ms() - self.last_ms.load(SeqCst);
        if self.at_work.load(SeqCst) == 0 { 0 } else { silent_ms }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.at_work.fetch_sub(1, SeqCst);
    }
}

impl Watchdog {
    pub(super) fn of(pollers: &[Poller]) -> Self {
        let heartbeats =
            pollers.iter().map(|poller| (poller.client.clone(), poller.heartbeat.clone()));
        Self { heartbeats: heartbeats.collect() }
    }

    /// Whether the poll loop advances. The error says for how long it hasn't.
    pub fn check(&self) -> Result<(), String> {
        for (client, heartbeat) in &self.heartbeats {
            if client.rate_limiter().pause_left().is_some() {
                // All requests wait, as they should.
                heartbeat.beat();
            }
            let silent_ms = heartbeat.silent_ms();
            if silent_ms > longest_silence_ms(client) {
                let seconds = silent_ms / 1000;
                return Err(format!(
                    "the poll loop has stopped advancing: nothing has gone on for {seconds} seconds"
                ));
            }
        }
        Ok(())
    }

    /// Logs when the poll loop stops advancing, and when it goes on, until told to stop.
    pub async fn watch(self, stop: CancellationToken) {
        let mut stuck = false;
        let mut looks = tokio::time::interval(Duration::from_secs(5));
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            match self.check() {
                Err(error) if !stuck => {
                    tracing::error!(
                        error,
                        "The poll loop hangs; /-/healthy fails until it goes on. If it doesn't, \
                         restart the exporter: nothing is lost."
                    );
                    stuck = true;
                }
                Ok(()) if stuck => {
                    tracing::info!("The poll loop goes on.");
                    stuck = false;
                }
                _ => {}
            }
        }
    }
}

/// As long as a request can take that is tried again and again, each time until its timeout, and a
/// little more.
fn longest_silence_ms(client: &Client) -> i64 {
    let slots_ms = IN_LINE * 60_000 / i64::from(client.rate_limiter().limit());
    ATTEMPTS * (client.timeout().as_millis() as i64 + slots_ms) + PATIENCE_MS
}
