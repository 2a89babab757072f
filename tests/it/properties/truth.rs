//! What really happened, and what an exporter can know of it.

use std::collections::{BTreeMap, BTreeSet};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{Direction, OrderBy, RunOrder, SimulatedRun, SimulatedWorkflow, World},
};

use super::{
    exporter::Hand,
    script::{Character, Happening},
};

/// How often something happened: the sample's name, the workflow's id, its other labels.
pub(super) type Counts = BTreeMap<(&'static str, String, Vec<String>), u64>;

pub(super) const RUNS: &str = "cortex_workflow_runs_total";
pub(super) const SUBMITTED: &str = "cortex_workflow_runs_submitted_total";
pub(super) const DURATIONS: &str = "cortex_workflow_run_duration_seconds_count";
pub(super) const WAITS: &str = "cortex_workflow_run_queue_duration_seconds_count";
pub(super) const STEPS: &str = "cortex_workflow_steps_total";

/// The world's history since the cold start.
pub(super) struct Truth {
    pub(super) clock: Hand,
    pub(super) counts: Counts,
    /// Those of them that may be missing.
    pub(super) doubtful: Counts,
    pub(super) workflows: Vec<Known>,
    runs: Vec<KnownRun>,
    /// Whether the exporter knows the app: the cold start is past.
    pub(super) met: bool,
    /// Whether a cycle was complete yet.
    pub(super) complete: bool,
    /// Whether the API writes only the day of a time.
    pub(super) bare_dates: bool,
    names: u32,
}

/// A workflow.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) deleted: bool,
    order: RunOrder,
    /// FAILED runs in a row; `None` while it depends on how much of its history was read.
    pub(super) failures: Option<u64>,
    /// When the last run with each status ended, since the cold start.
    pub(super) last_run_ms: BTreeMap<Status, i64>,
    /// The run that failed last, since the cold start.
    pub(super) last_failed: Option<String>,
}

/// A run that is still there.
struct KnownRun {
    id: String,
    workflow: usize,
    origin: Origin,
    replayed: bool,
    /// Whether it was created before the exporter met the workflow. One that the first reading
    /// missed, because the list moved, can't be distinguished from a replay, which doesn't wait.
    old: bool,
    /// How often it changed, and how often it had when a complete cycle began.
    changes: u32,
    seen_changes: u32,
}

impl Truth {
    pub(super) fn new(clock: Hand) -> Self {
        Self {
            clock,
            counts: Counts::new(),
            doubtful: Counts::new(),
            workflows: Vec::new(),
            runs: Vec::new(),
            met: false,
            complete: false,
            bare_dates: false,
            names: 0,
        }
    }

    /// The cold start is now, or was not then: what happened until now is history.
    pub(super) fn forget_counts(&mut self) {
        self.counts.clear();
        self.doubtful.clear();
        for workflow in &mut self.workflows {
            workflow.last_run_ms.clear();
            workflow.last_failed = None;
        }
    }

    /// What stands now is what a cycle that begins now will see at least.
    pub(super) fn versions(&self) -> BTreeMap<String, u32> {
        self.runs.iter().map(|run| (run.id.clone(), run.changes)).collect()
    }

    /// A cycle was complete that began when runs stood so.
    pub(super) fn seen(&mut self, versions: &BTreeMap<String, u32>) {
        for run in &mut self.runs {
            if let Some(changes) = versions.get(&run.id) {
                run.seen_changes = *changes;
            }
        }
    }

