//! What was counted. The pure part (`observe`, `hold`, `native`, `state`, `failures`) turns observations into
//! changes; the store makes them durable; only then does everybody else see them. Uses `config` and
//! `model`.

mod budget;
mod error;
mod exemplar;
mod failures;
mod hold;
mod metric;
mod metrics;
mod native;
mod observe;
mod ownership;
mod series;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, watch};

pub use budget::CountGauges;
pub use error::LedgerError;
pub use exemplar::Exemplar;
pub use failures::FailureStreak;
pub use metric::{Metric, MetricKind, MetricRow, OTHER};
pub use metrics::LedgerMetrics;
pub use native::NativeHistogram;
pub use series::{Histogram, Series, SeriesKey, Value};
pub use state::{
    AppRecord, AppState, CowArc, Listed, OpenRun, ReadAt, State, WorkflowRecord, WorkflowState,
};
pub use store::{LedgerStatus, inspect};

use crate::{
    config::{Buckets, WorkflowFilter},
    model::{AppId, Phase, Run, RunId, Workflow, WorkflowId},
};
use budget::SeriesBudget;
use observe::{Changes, Novelty, finish_ms};
use series::Bounds;
use state::List;
use store::{Batch, Store};
use writer::{Writer, put, workflow_of};

/// How a ledger counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The apps that are read. What is known of others stays as it is, and unseen.
    pub apps: Vec<AppId>,
    /// Where it lies: `sqlite:<file>`, `sqlite::memory:` or `postgres://…`.
    pub url: String,
    /// Runs created longer ago are forgotten and never news; `None`: nothing is.
    pub retention: Option<Duration>,
    /// At the very first start, runs that ended so long ago are counted too; `None`: all are.
    pub lookback: Option<Duration>,
    /// The histograms' buckets.
    pub buckets: Buckets,
    /// Past so many series, what is new is counted in one group ([`OTHER`]).
    pub max_series: usize,
    /// Whether what was counted is held back until [`Ledger::confirm`] releases it.
    pub hold: bool,
}

/// Counts each finished run once, durably. A handle; its copies share one ledger.
#[derive(Clone)]
pub struct Ledger {
    writer: Arc<Mutex<Writer>>,
    published: Arc<watch::Sender<Arc<State>>>,
    metrics: LedgerMetrics,
    hold: bool,
}

/// Runs of one workflow as one answer of the API had them.
#[derive(Clone, Copy, Debug)]
pub struct RunsRead<'a> {
    /// In the order of the list.
    pub runs: &'a [Run],
    /// When the answer came.
    pub read_at: ReadAt,
    /// Whether the list's first run is its latest.
    pub newest_first: bool,
    /// What this answer means for the reading of the list.
    pub stop_when: StopWhen,
    /// Whether all that this reading has met so far stands at the old end of the list, so that what
    /// is history there tells nothing of the latest outcomes.
    pub old_end: bool,
}

/// What runs that were taken in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whether the reading of the list ends with them.
    pub closed: bool,
    /// Whether one of them, or a replay, was met for the first time. The end of a run that was
    /// followed is nothing new in this sense.
    pub news: bool,
}

/// When an answer ends the reading of a workflow's list of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWhen {
    /// Not at all: there is more to read, or it was no page of the list.
    Never,
    /// If all runs in its old half are finished and already counted, or history.
    IfSettled,
    /// If all runs in its old half were met by earlier readings: enough where a run's place in the
    /// list never changes.
    IfKnown,
    /// In any case: the list ends here.
    Always,
}

/// A problem with a ledger, or with what is said to it.
type Result<T, E = LedgerError> = std::result::Result<T, E>;

impl Ledger {
    /// Opens a ledger, making it if there is none. `gauges` counts the gauges that a workflow has
    /// besides what is added up, for the budget of series.
    pub async fn open(
        settings: Settings,
        metrics: LedgerMetrics,
        gauges: CountGauges,
        now_ms: i64,
    ) -> Result<Self> {
        let store = Store::open(&settings.url).await?;
        let bounds = Bounds::new(&settings.buckets);
        metrics.limited_to(settings.max_series);
        let mut writer = Writer {
            store,
            state: Arc::default(),
            highest_number: 0,
            bounds,
            settings,
            gauges,
            needs_reload: false,
            budget: SeriesBudget::default(),
            overflowed: 0,
            shared: BTreeSet::new(),
        };
        writer.load(now_ms).await?;
        Arc::make_mut(&mut writer.state).version += 1;
        let published = watch::Sender::new(Arc::clone(&writer.state));
        let hold = writer.settings.hold;
        let writer = Arc::new(Mutex::new(writer));
        Ok(Self { writer, published: Arc::new(published), metrics, hold })
    }

