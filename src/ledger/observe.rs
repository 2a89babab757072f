//! What an observed run means for its workflow. Pure: state and observation in, changes out.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    budget::SeriesBudget,
    exemplar::Exemplar,
    metric::Metric,
    series::{Bounds, Series, SeriesKey},
    state::{NewsSince, OpenRun, ReadAt, WorkflowRecord, WorkflowState},
};
use crate::model::{Anomaly, DAY_MS, Phase, Run, RunId, Status, StepDuration, Timestamp};

/// What the ledger remembers of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRecord {
    pub(super) phase: RunPhase,
    /// The last millisecond that the start of the attempt last seen can mean.
    pub(super) started_ms: Option<i64>,
    /// What retention goes by; `i64::MAX` if nothing tells the run's age.
    pub(super) age_ms: i64,
    /// The reading of the list that met it first, or that counted it.
    pub(super) reading: i64,
}

/// Where a remembered run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunPhase {
    /// To be counted when it ends.
    Open(OpenRun),
    /// Counted, or found finished by the first reading.
    Finished,
    /// Was open when the API forgot it. Counted if it comes back.
    Vanished,
}

/// What a run tells of the list that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Finished, and already counted, or history: what lies behind was seen.
    Settled,
    /// Met by an earlier reading, but it went on since.
    Followed,
    /// Not met by any reading that reached the known region.
    New,
}

/// What observations changed in a workflow, to be written in one transaction.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) series: BTreeSet<SeriesKey>,
    /// Room for more series, and the group that counts what has none, and what changed in it.
    pub(super) budget: SeriesBudget,
    pub(super) group: WorkflowState,
    pub(super) in_group: BTreeSet<SeriesKey>,
    pub(super) runs: BTreeMap<RunId, RunRecord>,
    pub(super) anomalies: Vec<Anomaly>,
    /// Whether something was met that didn't follow from what was known: a run, or a replay, that
    /// nobody had told of.
    pub(super) news: bool,
    /// Seconds from the end of runs until they were counted.
    pub(super) detection_delays: Vec<f64>,
}

/// Of so many outcomes it is remembered when a run last ended so; this version knows four.
const MOST_OUTCOMES: usize = 32;

/// Takes in runs of one workflow, read at one moment.
pub(super) struct Observer<'a> {
    pub(super) workflow: &'a mut WorkflowState,
    pub(super) changes: &'a mut Changes,
    pub(super) bounds: &'a Bounds,
    pub(super) read_at: ReadAt,
    /// Runs created before this are forgotten and never news.
    pub(super) pruned_before_ms: i64,
    pub(super) hold_policy: HoldPolicy,
    /// What the run being observed moves, here and in the group.
    pub(super) moved: Vec<(SeriesKey, f64)>,
    pub(super) moved_in_group: Vec<(SeriesKey, f64)>,
}

/// When what is added may be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldPolicy {
    /// The version of the state in which new series are published.
    pub(super) first_published: u64,
    /// Whether it is held until their base has been scraped.
    pub(super) hold: bool,
}

/// How something that happened relates to the moment from which on it is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    News,
    History,
    /// The timestamps don't tell.
    Unclear,
}

impl NewsSince {
    fn judge(self, earliest: i64, latest: i64) -> Age {
        match self {
            Self::Beginning => Age::News,
            Self::About(from) if earliest > from.saturating_add(999) => Age::News,
            Self::About(from) if latest < from.saturating_sub(999) => Age::History,
            Self::About(_) => Age::Unclear,
        }
    }
}

/// When a run ended, as well as its timestamps tell; to order outcomes by.
pub(super) fn finish_ms(run: &Run, read_at: ReadAt) -> i64 {
    let exact = |at: Option<Timestamp>| at.and_then(Timestamp::instant);
    exact(run.ended_at)
        .or_else(|| exact(run.updated_at))
        .or_else(|| run.ended_at.or(run.started_at).map(Timestamp::earliest))
        .unwrap_or(read_at.api_ms)
}

/// An end more than a day in the future is none: no clocks differ so much, and it would stay the latest
/// one until then.
fn without_future_end(run: &Run, read_at: ReadAt) -> Cow<'_, Run> {
    let future = |at: Timestamp| at.earliest() > read_at.api_ms.saturating_add(DAY_MS);
    if run.ended_at.is_some_and(future) {
        Cow::Owned(Run { ended_at: None, ..run.clone() })
    } else {
        Cow::Borrowed(run)
    }
}

