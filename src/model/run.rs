use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Anomaly, ErrorClasses, Label, Origin, Phase, RunId, Status, Timestamp};

/// A run as the API listed it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Unique within its workflow; a replay may use it again.
    pub id: RunId,
    /// Its status at that moment.
    pub status: Status,
    /// What started it.
    pub origin: Origin,
    /// When it was asked for.
    pub created_at: Option<Timestamp>,
    /// When its work began; later than before means that it was replayed.
    pub started_at: Option<Timestamp>,
    /// When it finished.
    pub ended_at: Option<Timestamp>,
    /// When the API last changed it.
    pub updated_at: Option<Timestamp>,
    /// What its steps have come to.
    pub steps: Vec<Step>,
    /// Credits that it used, if the API says so.
    pub credits: Option<f64>,
    /// The version of the workflow that ran.
    pub version: RunVersion,
    /// Why it FAILED; nothing if it didn't.
    pub failure: Option<RunFailure>,
    /// What decoding it found odd; reported once, when the run is counted.
    pub anomalies: Vec<Anomaly>,
}

impl Run {
    /// Whether it is open or finished.
    pub fn phase(&self) -> Phase {
        self.status.phase(self.ended_at.is_some())
    }

    /// A completed run of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn completed(id: &str) -> Self {
        Self {
            id: RunId::new(id).expect("a plain id"),
            status: Status::Completed,
            origin: Origin::Workflow,
            created_at: None,
            started_at: None,
            ended_at: None,
            updated_at: None,
            steps: Vec::new(),
            credits: None,
            version: RunVersion::Unknown,
            failure: None,
            anomalies: Vec::new(),
        }
    }
}

/// The version of a workflow that a run was of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunVersion {
    /// A deployed one.
    Number {
        /// 1 is the first.
        number: u32,
        /// When it was made, if the API says so: milliseconds since the Unix epoch.
        created_ms: Option<i64>,
    },
    /// The draft.
    Draft,
    /// The API doesn't say.
    #[default]
    Unknown,
}

/// Its number, `draft` or `unknown`.
impl fmt::Display for RunVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { number, .. } => number.fmt(f),
            Self::Draft => f.write_str("draft"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Why a run FAILED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// The key of the step that ended it; `none` if no step failed.
    pub step: Label,
    /// The type of that step, or `none`.
    pub step_type: Label,
    /// The class of its error; see [`ErrorClasses`](super::ErrorClasses).
    pub error_class: Label,
}

impl RunFailure {
    /// What is said of a run of whose failure nothing is known.
    pub fn unknown() -> Self {
        let none = ErrorClasses::none();
        Self { step: none.clone(), step_type: none.clone(), error_class: none }
    }
}

/// What one step of a run came to. A looped step is one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its key in the workflow's definition.
    pub key: Label,
    /// Its type (`model`, `code`, …), or `unknown`.
    pub step_type: Label,
    /// Its own status, which needn't be the run's.
    pub status: Status,
    /// How long it took.
    pub duration: StepDuration,
    /// Credits that it used, if the API says so.
    pub credits: Option<f64>,
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepDuration {
    /// In seconds; never negative.
    Seconds(f64),
    /// The API doesn't say, which is normal.
    Unknown,
    /// It ended before it began.
    Negative,
}
