//! What stands between the decisions and the store: durable first, then published.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use hashlink::LruCache;
use tokio::sync::watch;

use super::{
    budget::{CountGauges, GROUP, SeriesBudget, overflow_group},
    changes::{Changes, Rows, WorkflowKey},
    error::LedgerError,
    identity::RunRecord,
    leadership::Leadership,
    metrics::LedgerMetrics,
    observe::Rules,
    ownership,
    run_log::FinishedRun,
    series::Bounds,
    state::State,
    store::{Batch, Store},
};
use crate::{
    config::{Buckets, LoggedRuns, WorkflowFilter},
    model::{AppId, RunId, WorkflowId},
};

/// How a ledger counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The apps that are read, and which of their workflows are followed. What is known of others
    /// stays as it is, and unseen.
    pub apps: Vec<(AppId, WorkflowFilter)>,
    /// Where it lies: `sqlite:<file>`, `sqlite::memory:` or `postgres://…`.
    pub url: String,
    /// Runs created longer ago are forgotten and never news; `None`: nothing is.
    pub retention: Option<Duration>,
    /// At the very first start, runs that ended at most this long ago are counted too; `None`: all
    /// are.
    pub lookback: Option<Duration>,
    /// The histograms' buckets.
    pub buckets: Buckets,
    /// Maximum number of series; beyond it, what is new is counted in one group
    /// ([`OTHER`](super::OTHER)).
    pub max_series: usize,
    /// Whether what was counted is held back until [`Ledger::confirm`](super::Ledger::confirm)
    /// releases it.
    pub hold: bool,
    /// Which runs are logged one by one.
    pub log_runs: LoggedRuns,
}

impl Settings {
    /// Which workflows of an app are followed; `None` if the app isn't read.
    pub(super) fn filter(&self, app: &AppId) -> Option<&WorkflowFilter> {
        self.apps.iter().find(|(read, _)| read == app).map(|(_, filter)| filter)
    }
}

/// The maximum number of runs whose records are kept in memory: those of small pages of some
/// thousand workflows. It takes about 5 MB.
const RECENT_RUNS: usize = 20_000;

/// What only one at a time may touch.
pub(super) struct Writer {
    pub(super) store: Store,
    /// What the database holds, as far as it concerns the next change.
    pub(super) state: Arc<State>,
    /// What it holds of the runs that were looked up or written last, by the number of their
    /// workflow; `None`: nothing, as of history.
    recent_runs: LruCache<(i64, RunId), Option<RunRecord>>,
    pub(super) published: Arc<watch::Sender<Arc<State>>>,
    pub(super) metrics: LedgerMetrics,
    /// The highest number that a workflow has in the database.
    highest_number: i64,
    pub(super) bounds: Bounds,
    pub(super) settings: Settings,
    pub(super) gauges: CountGauges,
    pub(super) leadership: Leadership,
    /// From when on, by the steady clock, this process leads if it keeps the lock that it has.
    pub(super) leads_from_ms: Option<i64>,
    /// The database failed, so it isn't known what it holds, or whether it is still connected.
    pub(super) needs_reload: bool,
    /// Room for more series.
    budget: SeriesBudget,
    /// How many workflows had none when that was reported last.
    pub(super) overflowed: usize,
    /// The apps and workflows of which it was reported that another app shows them.
    pub(super) reported_shared: BTreeSet<WorkflowKey>,
}

impl Writer {
    /// Opens the store and publishes what it holds, unless another process uses it.
    pub(super) async fn open(
        settings: Settings,
        metrics: LedgerMetrics,
        gauges: CountGauges,
        leadership: Leadership,
        now_ms: i64,
    ) -> Result<Self, LedgerError> {
        let mut writer = Self {
            store: Store::open(&settings.url).await?,
            state: Arc::default(),
            recent_runs: LruCache::new(RECENT_RUNS),
            published: Arc::new(watch::Sender::new(Arc::default())),
            metrics,
            highest_number: 0,
            bounds: Bounds::new(&settings.buckets),
            settings,
            gauges,
            leadership,
            leads_from_ms: None,
            needs_reload: true,
            budget: SeriesBudget::default(),
            overflowed: 0,
            reported_shared: BTreeSet::new(),
        };
        writer.metrics.limited_to(writer.settings.max_series);
        if !writer.store.is_shared() {
            writer.leadership.hold_forever();
        }
        if writer.store.waits() {
            tracing::info!("Stands by: another exporter uses this ledger.");
        } else {
            let begun_ms = writer.leadership.steady_ms();
            writer.lead(begun_ms, now_ms).await?;
        }
        Ok(writer)
    }

