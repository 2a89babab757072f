//! How many series there may be, and where what has no place of its own is counted. Pure.
//!
//! An exposition that grows without bound is an outage of the Prometheus server that scrapes it. So
//! past the budget a new workflow gets no series, and neither does a new step or outcome of a known
//! one: their runs are counted in one group, in which everything that names them is `_other`. What
//! has a place keeps it, and the totals over all workflows stay right.

use std::sync::LazyLock;

use super::{
    metric::{Metric, OTHER},
    series::Bounds,
    state::{Listed, NewsSince, State, WorkflowRecord, WorkflowState},
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
    /// What the published workflows leave of so many series.
    pub(super) fn left_by(
        state: &State,
        bounds: &Bounds,
        gauges: CountGauges,
        most: usize,
    ) -> Self {
        let published = state.apps.values().flat_map(super::AppState::published);
        let taken =
            published.filter(|(_, workflow)| !workflow.is_overflowed()).map(|(_, workflow)| {
                gauges(workflow)
                    + workflow.series.keys().map(|key| bounds.width(key.metric)).sum::<usize>()
            });
        Self { left: most.saturating_sub(taken.sum()) }
    }

    /// Takes the place of one more series, if there is one.
    pub(super) fn take(&mut self, metric: Metric, bounds: &Bounds) -> bool {
        self.take_all(bounds.width(metric))
    }

    /// Takes the place of so many more series, if there is one.
    pub(super) fn take_all(&mut self, series: usize) -> bool {
        let left = self.left.checked_sub(series);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// The group's app and workflow. No app of the API's is called so.
pub(super) static GROUP: LazyLock<(AppId, WorkflowId)> = LazyLock::new(|| {
    AppId::new(OTHER).zip(WorkflowId::new(OTHER)).expect("it is printable and short")
});

impl State {
    /// The group as it is, to be changed; a new one gets this number in the database.
    pub(super) fn group(&self, new_number: i64) -> WorkflowState {
        let (app, id) = &*GROUP;
        let group = self.apps.get(app).and_then(|app| app.workflows.get(id));
        group.map_or_else(|| WorkflowState::group(new_number), |group| WorkflowState::clone(group))
    }

    /// How many followed workflows have no series of their own.
    pub(super) fn overflowed(&self) -> usize {
        let published = self.apps.values().flat_map(super::AppState::published);
        published.filter(|(_, workflow)| workflow.is_overflowed()).count()
    }
}

impl WorkflowState {
    /// Whether there was no room for its series, so that it is counted in the group.
    pub fn is_overflowed(&self) -> bool {
        self.series.is_empty()
    }

    fn group(number: i64) -> Self {
        let listed = Listed {
            name: OTHER.into(),
            app: String::new(),
            key: String::new(),
            version: None,
            enabled: true,
            tests: None,
        };
        let record = WorkflowRecord::new(listed, NewsSince::Beginning);
        let record = WorkflowRecord { followed: true, first_reading: false, ..record };
        Self::of(number, record)
    }
}
