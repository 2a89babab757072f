//! Whether what was observed of a run is new. Pure.

use super::state::{Age, NewsSince, OpenRun, WorkflowRecord};
use crate::model::{Phase, ReadAt, Run, Status, Timestamp};

/// What the ledger remembers of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Where it stands.
    pub phase: RunPhase,
    /// The last millisecond that the start of the latest attempt can mean.
    pub started_ms: Option<i64>,
    /// The last millisecond that the end of the attempt counted last can mean, or [`NO_END`].
    /// `None`: whatever ends next is another attempt, since none was counted or a later one was
    /// seen to begin.
    pub(super) ended_ms: Option<i64>,
    /// What retention goes by; `i64::MAX` if the run's age is unknown.
    pub(super) age_ms: i64,
    /// The reading of the list that met it first, or that counted it.
    pub(super) reading: i64,
}

impl RunRecord {
    /// The last millisecond that the end of the attempt counted last can mean.
    pub fn ended_ms(&self) -> Option<i64> {
        self.ended_ms.filter(|ms| *ms != NO_END)
    }
}

/// The end of an attempt that has none.
const NO_END: i64 = i64::MAX;

/// Where a remembered run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// To be counted when it ends.
    Open(OpenRun),
    /// Counted, or found finished by the first reading.
    Finished,
    /// Was open when the API forgot it. Counted if it comes back.
    Vanished,
}

/// What a run says about the list that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Finished, and already counted, or history: what lies behind was seen.
    Settled,
    /// Met by an earlier reading, but changed since.
    Followed,
    /// Not met by any reading that reached the known region.
    New,
}

/// What an observed run turns out to be.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) novelty: Novelty,
    /// Whether it didn't follow from what was known: a run, or a replay, met for the first time.
    pub(super) news: bool,
    /// Whether its submission is to be counted.
    pub(super) submission: bool,
    /// The attempt that is to be counted.
    pub(super) attempt: Option<Attempt>,
    /// Whether its outcome is one of the latest.
    pub(super) outcome: bool,
    /// What is to be remembered of it, if that changed.
    pub(super) record: Option<RunRecord>,
}

/// A finished attempt at a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Whether the run had finished before.
    pub(super) replay: bool,
}

/// Identifies runs of one workflow.
pub(super) struct Identifier<'a> {
    pub(super) workflow: &'a WorkflowRecord,
    /// Runs created before this are forgotten and never news.
    pub(super) pruned_before_ms: i64,
    /// When the app was met.
    pub(super) cold_start_ms: i64,
    /// When the runs were read.
    pub(super) now: ReadAt,
}

impl Identity {
    fn nothing_new(novelty: Novelty) -> Self {
        Self {
            novelty,
            news: false,
            submission: false,
            attempt: None,
            outcome: false,
            record: None,
        }
    }
}

