//! What a list of workflows means for an app. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    budget::{CountGauges, SeriesBudget},
    changes::Changes,
    metric::{Metric, OTHER},
    series::{Bounds, Series, SeriesKey},
    state::{AppRecord, NewsSince, UNLISTED_FOR_MS, WorkflowRecord, WorkflowState},
};
use crate::{
    config::WorkflowFilter,
    model::{AppId, Label, Origin, ReadAt, Status, Workflow, WorkflowId},
};

/// The complete list of an app's workflows.
pub(super) struct WorkflowsRead<'a> {
    pub(super) app: &'a AppId,
    pub(super) workflows: &'a [Workflow],
    pub(super) filter: &'a WorkflowFilter,
    /// The workflows that other apps show.
    pub(super) elsewhere: &'a BTreeMap<WorkflowId, AppId>,
    pub(super) read_at: ReadAt,
    /// Widens what counts as news when this is the app's first list; `None`: everything does.
    pub(super) lookback: Option<Duration>,
    pub(super) retention: Option<Duration>,
    pub(super) bounds: &'a Bounds,
    pub(super) gauges: CountGauges,
}

impl WorkflowsRead<'_> {
    /// Records the list. From time to time, forgets runs older than the retention: then, because
    /// only an answer shows the API's clock.
    pub(super) fn record(&self, changes: &mut Changes) {
        let app = changes.state.apps.entry(self.app.clone()).or_default();
        let before = app.record.clone();
        let cold_start = before.cold_start_ms.is_none();
        if cold_start {
            app.record.cold_start_ms = Some(self.read_at.api_ms);
            app.record.cold_start_local_ms = Some(self.read_at.local_ms);
        }
        // Otherwise workflows that are written from now on would seem unlisted after a restart.
        let set_back = before.listed_ms.is_some_and(|ms| self.read_at.local_ms < ms);
        app.record.listed_ms = Some(self.read_at.local_ms);
        app.record.listed_api_ms = Some(self.read_at.api_ms);
        let there = self.workflows.iter().filter(|workflow| !workflow.deleted);
        // Pages overlap; what was listed twice is as it was listed last.
        let there: BTreeMap<_, _> = there.map(|workflow| (&workflow.id, workflow)).collect();
        for (_, gone) in app.workflows.iter_mut().filter(|(id, _)| !there.contains_key(id)) {
            Arc::make_mut(gone).listed = false;
        }
        for workflow in there.into_values() {
            self.record_workflow(changes, workflow, &before);
        }
        let app = changes.state.apps.entry(self.app.clone()).or_default();
        let ends = app.workflows.values().flat_map(|workflow| workflow.record.last_run_ms.values());
        let latest_end_ms = ends.copied().max();
        let prune =
            self.retention.and_then(|it| app.record.forget(it, self.read_at, latest_end_ms));
        changes.rows.prune = prune.map(|before_ms| (self.app.clone(), before_ms));
        if cold_start || set_back || prune.is_some() {
            changes.rows.apps.insert(self.app.clone());
        }
    }

    /// Records one workflow of the list. `before` is the app as the list before left it.
    fn record_workflow(&self, changes: &mut Changes, workflow: &Workflow, before: &AppRecord) {
        let version = changes.state.version + 1;
        let app = changes.state.apps.entry(self.app.clone()).or_default();
        let known = app.workflows.get(&workflow.id);
        let since = self.news_since(workflow, known.is_some(), before);
        let mut state = known.map_or_else(
            || {
                changes.highest_number += 1;
                let listed = workflow.into();
                let record = WorkflowRecord { listed, ..WorkflowRecord::default() };
                WorkflowState::of(changes.highest_number, record)
            },
            |known| WorkflowState::clone(known),
        );
        let name = Label::new(state.name(&workflow.id));
        let mut worth_writing = self.update(&mut state, workflow, since, version);
        let place = (self.app.clone(), workflow.id.clone());
        if name != Label::new(state.name(&workflow.id)) {
            state.restart_series(version, self.read_at.local_ms);
            let keys = state.series.keys().cloned();
            changes.rows.series.extend(keys.map(|key| (place.clone(), key)));
        }
        if state.record.followed {
            for key in self.init_zero_series(&mut state, version, &mut changes.budget) {
                changes.rows.series.insert((place.clone(), key));
                worth_writing = true;
            }
        }
        if worth_writing {
            changes.rows.workflows.insert(place);
        }
        app.workflows.insert(workflow.id.clone(), Arc::new(state));
    }

    /// From when on the runs of a workflow are news, if it is followed from this list on. `app` is
    /// as the list before left it.
    fn news_since(&self, workflow: &Workflow, is_known: bool, app: &AppRecord) -> NewsSince {
        let Some(lookback) = self.lookback else { return NewsSince::Beginning };
        let lookback_ms = lookback.as_millis() as i64;
        let since = |ago_ms| NewsSince::read_at(self.read_at, ago_ms);
        let Some(cold_start_ms) = app.history_ends_ms(self.read_at) else {
            return since(lookback_ms);
        };
        match workflow.created_at {
            _ if is_known => since(0),
            // It may be as young as the last list, which didn't have it.
            None => since(app.listed_api_ms.map_or(0, |ms| (self.read_at.api_ms - ms).max(0))),
            Some(at) if at.latest() >= cold_start_ms.saturating_sub(999) => {
                NewsSince::AllSince(cold_start_ms.saturating_sub(lookback_ms))
            }
            Some(_) => since(0),
        }
    }

    /// Updates a workflow as listed now. Returns whether that is worth writing.
    fn update(
        &self,
        state: &mut WorkflowState,
        workflow: &Workflow,
        news_since: NewsSince,
        version: u64,
    ) -> bool {
        let followed = self.follows(&workflow.id, &workflow.name);
        let newly_followed = followed && !state.record.followed;
        let local_ms = self.read_at.local_ms;
        let unlisted_ms = local_ms.saturating_sub(state.record.listed_ms);
        if newly_followed || unlisted_ms > UNLISTED_FOR_MS {
            state.show_bases_again(version);
        }
        let before = state.record.clone();
        if newly_followed {
            state.record.news_since = news_since;
            state.record.first_reading = true;
        }
        state.listed = true;
        state.record.followed = followed;
        state.record.listed = workflow.into();
        state.record.listed_ms = local_ms;
        // That it was listed again is not worth a write while it may be published anyway. The clock
        // may have been set back.
        let worth_writing = newly_followed
            || before.listed != state.record.listed
            || before.followed != followed
            || local_ms.abs_diff(state.written_listed_ms) > UNLISTED_FOR_MS as u64 / 2;
        if worth_writing {
            state.written_listed_ms = local_ms;
        }
        worth_writing
    }

    fn follows(&self, id: &WorkflowId, name: &str) -> bool {
        self.filter.admits(id, name) && !self.elsewhere.contains_key(id) && id.as_str() != OTHER
    }

    /// Creates every series that is known in advance, at 0, if there is room. Returns the new ones.
    fn init_zero_series(
        &self,
        workflow: &mut WorkflowState,
        version: u64,
        budget: &mut SeriesBudget,
    ) -> Vec<SeriesKey> {
        let mut foreseen = Vec::new();
        for origin in &Origin::PREDEFINED {
            foreseen.push(SeriesKey::new(Metric::RunsSubmitted, &[origin.as_str()]));
            for status in &Status::FINISHED {
                foreseen.push(SeriesKey::new(Metric::Runs, &[status.as_str(), origin.as_str()]));
            }
        }
        foreseen.retain(|key| !workflow.series.contains_key(key));
        if workflow.is_overflowed() && !budget.take((self.gauges)(workflow) + foreseen.len()) {
            return Vec::new();
        }
        let series = workflow.series_mut();
        for key in &foreseen {
            let zero = self.bounds.zero(key.metric);
            series.insert(key.clone(), Series::zero(zero, version, self.read_at.local_ms));
        }
        foreseen
    }
}