    pub(super) fn happen(&mut self, world: &mut World, happening: &Happening) {
        match happening {
            Happening::Create { workflow, origin, count } => {
                let Some(workflow) = self.living(*workflow) else { return };
                for _ in 0..*count {
                    self.create(world, workflow, origin);
                }
            }
            Happening::Start { run } => {
                let waits = |world: &World, run: &KnownRun| {
                    world.run(&run.id).is_some_and(|run| run.status == Status::Pending)
                };
                if let Some(run) = self.pick(world, *run, waits) {
                    self.start(world, run);
                }
            }
            Happening::Finish { run, status } => {
                let fits = |world: &World, run: &KnownRun| {
                    is_open(world, run) && (self.complete || self.is_met_when_it_ends(run))
                };
                if let Some(run) = self.pick(world, *run, fits) {
                    self.finish(world, run, status);
                }
            }
            Happening::Burst { workflow, origin, status, count, started } => {
                let Some(workflow) = self.living(*workflow) else { return };
                for _ in 0..*count {
                    let run = self.create(world, workflow, origin);
                    if *started {
                        self.start(world, run);
                    }
                    self.finish(world, run, status);
                }
            }
            Happening::Replay { run } => self.replay(world, *run),
            Happening::Delete { run, count } => self.delete(world, *run, *count),
            Happening::AddWorkflow(character) => {
                if self.workflows.len() < 8 {
                    self.add_workflow(world, character);
                }
            }
            Happening::Rename { workflow } => {
                if let Some(at) = self.living(*workflow) {
                    self.names += 1;
                    self.workflows[at].name = format!("Renamed {}", self.names);
                    world.rename_workflow(&self.workflows[at].id, &self.workflows[at].name);
                }
            }
            Happening::Toggle { workflow } => {
                if let Some(at) = self.living(*workflow)
                    && let Some(workflow) = world.workflow_mut(&self.workflows[at].id)
                {
                    workflow.enabled = !workflow.enabled;
                }
            }
            Happening::DeleteWorkflow { workflow, listed } => {
                self.delete_workflow(world, *workflow, *listed);
            }
            Happening::Pass { ms } => self.clock.forward(*ms),
        }
    }

    pub(super) fn add_workflow(&mut self, world: &mut World, character: &Character) {
        self.clock.forward(1);
        let (by, direction) = (character.by, character.direction);
        self.names += 1;
        let name = format!("Workflow {}", self.names);
        let mut workflow = SimulatedWorkflow::new(&name).with_form(character.form);
        workflow = workflow.with_order(by, direction).with_step("think", "model");
        workflow.runs_count = character.runs_count;
        let id = world.add_workflow(workflow);
        let order = RunOrder { by, direction };
        let failures = Some(0);
        self.workflows.push(Known {
            id,
            name,
            deleted: false,
            order,
            failures,
            last_run_ms: BTreeMap::new(),
            last_failed: None,
        });
    }

    fn count(&mut self, name: &'static str, workflow: usize, labels: &[&str]) {
        let id = self.workflows[workflow].id.clone();
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        *self.counts.entry((name, id, labels)).or_default() += 1;
    }

    fn living(&self, choice: u8) -> Option<usize> {
        let living = (0..self.workflows.len()).filter(|at| !self.workflows[*at].deleted);
        let living: Vec<_> = living.collect();
        living.get(usize::from(choice) % living.len().max(1)).copied()
    }

    /// A run of those that fit; 0 is the one created last.
    fn pick(
        &self,
        world: &World,
        choice: u16,
        fits: impl Fn(&World, &KnownRun) -> bool,
    ) -> Option<usize> {
        let fits = |at: &usize| {
            !self.workflows[self.runs[*at].workflow].deleted && fits(world, &self.runs[*at])
        };
        let fitting: Vec<_> = (0..self.runs.len()).rev().filter(fits).collect();
        fitting.get(usize::from(choice) % fitting.len().max(1)).copied()
    }

    /// What was open at the cold start is met by the lists of open runs. If it ends before they
    /// could be read, it can stand behind a page of history, where the first reading doesn't look.
    fn is_met_when_it_ends(&self, run: &KnownRun) -> bool {
        let RunOrder { by, direction } = self.workflows[run.workflow].order;
        !run.old || by == OrderBy::Updated || direction == Direction::Shuffled
    }

    fn create(&mut self, world: &mut World, workflow: usize, origin: &Origin) -> usize {
        self.clock.forward(1);
        let id = &self.workflows[workflow].id;
        let run = SimulatedRun::new(Status::Pending, origin.clone());
        let id = world.add_run(id, run).expect("the workflow is there");
        let origin = origin.clone();
        self.count(SUBMITTED, workflow, &[origin.as_str()]);
        let replayed = false;
        self.runs.push(KnownRun {
            id,
            workflow,
            origin,
            replayed,
            old: !self.met,
            changes: 1,
            seen_changes: 0,
        });
        self.runs.len() - 1
    }

    fn start(&mut self, world: &mut World, at: usize) {
        self.clock.forward(1);
        assert!(world.start_run(&self.runs[at].id), "it waits");
        self.runs[at].changes += 1;
    }

