//! Polls one app: what is to be read next, and how each cycle went.

use std::sync::{Arc, atomic::AtomicU64};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    cycle::{Cycle, CycleStats},
    metrics::PollerMetrics,
    past_readings::Begun,
    reader::{AppReader, PollerSettings},
    schedule::{CycleProgress, Policy, Priority, Schedule},
    watchdog::Heartbeat,
};
use crate::{
    api::Client,
    ledger::Ledger,
    model::{AppId, Clock, WorkflowId},
};

/// Reads the runs of one app's workflows and records them in the ledger;
/// [`Polling`](super::Polling) runs it repeatedly.
pub struct Poller {
    pub(super) reader: AppReader,
    metrics: PollerMetrics,
    status: watch::Sender<PollerStatus>,
    progress: Mutex<Progress>,
    heartbeat: Heartbeat,
}

/// How the poller is doing.
#[derive(Clone, Debug, Default)]
pub struct PollerStatus {
    /// How many cycles have ended, in whatever way.
    pub cycles: u64,
    /// How the last one ended.
    pub last: Option<Cycle>,
    /// How far the present one has got, or the last one got.
    pub progress: CycleProgress,
    /// How many runs have been read so far, those included that were known.
    pub runs_read: Arc<AtomicU64>,
}

/// What changes from one reading to the next.
struct Progress {
    schedule: Schedule,
    stats: CycleStats,
    /// Why there was no usable key the last time.
    key_error: Option<String>,
    /// How many cycles in a row ended because the key was rejected.
    rejected: u32,
}

impl Progress {
    fn new(settings: &PollerSettings, clock: &dyn Clock) -> Self {
        Self {
            schedule: Schedule::new(&settings.poll, clock.steady_ms()),
            stats: CycleStats::default(),
            key_error: None,
            rejected: 0,
        }
    }
}

/// What to do next.
pub(super) enum Job {
    /// Read the list of workflows.
    List,
    /// Read a workflow.
    Workflow(WorkflowId, Begun),
}

/// The maximum time until a key that the API rejects is tried again.
const MAX_KEY_RETRY_MS: i64 = 30_000;

impl Poller {
    /// A poller that has read nothing yet.
    pub fn new(
        client: Client,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        settings: PollerSettings,
        metrics: PollerMetrics,
    ) -> Self {
        metrics.init_series(&settings.app_id);
        let progress = Progress::new(&settings, &*clock);
        let status = PollerStatus::default();
        let runs_read = Arc::clone(&status.runs_read);
        Self {
            heartbeat: Heartbeat::new(client.clone(), Arc::clone(&clock)),
            reader: AppReader::new(client, ledger, clock, settings, runs_read),
            metrics,
            status: watch::Sender::new(status),
            progress: Mutex::new(progress),
        }
    }

    /// Another process polls: whether the API answers is not known here.
    pub(super) fn stand_by(&self) {
        self.metrics.stand_by(self.app_id());
    }

    /// This process polls now: everything is to be read.
    pub fn start_anew(&self) {
        self.metrics.init_series(self.app_id());
        *self.progress.lock() = Progress::new(&self.reader.settings, &*self.reader.clock);
        let runs_read = Arc::clone(&self.status.borrow().runs_read);
        self.status.send_replace(PollerStatus { runs_read, ..PollerStatus::default() });
    }

    /// The app that it reads, as it is called in requests.
    pub fn app_id(&self) -> &AppId {
        &self.reader.settings.app_id
    }

