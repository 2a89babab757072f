use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    exemplar::Exemplar,
    failures::FailureStreak,
    hold::Pending,
    increments::Increment,
    metric::Metric,
    series::{Series, SeriesKey, SeriesMap},
    versions::Versions,
};
use crate::model::{
    AppId, FailedRun, Origin, ReadAt, RunId, Status, TestResults, Workflow, WorkflowId,
};

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
#[serde(default)]
pub struct AppRecord {
    /// API time of the first complete reading of the list of workflows: what ended before is
    /// history.
    pub cold_start_ms: Option<i64>,
    /// The same by the local clock.
    pub(super) cold_start_local_ms: Option<i64>,
    /// When the list of workflows was last read completely.
    pub listed_ms: Option<i64>,
    /// The same by API time.
    pub(super) listed_api_ms: Option<i64>,
    /// When the last complete, successful poll cycle ended.
    pub succeeded_ms: Option<i64>,
    /// API time: runs created before are forgotten and never news.
    pub pruned_before_ms: Option<i64>,
    /// Whether the process that led last has ended in order, so that it shows nothing any more.
    pub(super) leader_ended: bool,
}

/// How often runs beyond the retention are forgotten.
const FORGET_EVERY_MS: i64 = 3_600_000;

impl AppRecord {
    /// What ended before this is history: the cold start by the API's clock, if that differs from
    /// the local one as it did then, or else by the one that was behind.
    pub(super) fn history_ends_ms(&self, now: ReadAt) -> Option<i64> {
        let api_ms = self.cold_start_ms?;
        let then = ReadAt::new(api_ms, self.cold_start_local_ms.unwrap_or(api_ms));
        let same = then.skew_ms().abs_diff(now.skew_ms()) <= SAME_SKEW_MS;
        Some(if same { api_ms } else { then.earliest_ms() })
    }

    /// If it is time to forget runs older than `retention`: the time before which they were
    /// created. No clock is believed beyond the latest end of a run.
    pub(super) fn forget(
        &mut self,
        retention: Duration,
        read_at: ReadAt,
        latest_end_ms: Option<i64>,
    ) -> Option<i64> {
        // By the clock that is behind: one that is ahead must not make runs forgotten that are
        // still listed.
        let now_ms = read_at.earliest_ms();
        let now_ms = match self.pruned_before_ms {
            Some(_) => now_ms.min(latest_end_ms?),
            None => now_ms,
        };
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
    pub series: Arc<SeriesMap>,
    /// Its runs that are now PENDING or RUNNING.
    pub open: BTreeMap<RunId, OpenRun>,
    /// What must not be shown yet.
    pub(super) pending: Pending,
    /// Whether the last list that could be read had it.
    pub listed: bool,
    /// What the database says of when it was last listed.
    pub(super) written_listed_ms: i64,
}

/// The part of a [`WorkflowState`] that is neither totals nor runs. Milliseconds since the Unix
/// epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    pub closed_readings: i64,
    /// Whether a reading beyond those has recorded runs.
    pub(super) reading_begun: bool,
    /// When a reading of its runs last ended well.
    pub polled_ms: Option<i64>,
    /// When the latest run with each outcome ended.
    pub last_run_ms: BTreeMap<Status, i64>,
    /// How many runs FAILED in a row.
    pub failures: FailureStreak,
    /// The run that FAILED last.
    pub last_failed: Option<FailedRun>,
    /// The newest versions that runs were of.
    pub versions: Versions,
}

/// What the list of workflows reported about one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// Its tests by result, if reported.
    pub tests: Option<TestResults>,
}

/// From when on the end of a run is news rather than history, in milliseconds; known to the second
/// only, since the API's clock is read off the `Date` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NewsSince {
    /// All of its runs are news.
    Beginning,
    /// The workflow is younger than the ledger, so that its runs are news; but for those that
    /// certainly ended before this millisecond, which it brought along.
    AllSince(i64),
    /// This millisecond, give or take a second: the estimate may lie on either side, depending on
    /// whether the local clock is behind or ahead.
    About(i64),
    /// One of these or a time between them: the two clocks disagreed.
    Between {
        /// By the API's clock.
        api_ms: i64,
        /// By the local one.
        local_ms: i64,
    },
}

/// How something that happened relates to the moment from which on it is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    News,
    History,
    /// The timestamps don't say.
    Unclear,
}

/// Two skews that differ by less are the same.
const SAME_SKEW_MS: u64 = 5_000;

impl NewsSince {
    /// `ago_ms` milliseconds before an answer.
    pub(super) fn read_at(ReadAt { api_ms, local_ms, .. }: ReadAt, ago_ms: i64) -> Self {
        let ago = |ms: i64| ms.saturating_sub(ago_ms);
        if api_ms.abs_diff(local_ms) <= 999 {
            Self::About(ago(api_ms))
        } else {
            Self::Between { api_ms: ago(api_ms), local_ms: ago(local_ms) }
        }
    }

