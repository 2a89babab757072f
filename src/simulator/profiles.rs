//! The workflows whose runs are generated: what each is and how it behaves.

use std::ops::Range;

use super::{
    step::StepDefinition,
    workflow::{Form, SimulatedWorkflow},
};
use crate::model::{Origin, Status, TestResults};

/// A workflow and its habits. All durations are milliseconds.
pub(super) struct Profile {
    pub(super) workflow: SimulatedWorkflow,
    /// From one run's creation to the next; `None` leaves it at one run, long ago.
    pub(super) every: Option<Range<i64>>,
    /// How long a run waits to be started.
    pub(super) queue: Range<i64>,
    /// How long a run's work takes; short ones are as likely as long ones, by ratio.
    pub(super) work: Range<i64>,
    /// How runs end, with weights.
    pub(super) outcomes: Vec<(Status, u32)>,
    /// What starts runs, with weights.
    pub(super) origins: Vec<(Origin, u32)>,
    /// A step whose failure a run survives ("Continue on Error").
    pub(super) tolerated: Option<&'static str>,
    /// The percentage of failed runs that are replayed.
    pub(super) replayed: u32,
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

/// All workflows.
pub(super) fn all() -> Vec<Profile> {
    vec![
        answer_ticket(),
        enrich_lead(),
        summarise_document(),
        screen_application(),
        research_company(),
        nightly_report(),
        onboard_customer(),
        archive_invoices(),
    ]
}

fn profile(name: &str, form: Form, steps: Vec<StepDefinition>) -> Profile {
    let mut workflow = SimulatedWorkflow::new(name).with_form(form);
    workflow.steps = steps;
    Profile {
        workflow,
        every: None,
        queue: 50..800,
        work: SECOND..10 * SECOND,
        outcomes: vec![(Status::Completed, 1)],
        origins: vec![(Origin::Workflow, 1)],
        tolerated: None,
        replayed: 0,
    }
}

/// Busy, with tests and credits; survives one step's failure, and some failed runs are replayed.
fn answer_ticket() -> Profile {
    let steps = vec![
        step("ticket", "input"),
        step("knowledge", "service"),
        step("draft_answer", "model"),
        step("quality_check", "code"),
    ];
    let mut profile = profile("Answer support ticket", Form::Newest, steps);
    profile.workflow.version = Some(12);
    profile.workflow.tests = Some(tests(22, 2));
    Profile {
        every: Some(2 * SECOND..6 * SECOND),
        work: 2 * SECOND..12 * SECOND,
        outcomes: vec![(Status::Completed, 92), (Status::Failed, 8)],
        origins: vec![(Origin::Record, 6), (Origin::Workflow, 3), (Origin::Test, 1)],
        tolerated: Some("knowledge"),
        replayed: 30,
        ..profile
    }
}

/// Takes no time, and fails often enough to see failures at once.
fn enrich_lead() -> Profile {
    let steps = vec![step("lookup", "http_request"), step("merge", "code")];
    let profile = profile("Enrich lead", Form::First, steps);
    Profile {
        every: Some(SECOND..4 * SECOND),
        queue: 20..200,
        work: 200..1500,
        outcomes: vec![(Status::Completed, 84), (Status::Failed, 16)],
        origins: vec![(Origin::Record, 4), (Origin::Workflow, 1)],
        ..profile
    }
}

/// Has a loop.
fn summarise_document() -> Profile {
    let mut chunks = step("summarise_chunks", "model");
    chunks.looped = Some("split.chunks".into());
    let steps = vec![step("split", "code"), chunks, step("combine", "model")];
    let mut profile = profile("Summarise document", Form::Newest, steps);
    profile.workflow.version = Some(3);
    Profile {
        every: Some(8 * SECOND..25 * SECOND),
        work: 15 * SECOND..90 * SECOND,
        outcomes: vec![(Status::Completed, 95), (Status::Failed, 4), (Status::Cancelled, 1)],
        origins: vec![(Origin::Trigger, 3), (Origin::Record, 1)],
        ..profile
    }
}

/// Skips steps, and whole runs; in both wire forms.
fn screen_application() -> Profile {
    let mut interview = step("invite", "http_request");
    interview.conditional = Some("fits".into());
    let steps = vec![step("read", "model"), step("fits", "branch"), interview, step("log", "note")];
    let profile = profile("Screen application", Form::Mixed, steps);
    Profile {
        every: Some(10 * SECOND..30 * SECOND),
        queue: 500..5 * SECOND,
        work: 5 * SECOND..40 * SECOND,
        outcomes: vec![(Status::Completed, 70), (Status::Skipped, 25), (Status::Failed, 5)],
        origins: vec![(Origin::Endpoint, 3), (Origin::Workflow, 1)],
        ..profile
    }
}

/// The slow one.
fn research_company() -> Profile {
    let steps =
        vec![step("question", "input"), step("visit_sites", "browser"), step("write_up", "model")];
    let mut profile = profile("Research company", Form::Newest, steps);
    profile.workflow.version = Some(7);
    Profile {
        every: Some(90 * SECOND..4 * MINUTE),
        queue: SECOND..20 * SECOND,
        work: 4 * MINUTE..25 * MINUTE,
        outcomes: vec![(Status::Completed, 75), (Status::Failed, 15), (Status::Cancelled, 10)],
        origins: vec![(Origin::Webhook, 1)],
        ..profile
    }
}

/// Completes although a step of it failed.
fn nightly_report() -> Profile {
    let steps =
        vec![step("collect", "http_request"), step("chart", "code"), step("publish", "service")];
    let profile = profile("Build report", Form::First, steps);
    Profile {
        every: Some(40 * SECOND..90 * SECOND),
        work: 20 * SECOND..3 * MINUTE,
        outcomes: vec![(Status::Completed, 90), (Status::Failed, 10)],
        origins: vec![(Origin::Workflow, 1), (Origin::Test, 1)],
        tolerated: Some("chart"),
        ..profile
    }
}

/// Calls another workflow; only a draft of it exists.
fn onboard_customer() -> Profile {
    let steps =
        vec![step("form", "input"), step("welcome_ticket", "workflow"), step("summary", "note")];
    let mut profile = profile("Onboard customer", Form::Newest, steps);
    profile.workflow.version = None;
    profile.workflow.tests = Some(tests(5, 0));
    Profile {
        every: Some(20 * SECOND..60 * SECOND),
        work: 10 * SECOND..60 * SECOND,
        outcomes: vec![(Status::Completed, 88), (Status::Cancelled, 8), (Status::Failed, 4)],
        origins: vec![(Origin::Workflow, 2), (Origin::Test, 1)],
        ..profile
    }
}

/// Idle: it ran once, hours ago.
fn archive_invoices() -> Profile {
    let mut profile = profile(
        "Archive invoices",
        Form::Newest,
        vec![step("select", "code"), step("archive", "service")],
    );
    profile.workflow.enabled = false;
    profile
}

fn step(key: &str, step_type: &str) -> StepDefinition {
    let mut step = StepDefinition::new(key, step_type);
    // Real runs repeat the prompts of all their steps.
    step.text = "Work carefully, answer in the customer's language and cite the source. ".repeat(6);
    step
}

fn tests(passing: u64, failing: u64) -> TestResults {
    TestResults {
        running: Some(0),
        cancelled: Some(0),
        passing: Some(passing),
        failing: Some(failing),
    }
}
