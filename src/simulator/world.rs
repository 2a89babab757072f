use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;

use super::{
    run::SimulatedRun,
    step::StepDefinition,
    truth::{Totals, Truth},
    workflow::SimulatedWorkflow,
};
use crate::model::{Clock, Origin, Phase, Status};

/// Called with the world and a workflow's id after a page of its runs was answered, so that the
/// list moves between two pages.
pub type AfterPage = Box<dyn FnMut(&mut World, &str) + Send>;

/// How many finished runs of a workflow are remembered where runs are generated.
const REMEMBERED: usize = 2000;

/// An app with its workflows and their runs. All times come from the clock that it was made with.
pub struct World {
    /// The app's own id; the API takes the literal `c` for it too.
    pub app_id: String,
    /// The app's name.
    pub app_name: String,
    /// The workflows, in the order in which they are listed.
    pub workflows: Vec<SimulatedWorkflow>,
    /// In which ways the API departs from what it documents.
    pub quirks: BTreeSet<Quirk>,
    /// How far the API's clock (its `Date` header) is ahead of the world's, in milliseconds.
    pub date_skew_ms: i64,
    /// What happens after each page of runs.
    pub after_page: Option<AfterPage>,
    clock: Arc<dyn Clock>,
    ids: StdRng,
    truth: Truth,
}

/// A way in which the API departs from what it documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// `take` changes nothing: a page always holds as many items as it can.
    IgnoreTake,
    /// `status` changes nothing.
    IgnoreStatus,
    /// `origin` changes nothing.
    IgnoreOrigin,
    /// `page` changes nothing: the first page is all there is.
    IgnorePage,
    /// No `pagination-*` headers.
    OmitPagination,
    /// Timestamps are bare dates, as the reference page shows them.
    BareDates,
    /// No `Date` header.
    OmitDate,
    /// Answers have an `ETag`, and 304 says that one is still the same.
    Etags,
    /// The same, but the tags never change, so that 304 says nothing.
    FrozenEtags,
}