impl Identifier<'_> {
    /// `record` is what was remembered of the run.
    pub(super) fn identify(&self, run: &Run, phase: Phase, record: Option<&RunRecord>) -> Identity {
        match phase {
            Phase::Open => self.open(run, record),
            Phase::Finished => self.finished(run, record),
        }
    }

    fn open(&self, run: &Run, record: Option<&RunRecord>) -> Identity {
        let replay = match record.map(|record| &record.phase) {
            Some(RunPhase::Open(before)) => before.replay,
            Some(RunPhase::Finished) => true,
            Some(RunPhase::Vanished) => record.is_some_and(|it| it.ended_ms.is_some()),
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
        let now = RunRecord {
            phase: RunPhase::Open(open),
            started_ms: latest_start(run, record),
            // An answer that is out of date may show a run that was counted as open again.
            ended_ms: record
                .filter(|record| !starts_later(run, record))
                .and_then(|record| record.ended_ms),
            age_ms: age_ms(run),
            reading: record.map_or(self.current_reading(), |record| record.reading),
        };
        let followed = record.is_some_and(|it| matches!(it.phase, RunPhase::Open(_)));
        let now = Some(now).filter(|now| record != Some(now));
        Identity {
            // Otherwise it may be an answer that is out of date.
            news: now.as_ref().is_some_and(|now| now.ended_ms.is_none()) && !followed,
            submission: record.is_none() && self.submission_is_news(run),
            record: now,
            ..Identity::nothing_new(self.novelty(record, Novelty::Followed))
        }
    }

    fn finished(&self, run: &Run, record: Option<&RunRecord>) -> Identity {
        let Some(before) = record else { return self.finished_first(run) };
        let is_new = match &before.phase {
            RunPhase::Finished => starts_later(run, before),
            RunPhase::Open(OpenRun { replay: true, .. }) if before.ended_ms.is_none() => {
                !run.ended_at.is_some_and(|at| self.is_past(at))
            }
            RunPhase::Open(_) | RunPhase::Vanished => {
                starts_later(run, before) || ends_later(run, before)
            }
        };
        if !is_new {
            return self.finished_again(run, before);
        }
        match &before.phase {
            RunPhase::Open(open) => Identity {
                news: before.ended_ms.is_some(),
                novelty: self.novelty(record, Novelty::Followed),
                ..self.count(run, record, open.replay)
            },
            RunPhase::Finished => self.count(run, record, true),
            RunPhase::Vanished => self.count(run, record, before.ended_ms.is_some()),
        }
    }

    /// The attempt that was counted, once more. Its start or end may have appeared, or been
    /// corrected.
    fn finished_again(&self, run: &Run, before: &RunRecord) -> Identity {
        let now = RunRecord {
            phase: RunPhase::Finished,
            started_ms: before.started_ms.or_else(|| latest_start(run, None)),
            ended_ms: Some(latest_end(run, before.ended_ms)),
            ..before.clone()
        };
        Identity {
            record: Some(now).filter(|now| now != before),
            // What the first reading took for the latest outcomes may have been at the old end of the
            // list, and is forgotten then; to record it twice does no harm.
            outcome: self.workflow.first_reading,
            ..Identity::nothing_new(self.novelty(Some(before), Novelty::Settled))
        }
    }

    /// A finished run that nothing is remembered of: news, history, or long forgotten.
    fn finished_first(&self, run: &Run) -> Identity {
        let first_reading = self.workflow.first_reading;
        let history =
            Identity { outcome: first_reading, ..Identity::nothing_new(Novelty::Settled) };
        if age_ms(run) < self.pruned_before_ms {
            return history;
        }
        let earliest = run.ended_at.or(run.started_at).or(run.created_at);
        let latest = run.ended_at.or(run.updated_at);
        let age = match self.age(
            earliest.map_or(i64::MIN, Timestamp::earliest),
            latest.map_or(i64::MAX, Timestamp::latest),
        ) {
            Age::News if first_reading && self.may_be_history(run) => Age::Unclear,
            age => age,
        };
        let replay = self.had_finished(run);
        match age {
            // It may as well be the attempt that had finished.
            Age::Unclear if replay && run.ended_at.is_none() => {
                Identity::nothing_new(Novelty::Settled)
            }
            Age::History => history,
            Age::Unclear if first_reading => Identity {
                novelty: Novelty::New,
                record: Some(self.finished_record(run, None)),
                ..history
            },
            Age::News | Age::Unclear => Identity {
                submission: self.submission_is_news(run),
                ..self.count(run, None, replay)
            },
        }
    }

    /// The age of something that happened between these two moments.
    fn age(&self, earliest: i64, latest: i64) -> Age {
        let WorkflowRecord { news_since, first_reading, .. } = self.workflow;
        match news_since.judge(earliest, latest) {
            Age::Unclear if *first_reading && news_since.is_before(earliest, latest, self.now) => {
                Age::News
            }
            age => age,
        }
    }

    fn count(&self, run: &Run, record: Option<&RunRecord>, replay: bool) -> Identity {
        Identity {
            news: true,
            attempt: Some(Attempt { replay }),
            outcome: true,
            record: Some(self.finished_record(run, record)),
            ..Identity::nothing_new(Novelty::New)
        }
    }

    fn finished_record(&self, run: &Run, record: Option<&RunRecord>) -> RunRecord {
        RunRecord {
            phase: RunPhase::Finished,
            started_ms: latest_start(run, record),
            ended_ms: Some(latest_end(run, None)),
            age_ms: age_ms(run),
            // Also of a run that was followed: it may have moved to the newest end when it ended,
            // in front of runs that the current reading has yet to reach.
            reading: self.current_reading(),
        }
    }

    /// Whether a run may have ended before its workflow was met, although its end is a later day:
    /// the day may be one of another time zone.
    fn may_be_history(&self, run: &Run) -> bool {
        let is_bare = |at: Timestamp| at.instant().is_none();
        let from = match self.workflow.news_since {
            NewsSince::About(from) => from,
            NewsSince::Between { api_ms, .. } => api_ms,
            NewsSince::Beginning | NewsSince::AllSince(_) => return false,
        };
        from >= self.cold_start_ms && run.ended_at.is_some_and(is_bare)
    }

    /// Whether a run that nothing is remembered of must have finished before, so that another
    /// attempt is a replay: it was forgotten since, or had finished before the first reading, which
    /// met all runs that were open.
    fn had_finished(&self, run: &Run) -> bool {
        let WorkflowRecord { news_since, first_reading, .. } = self.workflow;
        let age = |at: Timestamp| news_since.judge(at.earliest(), at.latest());
        let begun = run.created_at.or(run.started_at);
        let is_history = !first_reading && begun.map(age) == Some(Age::History);
        is_history || age_ms(run) < self.pruned_before_ms
    }

    /// Whether this was before everything that is news.
    fn is_past(&self, at: Timestamp) -> bool {
        at.latest() < self.pruned_before_ms
            || self.workflow.news_since.judge(at.earliest(), at.latest()) == Age::History
    }

    /// Whether a run's submission is news, if the run was never met before.
    fn submission_is_news(&self, run: &Run) -> bool {
        let Some(created) = run.created_at.filter(|at| at.latest() >= self.pruned_before_ms) else {
            return false;
        };
        match self.age(created.earliest(), created.latest()) {
            Age::News => true,
            Age::Unclear => !self.workflow.first_reading,
            Age::History => false,
        }
    }

    fn current_reading(&self) -> i64 {
        self.workflow.closed_readings + 1
    }

    /// What a run says that an earlier reading met, if one did.
    fn novelty(&self, record: Option<&RunRecord>, known: Novelty) -> Novelty {
        let is_known = record.is_some_and(|it| it.reading <= self.workflow.closed_readings);
        if is_known { known } else { Novelty::New }
    }
}

