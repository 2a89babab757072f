use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    budget::{GROUP, SeriesBudget},
    identity::RunRecord,
    run_log::FinishedRun,
    series::SeriesKey,
    state::{State, WorkflowState},
    store::Batch,
};
use crate::model::{Anomaly, AppId, RunId, WorkflowId};

/// The state to come, and what of it is to be written first.
pub(super) struct Changes {
    pub(super) state: State,
    /// The group that counts what has no series of its own.
    pub(super) overflow: Arc<WorkflowState>,
    /// Room for more series.
    pub(super) budget: SeriesBudget,
    /// The highest number that a workflow has in the database.
    pub(super) highest_number: i64,
    pub(super) rows: Rows,
    pub(super) anomalies: Vec<Anomaly>,
    /// Seconds from the end of runs until they were counted.
    pub(super) detection_delays: Vec<f64>,
    /// To be logged.
    pub(super) finished: Vec<FinishedRun>,
}

/// A workflow of an app.
pub(super) type WorkflowKey = (AppId, WorkflowId);

/// The rows that are to be written, in one transaction.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) apps: BTreeSet<AppId>,
    pub(super) workflows: BTreeSet<WorkflowKey>,
    pub(super) series: BTreeSet<(WorkflowKey, SeriesKey)>,
    /// By the number of their workflow.
    pub(super) runs: BTreeMap<(i64, RunId), RunRecord>,
    /// Forgets the runs of an app that are not followed and were created before.
    pub(super) prune: Option<(AppId, i64)>,
}

impl Changes {
    /// What is to be written.
    pub(super) fn batch(&self) -> Batch<'_> {
        let Rows { apps, workflows, series, runs, prune } = &self.rows;
        let workflow = |(app, id): &WorkflowKey| &*self.state.apps[app].workflows[id];
        Batch {
            apps: apps.iter().map(|app| (app, &self.state.apps[app].record)).collect(),
            workflows: workflows.iter().map(|it| (&it.0, &it.1, workflow(it))).collect(),
            series: series
                .iter()
                .map(|(place, key)| (workflow(place).number, key, workflow(place).series.get(key)))
                .collect(),
            runs: runs.iter().map(|((number, run), record)| (*number, run, record)).collect(),
            prune: prune.as_ref().map(|(app, before_ms)| (app, *before_ms)),
        }
    }

    /// Shows what was held for versions up to the confirmed one; not of workflows that are not
    /// published, whose base nobody has scraped.
    pub(super) fn release(&mut self, confirmed: u64) {
        for (app, app_state) in &mut self.state.apps {
            let releasing =
                app_state.published().filter(|(_, workflow)| workflow.pending.releases(confirmed));
            let releasing: Vec<_> = releasing.map(|(id, _)| id.clone()).collect();
            for id in releasing {
                let Some(workflow) = app_state.workflows.get_mut(&id) else { continue };
                let changed = Arc::make_mut(workflow).release(confirmed).into_iter();
                let place = (app.clone(), id);
                self.rows.series.extend(changed.map(|key| (place.clone(), key)));
            }
        }
    }

    /// The group takes its place among the workflows, if something was counted in it.
    pub(super) fn place_overflow(&mut self) {
        if self.rows.workflows.contains(&*GROUP) {
            let (app, id) = GROUP.clone();
            self.highest_number = self.highest_number.max(self.overflow.number);
            let workflows = &mut self.state.apps.entry(app).or_default().workflows;
            workflows.insert(id, Arc::clone(&self.overflow));
        }
    }
}
