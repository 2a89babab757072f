use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    budget::{CountGauges, SeriesBudget},
    failures::FailureStreak,
    hold::Pending,
    metric::Metric,
    series::{Bounds, Series, SeriesKey},
};
use crate::model::{AppId, Origin, RunId, Status, TestResults, Workflow, WorkflowId};

/// All that the ledger knows but for the identities of finished runs. Readers get it whole and
/// unchanging; each commit makes a new one.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Grows with each state that is published while the process lives.
    pub version: u64,
    /// By app id as configured.
    pub apps: BTreeMap<AppId, AppState>,
}

/// What is known of an app.
#[derive(Clone, Debug, Default)]
pub struct AppState {
    /// What one row of the database keeps.
    pub record: AppRecord,
    /// Every workflow that was ever listed and isn't forgotten.
    pub workflows: BTreeMap<WorkflowId, Arc<WorkflowState>>,
    /// Since when workflows are to be read, unless they have been read since.
    pub(super) due: Arc<BTreeMap<WorkflowId, i64>>,
}

/// The part of an [`AppState`] that is about the app itself. Milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// API time of the first complete reading of the list of workflows: what ended before is
    /// history.
    pub cold_start_ms: Option<i64>,
    /// When the list of workflows was last read completely.
    pub listed_ms: Option<i64>,
    /// When the last complete, successful poll cycle ended.
    pub succeeded_ms: Option<i64>,
    /// API time: runs created before are forgotten and never news.
    pub pruned_before_ms: Option<i64>,
}

/// How often runs beyond the retention are forgotten.
const FORGET_EVERY_MS: i64 = 3_600_000;

impl AppRecord {
    /// If it is time to forget runs that were created so long ago: those created before this.
    pub(super) fn forget(&mut self, retention: Duration, read_at: ReadAt) -> Option<i64> {
        // Whichever clock is behind: a clock that is ahead must not make runs forgotten that are
        // still listed.
        let now_ms = read_at.api_ms.min(read_at.local_ms);
        let before_ms = now_ms.saturating_sub(retention.as_millis() as i64);
        let last = self.pruned_before_ms;
        if last.is_some_and(|ms| ms.saturating_add(FORGET_EVERY_MS) > before_ms) {
            return None;
        }
        self.pruned_before_ms = Some(before_ms);
        self.pruned_before_ms
    }
}

/// What is known of a workflow.
#[derive(Clone, Debug)]
pub struct WorkflowState {
    /// Its number in the database.
    pub(super) number: i64,
    /// What one row of the database keeps.
    pub record: WorkflowRecord,
    /// The numbers that only grow.
    pub series: CowArc<BTreeMap<SeriesKey, Series>>,
    /// Its runs that are now PENDING or RUNNING.
    pub open: BTreeMap<RunId, OpenRun>,
    /// What must not be shown yet.
    pub(super) held: Pending,
    /// Whether the last list that could be read had it.
    pub listed: bool,
    /// What the database says of when it was last listed.
    written_listed_ms: i64,
}

/// A value that one state shares with the next until it changes: whoever changes it gets a copy.
#[derive(Clone, Debug, Default)]
pub struct CowArc<T>(Arc<T>);

impl<T> CowArc<T> {
    /// Whether both are the same one, so that nothing has changed from one to the other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for CowArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for CowArc<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

/// The part of a [`WorkflowState`] that is neither totals nor runs. Milliseconds since the Unix
/// epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkflowRecord {
    /// As last listed.
    pub listed: Listed,
    /// When it was last listed.
    pub listed_ms: i64,
    /// Whether the configured filters let it through.
    pub followed: bool,
    /// From when on the end of a run is news.
    pub(super) news_since: NewsSince,
    /// Whether its list of runs was never yet read to the known region.
    pub first_reading: bool,
    /// How many readings of its list of runs have reached the known region. Runs that a later
    /// reading met first don't prove that what lies behind them was seen.
    pub(super) closed_readings: i64,
    /// Whether a reading beyond those has recorded runs.
    pub(super) reading_begun: bool,
    /// When a reading of its runs last ended well.
    pub polled_ms: Option<i64>,
    /// When the latest run with each outcome ended.
    pub last_run_ms: BTreeMap<Status, i64>,
    /// How many runs FAILED in a row.
    pub failures: FailureStreak,
}

/// What the list of workflows told about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name; may be empty.
    pub name: String,
    /// Its app's name; may be empty.
    pub app: String,
    /// Its key; may be empty.
    pub key: String,
    /// The number of its published version.
    pub version: Option<String>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Its tests by result, if told.
    pub tests: Option<TestResults>,
}

/// From when on the end of a run is news rather than history. API time; it is known to the second
/// only, since it is read off the `Date` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NewsSince {
    /// The workflow is younger than the ledger: all of its runs are news.
    Beginning,
    /// This millisecond, give or take a second: the estimate may lie on either side, depending on
    /// whether the local clock is behind or ahead.
    About(i64),
}

