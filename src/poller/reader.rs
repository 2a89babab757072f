//! What the readings of one app share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    page_size::PageSizes,
    reading::ListMemory,
    unchanged::{KnownWorkflows, SettledPages},
};
use crate::{
    api::{Client, Undecodable},
    config,
    ledger::{Ledger, WorkflowState},
    model::{Anomaly, AppId, Clock, WorkflowId},
};

/// What to read, and when.
#[derive(Clone, Debug)]
pub struct PollerSettings {
    /// The app, as it is called in requests.
    pub app_id: AppId,
    /// The maximum number of items to ask for per page.
    pub page_size: u32,
    /// When to read.
    pub poll: config::Poll,
}

/// Reads lists and runs of one app, and records them in the ledger.
pub(super) struct AppReader {
    pub(super) client: Client,
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: PollerSettings,
    /// How many runs have been read so far.
    pub(super) runs_read: Arc<AtomicU64>,
    memory: Mutex<Memory>,
}

/// What makes the next reading cheaper or quieter. Losing it costs nothing else.
#[derive(Default)]
pub(super) struct Memory {
    /// What is known of the lists whose last reading was complete.
    pub(super) lists: HashMap<WorkflowId, ListMemory>,
    pub(super) page_sizes: PageSizes,
    pub(super) settled_pages: SettledPages,
    pub(super) workflows: KnownWorkflows,
    /// Undecodable items that were reported already.
    reported: HashSet<u64>,
}

/// The maximum number of undecodable items that are remembered, so that each is reported once.
const MAX_REPORTED: usize = 10_000;

impl AppReader {
    pub(super) fn new(
        client: Client,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        settings: PollerSettings,
        runs_read: Arc<AtomicU64>,
    ) -> Self {
        let memory = Memory { page_sizes: PageSizes::new(settings.page_size), ..Memory::default() };
        Self { client, ledger, clock, settings, runs_read, memory: Mutex::new(memory) }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }

    pub(super) fn workflow_state(&self, id: &WorkflowId) -> Option<Arc<WorkflowState>> {
        let state = self.ledger.state();
        state.apps.get(&self.settings.app_id)?.workflows.get(id).cloned()
    }

    /// Reports items that can't be decoded, each once.
    pub(super) fn report_undecodable(&self, items: &[Undecodable], anomaly: Anomaly, place: &str) {
        for item in items {
            let mut memory = self.memory();
            if memory.reported.len() >= MAX_REPORTED {
                memory.reported.clear();
            }
            if !memory.reported.insert(item.key) {
                continue;
            }
            self.ledger.metrics().anomaly(anomaly);
            let id = item.id.as_deref().unwrap_or("unknown");
            tracing::warn!(
                place,
                id,
                reason = %item.reason,
                "The API listed something that could not be read; it is left out."
            );
        }
    }
}
