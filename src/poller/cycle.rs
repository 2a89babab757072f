//! How a cycle went. Pure.

use super::metrics::CycleResult;
use crate::{api::ApiError, ledger::LedgerError};

/// How a cycle ended.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// How much of it could be read.
    pub result: CycleResult,
    /// Whether the API rejected the key.
    pub rejected: bool,
    /// What went wrong first.
    pub error: Option<String>,
}

/// Why something couldn't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API didn't give it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The ledger couldn't record it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// New or deleted items shift the pages faster than they can be read.
    #[error("the list moved too much while it was read; it is read again in the next cycle")]
    Moving,
    /// A workflow is listed, its runs are not.
    #[error("the API lists the workflow, but has no list of its runs (404)")]
    Missing,
}

/// The number of consecutive failures that look like an outage, or like a key that may read
/// nothing, after which the rest of the cycle is left out.
pub(super) const DOWN_AFTER: u32 = 5;

/// What the readings of a cycle came to so far, or those of single runs within one of them.
#[derive(Debug, Default)]
pub(super) struct CycleStats {
    pub(super) read: usize,
    pub(super) failed: usize,
    /// Workflows that aren't tried any more.
    pub(super) left_out: usize,
    failed_in_a_row: u32,
    rejected: bool,
    /// Workflows whose runs the key may not read.
    forbidden: u32,
    throttled: bool,
    error: Option<String>,
}

impl CycleStats {
    /// Whether to read nothing more in this cycle. `can_read_any` states whether the key could read
    /// the runs of any workflow.
    pub(super) fn has_given_up(&self, can_read_any: bool) -> bool {
        let useless = !can_read_any && self.forbidden >= DOWN_AFTER;
        self.rejected || self.throttled || useless || self.failed_in_a_row >= DOWN_AFTER
    }

    pub(super) fn read(&mut self) {
        self.read += 1;
        self.failed_in_a_row = 0;
    }

    pub(super) fn failed(&mut self, error: &ReadError, place: &str) {
        self.failed += 1;
        match error.scope() {
            FailureScope::Key => self.rejected = true,
            FailureScope::Permission => self.forbidden += 1,
            FailureScope::RateLimit => self.throttled = true,
            FailureScope::Everything => self.failed_in_a_row += 1,
            FailureScope::Item => {}
        }
        self.error.get_or_insert_with(|| format!("{place}: {error}"));
    }

    /// The list of workflows could not be read. A key that may not read it is useless.
    pub(super) fn list_failed(&mut self, error: &ReadError) {
        self.failed(error, "the list of workflows");
        self.rejected |= error.scope() == FailureScope::Permission;
    }

    pub(super) fn sum_up(&self, can_read_any: bool) -> Cycle {
        let result = match (self.failed + self.left_out, self.read) {
            (0, _) => CycleResult::Success,
            (_, 0) => CycleResult::Failure,
            (_, _) => CycleResult::Partial,
        };
        let rejected = self.rejected || !can_read_any && self.forbidden > 0;
        Cycle { result, rejected, error: self.error.clone() }
    }
}

/// What else a failure affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureScope {
    /// The key is invalid: further requests are useless.
    Key,
    /// The key may not read this (403). It may be valid for other things.
    Permission,
    /// Too much was asked: four times, with a pause after each.
    RateLimit,
    /// The API as a whole, or the ledger: what is asked for next may fail likewise.
    Everything,
    /// What was asked for, and nothing else.
    Item,
}

impl ReadError {
    /// Whether the key is the cause: further requests are useless until there is another one.
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_auth())
    }

    fn scope(&self) -> FailureScope {
        match self {
            Self::Api(ApiError::Unauthorized { code: 403, .. }) => FailureScope::Permission,
            _ if self.is_auth() => FailureScope::Key,
            Self::Api(ApiError::Throttled { .. }) => FailureScope::RateLimit,
            Self::Api(error) if error.is_transient() => FailureScope::Everything,
            Self::Ledger(_) => FailureScope::Everything,
            Self::Api(_) | Self::Moving | Self::Missing => FailureScope::Item,
        }
    }
}