impl State {
    /// Takes over from the state before what need not survive a restart, and so may not be in the
    /// database.
    pub(super) fn keep_what_is_not_written(&mut self, before: &Self) {
        for (id, app) in &mut self.apps {
            let Some(before) = before.apps.get(id) else { continue };
            app.record = before.record.clone();
            app.due = Arc::clone(&before.due);
            for (id, workflow) in &mut app.workflows {
                let Some(before) = before.workflows.get(id) else { continue };
                let workflow = Arc::make_mut(workflow);
                workflow.record.polled_ms = before.record.polled_ms;
                workflow.record.listed_ms = before.record.listed_ms;
                workflow.listed = before.listed;
            }
        }
    }
}

/// A run that is PENDING or RUNNING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its status when last seen.
    pub status: Status,
    /// What started it.
    pub origin: Origin,
    /// When it was created (PENDING) or started (RUNNING): milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Whether it had finished before.
    pub(super) replay: bool,
}

/// How long after its last listing a workflow's series are still published.
const UNLISTED_FOR_MS: i64 = 3_600_000;

/// The complete list of an app's workflows.
pub(super) struct List<'a> {
    pub(super) workflows: &'a [Workflow],
    pub(super) read_at: ReadAt,
    /// Widens what counts as news when this is the app's first list; `None`: everything does.
    pub(super) lookback_ms: Option<i64>,
    pub(super) bounds: &'a Bounds,
    pub(super) gauges: CountGauges,
    /// The version of the state in which new series are published.
    pub(super) first_published: u64,
}

/// The times of an answer.
#[derive(Clone, Copy, Debug)]
pub struct ReadAt {
    /// By the API's clock: what runs' timestamps are compared with.
    pub api_ms: i64,
    /// By our own clock: what is published as a timestamp.
    pub local_ms: i64,
}

impl WorkflowRecord {
    /// Of a workflow of which nothing but this is known.
    pub(super) fn new(listed: Listed, news_since: NewsSince) -> Self {
        Self {
            listed,
            listed_ms: i64::MIN,
            followed: false,
            news_since,
            first_reading: true,
            closed_readings: 0,
            reading_begun: false,
            polled_ms: None,
            last_run_ms: BTreeMap::new(),
            failures: FailureStreak::default(),
        }
    }
}

impl From<&Workflow> for Listed {
    fn from(workflow: &Workflow) -> Self {
        Self {
            name: workflow.name.clone(),
            app: workflow.app.clone(),
            key: workflow.key.clone(),
            version: workflow.version.clone(),
            enabled: workflow.enabled,
            tests: workflow.tests.clone(),
        }
    }
}

impl WorkflowState {
    /// The name to show; an empty one is replaced by the id.
    pub fn name<'a>(&'a self, id: &'a WorkflowId) -> &'a str {
        let name = self.record.listed.name.trim();
        if name.is_empty() { id.as_str() } else { name }
    }

    /// Its series of one metric.
    pub fn series_of(&self, metric: Metric) -> impl Iterator<Item = (&SeriesKey, &Series)> {
        let first = SeriesKey { metric, labels: Arc::default() };
        self.series.range(first..).take_while(move |(key, _)| key.metric == metric)
    }

    /// Whether a run of it was ever counted.
    pub(super) fn has_counted(&self) -> bool {
        self.series_of(Metric::Runs).any(|(_, series)| series.value.amount() > 0.0)
    }

    /// Whether all of its runs are news, however old.
    pub fn all_is_news(&self) -> bool {
        self.record.news_since == NewsSince::Beginning
    }

    /// Makes every series exist that can be foreseen, at 0, if there is room. Returns the new ones.
    fn init_zero_series(&mut self, list: &List<'_>, budget: &mut SeriesBudget) -> Vec<SeriesKey> {
        let mut foreseen = Vec::new();
        for origin in &Origin::FORESEEN {
            foreseen.push(SeriesKey::new(Metric::RunsSubmitted, &[origin.as_str()]));
            for status in &Status::FINISHED {
                foreseen.push(SeriesKey::new(Metric::Runs, &[status.as_str(), origin.as_str()]));
            }
        }
        foreseen.retain(|key| !self.series.contains_key(key));
        if self.is_overflowed() && !budget.take_all((list.gauges)(self) + foreseen.len()) {
            return Vec::new();
        }
        for key in &foreseen {
            let zero = list.bounds.zero(key.metric);
            let zero = Series::zero(zero, list.first_published, list.read_at.local_ms);
            self.series.insert(key.clone(), zero);
        }
        foreseen
    }
}

impl AppState {
    /// How far a workflow is behind the time when it was to be read, in milliseconds; 0 if it is no
    /// longer listed, since there is nothing to read.
    pub fn lag_ms(&self, id: &WorkflowId, workflow: &WorkflowState, now_ms: i64) -> i64 {
        let due_ms = self.due.get(id).copied().filter(|_| workflow.listed);
        let unread = |due_ms: &i64| workflow.record.polled_ms.is_none_or(|ms| ms < *due_ms);
        due_ms.filter(unread).map_or(0, |due_ms| (now_ms - due_ms).max(0))
    }

