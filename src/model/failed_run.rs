use serde::{Deserialize, Serialize};

use super::{Origin, Run, RunFailure, RunId, RunVersion, Timestamp};

/// A run that FAILED, for people who look for the cause. Milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Its id.
    pub id: RunId,
    /// When it ended.
    pub ended_ms: i64,
    /// The last millisecond that its start can mean, or its end where the start is unknown.
    pub started_ms: Option<i64>,
    /// What started it.
    pub origin: Origin,
    /// The version of the workflow that ran.
    #[serde(default)]
    pub version: RunVersion,
    /// Why it FAILED.
    #[serde(default = "RunFailure::unknown")]
    pub failure: RunFailure,
}

impl FailedRun {
    /// What there is to remember of a run that FAILED and ended then.
    pub fn of(run: &Run, ended_ms: i64) -> Self {
        Self {
            id: run.id.clone(),
            ended_ms,
            started_ms: run.started_at.or(run.ended_at).map(Timestamp::latest),
            origin: run.origin.clone(),
            version: run.version,
            failure: run.failure.clone().unwrap_or_else(RunFailure::unknown),
        }
    }
}
