//! The vocabulary: what Cortex lists, in the exporter's own words. Pure; no I/O, no wire formats.

mod anomaly;
mod clock;
mod error_class;
mod failed_run;
mod id;
mod label;
mod run;
mod status;
mod timestamp;
mod workflow;

pub use anomaly::Anomaly;
pub use clock::{Clock, ReadAt, SystemClock};
pub use error_class::{ERROR_CLASSES, ErrorClasses, OwnErrorClass};
pub use failed_run::FailedRun;
pub use id::{AppId, RunId, WorkflowId};
pub use label::Label;
pub use run::{Run, RunFailure, RunVersion, Step, StepDuration};
pub use status::{Origin, Phase, Status};
pub(crate) use timestamp::epoch_ms;
pub use timestamp::{DAY_MS, Timestamp};
pub use workflow::{TestResults, Workflow};
