//! The way of a run through the ledger: what it is (`identity`), what it adds (`increments`),
//! whether that has room (`budget`), when it is shown (`hold`). Pure.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{
    budget::{GROUP, SeriesBudget},
    changes::{Changes, Rows, WorkflowKey},
    exemplar::Exemplar,
    failures::{FailureStreak, note_failed},
    hold::first_published,
    identity::{Attempt, Identifier, Identity, Novelty, RunPhase, RunRecord},
    increments::{self, Increment},
    run_log::FinishedRun,
    series::{Bounds, Series},
    state::{AppRecord, WorkflowState},
};
use crate::{
    config::LoggedRuns,
    model::{Anomaly, AppId, Phase, ReadAt, Run, RunId, Status, Timestamp, WorkflowId},
};

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
    /// is history there says nothing about the latest outcomes.
    pub old_end: bool,
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
    /// The list need not be read: it was enough to ask for these runs by their ids.
    WithoutList,
}

/// What runs that were recorded came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whether the reading of the list ends with them.
    pub closed: bool,
    /// Whether one of them, or a replay, was met for the first time. The end of a run that was
    /// followed is nothing new in this sense.
    pub news: bool,
}

/// By what observed runs are counted.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) bounds: &'a Bounds,
    /// Whether what is added is held until its base has been scraped.
    pub(super) hold: bool,
    /// Which of them are to be logged.
    pub(super) log_runs: LoggedRuns,
}

/// Maximum number of outcomes of which it is remembered when a run last ended so; this version
/// knows four.
const MAX_OUTCOMES: usize = 32;

/// Observes runs of one workflow, read at one moment.
struct Observer<'a> {
    place: WorkflowKey,
    workflow: &'a mut WorkflowState,
    overflow: &'a mut Arc<WorkflowState>,
    budget: &'a mut SeriesBudget,
    rows: &'a mut Rows,
    anomalies: &'a mut Vec<Anomaly>,
    detection_delays: &'a mut Vec<f64>,
    finished: &'a mut Vec<FinishedRun>,
    rules: Rules<'a>,
    read_at: ReadAt,
    app: AppRecord,
    /// The version of the state in which new series are published.
    version: u64,
}

/// Records runs; `known` is what was remembered of them. `None` if there is no such workflow.
pub(super) fn record_runs(
    changes: &mut Changes,
    rules: Rules<'_>,
    (app, id): (&AppId, &WorkflowId),
    read: &RunsRead<'_>,
    known: &HashMap<RunId, RunRecord>,
) -> Option<Recorded> {
    let mut observer = Observer::new(changes, rules, (app, id), read.read_at)?;
    let before = observer.workflow.record.clone();
    let proof = &read.runs[older_half(read.runs.len(), read.newest_first)];
    let proof: BTreeSet<_> = proof.iter().map(|run| &run.id).collect();
    // A page on which nothing could be read proves nothing.
    let (mut settled, mut met, mut news) = (!proof.is_empty(), !proof.is_empty(), false);
    for run in in_order_of_ending(read) {
        let again = observer.rows.runs.get(&(observer.workflow.number, run.id.clone()));
        let record = again.or_else(|| known.get(&run.id)).cloned();
        let identity = observer.observe(run, record.as_ref());
        news |= identity.news;
        if proof.contains(&run.id) {
            settled &= identity.novelty == Novelty::Settled;
            met &= identity.novelty != Novelty::New;
        }
    }
    let Observer { workflow, rows, place, .. } = observer;
    if read.old_end && workflow.record.first_reading && !workflow.has_counted() {
        workflow.record.failures = FailureStreak::default();
    }
    let closed = match read.stop_when {
        StopWhen::Never | StopWhen::WithoutList => false,
        StopWhen::IfSettled => settled,
        StopWhen::IfKnown => met,
        StopWhen::Always => true,
    };
    if closed {
        workflow.close_reading();
    }
    if workflow.record != before || !rows.runs.is_empty() {
        rows.workflows.insert(place);
    }
    if closed || read.stop_when == StopWhen::WithoutList {
        workflow.record.polled_ms = Some(read.read_at.local_ms);
    }
    Some(Recorded { closed, news })
}

