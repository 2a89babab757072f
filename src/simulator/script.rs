//! What the control endpoints take to change the world.

use serde::Deserialize;
use serde_json::Value;

use super::{
    run::SimulatedRun,
    step::StepDefinition,
    tamper::Tamper,
    workflow::{Direction, Form, OrderBy, RunOrder, RunsCount, SimulatedWorkflow},
    world::World,
};
use crate::model::{Origin, Status, TestResults};

/// A workflow to make, or to change if its id exists. What isn't given stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowScript {
    #[serde(default)]
    id: String,
    name: Option<String>,
    key: Option<String>,
    version: Option<u32>,
    enabled: Option<bool>,
    deleted: Option<bool>,
    created_at: Option<i64>,
    form: Option<Form>,
    order_by: Option<OrderBy>,
    direction: Option<Direction>,
    runs_count: Option<u64>,
    steps: Option<Vec<StepDefinition>>,
    tests: Option<TestResults>,
    /// Goes out in place of the workflow.
    raw: Option<Value>,
}

impl WorkflowScript {
    /// Answers the id; the error says what is wrong.
    pub(super) fn apply(self, world: &mut World) -> Result<String, String> {
        let known = world.workflows.iter().position(|known| known.id == self.id);
        let mut workflow = match (known, &self.name) {
            (Some(known), _) => world.workflows[known].clone(),
            (None, Some(name)) => SimulatedWorkflow::new(name).with_id(&self.id),
            (None, None) => return Err("a new workflow needs a name".into()),
        };
        self.change(&mut workflow);
        if let Some(known) = known {
            let id = workflow.id.clone();
            world.workflows[known] = workflow;
            return Ok(id);
        }
        Ok(world.add_workflow(workflow))
    }

    fn change(self, workflow: &mut SimulatedWorkflow) {
        set(&mut workflow.name, self.name);
        set(&mut workflow.key, self.key);
        set(&mut workflow.enabled, self.enabled);
        set(&mut workflow.deleted, self.deleted);
        set(&mut workflow.form, self.form);
        set(&mut workflow.steps, self.steps);
        set(&mut workflow.runs_count, self.runs_count.map(RunsCount::Fixed));
        set(&mut workflow.tamper, self.raw.map(Tamper::Whole));
        workflow.tests = self.tests.or(workflow.tests.take());
        workflow.version = self.version.or(workflow.version);
        workflow.created_at = self.created_at.or(workflow.created_at);
        let order = RunOrder {
            by: self.order_by.unwrap_or(workflow.order.by),
            direction: self.direction.unwrap_or(workflow.order.direction),
        };
        workflow.order = order;
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Runs to make, or one to move on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunScript {
    #[serde(default)]
    id: String,
    /// Needed for a new run.
    workflow: Option<String>,
    origin: Option<String>,
    /// `PENDING` unless given.
    status: Option<String>,
    count: Option<usize>,
    /// With times given, in epoch milliseconds, the run is put there with just these.
    created_at: Option<i64>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    #[serde(default)]
    padding: usize,
    /// Goes out in place of the run.
    raw: Option<Value>,
}

impl RunScript {
    /// Answers the ids of the runs made or moved on; the error says what is wrong.
    pub(super) fn apply(self, world: &mut World) -> Result<Vec<String>, String> {
        let status = Status::new(self.status.as_deref().unwrap_or("PENDING"));
        if !self.id.is_empty() && world.run(&self.id).is_some() {
            change_status(world, &self.id, &status)?;
            return Ok(vec![self.id]);
        }
        let workflow = self.workflow.as_deref().ok_or("a new run needs a workflow")?;
        let count = self.count.unwrap_or(1);
        if count > 1 && !self.id.is_empty() {
            return Err("an id belongs to one run only".into());
        }
        (0..count).map(|_| self.make(world, workflow, &status)).collect()
    }

    fn make(&self, world: &mut World, workflow: &str, status: &Status) -> Result<String, String> {
        let given = self.created_at.or(self.started_at).or(self.ended_at);
        let mut run = SimulatedRun::new(
            Status::Pending,
            Origin::new(self.origin.as_deref().unwrap_or("WORKFLOW")),
        );
        run.id.clone_from(&self.id);
        run.padding = self.padding;
        if let Some(raw) = &self.raw {
            run.tamper = Tamper::Whole(raw.clone());
        }
        if let Some(given) = given {
            let created = self.created_at.unwrap_or(given);
            run = run.with_times(created, self.started_at, self.ended_at);
            run.status = status.clone();
        }
        let id = world.add_run(workflow, run).ok_or("there is no such workflow")?;
        if given.is_none() && *status != Status::Pending {
            change_status(world, &id, status)?;
        }
        Ok(id)
    }
}

/// Takes a run from where it is to this status, as far as there is a way.
fn change_status(world: &mut World, id: &str, status: &Status) -> Result<(), String> {
    let moved = match status {
        Status::Running => world.start_run(id) || world.replay_run(id),
        Status::Pending => false,
        Status::Completed | Status::Failed => {
            world.start_run(id);
            world.finish_run(id, status.clone())
        }
        other => world.finish_run(id, other.clone()),
    };
    moved.then_some(()).ok_or_else(|| format!("a run can't become {} now", status.as_str()))
}
