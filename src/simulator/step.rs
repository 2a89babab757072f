use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::Status;

/// A step in a workflow's definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDefinition {
    /// Its key, unique within the workflow.
    pub key: String,
    /// Its type: note branch code model `http_request` browser workflow service input.
    #[serde(rename = "type")]
    pub step_type: String,
    /// What it depends on, if on anything.
    #[serde(default)]
    pub conditional: Option<String>,
    /// What it loops over, if it does; its output is then an array.
    #[serde(default, rename = "loop")]
    pub looped: Option<String>,
    /// Its prompt or code, which every run in a list repeats.
    #[serde(default)]
    pub text: String,
}

impl StepDefinition {
    /// An unconditional step that doesn't loop.
    pub fn new(key: &str, step_type: &str) -> Self {
        Self { key: key.into(), step_type: step_type.into(), ..Self::default() }
    }
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedStep {
    /// Its key in the workflow's definition.
    pub key: String,
    /// Its type, which the first form leaves to the definition.
    pub step_type: String,
    /// Its own status.
    pub status: Status,
    /// When it began, in epoch milliseconds.
    pub start: i64,
    /// When it ended; newest form only.
    pub end: Option<i64>,
    /// Its output: an array if it loops.
    pub output: Value,
    /// Credits that it used; newest form only.
    pub credits: Option<f64>,
    /// Why it failed; newest form only.
    pub error: Option<StepError>,
}

/// The error of a failed step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepError {
    /// What kind of text it is, for the totals only.
    pub kind: &'static str,
    /// What the API sends: a text, or an object.
    pub value: Value,
}

impl SimulatedStep {
    /// A step of this definition that has not ended.
    pub fn new(definition: &StepDefinition, status: Status, start: i64) -> Self {
        let output = if definition.looped.is_some() {
            json!(["first item", "second item", "third item"])
        } else {
            json!({ "text": "done" })
        };
        Self {
            key: definition.key.clone(),
            step_type: definition.step_type.clone(),
            status,
            start,
            end: None,
            output,
            credits: None,
            error: None,
        }
    }

    pub(super) fn evenly(definitions: &[StepDefinition], from: i64, until: i64) -> Vec<Self> {
        let share = (until - from) / (definitions.len().max(1) as i64);
        let step = |(index, definition): (usize, &StepDefinition)| {
            let start = from + share * index as i64;
            let mut step = Self::new(definition, Status::Running, start);
            if index + 1 < definitions.len() {
                step.end = Some(start + share);
            }
            step
        };
        definitions.iter().enumerate().map(step).collect()
    }

    pub(super) fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    pub(super) fn end_with(&mut self, status: &Status, at_ms: i64) {
        if self.status == Status::Running {
            self.status = status.clone();
            self.end = self.end.or(Some(at_ms));
        }
    }
}