impl World {
    /// An empty world.
    pub(super) fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let mut ids = StdRng::seed_from_u64(seed);
        Self {
            app_id: new_id("app", &mut ids),
            app_name: "Simulated app".into(),
            workflows: Vec::new(),
            quirks: BTreeSet::new(),
            date_skew_ms: 0,
            after_page: None,
            clock,
            ids,
            truth: Truth::default(),
        }
    }

    /// Now, in epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Adds a workflow; answers its id.
    pub fn add_workflow(&mut self, mut workflow: SimulatedWorkflow) -> String {
        if workflow.id.is_empty() {
            workflow.id = new_id("work", &mut self.ids);
        }
        if workflow.key.is_empty() {
            workflow.key = workflow.name.to_lowercase().replace(' ', "-");
        }
        workflow.created_at.get_or_insert(self.clock.now_ms());
        let id = workflow.id.clone();
        let runs = std::mem::take(&mut workflow.runs);
        self.workflows.push(workflow);
        for run in runs {
            self.put(self.workflows.len() - 1, run);
        }
        id
    }

    /// The workflow with this id, or else with this name.
    pub fn workflow(&self, id_or_name: &str) -> Option<&SimulatedWorkflow> {
        let position = self.position(id_or_name)?;
        self.workflows.get(position)
    }

    /// The same to change.
    pub fn workflow_mut(&mut self, id_or_name: &str) -> Option<&mut SimulatedWorkflow> {
        let position = self.position(id_or_name)?;
        self.workflows.get_mut(position)
    }

    /// Gives a workflow another name; `false` if there is none.
    pub fn rename_workflow(&mut self, id: &str, name: &str) -> bool {
        let workflow = self.workflow_mut(id);
        workflow.map(|workflow| workflow.name = name.into()).is_some()
    }

    /// Takes a workflow away with all its runs; `false` if there is none. To have it listed as
    /// deleted set [`SimulatedWorkflow::deleted`].
    pub fn delete_workflow(&mut self, id: &str) -> bool {
        let position = self.position(id);
        position.map(|at| self.workflows.remove(at)).is_some()
    }

    /// Deploys a new version of a workflow now; answers its number, `None` if there is no such
    /// workflow.
    pub fn deploy(&mut self, workflow: &str) -> Option<u32> {
        self.deploy_at(workflow, self.clock.now_ms())
    }

    pub(super) fn deploy_at(&mut self, workflow: &str, at_ms: i64) -> Option<u32> {
        let workflow = self.workflow_mut(workflow)?;
        let newest = workflow.deployed.keys().next_back().copied().max(workflow.version);
        let version = newest.map_or(1, |newest| newest + 1);
        workflow.deployed.insert(version, at_ms);
        workflow.version = Some(version);
        Some(version)
    }

    /// Makes the newest good version before the published one the published one again; answers its
    /// number, `None` if there is no such workflow or version. Runs that wait keep theirs.
    pub fn roll_back(&mut self, workflow: &str) -> Option<u32> {
        let workflow = self.workflow_mut(workflow)?;
        let mut before = (1..workflow.version?).rev();
        workflow.version = Some(before.find(|version| !workflow.bad.contains_key(version))?);
        workflow.version
    }

    /// Adds a run as it is, with its history if it has one; answers its id, `None` if there is no
    /// such workflow. The API knows a run by its workflow and id; what takes only an id here finds
    /// one of several runs that share it.
    pub fn add_run(&mut self, workflow: &str, run: SimulatedRun) -> Option<String> {
        let position = self.position(workflow)?;
        Some(self.put(position, run))
    }

    /// Creates a run now that waits to be started; answers its id, `None` if there is no such
    /// workflow.
    pub fn create_run(&mut self, workflow: &str, origin: Origin) -> Option<String> {
        self.add_run(workflow, SimulatedRun::new(Status::Pending, origin))
    }

    /// The run with this id, of whichever workflow.
    pub fn run(&self, id: &str) -> Option<&SimulatedRun> {
        let (workflow, run) = self.find(id)?;
        Some(&self.workflows[workflow].runs[run])
    }

    /// The same to change. What finishes or starts a run this way is not in the totals.
    pub fn run_mut(&mut self, id: &str) -> Option<&mut SimulatedRun> {
        let (workflow, run) = self.find(id)?;
        Some(&mut self.workflows[workflow].runs[run])
    }

    /// Starts a waiting run now; `false` if there is no such run that waits.
    pub fn start_run(&mut self, id: &str) -> bool {
        self.start_run_at(id, self.clock.now_ms())
    }

    pub(super) fn start_run_at(&mut self, id: &str, at_ms: i64) -> bool {
        let waits = |run: &SimulatedRun| run.status == Status::Pending;
        self.change_run(id, waits, |run, steps| run.start(at_ms, steps))
    }

    /// Finishes an open run now; `false` if there is no such open run, or if no run ends with this
    /// status.
    pub fn finish_run(&mut self, id: &str, status: Status) -> bool {
        self.finish_run_at(id, status, self.clock.now_ms())
    }

    pub(super) fn finish_run_at(&mut self, id: &str, status: Status, at_ms: i64) -> bool {
        if status.phase(true) == Phase::Open {
            return false;
        }
        let finished = self.change_run(id, SimulatedRun::is_open, |run, steps| {
            run.finish(at_ms, status, steps);
        });
        if let (true, Some((workflow, run))) = (finished, self.find(id)) {
            let workflow = &self.workflows[workflow];
            self.truth.finished(workflow, &workflow.runs[run]);
        }
        finished
    }

    /// Opens a finished run again under the same id; `false` if there is no such finished run.
    pub fn replay_run(&mut self, id: &str) -> bool {
        self.replay_run_at(id, self.clock.now_ms())
    }

    pub(super) fn replay_run_at(&mut self, id: &str, at_ms: i64) -> bool {
        let finished = |run: &SimulatedRun| run.phase() == Phase::Finished;
        self.change_run(id, finished, |run, steps| {
            run.replay(at_ms, steps);
        })
    }

    /// Takes a run away; `false` if there is none.
    pub fn delete_run(&mut self, id: &str) -> bool {
        let found = self.find(id);
        found.map(|(workflow, run)| self.workflows[workflow].runs.remove(run)).is_some()
    }

    /// The truth: how many attempts have finished since the world began, each replay being one
    /// more, whatever was deleted since.
    pub fn totals(&self) -> Totals {
        self.truth.finished.clone()
    }

    /// How many runs were ever created, by workflow id and origin; replays add nothing.
    pub fn created(&self) -> BTreeMap<(String, Origin), u64> {
        self.truth.created.clone()
    }

    /// Both, and how runs failed, and which versions ran.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Drops the oldest finished runs of each workflow beyond those that are remembered.
    pub(super) fn forget_old_runs(&mut self) {
        for workflow in &mut self.workflows {
            forget(&mut workflow.runs);
        }
    }

    fn put(&mut self, workflow: usize, mut run: SimulatedRun) -> String {
        let workflow = &mut self.workflows[workflow];
        if run.id.is_empty() {
            run.id = new_id("run", &mut self.ids);
        }
        run.settle(self.clock.now_ms(), workflow.version);
        self.truth.created(&workflow.id, &run);
        if !run.is_open() {
            self.truth.finished(workflow, &run);
        }
        let id = run.id.clone();
        workflow.runs.push(run);
        workflow.runs_ever += 1;
        id
    }

    fn change_run(
        &mut self,
        id: &str,
        fits: impl FnOnce(&SimulatedRun) -> bool,
        change: impl FnOnce(&mut SimulatedRun, &[StepDefinition]),
    ) -> bool {
        let Some((workflow, position)) = self.find(id) else {
            return false;
        };
        let SimulatedWorkflow { runs, steps, .. } = &mut self.workflows[workflow];
        let run = &mut runs[position];
        let fitting = fits(run);
        if fitting {
            change(run, steps);
        }
        fitting
    }

    fn position(&self, id_or_name: &str) -> Option<usize> {
        let by_id = self.workflows.iter().position(|known| known.id == id_or_name);
        by_id.or_else(|| self.workflows.iter().position(|known| known.name == id_or_name))
    }

    /// Looks at the youngest run of each workflow, then at the second youngest, and so on, since
    /// the young ones are what changes.
    fn find(&self, id: &str) -> Option<(usize, usize)> {
        let longest = self.workflows.iter().map(|workflow| workflow.runs.len()).max()?;
        let is_it = |(at, workflow): (usize, &SimulatedWorkflow), age: usize| {
            let position = workflow.runs.len().checked_sub(age)?;
            (workflow.runs[position].id == id).then_some((at, position))
        };
        (1..=longest).find_map(|age| {
            let mut workflows = self.workflows.iter().enumerate();
            workflows.find_map(|workflow| is_it(workflow, age))
        })
    }
}

fn forget(runs: &mut Vec<SimulatedRun>) {
    let finished = runs.iter().filter(|run| !run.is_open()).count();
    let mut surplus = finished.saturating_sub(REMEMBERED);
    if surplus > 0 {
        runs.retain(|run| {
            run.is_open() || surplus == 0 || {
                surplus -= 1;
                false
            }
        });
    }
}

/// An id as the API makes them: a prefix and 22 base-62 characters.
fn new_id(prefix: &str, random: &mut StdRng) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digits = (0..22).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())]));
    format!("{prefix}_{}", digits.collect::<String>())
}