/// The API no longer knows these runs: they leave the gauges.
pub(super) fn record_vanished(
    changes: &mut Changes,
    (app, id): (&AppId, &WorkflowId),
    known: HashMap<RunId, RunRecord>,
) {
    let Changes { state, rows, anomalies, .. } = changes;
    let workflow = state.apps.get_mut(app).and_then(|app| app.workflows.get_mut(id));
    let Some(workflow) = workflow.map(Arc::make_mut) else { return };
    for (run, record) in known {
        if workflow.open.remove(&run).is_some() {
            let record = RunRecord { phase: RunPhase::Vanished, ..record };
            rows.runs.insert((workflow.number, run), record);
            rows.workflows.insert((app.clone(), id.clone()));
            anomalies.push(Anomaly::VanishedRun);
        }
    }
}

impl<'a> Observer<'a> {
    fn new(
        changes: &'a mut Changes,
        rules: Rules<'a>,
        (app, id): (&AppId, &WorkflowId),
        read_at: ReadAt,
    ) -> Option<Self> {
        let Changes {
            state, overflow, budget, rows, anomalies, detection_delays, finished, ..
        } = changes;
        let version = state.version + 1;
        let app_state = state.apps.get_mut(app)?;
        Some(Self {
            place: (app.clone(), id.clone()),
            app: app_state.record.clone(),
            workflow: Arc::make_mut(app_state.workflows.get_mut(id)?),
            overflow,
            budget,
            rows,
            anomalies,
            detection_delays,
            finished,
            rules,
            read_at,
            version,
        })
    }

    /// Records one run; `record` is what was remembered of it.
    fn observe(&mut self, run: &Run, record: Option<&RunRecord>) -> Identity {
        let phase = run.phase();
        let workflow = &self.workflow.record;
        let identifier = Identifier {
            workflow,
            pruned_before_ms: self.app.pruned_before_ms.unwrap_or(i64::MIN),
            cold_start_ms: self.app.cold_start_ms.unwrap_or(i64::MIN),
            now: self.read_at,
        };
        let identity = identifier.identify(run, phase, record);
        if phase == Phase::Finished {
            self.set_last_run(run);
            self.set_last_failed(run, identity.outcome);
        } else if record.is_none() {
            self.report_unknown_words(run);
        }
        if identity.outcome {
            self.set_failures(run);
        }
        if let Some(version) = self.workflow.record.versions.met(run.version) {
            let ended = self.workflow.end_version(&version).into_iter();
            self.rows.series.extend(ended.map(|key| (self.place.clone(), key)));
        }
        let mut increments = Vec::new();
        increments.extend(identity.submission.then(|| increments::of_submission(run)));
        if let Some(Attempt { replay }) = identity.attempt {
            let version = self.workflow.record.versions.label(run.version);
            let (of_attempt, anomalies) = increments::of_attempt(run, replay, &version);
            increments.extend(of_attempt);
            self.report_unknown_words(run);
            self.anomalies.extend(anomalies);
            let name = self.workflow.name(&self.place.1);
            let logged = FinishedRun::of(run, &self.place, name, self.rules.log_runs);
            self.finished.extend(logged);
            if let Some(ended) = run.ended_at.and_then(Timestamp::instant) {
                let delay = (self.read_at.api_ms - ended) as f64 / 1000.0;
                self.detection_delays.push(delay.max(0.0));
            }
        }
        self.add(increments, run);
        if let Some(record) = &identity.record {
            self.remember(&run.id, record);
        }
        identity
    }