    /// The workflows whose series are published: the filters let them through, and they were
    /// listed by the last list that could be read, or within the hour before it.
    pub fn published(&self) -> impl Iterator<Item = (&WorkflowId, &Arc<WorkflowState>)> {
        let listed_ms = self.record.listed_ms.unwrap_or(i64::MIN);
        self.workflows.iter().filter_map(move |(id, workflow)| {
            let record = &workflow.record;
            let kept = listed_ms.saturating_sub(record.listed_ms) <= UNLISTED_FOR_MS;
            (record.followed && kept).then_some((id, workflow))
        })
    }

    /// Takes in the complete list of workflows. Returns the ids of the workflows that changed so
    /// that they have to be written, each with its new series.
    pub(super) fn list(
        &mut self,
        list: &List<'_>,
        admits: impl Fn(&WorkflowId, &str) -> bool,
        mut new_number: impl FnMut() -> i64,
        budget: &mut SeriesBudget,
    ) -> Vec<(WorkflowId, Vec<SeriesKey>)> {
        let read_at = list.read_at;
        let cold_start = self.record.cold_start_ms.is_none();
        let cold_start_ms = *self.record.cold_start_ms.get_or_insert(read_at.api_ms);
        self.record.listed_ms = Some(read_at.local_ms);
        let mut changed = Vec::new();
        let there = list.workflows.iter().filter(|workflow| !workflow.deleted);
        // Pages overlap; what was listed twice is as it was listed last.
        let there: BTreeMap<_, _> = there.map(|workflow| (&workflow.id, workflow)).collect();
        for (_, gone) in self.workflows.iter_mut().filter(|(id, _)| !there.contains_key(id)) {
            Arc::make_mut(gone).listed = false;
        }
        for workflow in there.into_values() {
            let followed = admits(&workflow.id, &workflow.name);
            let known = self.workflows.get(&workflow.id);
            let news_since = match known {
                _ if cold_start => match list.lookback_ms {
                    Some(lookback) => NewsSince::About(cold_start_ms.saturating_sub(lookback)),
                    None => NewsSince::Beginning,
                },
                None if workflow
                    .created_at
                    .is_none_or(|at| at.latest() >= cold_start_ms.saturating_sub(999)) =>
                {
                    NewsSince::Beginning
                }
                _ => NewsSince::About(read_at.api_ms),
            };
            let mut state = known.map_or_else(
                || WorkflowState::new(new_number(), workflow, news_since),
                |known| WorkflowState::clone(known),
            );
            let newly_followed = followed && !state.record.followed;
            let unlisted_ms = read_at.local_ms.saturating_sub(state.record.listed_ms);
            if newly_followed
                || state.record.listed.name != workflow.name
                || unlisted_ms > UNLISTED_FOR_MS
            {
                state.show_bases_again(list.first_published);
            }
            let before = (!newly_followed && known.is_some()).then(|| state.record.clone());
            if newly_followed {
                state.record.news_since = news_since;
                state.record.first_reading = true;
            }
            state.listed = true;
            state.record.followed = followed;
            state.record.listed = workflow.into();
            state.record.listed_ms = read_at.local_ms;
            let mut new_series = Vec::new();
            if followed {
                new_series = state.init_zero_series(list, budget);
            }
            // That it was listed again is no news worth a write while it may be published anyway.
            let worth_writing = before.is_none_or(|before| {
                before.listed != state.record.listed
                    || before.followed != followed
                    || read_at.local_ms.saturating_sub(state.written_listed_ms)
                        > UNLISTED_FOR_MS / 2
            });
            if worth_writing {
                state.written_listed_ms = read_at.local_ms;
            }
            if worth_writing || !new_series.is_empty() {
                changed.push((workflow.id.clone(), new_series));
            }
            self.workflows.insert(workflow.id.clone(), Arc::new(state));
        }
        changed
    }
}

impl WorkflowState {
    /// The reading of the list of runs has reached the known region, or the list's end.
    pub(super) fn close_reading(&mut self) {
        let record = &mut self.record;
        if std::mem::take(&mut record.reading_begun) {
            record.closed_readings += 1;
        }
        record.first_reading = false;
    }

    /// A workflow of which nothing but this is known.
    pub(super) fn of(number: i64, record: WorkflowRecord) -> Self {
        Self {
            number,
            written_listed_ms: record.listed_ms,
            record,
            series: CowArc::default(),
            open: BTreeMap::new(),
            held: Pending::new(),
            listed: true,
        }
    }

    fn new(number: i64, workflow: &Workflow, news_since: NewsSince) -> Self {
        Self::of(number, WorkflowRecord::new(workflow.into(), news_since))
    }
}
