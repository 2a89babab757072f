use std::collections::BTreeMap;

use serde::Deserialize;

use super::{run::SimulatedRun, step::StepDefinition, tamper::Tamper};
use crate::model::TestResults;

/// A workflow of the simulated world, with its runs.
#[derive(Clone, Debug)]
pub struct SimulatedWorkflow {
    /// Its id; an empty one is replaced when the workflow joins the world.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its key; an empty one is made of the name.
    pub key: String,
    /// The number of its published version; `None` means that only a draft exists.
    pub version: Option<u32>,
    /// When versions were deployed, in epoch milliseconds; the others are as old as the workflow.
    pub deployed: BTreeMap<u32, i64>,
    /// Its bad versions: which part (0 to 1) of their runs fails that would complete.
    pub(super) bad: BTreeMap<u32, f64>,
    /// Whether it is enabled; newest form only.
    pub enabled: bool,
    /// Whether it was deleted and is still listed; newest form only.
    pub deleted: bool,
    /// When it was made, in epoch milliseconds; `None` becomes now when it joins the world.
    pub created_at: Option<i64>,
    /// How the API writes it and its runs.
    pub form: Form,
    /// In which order the API lists its runs.
    pub order: RunOrder,
    /// What the list of workflows says about the number of its runs.
    pub runs_count: RunsCount,
    /// What its steps are.
    pub steps: Vec<StepDefinition>,
    /// Its tests by result; newest form only.
    pub tests: Option<TestResults>,
    /// What is sent in place of its item in the list.
    pub tamper: Tamper,
    /// Its runs, in the order in which they were created.
    pub runs: Vec<SimulatedRun>,
    /// How many runs it has ever had, including deleted ones.
    pub(super) runs_ever: u64,
}

impl SimulatedWorkflow {
    /// A published workflow without steps and runs, in the newest form.
    pub fn new(name: &str) -> Self {
        Self {
            id: String::new(),
            name: name.into(),
            key: String::new(),
            version: Some(1),
            deployed: BTreeMap::new(),
            bad: BTreeMap::new(),
            enabled: true,
            deleted: false,
            created_at: None,
            form: Form::Newest,
            order: RunOrder::default(),
            runs_count: RunsCount::Ever,
            steps: Vec::new(),
            tests: None,
            tamper: Tamper::Not,
            runs: Vec::new(),
            runs_ever: 0,
        }
    }

    /// Whether its published version is a bad one.
    pub(super) fn is_bad(&self) -> bool {
        self.version.is_some_and(|version| self.bad.contains_key(&version))
    }

    /// The form of one of its runs: the first or the newest.
    pub(super) fn form_of(&self, run: &str) -> Form {
        match self.form {
            Form::Mixed if crc32fast::hash(run.as_bytes()).is_multiple_of(2) => Form::First,
            Form::Mixed => Form::Newest,
            form => form,
        }
    }

    /// The same with this id.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// The same in this wire form.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// The same with its runs listed in this order.
    #[must_use]
    pub fn with_order(mut self, by: OrderBy, direction: Direction) -> Self {
        self.order = RunOrder { by, direction };
        self
    }

    /// The same with one more step.
    #[must_use]
    pub fn with_step(mut self, key: &str, step_type: &str) -> Self {
        self.steps.push(StepDefinition::new(key, step_type));
        self
    }
}

/// How the API writes a workflow and its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As the reference page shows it: `output` is an array of steps without an end.
    First,
    /// The newest known: `output` is a map of steps; there are usage, counts and tests.
    Newest,
    /// The workflow in the newest form, its runs in either form (always the same one for the same
    /// run). What is absent is null, an error is an object, and no step carries its type.
    Mixed,
}

/// In which order a workflow's runs are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOrder {
    /// The timestamp that decides.
    pub by: OrderBy,
    /// Which end comes first.
    pub direction: Direction,
}

/// The timestamp that decides the order of runs; runs without it are the youngest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderBy {
    /// `created_at`.
    #[default]
    Created,
    /// `started_at`.
    Started,
    /// `updated_at`.
    Updated,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The youngest run is the first.
    #[default]
    NewestFirst,
    /// The oldest run is the first.
    OldestFirst,
    /// No order that any timestamp explains, yet always the same.
    Shuffled,
}

/// What `runs_count` is in the list of workflows; no more than a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsCount {
    /// How many runs there have ever been.
    Ever,
    /// How many runs are listed now.
    Listed,
    /// Always this, whatever happens.
    Fixed(u64),
    /// Nothing.
    Absent,
}
