//! When and what to read. Uses `api`, `config`, `ledger` and `model`.
//!
//! The pure part decides: `schedule` and `hint` what is due, `past_readings` how far to look,
//! `reading` with `pager`, `order` and `page_size` which pages to ask for, `unchanged` which of them
//! are still as they were, `cycle` how a cycle went, and `estimate` what polling costs.
//! `workflows` and `runs` read lists and record them in the ledger, `app` polls one app, `polling`
//! all of them, `lag` and `watchdog` observe that.

mod app;
mod cycle;
mod estimate;
mod hint;
mod lag;
mod metrics;
mod order;
mod page_size;
mod pager;
mod past_readings;
mod polling;
mod reader;
mod reading;
mod runs;
mod schedule;
mod unchanged;
mod watchdog;
mod workflows;

pub use app::{Poller, PollerStatus};
pub use cycle::{Cycle, ReadError};
pub use estimate::{Estimate, Sizes, estimate, shards_needed};
pub use metrics::{CycleResult, PollerMetrics};
pub use polling::Polling;
pub use reader::PollerSettings;
pub use schedule::{CycleProgress, Workload};
pub use unchanged::KnownWorkflows;
pub use watchdog::Watchdog;
pub use workflows::{WorkflowList, list_workflows};
