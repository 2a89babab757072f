//! When and what to read. The pure part (`pager`, `order`, `reading`) decides which pages to ask
//! for; `workflow` reads one workflow, `cycle` all of them. Uses `api`, `ledger` and `model`.

mod cycle;
mod metrics;
mod order;
mod pager;
mod reading;
mod workflow;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use cycle::Cycle;
pub use metrics::{CycleResult, PollerMetrics};

use crate::{
    api::{ApiError, Client, Undecodable},
    config,
    ledger::{Ledger, LedgerError, ReadAt},
    model::{Anomaly, AppId, Clock, WorkflowId},
};
use reading::LastPage;

/// Reads the runs of one app's workflows, again and again, and tells the ledger.
pub struct Poller {
    client: Client,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: PollerMetrics,
    status: watch::Sender<Status>,
    memory: Mutex<Memory>,
}

/// What to read, and when.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The app, as it is called in requests.
    pub app_id: AppId,
    /// How many items to ask for per page.
    pub page_size: u32,
    /// When to read.
    pub poll: config::Poll,
    /// Which workflows to follow.
    pub workflows: config::WorkflowFilter,
}

/// How the poller is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// How many cycles have ended, in whatever way.
    pub cycles: u64,
    /// How the last one ended.
    pub last: Option<Cycle>,
}

/// What makes the next cycle cheaper or quieter. Losing it costs nothing else.
#[derive(Default)]
struct Memory {
    /// The young end of lists with the oldest run first.
    last_pages: HashMap<WorkflowId, LastPage>,
    /// Why there was no usable key when it was last looked for.
    key_error: Option<String>,
    /// Undecodable items that were told already.
    told: HashSet<u64>,
}

/// How many undecodable items are remembered, so that each is told once.
const MOST_TOLD: usize = 10_000;

/// Why something couldn't be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the list moved too much while it was read; it is read again in the next cycle")]
    Moving,
    #[error("the API lists the workflow, but knows no list of its runs (404)")]
    Missing,
}

impl Poller {
    /// A poller that has read nothing yet.
    pub fn new(
        client: Client,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        settings: Settings,
        metrics: PollerMetrics,
    ) -> Self {
        metrics.foresee(&settings.app_id);
        let (status, memory) = (watch::Sender::default(), Mutex::default());
        Self { client, ledger, clock, settings, metrics, status, memory }
    }

    /// The app that it reads, as it is called in requests.
    pub fn app_id(&self) -> &AppId {
        &self.settings.app_id
    }

    /// How it is doing, now and whenever a cycle ends.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Polls until told to stop. Cycles never overlap; one that takes longer than the interval is
    /// followed by the next at once.
    pub async fn run(self, stop: CancellationToken) {
        let mut refused = 0;
        loop {
            let begun = Instant::now();
            let Some(cycle) = stop.run_until_cancelled(self.cycle()).await else {
                return;
            };
            refused = if cycle.refused { refused + 1 } else { 0 };
            let next = begun + self.pause(refused);
            if stop.run_until_cancelled(tokio::time::sleep_until(next)).await.is_none() {
                return;
            }
        }
    }

    /// From the start of one cycle to the next. A key that was refused is tried again soon, since
    /// somebody may be mending it, then ever more slowly.
    fn pause(&self, refused: u32) -> Duration {
        match refused {
            0 => self.settings.poll.interval,
            n => Duration::from_secs(1 << (n - 1).min(5)).min(SLOWEST_RETRY),
        }
    }

    fn read_at(&self, api_ms: i64) -> ReadAt {
        ReadAt { api_ms, local_ms: self.clock.now_ms() }
    }

    fn now(&self) -> ReadAt {
        self.read_at(self.client.now_ms())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        // What it holds is right whatever a panicking thread did.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of items that can't be decoded, each once.
    fn tell_undecodable(&self, items: &[Undecodable], anomaly: Anomaly, place: &str) {
        for item in items {
            let mut memory = self.memory();
            if memory.told.len() >= MOST_TOLD {
                memory.told.clear();
            }
            if !memory.told.insert(item.key) {
                continue;
            }
            self.ledger.metrics().anomaly(anomaly);
            let id = item.id.as_deref().unwrap_or("unknown");
            tracing::warn!(
                place,
                id,
                reason = item.reason,
                "The API listed something that could not be read; it is left out."
            );
        }
    }
}

/// A key that the API refuses is tried again at least so often.
const SLOWEST_RETRY: Duration = Duration::from_secs(30);
