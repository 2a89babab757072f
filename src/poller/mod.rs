//! When and what to read. The pure part decides: `schedule` and `hint` what is due, `pager`, `order`,
//! `reading` and `page_size` which pages to ask for. `polling` is the loop over all apps, `list` and `workflow` read,
//! `cycle` says how it went, `lag` whether it keeps up, `watchdog` whether it goes on at all, and `estimate`
//! calculates what it costs. Uses `api`, `config`, `ledger` and
//! `model`.

mod cycle;
mod estimate;
mod hint;
mod lag;
mod list;
mod metrics;
mod order;
mod page_size;
mod pager;
mod polling;
mod reading;
mod schedule;
mod watchdog;
mod workflow;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

pub use cycle::Cycle;
pub use estimate::{Estimate, Workload, estimate};
pub use metrics::{CycleResult, PollerMetrics};
pub use polling::Polling;
pub use watchdog::Watchdog;

use crate::{
    api::{ApiError, Client, Undecodable},
    config,
    ledger::{Ledger, LedgerError, ReadAt},
    model::{Anomaly, AppId, Clock, WorkflowId},
};
use cycle::CycleStats;
use reading::LastPage;
use schedule::Schedule;
use watchdog::Heartbeat;

/// Reads the runs of one app's workflows and tells the ledger; [`Polling`] has it do so again and
/// again.
pub struct Poller {
    client: Client,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    settings: PollerSettings,
    metrics: PollerMetrics,
    status: watch::Sender<PollerStatus>,
    schedule: Mutex<Schedule>,
    stats: Mutex<CycleStats>,
    heartbeat: Heartbeat,
    memory: Mutex<Memory>,
}

/// What to read, and when.
#[derive(Clone, Debug)]
pub struct PollerSettings {
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
pub struct PollerStatus {
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
    /// How many runs to ask for per page, where that isn't as many as may be.
    takes: HashMap<WorkflowId, u32>,
    /// Why there was no usable key when it was last looked for.
    key_error: Option<String>,
    /// How many cycles in a row ended because the key was refused.
    refused: u32,
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
        settings: PollerSettings,
        metrics: PollerMetrics,
    ) -> Self {
        metrics.foresee(&settings.app_id);
        Self {
            schedule: Mutex::new(Schedule::new(&settings.poll, clock.steady_ms())),
            heartbeat: Heartbeat::new(Arc::clone(&clock)),
            status: watch::Sender::default(),
            stats: Mutex::default(),
            memory: Mutex::default(),
            client,
            ledger,
            clock,
            settings,
            metrics,
        }
    }

    /// The app that it reads, as it is called in requests.
    pub fn app_id(&self) -> &AppId {
        &self.settings.app_id
    }

    /// How it is doing, now and whenever a cycle ends.
    pub fn status(&self) -> watch::Receiver<PollerStatus> {
        self.status.subscribe()
    }

    /// Reads the list of workflows and all that is due, once.
    ///
    /// # Panics
    ///
    /// Never: a cycle leaves word of how it ended.
    pub async fn cycle(&self) -> Cycle {
        let before = self.status.borrow().cycles;
        self.schedule().restart(self.clock.steady_ms());
        polling::drive(std::slice::from_ref(self), || self.status.borrow().cycles > before).await;
        self.status.borrow().last.clone().expect("a cycle has ended")
    }

    fn read_at(&self, api_ms: i64) -> ReadAt {
        ReadAt { api_ms, local_ms: self.clock.now_ms() }
    }

    fn now(&self) -> ReadAt {
        self.read_at(self.client.now_ms())
    }

    // What these hold is right whatever a panicking thread did.

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, CycleStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
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