    /// Counts on by other settings; the URL and the hold stay as they are. If this fails, nothing
    /// has changed.
    pub(super) async fn reconfigure(
        &mut self,
        settings: Settings,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        let settings =
            Settings { url: self.settings.url.clone(), hold: self.settings.hold, ..settings };
        let bounds = std::mem::replace(&mut self.bounds, Bounds::new(&settings.buckets));
        let before = std::mem::replace(&mut self.settings, settings);
        if !self.leadership.is_held() {
            // It counts when it leads, and loads everything before.
        } else if let Err(error) = self.load(now_ms).await {
            (self.settings, self.bounds) = (before, bounds);
            // Part of it may have been written; the next one to write finds out.
            self.needs_reload = true;
            return Err(error);
        }
        self.metrics.limited_to(self.settings.max_series);
        self.publish(State::clone(&self.state));
        Ok(())
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        let Settings { hold, log_runs, .. } = self.settings;
        Rules { bounds: &self.bounds, hold, log_runs }
    }

    /// No changes yet.
    pub(super) fn begin(&self) -> Changes {
        Changes {
            state: State::clone(&self.state),
            overflow: overflow_group(&self.state, self.highest_number + 1),
            budget: self.budget,
            highest_number: self.highest_number,
            rows: Rows::default(),
            anomalies: Vec::new(),
            detection_delays: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// What is remembered of these runs of a workflow; `None` if there is no such workflow.
    pub(super) async fn known_runs(
        &mut self,
        (app, workflow): (&AppId, &WorkflowId),
        ids: impl Iterator<Item = &RunId>,
    ) -> Result<Option<HashMap<RunId, RunRecord>>, LedgerError> {
        let workflow = self.state.apps.get(app).and_then(|app| app.workflows.get(workflow));
        let Some(number) = workflow.map(|workflow| workflow.number) else { return Ok(None) };
        let (mut known, mut others) = (HashMap::new(), Vec::new());
        for id in ids {
            match self.recent_runs.get(&(number, id.clone())) {
                Some(record) => known.extend(record.clone().map(|record| (id.clone(), record))),
                None => others.push(id),
            }
        }
        if !others.is_empty() {
            // A connection that breaks, or is left amid an answer, is replaced before it is used
            // again.
            self.needs_reload = true;
            let found = self.store.runs(number, &others).await;
            self.needs_reload = found.is_err();
            let found = found?;
            let looked_up = |id: &&RunId| ((number, (*id).clone()), found.get(*id).cloned());
            self.recent_runs.extend(others.iter().map(looked_up));
            known.extend(found);
        }
        Ok(Some(known))
    }

    /// The workflows, and what is remembered of the runs with this id; `None` if that can't be found
    /// out at once. One that stands by looks at what another process has written.
    pub(super) async fn look_up(
        &mut self,
        id: Option<&RunId>,
    ) -> Option<(Arc<State>, BTreeMap<WorkflowKey, RunRecord>)> {
        let (state, runs) = if !self.leadership.is_held() {
            let (mut state, runs) = self.store.peek(id).await.ok()?;
            state.apps.retain(|app, _| self.settings.filter(app).is_some());
            ownership::drop_unfollowed(&mut state, &self.settings.apps);
            (Arc::new(state), runs)
        } else if self.needs_reload {
            return None;
        } else if let Some(id) = id {
            self.needs_reload = true;
            let runs = self.store.find(id).await;
            self.needs_reload = runs.is_err();
            (Arc::clone(&self.state), runs.ok()?)
        } else {
            (Arc::clone(&self.state), Vec::new())
        };
        let mut runs: BTreeMap<_, _> = runs.into_iter().collect();
        let mut records = BTreeMap::new();
        for (app, state) in &state.apps {
            for (workflow, state) in &state.workflows {
                if let Some(record) = runs.remove(&state.number) {
                    records.insert((app.clone(), workflow.clone()), record);
                }
            }
        }
        Some((state, records))
    }

    /// Writes what has changed, and then publishes it.
    pub(super) async fn commit(&mut self, mut changes: Changes) -> Result<(), LedgerError> {
        changes.place_overflow();
        let batch = changes.batch();
        if !batch.is_empty() {
            let begun = Instant::now();
            // Also if the caller stops waiting.
            self.needs_reload = true;
            let written = self.store.commit(&batch).await;
            self.needs_reload = written.is_err();
            self.metrics.committed(written.is_ok(), begun.elapsed());
            written?;
        }
        let Changes {
            state,
            budget,
            highest_number,
            rows,
            anomalies,
            detection_delays,
            finished,
            ..
        } = changes;
        if rows.prune.is_some() {
            self.recent_runs.clear();
        }
        let written = rows.runs.into_iter().map(|(run, record)| (run, Some(record)));
        self.recent_runs.extend(written);
        self.metrics.observed(&anomalies, &detection_delays);
        finished.iter().for_each(FinishedRun::log);
        (self.budget, self.highest_number) = (budget, highest_number);
        self.publish(state);
        Ok(())
    }

    pub(super) fn publish(&mut self, mut state: State) {
        state.version += 1;
        self.state = Arc::new(state);
        self.published.send_replace(Arc::clone(&self.state));
    }

    /// Measures what room there is for more series.
    fn measure(&mut self) {
        let max_series = self.settings.max_series;
        self.budget = SeriesBudget::left_by(&self.state, &self.bounds, self.gauges, max_series);
    }

    /// Measures what room there is for more series, and reports when that begins and ceases to be
    /// too little.
    pub(super) fn report_overflow(&mut self) {
        self.measure();
        let overflowed = self.state.overflowed();
        let before = std::mem::replace(&mut self.overflowed, overflowed);
        self.metrics.folded_workflows.set(overflowed as i64);
        if overflowed > 0 && before == 0 {
            tracing::warn!(
                workflows = overflowed,
                max_series = self.settings.max_series,
                "There is no room for more series: these workflows are counted together as \
                 workflow_id=\"_other\". Raise --metrics.max-series, or exclude workflows."
            );
        } else if overflowed == 0 && before > 0 {
            tracing::info!("Every workflow has series of its own again.");
        }
    }

    /// Takes over what the database holds.
    pub(super) async fn load(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        self.recent_runs.clear();
        // What is loaded is published as the next version of the state.
        let version = self.state.version;
        let loaded = self.store.load(&self.bounds, version + 1, now_ms).await?;
        let mut state = loaded.state;
        let dropped = ownership::drop_unfollowed(&mut state, &self.settings.apps);
        let workflows = || state.apps.values().flat_map(|app| app.workflows.values());
        let numbers: BTreeMap<_, _> = workflows().map(|it| (it.number, it)).collect();
        let restarted = loaded.restarted.iter();
        let series = restarted.map(|(number, key)| (*number, key, numbers[number].series.get(key)));
        let workflows = dropped.iter().map(|(app, id)| (app, id, &*state.apps[app].workflows[id]));
        let batch =
            Batch { series: series.collect(), workflows: workflows.collect(), ..Batch::default() };
        if !batch.series.is_empty() {
            tracing::warn!(
                series = batch.series.len(),
                "These series start anew at zero: the configured buckets are not the ledger's, or \
                 the ledger holds a sum that is not finite."
            );
        }
        if !batch.is_empty() {
            self.store.commit(&batch).await?;
        }
        let (group, _) = &*GROUP;
        state.apps.retain(|app, _| self.settings.filter(app).is_some() || app == group);
        state.version = version;
        state.keep_what_is_not_written(&self.state);
        self.highest_number = loaded.highest_number;
        self.state = Arc::new(state);
        self.measure();
        Ok(())
    }
}
