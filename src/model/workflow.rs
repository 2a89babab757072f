use serde::{Deserialize, Serialize};

use super::{Timestamp, WorkflowId};

/// A workflow as the list of workflows has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// Its name as written by its owner; may be empty.
    pub name: String,
    /// The name of the app that it belongs to; may be empty.
    pub app: String,
    /// Its key; may be empty.
    pub key: String,
    /// The number of its published version, if there is one.
    pub version: Option<String>,
    /// Whether it is switched on; older answers don't say and mean yes.
    pub enabled: bool,
    /// Whether it was deleted.
    pub deleted: bool,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// How many runs it has had. Newer answers only; a hint, never the truth.
    pub runs_count: Option<u64>,
    /// Its tests by result, if the API says so.
    pub tests: Option<TestResults>,
}

/// How a workflow's tests stand. Every count may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestResults {
    /// Under way.
    pub running: Option<u64>,
    /// Stopped.
    pub cancelled: Option<u64>,
    /// Passing.
    pub passing: Option<u64>,
    /// Failing.
    pub failing: Option<u64>,
}
