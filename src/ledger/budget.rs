//! How many series there may be, and where what has no place of its own is counted. Pure.
//!
//! An exposition that grows without bound is an outage of the Prometheus server that scrapes it. So
//! past the budget a new workflow gets no series, and neither does a new step or outcome of a known
//! one: their runs are counted in one group, in which everything that names them is `_other`. What
//! has a place keeps it, and the totals over all workflows stay right.

use std::sync::{Arc, LazyLock};

use super::{
    metric::OTHER,
    series::Bounds,
    state::{Listed, State, WorkflowRecord, WorkflowState},
};
use crate::model::{AppId, WorkflowId};

/// How many series are reserved for the gauges of a workflow.
pub type CountGauges = fn(&WorkflowState) -> usize;

/// How many more series there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SeriesBudget {
    left: usize,
}

impl SeriesBudget {
    /// What the published workflows leave of `max_series`.
    pub(super) fn left_by(
        state: &State,
        bounds: &Bounds,
        gauges: CountGauges,
        max_series: usize,
    ) -> Self {
        let taken =
            state.published().filter(|workflow| !workflow.is_overflowed()).map(|workflow| {
                let widths = workflow.series.keys().map(|key| bounds.width(key.metric));
                gauges(workflow) + widths.sum::<usize>()
            });
        Self { left: max_series.saturating_sub(taken.sum()) }
    }

    /// Reserves room for this many more series. Returns whether there was room.
    pub(super) fn take(&mut self, series: usize) -> bool {
        let left = self.left.checked_sub(series);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// The group's app and workflow. No app of the API's is called so.
pub(super) static GROUP: LazyLock<(AppId, WorkflowId)> = LazyLock::new(|| {
    AppId::new(OTHER).zip(WorkflowId::new(OTHER)).expect("it is printable and short")
});

/// The group as it is; a new one gets this number in the database.
pub(super) fn overflow_group(state: &State, new_number: i64) -> Arc<WorkflowState> {
    let (app, id) = &*GROUP;
    let group = state.apps.get(app).and_then(|app| app.workflows.get(id));
    group.map_or_else(|| Arc::new(new_group(new_number)), Arc::clone)
}

fn new_group(number: i64) -> WorkflowState {
    let listed = Listed { name: OTHER.into(), ..Listed::default() };
    let record = WorkflowRecord::default();
    let record = WorkflowRecord { listed, followed: true, first_reading: false, ..record };
    WorkflowState::of(number, record)
}