    /// Adds what the run moves, here and in the overflow group, so that all of it is shown together.
    fn add(&mut self, increments: Vec<Increment>, run: &Run) {
        if increments.is_empty() {
            return;
        }
        let (mut own, mut overflowed) = (Vec::new(), Vec::new());
        for (key, amount) in increments {
            let zero = || {
                let value = self.rules.bounds.zero(key.metric);
                Series::zero(value, self.version, self.read_at.local_ms)
            };
            let width = self.rules.bounds.width(key.metric);
            let has_room = self.workflow.series.contains_key(&key)
                || (!self.workflow.is_overflowed() && self.budget.take(width));
            if has_room {
                self.workflow.series_mut().entry(key.clone()).or_insert_with(zero);
                self.rows.series.insert((self.place.clone(), key.clone()));
                own.push((key, amount));
            } else {
                let key = key.overflow();
                let overflow = Arc::make_mut(self.overflow);
                overflow.series_mut().entry(key.clone()).or_insert_with(zero);
                self.rows.workflows.insert(GROUP.clone());
                self.rows.series.insert((GROUP.clone(), key.clone()));
                overflowed.push((key, amount));
            }
        }
        let exemplar = Exemplar::of(run);
        let held_until = first_published(&self.workflow.series, &own)
            .max(first_published(&self.overflow.series, &overflowed));
        let held_until = self.rules.hold.then_some(held_until);
        self.workflow.add(own, exemplar.as_ref(), held_until);
        if !overflowed.is_empty() {
            Arc::make_mut(self.overflow).add(overflowed, exemplar.as_ref(), held_until);
        }
    }

    fn remember(&mut self, run: &RunId, record: &RunRecord) {
        let workflow = &mut *self.workflow;
        match &record.phase {
            RunPhase::Open(open) => drop(workflow.open.insert(run.clone(), open.clone())),
            RunPhase::Finished | RunPhase::Vanished => drop(workflow.open.remove(run)),
        }
        workflow.record.reading_begun |= record.reading > workflow.record.closed_readings;
        self.rows.runs.insert((workflow.number, run.clone()), record.clone());
    }

    /// The latest end of a run with this outcome: history counts, and repetition does no harm.
    fn set_last_run(&mut self, run: &Run) {
        let Some(ended) = run.ended_at else { return };
        let latest = &mut self.workflow.record.last_run_ms;
        // An API that invents statuses must not create series without end.
        let is_full = latest.len() >= MAX_OUTCOMES;
        match latest.get_mut(&run.status) {
            Some(ms) => *ms = (*ms).max(ended.earliest()),
            None if is_full => {}
            None => drop(latest.insert(run.status.clone(), ended.earliest())),
        }
    }

    /// Like the latest end, but also where only other timestamps say when a run ended; without any, it
    /// ended when it was first met.
    fn set_last_failed(&mut self, run: &Run, first_met: bool) {
        if run.status == Status::Failed {
            let ended_ms = known_finish_ms(run).or(first_met.then_some(self.read_at.api_ms));
            if let Some(ended_ms) = ended_ms {
                note_failed(&mut self.workflow.record.last_failed, run, ended_ms);
            }
        }
    }

    fn set_failures(&mut self, run: &Run) {
        let ended_ms = finish_ms(run, self.read_at);
        match run.status {
            Status::Failed => self.workflow.record.failures.failed(ended_ms, &run.id),
            Status::Completed => self.workflow.record.failures.completed(ended_ms),
            _ => {}
        }
    }

    fn report_unknown_words(&mut self, run: &Run) {
        if run.status.is_unknown() {
            self.anomalies.push(Anomaly::UnknownStatus);
        }
        if run.origin.is_unknown() {
            self.anomalies.push(Anomaly::UnknownOrigin);
        }
    }
}

/// When a run ended, as precisely as its timestamps state it; to order outcomes by.
fn finish_ms(run: &Run, read_at: ReadAt) -> i64 {
    known_finish_ms(run).unwrap_or(read_at.api_ms)
}

fn known_finish_ms(run: &Run) -> Option<i64> {
    let exact = |at: Option<Timestamp>| at.and_then(Timestamp::instant);
    exact(run.ended_at)
        .or_else(|| exact(run.updated_at))
        .or_else(|| run.ended_at.or(run.started_at).map(Timestamp::earliest))
}

/// Where the older half of a page stands. What is known there proves that what lies behind is known
/// too, as a page of half the size would.
pub fn older_half(runs: usize, newest_first: bool) -> Range<usize> {
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
