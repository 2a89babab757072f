//! What people and health checks are shown of the apps.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::watch;

use super::{links::Links, progress, supervisor::PollHealth};
use crate::{
    http::{AppView, Overview, WorkflowView},
    ledger::{AppState, Ledger, State},
    model::{AppId, Clock, Status},
    poller::{self, CycleResult},
};

/// What is looked at.
pub(super) struct View {
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) links: Links,
    /// How the polls go.
    pub(super) health: watch::Receiver<Arc<PollHealth>>,
    /// Whether it was ready once: neither a reload nor taking the lead makes it unready.
    pub(super) was_ready: AtomicBool,
}

impl View {
    /// Whether the first poll cycle of each app has ended, or another exporter leads.
    pub(super) fn ready(&self) -> Result<(), String> {
        if self.was_ready.load(Relaxed) {
            return Ok(());
        }
        if !self.ledger.leadership().is_held() {
            self.was_ready.store(true, Relaxed);
            return Ok(());
        }
        let health = Arc::clone(&self.health.borrow());
        let mut waiting = health.apps.iter().filter(|(_, status)| status.borrow().cycles == 0);
        match waiting.next() {
            Some((app, _)) if health.apps.len() > 1 => {
                Err(format!("the first poll cycle of the app {app} has not ended yet"))
            }
            Some(_) => Err("the first poll cycle has not ended yet".into()),
            None => {
                self.was_ready.store(true, Relaxed);
                Ok(())
            }
        }
    }

    /// Whether the poll loop is alive.
    pub(super) fn healthy(&self) -> Result<(), String> {
        self.health.borrow().healthy()
    }

    /// The landing page's content.
    pub(super) fn overview(&self) -> Overview {
        let health = Arc::clone(&self.health.borrow());
        let (now_ms, poll_interval) = (self.clock.now_ms(), health.interval);
        if !self.ledger.leadership().is_held() {
            let (apps, workflows) = (Vec::new(), Vec::new());
            return Overview { now_ms, poll_interval, stands_by: true, apps, workflows };
        }
        let state = self.ledger.state();
        let apps = health.apps.iter().map(|(id, _)| state.apps.get(id));
        let workflows = apps.flatten().flat_map(|app| workflows(app, now_ms));
        let workflows = workflows.collect();
        let apps = health.apps.iter().map(|(id, status)| app_view(id, &status.borrow(), &state));
        Overview { now_ms, poll_interval, stands_by: false, apps: apps.collect(), workflows }
    }
}

fn app_view(id: &AppId, status: &poller::PollerStatus, state: &State) -> AppView {
    let last = status.last.as_ref();
    AppView {
        id: id.clone(),
        up: last.map(|last| last.result == CycleResult::Success),
        first_poll: progress::words(&status.progress),
        last_success_ms: state.apps.get(id).and_then(|app| app.record.succeeded_ms),
        last_error: last.and_then(|last| last.error.clone()),
    }
}

fn workflows(app: &AppState, now_ms: i64) -> impl Iterator<Item = WorkflowView> + '_ {
    app.published().map(move |(id, workflow)| {
        let record = &workflow.record;
        // An earlier version of the exporter remembered the time alone.
        let last_failure = record.last_run_ms.get(&Status::Failed).copied();
        WorkflowView {
            id: id.clone(),
            name: record.listed.name.clone(),
            active_runs: workflow.open.len() as u64,
            last_poll_ms: record.polled_ms,
            last_failure_ms: record.last_failed.as_ref().map(|run| run.ended_ms).or(last_failure),
            last_failed: record.last_failed.clone(),
            consecutive_failures: record.failures.len(),
            lag_ms: app.lag_ms(id, workflow, now_ms),
        }
    })
}
