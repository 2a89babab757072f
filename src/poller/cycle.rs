use super::{CycleResult, Poller, PollerStatus, ReadError};
use crate::api::ApiError;

/// How a cycle ended.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// How much of it could be read.
    pub result: CycleResult,
    /// Whether the API refused the key.
    pub refused: bool,
    /// What went wrong first.
    pub error: Option<String>,
}

/// After so many failures in a row that look like an outage, or like a key that may read nothing, the
/// rest of the cycle is left out.
pub(super) const DOWN_AFTER: u32 = 5;

/// What the readings of a cycle came to so far, or those of single runs within one of them.
#[derive(Debug, Default)]
pub(super) struct CycleStats {
    read: usize,
    failed: usize,
    failed_in_a_row: u32,
    refused: bool,
    /// Workflows whose runs the key may not read.
    forbidden: u32,
    throttled: bool,
    left_out: usize,
    error: Option<String>,
}

impl Poller {
    /// Ends the cycle that began then: tells how it went, in the metrics always, in the log when it
    /// went otherwise than the one before.
    pub(super) async fn end_cycle(&self, begun_ms: i64) {
        let mut stats = std::mem::take(&mut *self.stats());
        let whole = stats.failed == 0 && stats.left_out == 0;
        let ended = self.ledger.end_cycle(&self.settings.app_id, whole, self.clock.now_ms()).await;
        if let Err(error) = ended {
            stats.failed(&error.into(), "the end of the cycle");
        }
        let cycle = stats.sum_up(self.schedule().can_read_any());
        let seconds = (self.clock.steady_ms() - begun_ms) as f64 / 1000.0;
        self.metrics.cycle_ended(&self.settings.app_id, cycle.result, seconds);
        let before = self.status.borrow().clone();
        self.log(&stats, &cycle, before.last.as_ref(), seconds);
        if let Some(pause) = self.pause_after(&cycle) {
            self.schedule().put_off(begun_ms + pause);
        }
        self.status.send_replace(PollerStatus { cycles: before.cycles + 1, last: Some(cycle) });
    }

    fn log(&self, stats: &CycleStats, cycle: &Cycle, before: Option<&Cycle>, seconds: f64) {
        let app_id = self.settings.app_id.as_str();
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
                tracing::info!(app_id, workflows = stats.read, "Poll cycles succeed again.");
            }
            (None, None) => {
                tracing::info!(
                    app_id,
                    workflows = stats.read,
                    seconds,
                    "The first poll cycle succeeded."
                );
            }
            _ => {
                let result = cycle.result.as_str();
                tracing::debug!(app_id, result, seconds, "A poll cycle ended.");
            }
        }
    }

    /// From the start of a cycle whose key was refused to the next: soon, since somebody may be
    /// mending it, then ever more slowly. In milliseconds.
    fn pause_after(&self, cycle: &Cycle) -> Option<i64> {
        let mut memory = self.memory();
        memory.refused = if cycle.refused { memory.refused + 1 } else { 0 };
        let doublings = memory.refused.checked_sub(1)?.min(5);
        Some((1000 << doublings).min(SLOWEST_RETRY_MS))
    }
}

/// A key that the API refuses is tried again at least so often.
const SLOWEST_RETRY_MS: i64 = 30_000;

impl CycleStats {
    /// Whether to read nothing more in this cycle. `can_read_any` says whether the key was good for
    /// the runs of any workflow.
    pub(super) fn has_given_up(&self, can_read_any: bool) -> bool {
        let useless = !can_read_any && self.forbidden >= DOWN_AFTER;
        self.refused || self.throttled || useless || self.failed_in_a_row >= DOWN_AFTER
    }

    pub(super) fn read(&mut self) {
        self.read += 1;
        self.failed_in_a_row = 0;
    }

    pub(super) fn failed(&mut self, error: &ReadError, place: &str) {
        self.failed += 1;
        match error.scope() {
            FailureScope::Key => self.refused = true,
            FailureScope::Permission => self.forbidden += 1,
            FailureScope::RateLimit => self.throttled = true,
            FailureScope::Everything => self.failed_in_a_row += 1,
            FailureScope::Item => {}
        }
        self.error.get_or_insert_with(|| format!("{place}: {error}"));
    }

    /// The list of workflows could not be read. A key that may not read it is good for nothing.
    pub(super) fn list_failed(&mut self, error: &ReadError) {
        self.failed(error, "the list of workflows");
        self.refused |= error.scope() == FailureScope::Permission;
    }

    /// So many workflows aren't tried any more.
    pub(super) fn left_out(&mut self, workflows: usize) {
        self.left_out += workflows;
    }

    fn sum_up(&self, can_read_any: bool) -> Cycle {
        let result = match (self.failed + self.left_out, self.read) {
            (0, _) => CycleResult::Success,
            (_, 0) => CycleResult::Failure,
            (_, _) => CycleResult::Partial,
        };
        let refused = self.refused || !can_read_any && self.forbidden > 0;
        Cycle { result, refused, error: self.error.clone() }
    }
}

/// What a failure is put down to, and so what it tells of other things that are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureScope {
    /// The key: asking on is useless.
    Key,
    /// That the key may not read this (403). It may well be good for other things.
    Permission,
    /// That too much was asked: four times, with a pause after each.
    RateLimit,
    /// The API as a whole, or the ledger: what is asked for next may fail likewise.
    Everything,
    /// What was asked for, and nothing else.
    Item,
}

impl ReadError {
    pub(super) fn scope(&self) -> FailureScope {
        match self {
            Self::Api(ApiError::Unauthorized { code: 403, .. }) => FailureScope::Permission,
            Self::Api(error) if error.is_auth() => FailureScope::Key,
            Self::Api(ApiError::Throttled { .. }) => FailureScope::RateLimit,
            Self::Api(error) if error.is_transient() => FailureScope::Everything,
            Self::Ledger(_) => FailureScope::Everything,
            Self::Api(_) | Self::Moving | Self::Missing => FailureScope::Item,
        }
    }
}
