//! The API's JSON, in both of its forms.

use serde_json::{Map, Value, json};

use super::{
    run::SimulatedRun,
    step::{SimulatedStep, StepDefinition},
    workflow::{Form, RunsCount, SimulatedWorkflow},
    world::{Quirk, World},
};
use crate::model::{Status, TestResults};

/// What decides how something is written, besides what it is.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    app_id: &'a str,
    app_name: &'a str,
    bare_dates: bool,
    verbose: bool,
}

impl<'a> Style<'a> {
    pub(super) fn new(world: &'a World, verbose: bool) -> Self {
        Self {
            app_id: &world.app_id,
            app_name: &world.app_name,
            bare_dates: world.quirks.contains(&Quirk::BareDates),
            verbose,
        }
    }

    /// A timestamp, null if there is none or it lies outside the calendar.
    fn time(self, ms: Option<i64>) -> Value {
        let at = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map_or(Value::Null, |at| {
            let text = format!("{at:.3}");
            let shown = if self.bare_dates { text.split('T').next() } else { None };
            shown.unwrap_or(&text).into()
        })
    }
}

/// An item of the list of workflows.
pub(super) fn workflow(workflow: &SimulatedWorkflow, style: Style<'_>) -> Value {
    let created_at = style.time(workflow.created_at);
    let mut item = json!({
        "id": workflow.id,
        "name": workflow.name,
        "description": "",
        "app": { "id": style.app_id, "name": style.app_name, "verified": false },
        "version": version(workflow, workflow.version, style),
        "tags": [],
        "created_at": created_at,
        "updated_at": created_at,
        "key": workflow.key,
        "input": {},
        "input_default": {},
        "steps": definitions(&workflow.steps),
    });
    if workflow.form != Form::First {
        item["enabled"] = workflow.enabled.into();
        item["deleted"] = workflow.deleted.into();
        if let Some(results) = &workflow.tests {
            item["tests_stats"] = tests(results);
        }
        match workflow.runs_count {
            RunsCount::Ever => item["runs_count"] = workflow.runs_ever.into(),
            RunsCount::Listed => item["runs_count"] = workflow.runs.len().into(),
            RunsCount::Fixed(count) => item["runs_count"] = count.into(),
            RunsCount::Absent => {}
        }
    }
    workflow.tamper.apply(item)
}

/// A run, as in a list or alone.
pub(super) fn run(workflow: &SimulatedWorkflow, run: &SimulatedRun, style: Style<'_>) -> Value {
    let first = workflow.form_of(&run.id) == Form::First;
    let mut item = json!({
        "id": run.id,
        "input": { "payload": "x".repeat(run.padding) },
        "output": Value::Null,
        "status": run.status.as_str(),
        "origin": run.origin.as_str(),
        "started_at": style.time(run.started_at),
        "ended_at": style.time(run.ended_at),
        "workflow_id": workflow.id,
        "workflow_version_draft": draft(workflow, run),
        "workflow_version": version(workflow, run.version, style),
        "created_at": style.time(run.created_at),
        "updated_at": style.time(run.updated_at),
    });
    if first {
        if run.started_at.is_some() {
            item["output"] = run.steps.iter().map(first_step).collect();
        }
    } else {
        add_newest(&mut item, workflow, run, style);
    }
    run.tamper.apply(item)
}

/// What the newest form adds to a run or writes in another way. An absent field is left out, except
/// in the mixed form, where it is null.
fn add_newest(
    item: &mut Value,
    workflow: &SimulatedWorkflow,
    run: &SimulatedRun,
    style: Style<'_>,
) {
    let mixed = workflow.form == Form::Mixed;
    if run.started_at.is_some() {
        let step = |step| newest_step(step, mixed, style.verbose);
        item["output"] = run.steps.iter().map(step).collect::<Map<_, _>>().into();
    }
    let is = |status| run.status == status;
    item["app_id"] = style.app_id.into();
    item["workflow_app_id"] = style.app_id.into();
    for (name, value) in [
        ("result", is(Status::Completed).then(|| json!({ "text": "done" }))),
        ("error", is(Status::Failed).then(|| run_error(run, mixed))),
        ("version", run.version.map(Value::from)),
        ("usage", run.credits.map(|total| usage(total, run))),
        ("collection_id", None),
        ("record_id", None),
        ("retention", None),
        ("retention_due_at", None),
    ] {
        if value.is_some() || mixed {
            item[name] = value.into();
        }
    }
}