    /// How it is doing, now and after each list or workflow that was read.
    pub fn status(&self) -> watch::Receiver<PollerStatus> {
        self.status.subscribe()
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Applies this to the schedule and the time.
    pub(super) fn with_schedule<T>(&self, apply: impl FnOnce(&mut Schedule, i64) -> T) -> T {
        apply(&mut self.progress.lock().schedule, self.reader.clock.steady_ms())
    }

    /// Whether the ledger knows the app.
    pub(super) fn is_known(&self) -> bool {
        let state = self.reader.ledger.state();
        let app = state.apps.get(self.app_id());
        app.is_some_and(|app| app.record.cold_start_ms.is_some())
    }

    /// Begins to read the list of workflows, if it is due.
    pub(super) fn begin_list(&self) -> Option<Job> {
        self.with_schedule(|schedule, now_ms| {
            schedule.list_due_ms().filter(|due_ms| *due_ms <= now_ms)?;
            schedule.begin_list(now_ms);
            Some(Job::List)
        })
    }

    /// The workflow to read next, if there is one.
    pub(super) fn next_workflow(&self, policy: Policy) -> Option<(Priority, WorkflowId)> {
        self.with_schedule(|schedule, now_ms| {
            let (priority, id) = schedule.next(policy, now_ms)?;
            Some((priority, id.clone()))
        })
    }

    /// Begins to read a workflow.
    pub(super) fn begin_workflow(&self, id: WorkflowId) -> Option<Job> {
        let begun = self.with_schedule(|schedule, now_ms| schedule.begin(&id, now_ms))?;
        Some(Job::Workflow(id, begun))
    }

    pub(super) async fn perform(&self, job: Job) {
        let _at_work = self.heartbeat.at_work();
        match job {
            Job::List => self.refresh_workflows().await,
            Job::Workflow(id, begun) => self.poll_workflow(&id, begun).await,
        }
        if let Some(progress) = self.with_schedule(|schedule, now_ms| schedule.progress(now_ms)) {
            self.status.send_modify(|status| status.progress = progress);
        }
        let ended = {
            let Progress { schedule, stats, .. } = &mut *self.progress.lock();
            if stats.has_given_up(schedule.can_read_any()) {
                stats.left_out += schedule.break_off();
            }
            schedule.end_cycle()
        };
        if let Some(begun_ms) = ended {
            self.end_cycle(begun_ms).await;
        }
    }

    /// Reads the list of workflows, and so finds out which of them are due.
    async fn refresh_workflows(&self) {
        let begun_ms = self.reader.clock.steady_ms();
        self.refresh_key();
        let listed = self.reader.read_workflows().await;
        let activity = self.reader.activity();
        let due = {
            let Progress { schedule, stats, .. } = &mut *self.progress.lock();
            if let Err(error) = &listed {
                stats.list_failed(error);
            }
            let now_ms = self.reader.clock.steady_ms();
            schedule.listed(listed.as_ref().ok(), activity, begun_ms, now_ms);
            let local_ms = self.reader.clock.now_ms();
            schedule.due(now_ms).map(|(id, late_ms)| (id.clone(), local_ms - late_ms)).collect()
        };
        self.reader.ledger.record_due(self.app_id(), due).await;
    }

    async fn poll_workflow(&self, id: &WorkflowId, begun: Begun) {
        let read = self.reader.read_workflow(id, begun).await;
        let Progress { schedule, stats, .. } = &mut *self.progress.lock();
        match &read {
            Ok(_) => stats.read(),
            Err(error) => {
                tracing::debug!(workflow_id = %id, %error, "A workflow could not be read.");
                stats.failed(error, &format!("workflow {id}"));
            }
        }
        schedule.ended(id, begun, read.ok(), self.reader.clock.steady_ms());
    }

    /// If there is no usable key any more, the former one stays in use.
    fn refresh_key(&self) {
        let error = match self.reader.client.refresh_key() {
            Ok(true) => {
                tracing::info!("The API key was changed; the new one is used from now on.");
                None
            }
            Ok(false) => None,
            Err(error) => Some(error.to_string()),
        };
        let before = std::mem::replace(&mut self.progress.lock().key_error, error.clone());
        if let Some(error) = error.filter(|error| before.as_ref() != Some(error)) {
            tracing::warn!(error, "There is no usable API key; the former one stays in use.");
        }
    }

    /// Ends the cycle that began then: reports how it went, in the metrics always, in the log when
    /// it went otherwise than the one before.
    async fn end_cycle(&self, begun_ms: i64) {
        let mut stats = std::mem::take(&mut self.progress.lock().stats);
        let whole = stats.failed == 0 && stats.left_out == 0;
        let now_ms = self.reader.clock.now_ms();
        if let Err(error) = self.reader.ledger.end_cycle(self.app_id(), whole, now_ms).await {
            stats.failed(&error.into(), "the end of the cycle");
        }
        let seconds = (self.reader.clock.steady_ms() - begun_ms) as f64 / 1000.0;
        let cycle = {
            let Progress { schedule, rejected, .. } = &mut *self.progress.lock();
            let cycle = stats.sum_up(schedule.can_read_any());
            // After a rejection the next one comes soon, since somebody may be correcting the key,
            // then ever more slowly.
            *rejected = if cycle.rejected { *rejected + 1 } else { 0 };
            if let Some(doublings) = rejected.checked_sub(1) {
                let pause_ms = (1000 << doublings.min(5)).min(MAX_KEY_RETRY_MS);
                schedule.postpone_list(begun_ms + pause_ms);
            }
            cycle
        };
        self.metrics.cycle_ended(self.app_id(), cycle.result, seconds);
        let before = self.status.borrow().clone();
        self.log(&stats, &cycle, before.last.as_ref(), seconds);
        self.status.send_modify(|status| {
            status.cycles += 1;
            status.last = Some(cycle);
        });
    }

    fn log(&self, stats: &CycleStats, cycle: &Cycle, before: Option<&Cycle>, seconds: f64) {
        let (app_id, workflows) = (self.app_id().as_str(), stats.read);
        match (&cycle.error, before) {
            (Some(error), before) if before.is_none_or(|before| before.error != cycle.error) => {
                tracing::warn!(
                    app_id,
                    result = cycle.result.as_str(),
                    error,
                    failed = stats.failed,
                    left_out = stats.left_out,
                    "A poll cycle could not read everything; what was published stays, and it is \
                     tried again."
                );
            }
            (None, Some(Cycle { error: Some(_), .. })) => {
                tracing::info!(app_id, workflows, "Poll cycles succeed again.");
            }
            (None, None) => {
                tracing::info!(app_id, workflows, seconds, "The first poll cycle succeeded.");
            }
            _ => {
                let result = cycle.result.as_str();
                tracing::debug!(app_id, result, seconds, "A poll cycle ended.");
            }
        }
    }
}