    /// Counts on by other settings; where the ledger lies stays as it is. If this fails, nothing has
    /// changed. As after a restart, what was not shown yet is held until a scrape has seen the rest.
    pub async fn reconfigure(&self, settings: Settings, now_ms: i64) -> Result<()> {
        let mut writer = self.ready(now_ms).await?;
        let bounds = Bounds::new(&settings.buckets);
        let before = std::mem::replace(&mut writer.settings, settings);
        let bounds_before = std::mem::replace(&mut writer.bounds, bounds);
        writer.settings.url.clone_from(&before.url);
        writer.settings.hold = before.hold;
        if let Err(error) = writer.load(now_ms).await {
            (writer.settings, writer.bounds) = (before, bounds_before);
            // Part of it may have been written; the next one to write finds out.
            writer.needs_reload = true;
            return Err(error);
        }
        self.metrics.limited_to(writer.settings.max_series);
        let mut state = State::clone(&writer.state);
        state.keep_what_is_not_written(&self.state());
        self.publish(&mut writer, state);
        Ok(())
    }

    /// What is durable, now and whenever it changes.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    /// What is durable now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.published.borrow())
    }

    /// The ledger's own metrics, which also count oddities.
    pub fn metrics(&self) -> &LedgerMetrics {
        &self.metrics
    }

    /// Takes in an app's complete list of workflows. From time to time, forgets runs older than the
    /// retention: then, because only an answer tells the API's clock.
    pub async fn record_workflows(
        &self,
        app: &AppId,
        workflows: &[Workflow],
        filter: &WorkflowFilter,
        read_at: ReadAt,
    ) -> Result<()> {
        let mut writer = self.ready(read_at.local_ms).await?;
        let writer = &mut *writer;
        if !writer.settings.apps.contains(app) {
            return Ok(());
        }
        let mut state = State::clone(&writer.state);
        let (mut number, lookback) = (writer.highest_number, writer.settings.lookback);
        let first_published = state.version + 1;
        let app_state = state.apps.entry(app.clone()).or_default();
        let cold_start = app_state.record.cold_start_ms.is_none();
        let elsewhere = ownership::shown_by_others(&writer.state, app);
        let mut budget = writer.budget;
        let list = List {
            workflows,
            read_at,
            lookback_ms: lookback.map(|lookback| lookback.as_millis() as i64),
            bounds: &writer.bounds,
            gauges: writer.gauges,
            first_published,
        };
        let changed = app_state.list(
            &list,
            |id, name| {
                filter.admits(id, name) && !elsewhere.contains_key(id) && id.as_str() != OTHER
            },
            || {
                number += 1;
                number
            },
            &mut budget,
        );
        let before_ms =
            writer.settings.retention.and_then(|it| app_state.record.forget(it, read_at));
        let mut batch =
            Batch { prune: before_ms.map(|before_ms| (app, before_ms)), ..Batch::default() };
        if cold_start || before_ms.is_some() {
            batch.apps.push((app, &app_state.record));
        }
        for (id, series) in &changed {
            let workflow = &app_state.workflows[id];
            batch.workflows.push((app, id, workflow));
            let series = series.iter().map(|key| (workflow.number, key, &workflow.series[key]));
            batch.series.extend(series);
        }
        if !batch.apps.is_empty() || !changed.is_empty() {
            self.commit(&mut writer.store, &mut writer.needs_reload, &batch).await?;
        }
        writer.highest_number = number;
        self.publish(writer, state);
        writer.measure();
        self.report_overflow(writer);
        let admitted = workflows.iter().filter(|one| filter.admits(&one.id, &one.name));
        self.tell_shared(app, admitted.map(|one| &one.id), &elsewhere, &mut writer.shared);
        Ok(())
    }

    /// Takes in runs of one workflow.
    pub async fn record_runs(
        &self,
        app: &AppId,
        workflow: &WorkflowId,
        read: RunsRead<'_>,
    ) -> Result<Recorded> {
        let mut writer = self.ready(read.read_at.local_ms).await?;
        let writer = &mut *writer;
        let Some(mut now) = workflow_of(&writer.state, app, workflow) else {
            return Ok(Recorded { closed: true, news: false });
        };
        let ids: Vec<_> = read.runs.iter().map(|run| &run.id).collect();
        let records = writer.runs(now.number, &ids).await?;
        let mut changes = writer.changes();
        let before = now.record.clone();
        let mut observer = writer.observer(app, &mut now, &mut changes, read.read_at);
        let proof = &read.runs[old_half(read.runs.len(), read.newest_first)];
        let proof: BTreeSet<_> = proof.iter().map(|run| &run.id).collect();
        // A page on which nothing could be read proves nothing.
        let (mut settled, mut known) = (!proof.is_empty(), !proof.is_empty());
        for run in in_order_of_ending(&read) {
            let record =
                observer.changes.runs.get(&run.id).or_else(|| records.get(&run.id)).cloned();
            let standing = observer.observe(run, record.as_ref());
            if proof.contains(&run.id) {
                settled &= standing == Novelty::Settled;
                known &= standing != Novelty::New;
            }
        }
        if read.old_end && now.record.first_reading && !now.has_counted() {
            now.record.failures = FailureStreak::default();
        }
        let closed = match read.stop_when {
            StopWhen::Never => false,
            StopWhen::IfSettled => settled,
            StopWhen::IfKnown => known,
            StopWhen::Always => true,
        };
        if closed {
            now.close_reading();
        }
        let mut state = State::clone(&writer.state);
        if now.record != before || !changes.runs.is_empty() {
            let batch = changes.batch(app, workflow, &now);
            self.commit(&mut writer.store, &mut writer.needs_reload, &batch).await?;
            self.tell(&changes);
            writer.take_room(&changes, &mut state);
        }
        if closed {
            now.record.polled_ms = Some(read.read_at.local_ms);
        }
        put(&mut state, app, workflow, now);
        self.publish(writer, state);
        Ok(Recorded { closed, news: changes.news })
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
        let writer = &mut *writer;
        let Some(mut now) = workflow_of(&writer.state, app, workflow) else {
            return Ok(());
        };
        let ids: Vec<_> = runs.iter().collect();
        let records = writer.runs(now.number, &ids).await?;
        let mut changes = writer.changes();
        let mut observer = writer.observer(app, &mut now, &mut changes, read_at);
        for (run, record) in &records {
            observer.vanished(run, record);
        }
        if changes.runs.is_empty() {
            return Ok(());
        }
        let batch = changes.batch(app, workflow, &now);
        self.commit(&mut writer.store, &mut writer.needs_reload, &batch).await?;
        self.tell(&changes);
        let mut state = State::clone(&writer.state);
        put(&mut state, app, workflow, now);
        self.publish(writer, state);
        Ok(())
    }

    /// Since when workflows of an app are to be read, by our own clock: milliseconds since the Unix
    /// epoch. It replaces what was said before. Not kept beyond the process.
    pub async fn record_due(&self, app: &AppId, due: BTreeMap<WorkflowId, i64>) {
        let writer = &mut *self.writer.lock().await;
        let mut state = State::clone(&writer.state);
        if let Some(app) = state.apps.get_mut(app) {
            app.due = Arc::new(due);
            self.publish(writer, state);
        }
    }

    /// Ends a poll cycle of an app, at a moment by our own clock: milliseconds since the Unix epoch.
    pub async fn end_cycle(&self, app: &AppId, succeeded: bool, ended_ms: i64) -> Result<()> {
        let mut writer = self.ready(ended_ms).await?;
        let writer = &mut *writer;
        if !writer.settings.apps.contains(app) {
            return Ok(());
        }
        let mut state = State::clone(&writer.state);
        let record = &mut state.apps.entry(app.clone()).or_default().record;
        if succeeded {
            record.succeeded_ms = Some(ended_ms);
            let record = record.clone();
            let batch = Batch { apps: vec![(app, &record)], ..Batch::default() };
            self.commit(&mut writer.store, &mut writer.needs_reload, &batch).await?;
        }
        self.publish(writer, state);
        Ok(())
    }

    /// This version of the state, and so every version before, has been scraped by everybody who
    /// matters: what was held until then is shown. Durable before it is shown.
    pub async fn confirm(&self, version: u64, now_ms: i64) -> Result<()> {
        // Without a hold, what an earlier process held is shown at once.
        let confirmed = if self.hold { version } else { u64::MAX };
        // Scrapes are many, and often there is nothing to release.
        if !self.state().holds(confirmed) {
            return Ok(());
        }
        let mut writer = self.ready(now_ms).await?;
        let writer = &mut *writer;
        let mut state = State::clone(&writer.state);
        let mut released = Vec::new();
        for workflow in state.apps.values_mut().flat_map(|app| app.workflows.values_mut()) {
            if workflow.holds(confirmed) {
                let changed = Arc::make_mut(workflow).release(confirmed);
                released.push((Arc::clone(workflow), changed));
            }
        }
        let mut batch = Batch::default();
        for (workflow, changed) in &released {
            let series = changed.iter().map(|key| (workflow.number, key, &workflow.series[key]));
            batch.series.extend(series);
        }
        if !batch.series.is_empty() {
            self.commit(&mut writer.store, &mut writer.needs_reload, &batch).await?;
            self.publish(writer, state);
        }
        Ok(())
    }

    /// Ends in order, which leaves a SQLite ledger in a single file. Nothing can be recorded any
    /// more.
    pub async fn close(&self) -> Result<()> {
        self.writer.lock().await.store.close().await
    }

    /// The writer, sure of what the database holds.
    async fn ready(&self, now_ms: i64) -> Result<tokio::sync::MutexGuard<'_, Writer>> {
        let mut writer = self.writer.lock().await;
        if writer.needs_reload {
            writer.store.reconnect().await?;
            writer.load(now_ms).await?;
            writer.needs_reload = false;
        }
        Ok(writer)
    }

    async fn commit(
        &self,
        store: &mut Store,
        needs_reload: &mut bool,
        batch: &Batch<'_>,
    ) -> Result<()> {
        let begun = Instant::now();
        // Also if the caller stops waiting.
        *needs_reload = true;
        let written = store.commit(batch).await;
        *needs_reload = written.is_err();
        self.metrics.committed(written.is_ok());
        self.metrics.commit_duration.observe(begun.elapsed().as_secs_f64());
        written
    }

    /// Tells when the budget of series begins and ceases to be too small.
    fn report_overflow(&self, writer: &mut Writer) {
        let overflowed = writer.state.overflowed();
        let before = std::mem::replace(&mut writer.overflowed, overflowed);
        self.metrics.folded_workflows.set(overflowed as i64);
        if overflowed > 0 && before == 0 {
            tracing::warn!(
                workflows = overflowed,
                max_series = writer.settings.max_series,
                "There is no room for more series: these workflows are counted together as \
                 workflow_id=\"_other\". Raise --metrics.max-series, or exclude workflows."
            );
        } else if overflowed == 0 && before > 0 {
            tracing::info!("Every workflow has series of its own again.");
        }
    }

    fn tell(&self, changes: &Changes) {
        for anomaly in &changes.anomalies {
            self.metrics.anomaly(*anomaly);
        }
        for seconds in &changes.detection_delays {
            self.metrics.detection_delay.observe(*seconds);
        }
    }

    fn publish(&self, writer: &mut Writer, mut state: State) {
        state.version += 1;
        writer.state = Arc::new(state);
        self.published.send_replace(Arc::clone(&writer.state));
    }
}

/// Where the older half of a page stands. What is known there proves that what lies behind is known
/// too, as a page of half the size would.
pub fn old_half(runs: usize, newest_first: bool) -> Range<usize> {
    let half = runs.div_ceil(2);
    if newest_first { runs - half..runs } else { 0..half }
}

/// Open runs first, so that a run listed twice while it ended is counted once; then by when they
/// ended, and of those that ended together the one listed as older first.
fn in_order_of_ending<'a>(read: &RunsRead<'a>) -> Vec<&'a Run> {
    let mut runs: Vec<_> = read.runs.iter().collect();
    if read.newest_first {
        runs.reverse();
    }
    runs.sort_by_key(|run| match run.phase() {
        Phase::Open => i64::MIN,
        Phase::Finished => finish_ms(run, read.read_at),
    });
    runs
}
