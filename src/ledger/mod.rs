//! What was counted. The pure part turns observations into changes; the store makes them durable;
//! only then does everybody else see them. Uses `config` and `model`.
//!
//! A run's way: [`Ledger::record_runs`] → `observe`, which asks `identity` whether the run is new,
//! `increments` what it adds, `budget` whether that has room and `hold` when it may be shown →
//! `writer`, which writes the changes to the `store` and publishes the state, while this process
//! has the `leadership`. `succession` is how it gets and loses that.

mod budget;
mod changes;
mod error;
mod exemplar;
mod failures;
mod hold;
mod identity;
mod increments;
mod leadership;
mod listing;
mod metric;
mod metrics;
mod native;
mod observe;
mod ownership;
mod run_log;
mod series;
mod state;
mod store;
mod succession;
#[cfg(test)]
mod tests;
mod versions;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::timeout,
};

pub use budget::CountGauges;
pub use error::LedgerError;
pub use exemplar::Exemplar;
pub use failures::FailureStreak;
pub use identity::{RunPhase, RunRecord};
pub use leadership::Leadership;
pub use metric::{Metric, MetricKind, MetricRow, OTHER};
pub use metrics::LedgerMetrics;
pub use native::NativeHistogram;
pub use observe::{Recorded, RunsRead, StopWhen, older_half};
pub use series::{Histogram, Series, SeriesKey, SeriesMap, Value};
pub use state::{AppRecord, AppState, Listed, OpenRun, State, WorkflowRecord, WorkflowState};
pub use store::{LedgerStatus, copy, inspect};
pub use versions::Versions;
pub use writer::Settings;

use crate::model::{AppId, Clock, ReadAt, RunId, Workflow, WorkflowId};
use listing::WorkflowsRead;
use observe::{record_runs, record_vanished};
use writer::Writer;

/// Counts each finished run once, durably. A handle; its copies share one ledger.
#[derive(Clone)]
pub struct Ledger {
    writer: Arc<Mutex<Writer>>,
    published: Arc<watch::Sender<Arc<State>>>,
    metrics: LedgerMetrics,
    leadership: Leadership,
    hold: bool,
}

/// How often a leader proves that it lives, and another process looks whether it does.
const BEAT: Duration = Duration::from_secs(1);

/// How long somebody who asks for a run waits for the writer, at the longest.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of an operation on a ledger.
type Result<T, E = LedgerError> = std::result::Result<T, E>;

impl Ledger {
    /// Opens a ledger, making it if there is none. `gauges` counts the gauges that a workflow has
    /// besides what is added up, for the budget of series. If another process uses a ledger on a
    /// server, this one stands by: its state is empty, and nothing can be recorded, until
    /// [`follow`](Self::follow) finds that the other one is gone.
    pub async fn open(
        settings: Settings,
        metrics: LedgerMetrics,
        gauges: CountGauges,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (hold, now_ms) = (settings.hold, clock.now_ms());
        let leadership = Leadership::new(clock);
        let lead = leadership.clone();
        let writer = Writer::open(settings, metrics.clone(), gauges, lead, now_ms).await?;
        let published = Arc::clone(&writer.published);
        let writer = Arc::new(Mutex::new(writer));
        Ok(Self { writer, published, metrics, leadership, hold })
    }

    /// Whether this process leads, or another one does and this one stands by.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Proves again and again that this process leads, or waits until it may. Ends only where
    /// nobody else can lead.
    pub async fn follow(&self) {
        let mut last = None;
        while !self.leadership.is_forever() {
            let beat = async {
                let error = self.beat().await.err().map(|error| error.to_string());
                if error.is_some() && error != last {
                    tracing::warn!(error, "The ledger is out of reach; it is tried again.");
                }
                last = error;
                tokio::time::sleep(BEAT).await;
            };
            // It may wait for a commit that hangs, during which the time can run out.
            let watch = async {
                loop {
                    tokio::time::sleep(BEAT).await;
                    self.leadership.expire();
                }
            };
            tokio::select! {
                () = beat => {}
                () = watch => {}
            }
        }
    }

    /// Proves that this process leads, or takes the lead if nobody else has it. Fails where neither
    /// can be found out.
    pub async fn beat(&self) -> Result<()> {
        self.writer.lock().await.beat(self.leadership.now_ms()).await
    }

    /// Applies other settings from now on; the ledger's location stays as it is. If this fails,
    /// nothing has changed. As after a restart, what was not shown yet is held until a scrape has
    /// seen the rest.
    pub async fn reconfigure(&self, settings: Settings, now_ms: i64) -> Result<()> {
        let mut writer = self.writer.lock().await;
        if self.leadership.is_held() {
            writer.recover(now_ms).await?;
        }
        writer.reconfigure(settings, now_ms).await
    }