/// An error; the mixed form has an object around a text.
fn error(value: Value, mixed: bool) -> Value {
    if mixed && value.is_string() { json!({ "message": value }) } else { value }
}

/// What the run says of its failed step: the same as that, or only the first of several lines.
fn run_error(run: &SimulatedRun, mixed: bool) -> Value {
    let step = run.failed_step().and_then(|step| Some((&step.key, step.error.as_ref()?)));
    let value = step.map(|(key, error)| match error.value.as_str().and_then(first_of_lines) {
        Some(line) => format!("Step \"{key}\" failed: {line}").into(),
        None => error.value.clone(),
    });
    error(value.unwrap_or_else(|| "a step failed".into()), mixed)
}

/// The first of several lines; `None` if there is only one.
fn first_of_lines(text: &str) -> Option<&str> {
    text.split_once('\n').map(|(line, _)| line)
}

fn first_step(step: &SimulatedStep) -> Value {
    json!({
        "status": step.status.as_str(),
        "key": step.key,
        "output": step.output,
        "start": step.start,
    })
}

fn newest_step(step: &SimulatedStep, mixed: bool, verbose: bool) -> (String, Value) {
    let mut item = json!({
        "status": step.status.as_str(),
        "key": step.key,
        "start": step.start,
    });
    if !mixed {
        item["type"] = step.step_type.as_str().into();
    }
    if step.status == Status::Failed {
        let value = step.error.as_ref().map(|error| error.value.clone());
        item["error"] = error(value.unwrap_or_else(|| "the step failed".into()), mixed);
    }
    if step.status != Status::Running {
        item["output"] = step.output.clone();
        if let Some(end) = step.end {
            item["end"] = end.into();
        }
    }
    if verbose {
        item["logs"] = json!([]);
        item["calls"] = json!([]);
    }
    (step.key.clone(), item)
}

fn usage(total: f64, run: &SimulatedRun) -> Value {
    let of_step = |step: &SimulatedStep| {
        let credits = step.credits?;
        Some((step.key.clone(), json!({ "total": credits })))
    };
    let steps: Map<_, _> = run.steps.iter().filter_map(of_step).collect();
    json!({ "total": total, "steps": steps })
}

fn tests(results: &TestResults) -> Value {
    let counts = [results.running, results.cancelled, results.passing, results.failing];
    let [running, cancelled, passing, failing] = counts.map(Option::unwrap_or_default);
    json!({
        "total_count": running + cancelled + passing + failing,
        "running_count": running,
        "cancelled_count": cancelled,
        "passing_count": passing,
        "failing_count": failing,
    })
}

fn version(workflow: &SimulatedWorkflow, number: Option<u32>, style: Style<'_>) -> Value {
    number.map_or(Value::Null, |version| {
        let deployed = workflow.deployed.get(&version).copied();
        json!({
            "id": format!("workv_{:0>22}", version),
            "description": "",
            "version": version,
            "created_at": style.time(deployed.or(workflow.created_at)),
            "key": workflow.key,
            "input": {},
            "input_default": {},
            "steps": definitions(&workflow.steps),
        })
    })
}

fn draft(workflow: &SimulatedWorkflow, run: &SimulatedRun) -> Value {
    if !run.draft {
        return Value::Null;
    }
    json!({
        "key": workflow.key,
        "input": {},
        "input_default": {},
        "steps": definitions(&workflow.steps),
    })
}

fn definitions(steps: &[StepDefinition]) -> Vec<Value> {
    let definition = |step: &StepDefinition| {
        let text = if step.step_type == "code" { "code" } else { "prompt" };
        let mut item = json!({ "type": step.step_type, "key": step.key, text: step.text });
        for (name, value) in [("conditional", &step.conditional), ("loop", &step.looped)] {
            if let Some(value) = value {
                item[name] = value.as_str().into();
            }
        }
        item
    };
    steps.iter().map(definition).collect()
}