    fn finish(&mut self, world: &mut World, at: usize, status: &Status) {
        // Never two at once, so that it is clear which is the last.
        self.clock.forward(1);
        let KnownRun { id, workflow, origin, replayed, old, .. } = &self.runs[at];
        let (workflow, origin, replayed, old) = (*workflow, origin.clone(), *replayed, *old);
        assert!(world.finish_run(id, status.clone()), "it is open");
        let run = world.run(id).expect("it is there").clone();
        self.runs[at].changes += 1;
        let labels = [status.as_str(), origin.as_str()];
        self.count(RUNS, workflow, &labels);
        let started = run.started_at.is_some();
        if started {
            self.count(STEPS, workflow, &[status.as_str(), "think", "model"]);
        }
        if started && !self.bare_dates {
            self.count(DURATIONS, workflow, &labels);
        }
        if started && !self.bare_dates && !replayed {
            self.count(WAITS, workflow, &labels[1..]);
            if old {
                let id = self.workflows[workflow].id.clone();
                *self.doubtful.entry((WAITS, id, vec![labels[1].to_owned()])).or_default() += 1;
            }
        }
        let (workflow, bare_dates) = (&mut self.workflows[workflow], self.bare_dates);
        if bare_dates {
            workflow.failures = None;
            return;
        }
        workflow.last_run_ms.insert(status.clone(), run.ended_at.expect("it ended"));
        if *status == Status::Failed {
            workflow.last_failed = Some(run.id.clone());
        }
        workflow.failures = match status {
            Status::Completed | Status::Failed if !self.met => None,
            Status::Completed => Some(0),
            Status::Failed => workflow.failures.map(|row| row + 1),
            _ => workflow.failures,
        };
    }

    /// Of an ordered list only the newest end is read, so there a replay is met only where it moves
    /// its run to that end, or where its run is there already.
    fn replay(&mut self, world: &mut World, choice: u16) {
        if self.bare_dates {
            return;
        }
        let youngest: BTreeSet<_> = (0..self.workflows.len())
            .filter_map(|workflow| self.runs.iter().rposition(|run| run.workflow == workflow))
            .collect();
        let youngest: BTreeSet<_> = youngest.iter().map(|at| self.runs[*at].id.clone()).collect();
        let fits = |world: &World, run: &KnownRun| {
            let RunOrder { by, direction } = self.workflows[run.workflow].order;
            let met = by != OrderBy::Created
                || direction == Direction::Shuffled
                || youngest.contains(&run.id);
            met && run.was_seen() && !is_open(world, run)
        };
        if let Some(at) = self.pick(world, choice, fits) {
            self.clock.forward(1);
            assert!(world.replay_run(&self.runs[at].id), "it has finished");
            self.runs[at].changes += 1;
            self.runs[at].replayed = true;
        }
    }

    /// What was deleted before anybody saw it never happened, as far as anybody can say.
    fn delete(&mut self, world: &mut World, choice: u16, count: u8) {
        for _ in 0..count {
            let Some(at) = self.pick(world, choice, |_, run| run.was_seen()) else { return };
            let run = self.runs.remove(at);
            world.delete_run(&run.id);
        }
    }

    fn delete_workflow(&mut self, world: &mut World, choice: u8, listed: bool) {
        let Some(at) = self.living(choice) else { return };
        let living = self.workflows.iter().filter(|workflow| !workflow.deleted).count();
        let of_it = |run: &&KnownRun| run.workflow == at;
        if living < 2 || !self.runs.iter().filter(of_it).all(KnownRun::was_seen) {
            return;
        }
        self.workflows[at].deleted = true;
        let id = &self.workflows[at].id;
        if listed && let Some(workflow) = world.workflow_mut(id) {
            workflow.deleted = true;
        } else {
            world.delete_workflow(id);
        }
        self.runs.retain(|run| run.workflow != at);
    }
}

impl KnownRun {
    /// Whether a complete cycle began after its last change.
    fn was_seen(&self) -> bool {
        self.changes == self.seen_changes
    }
}

fn is_open(world: &World, run: &KnownRun) -> bool {
    world.run(&run.id).is_some_and(|run| run.ended_at.is_none())
}

/// How many runs of a workflow are open, by status and origin.
pub(super) fn open(world: &World, workflow: &str) -> BTreeMap<(String, String), u64> {
    let mut open = BTreeMap::new();
    let runs = world.workflow(workflow).map(|workflow| workflow.runs.as_slice());
    for run in runs.unwrap_or_default().iter().filter(|run| run.ended_at.is_none()) {
        let key = (run.status.as_str().to_owned(), run.origin.as_str().to_owned());
        *open.entry(key).or_default() += 1;
    }
    open
}