    /// What is durable, now and whenever it changes.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    /// What is durable now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.published.borrow())
    }

    /// The ledger's own metrics, which also count anomalies.
    pub fn metrics(&self) -> &LedgerMetrics {
        &self.metrics
    }

    /// Records an app's complete list of workflows. From time to time, forgets runs older than the
    /// retention.
    pub async fn record_workflows(
        &self,
        app: &AppId,
        workflows: &[Workflow],
        read_at: ReadAt,
    ) -> Result<()> {
        let mut writer = self.ready(read_at.local_ms).await?;
        let Some(filter) = writer.settings.filter(app).cloned() else { return Ok(()) };
        let elsewhere = ownership::shown_by_others(&writer.state, app);
        let mut changes = writer.begin();
        let list = WorkflowsRead {
            app,
            workflows,
            filter: &filter,
            elsewhere: &elsewhere,
            read_at,
            lookback: writer.settings.lookback,
            retention: writer.settings.retention,
            bounds: &writer.bounds,
            gauges: writer.gauges,
        };
        list.record(&mut changes);
        writer.commit(changes).await?;
        writer.report_overflow();
        let admitted = workflows.iter().filter(|one| filter.admits(&one.id, &one.name));
        let (ids, reported) = (admitted.map(|one| &one.id), &mut writer.reported_shared);
        ownership::report_shared(app, ids, &elsewhere, reported, &self.metrics);
        Ok(())
    }

    /// Records runs of one workflow.
    pub async fn record_runs(
        &self,
        app: &AppId,
        workflow: &WorkflowId,
        read: RunsRead<'_>,
    ) -> Result<Recorded> {
        let mut writer = self.ready(read.read_at.local_ms).await?;
        let place = (app, workflow);
        let ids = read.runs.iter().map(|run| &run.id);
        let known = writer.known_runs(place, ids).await?.unwrap_or_default();
        let mut changes = writer.begin();
        let recorded = record_runs(&mut changes, writer.rules(), place, &read, &known);
        if let Some(recorded) = recorded {
            writer.commit(changes).await?;
            return Ok(recorded);
        }
        Ok(Recorded { closed: true, news: false })
    }

    /// The API no longer knows these runs: they leave the gauges.
    pub async fn record_vanished(
        &self,
        app: &AppId,
        workflow: &WorkflowId,
        runs: &[RunId],
        read_at: ReadAt,
    ) -> Result<()> {
        let mut writer = self.ready(read_at.local_ms).await?;
        let known = writer.known_runs((app, workflow), runs.iter()).await?.unwrap_or_default();
        let mut changes = writer.begin();
        record_vanished(&mut changes, (app, workflow), known);
        if changes.batch().is_empty() { Ok(()) } else { writer.commit(changes).await }
    }

    /// Since when workflows of an app are to be read, by our own clock: milliseconds since the Unix
    /// epoch. It replaces what was recorded before. Not kept beyond the process.
    pub async fn record_due(&self, app: &AppId, due: BTreeMap<WorkflowId, i64>) {
        let mut writer = self.writer.lock().await;
        let mut state = State::clone(&writer.state);
        if let Some(app) = state.apps.get_mut(app) {
            app.due = Arc::new(due);
            writer.publish(state);
        }
    }

    /// Ends a poll cycle of an app, at a moment by our own clock: milliseconds since the Unix epoch.
    pub async fn end_cycle(&self, app: &AppId, succeeded: bool, ended_ms: i64) -> Result<()> {
        let mut writer = self.ready(ended_ms).await?;
        if writer.settings.filter(app).is_none() {
            return Ok(());
        }
        let mut changes = writer.begin();
        let record = &mut changes.state.apps.entry(app.clone()).or_default().record;
        if succeeded {
            record.succeeded_ms = Some(ended_ms);
            changes.rows.apps.insert(app.clone());
        }
        writer.commit(changes).await
    }

    /// This version of the state, and so every version before, has been scraped by everybody who
    /// matters: what was held until then is shown. Durable before it is shown.
    pub async fn confirm(&self, version: u64, now_ms: i64) -> Result<()> {
        // Without a hold, what an earlier process held is shown at once.
        let confirmed = if self.hold { version } else { u64::MAX };
        // Scrapes are many, and often there is nothing to release.
        if !self.state().releases(confirmed) {
            return Ok(());
        }
        let mut writer = self.ready(now_ms).await?;
        let mut changes = writer.begin();
        changes.release(confirmed);
        if changes.batch().is_empty() { Ok(()) } else { writer.commit(changes).await }
    }

    /// The workflows, and what is remembered of the runs with this id: one at most of each workflow
    /// of the apps that are read. A process that stands by learns them from the database. `None` if
    /// the ledger is busy for too long, or can't be read.
    pub async fn look_up(
        &self,
        id: Option<&RunId>,
    ) -> Option<(Arc<State>, BTreeMap<(AppId, WorkflowId), RunRecord>)> {
        if id.is_none() && self.leadership.is_held() {
            return Some((self.state(), BTreeMap::new()));
        }
        let look_up = async {
            let mut writer = Arc::clone(&self.writer).lock_owned().await;
            let id = id.cloned();
            // In a task of its own: the client that asks may leave, and a connection left amid an
            // answer must be replaced.
            tokio::spawn(async move { writer.look_up(id.as_ref()).await }).await.ok()?
        };
        timeout(LOOK_UP_TIMEOUT, look_up).await.ok()?
    }

    /// Ends in order, which leaves a SQLite ledger in a single file, and lets another process lead at
    /// once. Nothing can be recorded any more, and nothing must be shown.
    pub async fn close(&self) -> Result<()> {
        self.writer.lock().await.close().await
    }

    /// The writer, sure of what the database holds.
    async fn ready(&self, now_ms: i64) -> Result<MutexGuard<'_, Writer>> {
        let mut writer = self.writer.lock().await;
        writer.recover(now_ms).await?;
        Ok(writer)
    }
}
