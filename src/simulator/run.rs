use super::{
    step::{SimulatedStep, StepDefinition},
    tamper::Tamper,
};
use crate::model::{Origin, Phase, Status};

/// A run of the simulated world. All times are epoch milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedRun {
    /// Its id; an empty one is replaced when the run joins the world.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// What started it.
    pub origin: Origin,
    /// When it was created; `None` becomes now when the run joins the world.
    pub created_at: Option<i64>,
    /// When its work began.
    pub started_at: Option<i64>,
    /// When it finished.
    pub ended_at: Option<i64>,
    /// When it changed last; `None` becomes the latest of the others when the run joins the world.
    pub updated_at: Option<i64>,
    /// Its steps so far.
    pub steps: Vec<SimulatedStep>,
    /// Credits that it used; newest form only.
    pub credits: Option<f64>,
    /// The version that runs; `None` becomes the published one when the run joins the world.
    pub version: Option<u32>,
    /// Whether the workflow's draft runs, and no version.
    pub draft: bool,
    /// The size of the customer's data in its `input`, in bytes; real runs are large.
    pub padding: usize,
    /// What is sent in place of it.
    pub tamper: Tamper,
}

impl SimulatedRun {
    /// A run without times and steps.
    pub fn new(status: Status, origin: Origin) -> Self {
        Self {
            id: String::new(),
            status,
            origin,
            created_at: None,
            started_at: None,
            ended_at: None,
            updated_at: None,
            steps: Vec::new(),
            credits: None,
            version: None,
            draft: false,
            padding: 0,
            tamper: Tamper::Not,
        }
    }

    /// The same with this id.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// The same, created, started and ended at these epoch milliseconds.
    #[must_use]
    pub fn with_times(mut self, created: i64, started: Option<i64>, ended: Option<i64>) -> Self {
        self.created_at = Some(created);
        self.started_at = started;
        self.ended_at = ended;
        self
    }

    /// Whether it is open or finished.
    pub fn phase(&self) -> Phase {
        self.status.phase(self.ended_at.is_some())
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase() == Phase::Open
    }

    /// Fills in the times and the version that are missing.
    pub(super) fn settle(&mut self, now_ms: i64, published: Option<u32>) {
        self.version = if self.draft { None } else { self.version.or(published) };
        self.draft = self.version.is_none();
        let created = *self.created_at.get_or_insert(now_ms);
        let latest = self.ended_at.or(self.started_at).unwrap_or(created);
        self.updated_at.get_or_insert(latest.max(created));
    }

    /// The step that failed last.
    pub(super) fn failed_step(&self) -> Option<&SimulatedStep> {
        self.steps.iter().rfind(|step| step.is_failed())
    }

    pub(super) fn start(&mut self, at_ms: i64, definitions: &[StepDefinition]) {
        self.status = Status::Running;
        self.started_at = Some(at_ms);
        self.updated_at = Some(at_ms);
        if let (true, Some(first)) = (self.steps.is_empty(), definitions.first()) {
            self.steps.push(SimulatedStep::new(first, Status::Running, at_ms));
        }
    }

    /// Ends it. Without steps of its own, those of the workflow share its time equally; the last
    /// one fails or is cancelled with the run.
    pub(super) fn finish(&mut self, at_ms: i64, status: Status, definitions: &[StepDefinition]) {
        let worked = matches!(status, Status::Completed | Status::Failed);
        if worked && self.started_at.is_none() {
            self.started_at = Some(at_ms);
        }
        let running_only = self.steps.iter().all(|step| step.status == Status::Running);
        if let (true, Some(from)) = (running_only, self.started_at) {
            self.steps = SimulatedStep::evenly(definitions, from, at_ms);
        }
        let last = self.steps.len().saturating_sub(1);
        for (index, step) in self.steps.iter_mut().enumerate() {
            let fate = if index == last { &status } else { &Status::Completed };
            step.end_with(fate, at_ms);
        }
        self.status = status;
        self.ended_at = Some(at_ms);
        self.updated_at = Some(at_ms);
    }

    /// Opens it again under the same id, as a replay does; it starts later than before, always.
    pub(super) fn replay(&mut self, at_ms: i64, definitions: &[StepDefinition]) {
        let at_ms = self.started_at.map_or(at_ms, |was| at_ms.max(was + 1));
        self.ended_at = None;
        self.credits = None;
        self.steps.clear();
        self.start(at_ms, definitions);
    }
}
