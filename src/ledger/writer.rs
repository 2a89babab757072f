//! What stands between the decisions and the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Result, Settings,
    budget::{CountGauges, GROUP, SeriesBudget},
    observe::{Changes, HoldPolicy, Observer, RunRecord},
    ownership,
    series::Bounds,
    state::{ReadAt, State, WorkflowState},
    store::{Batch, Store},
};
use crate::model::{AppId, RunId, WorkflowId};

/// What only one at a time may touch.
pub(super) struct Writer {
    pub(super) store: Store,
    /// What the database holds, as far as it concerns the next change.
    pub(super) state: Arc<State>,
    /// The highest number that a workflow has in the database.
    pub(super) highest_number: i64,
    pub(super) bounds: Bounds,
    pub(super) settings: Settings,
    pub(super) gauges: CountGauges,
    /// The database failed, so it isn't known what it holds, or whether it is still connected.
    pub(super) needs_reload: bool,
    /// Room for more series.
    pub(super) budget: SeriesBudget,
    /// How many workflows had none when that was told last.
    pub(super) overflowed: usize,
    /// The apps and workflows of which it was told that another app shows them.
    pub(super) shared: BTreeSet<(AppId, WorkflowId)>,
}

impl Writer {
    /// Takes in runs of a workflow of this app.
    pub(super) fn observer<'a>(
        &'a self,
        app: &AppId,
        workflow: &'a mut WorkflowState,
        changes: &'a mut Changes,
        read_at: ReadAt,
    ) -> Observer<'a> {
        Observer {
            workflow,
            changes,
            bounds: &self.bounds,
            read_at,
            pruned_before_ms: pruned_before_ms(&self.state, app),
            hold_policy: HoldPolicy {
                first_published: self.state.version + 1,
                hold: self.settings.hold,
            },
            moved: Vec::new(),
            moved_in_group: Vec::new(),
        }
    }

    /// No changes yet.
    pub(super) fn changes(&self) -> Changes {
        Changes {
            series: BTreeSet::new(),
            budget: self.budget,
            group: self.state.group(self.highest_number + 1),
            in_group: BTreeSet::new(),
            runs: BTreeMap::new(),
            anomalies: Vec::new(),
            news: false,
            detection_delays: Vec::new(),
        }
    }

    /// Measures what room there is for more series.
    pub(super) fn measure(&mut self) {
        self.budget =
            SeriesBudget::left_by(&self.state, &self.bounds, self.gauges, self.settings.max_series);
    }

    /// Takes over what changes left of the room, and the group, into the state to come.
    pub(super) fn take_room(&mut self, changes: &Changes, state: &mut State) {
        self.budget = changes.budget;
        if !changes.in_group.is_empty() {
            self.highest_number = self.highest_number.max(changes.group.number);
            let (app, id) = &*GROUP;
            let workflows = &mut state.apps.entry(app.clone()).or_default().workflows;
            workflows.insert(id.clone(), Arc::new(changes.group.clone()));
        }
    }

    /// What is remembered of these runs of a workflow.
    pub(super) async fn runs(
        &mut self,
        workflow: i64,
        ids: &[&RunId],
    ) -> Result<HashMap<RunId, RunRecord>> {
        // A connection that breaks, or is left amid an answer, is replaced before it is used again.
        self.needs_reload = true;
        let runs = self.store.runs(workflow, ids).await;
        self.needs_reload = runs.is_err();
        runs
    }

    /// Takes over what the database holds.
    pub(super) async fn load(&mut self, now_ms: i64) -> Result<()> {
        // What is loaded is published as the next version of the state.
        let version = self.state.version;
        let mut loaded = self.store.load(&self.bounds, version + 1, now_ms).await?;
        let numbers: BTreeMap<_, _> = loaded
            .state
            .apps
            .values()
            .flat_map(|app| app.workflows.values())
            .map(|workflow| (workflow.number, Arc::clone(workflow)))
            .collect();
        let restarted = loaded.restarted.iter();
        let series = restarted.map(|(number, key)| (*number, key, &numbers[number].series[key]));
        let batch = Batch { series: series.collect(), ..Batch::default() };
        if !batch.series.is_empty() {
            tracing::warn!(
                series = batch.series.len(),
                "The configured buckets are others than the ledger's: these histograms start \
                 anew at zero."
            );
            self.store.commit(&batch).await?;
        }
        self.highest_number = loaded.highest_number;
        let mut state = std::mem::take(&mut loaded.state);
        state.version = version;
        let (group, _) = &*GROUP;
        state.apps.retain(|app, _| self.settings.apps.contains(app) || app == group);
        let dropped = ownership::drop_all_but_first(&mut state, &self.settings.apps);
        let workflows = dropped.iter().map(|(app, id)| (app, id, &*state.apps[app].workflows[id]));
        let batch = Batch { workflows: workflows.collect(), ..Batch::default() };
        if !batch.workflows.is_empty() {
            self.store.commit(&batch).await?;
        }
        self.state = Arc::new(state);
        self.measure();
        Ok(())
    }
}

impl Changes {
    /// All that is to be written.
    pub(super) fn batch<'a>(
        &'a self,
        app: &'a AppId,
        id: &'a WorkflowId,
        workflow: &'a WorkflowState,
    ) -> Batch<'a> {
        let number = workflow.number;
        let mut workflows = vec![(app, id, workflow)];
        let series = self.series.iter().map(|key| (number, key, &workflow.series[key]));
        let group = &self.group;
        let in_group = self.in_group.iter().map(|key| (group.number, key, &group.series[key]));
        if !self.in_group.is_empty() {
            let (group_app, group_id) = &*GROUP;
            workflows.push((group_app, group_id, group));
        }
        Batch {
            workflows,
            series: series.chain(in_group).collect(),
            runs: self.runs.iter().map(|(run, record)| (number, run, record)).collect(),
            ..Batch::default()
        }
    }
}

/// A copy of a workflow, to be changed.
pub(super) fn workflow_of(
    state: &State,
    app: &AppId,
    workflow: &WorkflowId,
) -> Option<WorkflowState> {
    let workflow = state.apps.get(app)?.workflows.get(workflow)?;
    Some(WorkflowState::clone(workflow))
}

/// Puts a changed workflow in its place.
pub(super) fn put(state: &mut State, app: &AppId, id: &WorkflowId, workflow: WorkflowState) {
    if let Some(app) = state.apps.get_mut(app) {
        app.workflows.insert(id.clone(), Arc::new(workflow));
    }
}

fn pruned_before_ms(state: &State, app: &AppId) -> i64 {
    let app = state.apps.get(app);
    app.and_then(|app| app.record.pruned_before_ms).unwrap_or(i64::MIN)
}