/// Whether this attempt began after the latest one that was seen.
fn starts_later(run: &Run, before: &RunRecord) -> bool {
    let later = |at: Timestamp| before.started_ms.is_some_and(|ms| at.earliest() > ms);
    run.started_at.is_some_and(later)
}

/// Whether this attempt ended after the one that was counted, if one was.
fn ends_later(run: &Run, before: &RunRecord) -> bool {
    let later = |ms| run.ended_at.is_some_and(|at| ms == NO_END || at.earliest() > ms);
    before.ended_ms.is_none_or(later)
}

/// The end of an attempt, which had this one when it was seen before.
fn latest_end(run: &Run, before: Option<i64>) -> i64 {
    match before.filter(|ms| *ms != NO_END) {
        Some(ms) => run.ended_at.and_then(Timestamp::instant).unwrap_or(ms).max(ms),
        None => run.ended_at.map_or(NO_END, Timestamp::latest),
    }
}

/// An attempt whose start is unknown began before its end, at the latest.
fn latest_start(run: &Run, record: Option<&RunRecord>) -> Option<i64> {
    let started = run.started_at.or(run.ended_at);
    started.map(Timestamp::latest).max(record.and_then(|record| record.started_ms))
}

fn age_ms(run: &Run) -> i64 {
    let oldest = run.created_at.or(run.started_at).or(run.ended_at);
    oldest.map_or(i64::MAX, Timestamp::earliest)
}