impl Observer<'_> {
    /// Takes in one run; `record` is what was remembered of it.
    pub(super) fn observe(&mut self, run: &Run, record: Option<&RunRecord>) -> Novelty {
        let phase = run.phase();
        let run = &*without_future_end(run, self.read_at);
        let standing = match phase {
            Phase::Open => self.open(run, record),
            Phase::Finished => self.finished(run, record),
        };
        self.move_together(run);
        standing
    }

    /// Adds what the run moves, so that all of it is shown together.
    fn move_together(&mut self, run: &Run) {
        let moved = std::mem::take(&mut self.moved);
        let in_group = std::mem::take(&mut self.moved_in_group);
        if moved.is_empty() && in_group.is_empty() {
            return;
        }
        let exemplar = Exemplar::of(run);
        let group = &mut self.changes.group;
        let first_published =
            self.workflow.first_published(&moved).max(group.first_published(&in_group));
        let held = self.hold_policy.hold.then_some(first_published);
        self.workflow.add(moved, exemplar.as_ref(), held);
        group.add(in_group, exemplar.as_ref(), held);
    }

    /// The API no longer knows an open run.
    pub(super) fn vanished(&mut self, run: &RunId, record: &RunRecord) {
        if self.workflow.open.remove(run).is_some() {
            let record = RunRecord { phase: RunPhase::Vanished, ..record.clone() };
            self.changes.runs.insert(run.clone(), record);
            self.changes.anomalies.push(Anomaly::VanishedRun);
        }
    }

    fn open(&mut self, run: &Run, record: Option<&RunRecord>) -> Novelty {
        let replay = match record.map(|record| &record.phase) {
            Some(RunPhase::Open(before)) => before.replay,
            Some(RunPhase::Finished) => true,
            Some(RunPhase::Vanished) => false,
            None => self.had_finished(run),
        };
        let since = match run.status {
            Status::Pending => run.created_at,
            _ => run.started_at.or(run.created_at),
        };
        let open = OpenRun {
            status: run.status.clone(),
            origin: run.origin.clone(),
            since_ms: since.map(Timestamp::earliest),
            replay,
        };
        if record.is_none() {
            self.created(run);
        }
        let now = RunRecord {
            phase: RunPhase::Open(open.clone()),
            started_ms: latest_start(run, record),
            age_ms: age_ms(run),
            reading: self.reading(record),
        };
        if record != Some(&now) {
            if record.is_none() {
                self.unknown_words(run);
            }
            let followed = record.is_some_and(|it| matches!(it.phase, RunPhase::Open(_)));
            self.changes.news |= !followed;
            self.changes.runs.insert(run.id.clone(), now);
            self.workflow.open.insert(run.id.clone(), open);
        }
        if self.is_known(record) { Novelty::Followed } else { Novelty::New }
    }

    fn finished(&mut self, run: &Run, record: Option<&RunRecord>) -> Novelty {
        self.note_end(run);
        match record.map(|record| &record.phase) {
            Some(RunPhase::Open(before)) => {
                let replay = before.replay;
                self.count(run, record, replay);
                if self.is_known(record) { Novelty::Followed } else { Novelty::New }
            }
            Some(RunPhase::Vanished) => {
                self.changes.news = true;
                self.count(run, record, false);
                Novelty::New
            }
            Some(RunPhase::Finished) => self.finished_again(run, record),
            None => self.finished_first(run),
        }
    }

    /// A run that is known to have finished: either nothing new, or a replay that was missed while
    /// it was open. An end that appears or is corrected later is nothing new.
    fn finished_again(&mut self, run: &Run, record: Option<&RunRecord>) -> Novelty {
        let Some(before) = record else {
            return Novelty::New;
        };
        let started = run.started_at;
        let later = |at: Timestamp| before.started_ms.is_some_and(|ms| at.earliest() > ms);
        if started.is_some_and(later) {
            self.changes.news = true;
            self.count(run, record, true);
            return Novelty::New;
        }
        if before.started_ms.is_none() && started.is_some() {
            let started_ms = latest_start(run, record);
            let record = RunRecord { started_ms, ..before.clone() };
            self.changes.runs.insert(run.id.clone(), record);
        }
        if self.is_known(record) { Novelty::Settled } else { Novelty::New }
    }

    /// A finished run that nothing is remembered of: news, history, or long forgotten.
    fn finished_first(&mut self, run: &Run) -> Novelty {
        let first_reading = self.workflow.record.first_reading;
        if age_ms(run) < self.pruned_before_ms {
            if first_reading {
                self.note_outcome(run);
            }
            return Novelty::Settled;
        }
        let earliest = run.ended_at.or(run.started_at).or(run.created_at);
        let latest = run.ended_at.or(run.updated_at);
        let age = self.workflow.record.news_since.judge(
            earliest.map_or(i64::MIN, Timestamp::earliest),
            latest.map_or(i64::MAX, Timestamp::latest),
        );
        let replay = self.had_finished(run);
        match age {
            // It may as well be the attempt that had finished.
            Age::Unclear if replay && run.ended_at.is_none() => Novelty::Settled,
            Age::History => {
                if first_reading {
                    self.note_outcome(run);
                }
                Novelty::Settled
            }
            Age::Unclear if first_reading => {
                self.note_outcome(run);
                self.remember_finished(run, None);
                Novelty::New
            }
            Age::News | Age::Unclear => {
                self.changes.news = true;
                self.created(run);
                self.count(run, None, replay);
                Novelty::New
            }
        }
    }

    /// Whether a run that nothing is remembered of must have finished before, so that another attempt
    /// is a replay: it was forgotten since, or had finished before the first reading, which met all
    /// runs that were open.
    fn had_finished(&self, run: &Run) -> bool {
        let WorkflowRecord { news_since, first_reading, .. } = self.workflow.record;
        let age = |at: Timestamp| news_since.judge(at.earliest(), at.latest());
        let is_history = !first_reading && run.created_at.map(age) == Some(Age::History);
        is_history || age_ms(run) < self.pruned_before_ms
    }

    /// Counts one finished attempt: everything that it moves, together.
    fn count(&mut self, run: &Run, record: Option<&RunRecord>, replay: bool) {
        let (status, origin) = (run.status.as_str(), run.origin.as_str());
        let mut odd: BTreeSet<Anomaly> = run.anomalies.iter().copied().collect();
        self.add(Metric::Runs, &[status, origin], 1.0);
        match seconds_between(run.started_at, run.ended_at) {
            Ok(seconds) => self.add(Metric::RunDuration, &[status, origin], seconds),
            Err(anomaly) => drop(odd.insert(anomaly)),
        }
        // A replay starts long after its run was created, which is no waiting.
        if !replay {
            match seconds_between(run.created_at, run.started_at) {
                Ok(seconds) => self.add(Metric::QueueDuration, &[origin], seconds),
                Err(anomaly) => drop(odd.insert(anomaly)),
            }
        }
        if let Some(credits) = run.credits {
            self.add(Metric::RunCredits, &[status, origin], credits);
        }
        for step in &run.steps {
            let (key, kind) = (step.key.as_str(), step.step_type.as_str());
            self.add(Metric::Steps, &[key, kind, step.status.as_str()], 1.0);
            match step.duration {
                StepDuration::Seconds(seconds) => {
                    self.add(Metric::StepDuration, &[key, kind, step.status.as_str()], seconds);
                }
                StepDuration::Negative => drop(odd.insert(Anomaly::NegativeDuration)),
                StepDuration::Unknown => {}
            }
            if let Some(credits) = step.credits {
                self.add(Metric::StepCredits, &[key, kind], credits);
            }
        }
        self.unknown_words(run);
        self.changes.anomalies.extend(odd);
        self.note_outcome(run);
        self.remember_finished(run, record);
        if let Some(ended) = run.ended_at.and_then(Timestamp::instant) {
            let delay = (self.read_at.api_ms - ended) as f64 / 1000.0;
            self.changes.detection_delays.push(delay.max(0.0));
        }
    }

    /// Counts a run's creation, which is asked for once per run id.
    fn created(&mut self, run: &Run) {
        let Some(created) = run.created_at else {
            return;
        };
        if created.latest() < self.pruned_before_ms {
            return;
        }
        let record = &self.workflow.record;
        let news = match record.news_since.judge(created.earliest(), created.latest()) {
            Age::News => true,
            Age::Unclear => !record.first_reading,
            Age::History => false,
        };
        if news {
            self.add(Metric::RunsSubmitted, &[run.origin.as_str()], 1.0);
        }
    }

    fn add(&mut self, metric: Metric, labels: &[&str], amount: f64) {
        let key = SeriesKey::new(metric, labels);
        let zero = || {
            Series::zero(
                self.bounds.zero(metric),
                self.hold_policy.first_published,
                self.read_at.local_ms,
            )
        };
        let Changes { series, budget, group, in_group, .. } = &mut *self.changes;
        let is_there = self.workflow.series.contains_key(&key);
        if is_there || (!self.workflow.is_overflowed() && budget.take(metric, self.bounds)) {
            self.workflow.series.entry(key.clone()).or_insert_with(zero);
            series.insert(key.clone());
            self.moved.push((key, amount));
        } else {
            let key = key.overflow();
            group.series.entry(key.clone()).or_insert_with(zero);
            in_group.insert(key.clone());
            self.moved_in_group.push((key, amount));
        }
    }

    /// The latest end of a run with this outcome: history counts, and telling it twice does no
    /// harm.
    fn note_end(&mut self, run: &Run) {
        let Some(ended) = run.ended_at else { return };
        let latest = &mut self.workflow.record.last_run_ms;
        // An API that makes words up must not make series without end.
        let is_full = latest.len() >= MOST_OUTCOMES;
        match latest.get_mut(&run.status) {
            Some(ms) => *ms = (*ms).max(ended.earliest()),
            None if is_full => {}
            None => drop(latest.insert(run.status.clone(), ended.earliest())),
        }
    }

    fn note_outcome(&mut self, run: &Run) {
        let ended_ms = finish_ms(run, self.read_at);
        match run.status {
            Status::Failed => self.workflow.record.failures.failed(ended_ms, &run.id),
            Status::Completed => self.workflow.record.failures.completed(ended_ms),
            _ => {}
        }
    }

    fn remember_finished(&mut self, run: &Run, record: Option<&RunRecord>) {
        self.workflow.open.remove(&run.id);
        let record = RunRecord {
            phase: RunPhase::Finished,
            started_ms: latest_start(run, record),
            age_ms: age_ms(run),
            // Also of a run that was followed: it may have moved to the young end when it ended,
            // in front of runs that the reading going on has yet to reach.
            reading: self.reading(None),
        };
        self.changes.runs.insert(run.id.clone(), record);
    }

    fn unknown_words(&mut self, run: &Run) {
        if run.status.is_unknown() {
            self.changes.anomalies.push(Anomaly::UnknownStatus);
        }
        if run.origin.is_unknown() {
            self.changes.anomalies.push(Anomaly::UnknownOrigin);
        }
    }

    /// The number of the reading that met this run first: the one going on, if it is new.
    fn reading(&mut self, record: Option<&RunRecord>) -> i64 {
        if let Some(record) = record {
            return record.reading;
        }
        self.workflow.record.reading_begun = true;
        self.workflow.record.closed_readings + 1
    }

    fn is_known(&self, record: Option<&RunRecord>) -> bool {
        record.is_some_and(|record| record.reading <= self.workflow.record.closed_readings)
    }
}

/// An attempt whose start is not told began before its end, at the latest.
fn latest_start(run: &Run, record: Option<&RunRecord>) -> Option<i64> {
    let started = run.started_at.or(run.ended_at);
    started.map(Timestamp::latest).max(record.and_then(|record| record.started_ms))
}

fn age_ms(run: &Run) -> i64 {
    let oldest = run.created_at.or(run.started_at).or(run.ended_at);
    oldest.map_or(i64::MAX, Timestamp::earliest)
}

/// Seconds between two instants; the anomaly says why there are none.
fn seconds_between(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<f64, Anomaly> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Anomaly::MissingTimestamp);
    };
    let (Some(from), Some(to)) = (from.instant(), to.instant()) else {
        return Err(Anomaly::DateOnlyTimestamp);
    };
    if to < from {
        return Err(Anomaly::NegativeDuration);
    }
    Ok((to - from) as f64 / 1000.0)
}