    /// Whether something of unclear age, which the first reading found, is news nevertheless: the
    /// clocks still disagree as they did, so that the API's own may be believed, and by that it
    /// happened since, yet not in the future.
    pub(super) fn is_before(self, earliest: i64, latest: i64, now: ReadAt) -> bool {
        let Self::Between { api_ms, local_ms } = self else { return false };
        let then = ReadAt::new(api_ms, local_ms);
        then.skew_ms().abs_diff(now.skew_ms()) <= SAME_SKEW_MS
            && earliest > api_ms.saturating_add(999)
            && latest <= now.answered_ms()
    }

    /// The age of something that happened between these two moments.
    pub(super) fn judge(self, earliest: i64, latest: i64) -> Age {
        let (from, to) = match self {
            Self::Beginning => return Age::News,
            Self::AllSince(from) if latest >= from.saturating_sub(999) => return Age::News,
            Self::AllSince(from) => (from, from),
            Self::About(at) => (at, at),
            Self::Between { api_ms, local_ms } => {
                let at = ReadAt::new(api_ms, local_ms);
                (at.earliest_ms(), at.latest_ms())
            }
        };
        if latest < from.saturating_sub(999) {
            Age::History
        } else if earliest > to.saturating_add(999) {
            Age::News
        } else {
            Age::Unclear
        }
    }
}

impl State {
    /// The workflows of all apps whose series are published.
    pub fn published(&self) -> impl Iterator<Item = &Arc<WorkflowState>> {
        self.apps.values().flat_map(|app| app.published().map(|(_, workflow)| workflow))
    }

    /// How many published workflows have no series of their own.
    pub(super) fn overflowed(&self) -> usize {
        self.published().filter(|workflow| workflow.is_overflowed()).count()
    }

    /// Whether something is held that this version releases.
    pub(super) fn releases(&self, confirmed: u64) -> bool {
        self.published().any(|workflow| workflow.pending.releases(confirmed))
    }

    /// Takes over from the state before what need not survive a restart, and so may not be in the
    /// database.
    pub(super) fn keep_what_is_not_written(&mut self, before: &Self) {
        for (id, app) in &mut self.apps {
            let Some(before) = before.apps.get(id) else { continue };
            app.record.listed_ms = before.record.listed_ms;
            app.record.listed_api_ms = before.record.listed_api_ms;
            app.record.succeeded_ms = before.record.succeeded_ms;
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
pub(super) const UNLISTED_FOR_MS: i64 = 3_600_000;

impl Default for WorkflowRecord {
    fn default() -> Self {
        Self {
            listed: Listed::default(),
            listed_ms: i64::MIN,
            followed: false,
            news_since: NewsSince::Beginning,
            first_reading: true,
            closed_readings: 0,
            reading_begun: false,
            polled_ms: None,
            last_run_ms: BTreeMap::new(),
            failures: FailureStreak::default(),
            last_failed: None,
            versions: Versions::default(),
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

    /// Whether there was no room for its series, so that it is counted in the overflow group.
    pub fn is_overflowed(&self) -> bool {
        self.series.is_empty()
    }

    /// How many runs were counted that must not be shown yet.
    pub fn held_runs(&self) -> u64 {
        if self.pending.is_empty() {
            return 0;
        }
        let held = |(_, series): (_, &Series)| series.value.amount() - series.shown().amount();
        self.series_of(Metric::Runs).map(held).sum::<f64>() as u64
    }

    pub(super) fn series_mut(&mut self) -> &mut SeriesMap {
        Arc::make_mut(&mut self.series)
    }

    /// Adds what one run moves: held until that version has been scraped, or shown at once.
    pub(super) fn add(
        &mut self,
        increments: Vec<Increment>,
        run: Option<&Exemplar>,
        held_until: Option<u64>,
    ) {
        self.pending.add(Arc::make_mut(&mut self.series), increments, run, held_until);
    }

    /// Shows what was held for versions up to the confirmed one. Returns the series that changed.
    pub(super) fn release(&mut self, confirmed: u64) -> Vec<SeriesKey> {
        self.pending.release(Arc::make_mut(&mut self.series), confirmed)
    }

    /// To Prometheus, all series are new from this version of the state on: they show again what
    /// they showed last, and nothing more before that has been scraped.
    pub(super) fn show_bases_again(&mut self, version: u64) {
        for series in self.series_mut().values_mut() {
            series.first_published = version;
        }
        self.pending.hold_until(version);
    }

    /// Its series under the name that it had end; those under another one begin.
    pub(super) fn restart_series(&mut self, version: u64, start_ms: i64) {
        self.pending.restart(Arc::make_mut(&mut self.series), version, start_ms);
    }

    /// Ends its series of a version that is no longer among the newest, and what is held of them.
    /// What ran of it doesn't move to `older`, where it would read as an increase.
    pub(super) fn end_version(&mut self, version: &str) -> Vec<SeriesKey> {
        let of_version = |(key, _): &(&SeriesKey, &Series)| key.labels[0].as_str() == version;
        let ended = self.series_of(Metric::VersionRuns).filter(of_version);
        let ended: Vec<_> = ended.map(|(key, _)| key.clone()).collect();
        for key in &ended {
            self.series_mut().remove(key);
            self.pending.forget(key);
        }
        ended
    }

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
            series: Arc::default(),
            open: BTreeMap::new(),
            pending: Pending::default(),
            listed: true,
        }
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
}
