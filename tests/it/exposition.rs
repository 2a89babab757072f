//! The exposition as a whole: what each run of either wire form comes to, to the last line.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use cortex_workflow_exporter::{
    model::{Clock, Origin, Status, TestResults},
    simulator::{Form, SimulatedRun, SimulatedStep, SimulatedWorkflow, StepDefinition, Tamper},
};
use serde_json::json;

use crate::support::{Api, KEY, Process, get, parse, run, scrape, tool};

/// Every family of the ledger and of the exporter itself, with its labels beyond those of the
/// workflow. Dashboards and alerts rely on these names.
const PER_WORKFLOW: [(&str, &str, &[&str]); 18] = [
    ("runs_total", "counter", &["status", "origin"]),
    ("runs_submitted_total", "counter", &["origin"]),
    ("runs_active", "gauge", &["status", "origin"]),
    ("run_duration_seconds", "histogram", &["status", "origin"]),
    ("run_queue_duration_seconds", "histogram", &["origin"]),
    ("run_failures_total", "counter", &["step", "step_type", "error_class"]),
    ("version_runs_total", "counter", &["version", "status"]),
    ("version_created_timestamp_seconds", "gauge", &["version"]),
    ("steps_total", "counter", &["step", "step_type", "status"]),
    ("step_duration_seconds", "histogram", &["step", "step_type", "status"]),
    ("run_credits_total", "counter", &["status", "origin"]),
    ("step_credits_total", "counter", &["step", "step_type"]),
    ("last_run_timestamp_seconds", "gauge", &["status"]),
    ("oldest_active_run_timestamp_seconds", "gauge", &["status"]),
    ("consecutive_failures", "gauge", &[]),
    ("tests", "gauge", &["result"]),
    ("info", "gauge", &["app_id", "app", "key", "version", "enabled"]),
    ("exporter_workflow_last_poll_timestamp_seconds", "gauge", &[]),
];
const OWN: [(&str, &str, &[&str]); 18] = [
    ("build_info", "gauge", &["version", "revision", "rustversion"]),
    ("up", "gauge", &["app_id"]),
    ("last_success_timestamp_seconds", "gauge", &["app_id"]),
    ("poll_duration_seconds", "histogram", &["app_id"]),
    ("polls_total", "counter", &["app_id", "result"]),
    ("poll_lag_seconds", "gauge", &[]),
    ("leader", "gauge", &[]),
    ("api_requests_total", "counter", &["endpoint", "code"]),
    ("api_request_duration_seconds", "histogram", &["endpoint"]),
    ("api_rate_limit_requests_per_minute", "gauge", &[]),
    ("anomalies_total", "counter", &["reason"]),
    ("api_retries_total", "counter", &["reason"]),
    ("api_response_bytes_total", "counter", &["endpoint"]),
    ("detection_delay_seconds", "histogram", &[]),
    ("held_increments", "gauge", &[]),
    ("series", "gauge", &[]),
    ("ledger_commits_total", "counter", &["result"]),
    ("ledger_commit_duration_seconds", "histogram", &[]),
];

/// What is different each time: only the name of such a series is compared.
const VARYING: [&str; 10] = [
    "process_",
    "cortex_workflow_exporter_build_info",
    "cortex_workflow_exporter_config_last_reload_success_timestamp_seconds",
    "cortex_workflow_exporter_last_success_timestamp_seconds",
    "cortex_workflow_exporter_workflow_last_poll_timestamp_seconds",
    "cortex_workflow_exporter_poll_duration_seconds",
    "cortex_workflow_exporter_api_request_duration_seconds",
    "cortex_workflow_exporter_ledger_commit_duration_seconds",
    "cortex_workflow_exporter_detection_delay_seconds",
    "cortex_workflow_exporter_poll_lag_seconds",
];

/// 2023-12-25T12:00:00Z.
const NOON: i64 = 1_703_505_600_000;

struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> i64 {
        NOON
    }
}

#[tokio::test]
async fn the_first_form_comes_to_these_lines() {
    insta::assert_snapshot!(golden(Form::First).await);
}

#[tokio::test]
async fn the_newest_form_comes_to_these_lines() {
    insta::assert_snapshot!(golden(Form::Newest).await);
}

#[tokio::test]
async fn a_list_that_mixes_the_forms_counts_as_the_others_do() {
    let [mixed, newest] = [once(Form::Mixed).await, once(Form::Newest).await];
    let [mixed, newest] = [mixed, newest].map(|text| parse(&text));
    for family in ["runs_total", "run_duration_seconds_count", "steps_total"] {
        let name = format!("cortex_workflow_{family}");
        let of_newest: Vec<_> = newest.matching(&name, &[]).collect();
        assert!(!of_newest.is_empty(), "{name}");
        assert_eq!(mixed.matching(&name, &[]).collect::<Vec<_>>(), of_newest);
    }
}

#[tokio::test]
async fn the_live_exposition_has_the_families_of_the_contract_and_no_fault() {
    let mut demo = Process::demo();
    let url = demo.ready_url().await;
    promtool_approves(&get(&format!("{url}/metrics")).await.1);
    let samples = scrape(&url).await;
    for (series, _) in samples.matching("cortex_workflow_runs_total", &[]) {
        let names: Vec<_> = series.labels.keys().map(String::as_str).collect();
        assert_eq!(names, ["origin", "status", "workflow", "workflow_id"]);
    }
    let workflows = samples.matching("cortex_workflow_info", &[]).count();
    let foreseen = samples.matching("cortex_workflow_runs_total", &[]).filter(|(series, _)| {
        ["WORKFLOW", "RECORD", "TEST"].contains(&series.labels["origin"].as_str())
    });
    assert_eq!(foreseen.count(), workflows * 12);
}

#[tokio::test]
async fn every_family_has_the_name_the_type_and_the_labels_of_the_contract() {
    let samples = parse(&once(Form::Newest).await);
    let per_workflow = PER_WORKFLOW.iter().map(|(name, kind, labels)| {
        let labels = ["workflow_id", "workflow"].iter().chain(*labels).copied();
        (format!("cortex_workflow_{name}"), *kind, labels.collect())
    });
    let own = OWN.iter().map(|(name, kind, labels)| {
        let name = format!("cortex_workflow_exporter_{name}");
        (name, *kind, labels.to_vec())
    });
    for (name, kind, mut labels) in per_workflow.chain(own) {
        let family = samples.families.get(&name);
        let family = family.unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(family.help.ends_with('.'), "{name}: {:?}", family.help);
        labels.sort_unstable();
        let of_family = |sample: &str| samples.family_of(sample) == Some(name.as_str());
        for series in samples.values.keys().filter(|it| of_family(&it.name)) {
            let names = series.labels.keys().map(String::as_str);
            let names: Vec<_> = names.filter(|name| *name != "le").collect();
            assert_eq!(names, labels, "{series}");
        }
    }
    for (name, family) in &samples.families {
        assert!(!family.help.is_empty() && !family.kind.is_empty(), "{name}");
    }
}

async fn golden(form: Form) -> String {
    let text = once(form).await;
    promtool_approves(&text);
    normalised(&text)
}

/// What `once` prints for the world below.
async fn once(form: Form) -> String {
    let api = Api::start_with(Arc::new(Noon)).await;
    api.simulator().world(|world| {
        world.app_id = "app_golden".into();
        let [busy, hostile, idle] = [busy(form), hostile(form), SimulatedWorkflow::new("")];
        for workflow in [busy, hostile, idle.with_id("work_idle").with_form(form)] {
            world.add_workflow(workflow);
        }
    });
    let url = format!("--cortex.api-url={}", api.url());
    let (code, stdout, stderr) = run(&["once", &url], &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 0, "{stderr}");
    stdout
}

/// A workflow whose runs have every status and every origin, and steps of every type.
fn busy(form: Form) -> SimulatedWorkflow {
    let mut workflow = SimulatedWorkflow::new("Answer mail").with_id("work_busy").with_form(form);
    let types = [
        "input",
        "note",
        "code",
        "model",
        "http_request",
        "browser",
        "branch",
        "workflow",
        "service",
    ];
    for step_type in types {
        let definition = StepDefinition::new(&format!("the_{step_type}"), step_type);
        workflow.steps.push(definition);
    }
    workflow.steps[3].looped = Some("mails".into());
    workflow.tests = Some(TestResults {
        running: Some(1),
        cancelled: Some(2),
        passing: Some(3),
        failing: Some(4),
    });
    let origins = ["WORKFLOW", "RECORD", "TEST", "TRIGGER", "ENDPOINT", "WEBHOOK", "schedule"];
    let statuses = ["COMPLETED", "FAILED", "SKIPPED", "CANCELLED", "TIMED_OUT", "FAILED"];
    for (index, status) in (0_i64..).zip(statuses) {
        let created = NOON - 3_600_000 + index * 60_000;
        let mut finished =
            SimulatedRun::new(Status::new(status), Origin::new(origins[index as usize]))
                .with_id(&format!("run_{index}"))
                .with_times(created, Some(created + 1500), Some(created + 46_500));
        finished.steps = steps(&workflow.steps, &finished.status, created + 1500);
        finished.credits = Some(1.5);
        if status == "SKIPPED" {
            finished.started_at = None;
            finished.steps.clear();
        }
        workflow.runs.push(finished);
    }
    for (index, status) in (0_i64..).zip([Status::Pending, Status::Running, Status::Running]) {
        let created = NOON - 600_000 + index * 60_000;
        let started = (status == Status::Running).then_some(created + 250);
        let open = SimulatedRun::new(status, Origin::new(origins[6 - index as usize]))
            .with_id(&format!("run_open_{index}"))
            .with_times(created, started, None);
        workflow.runs.push(open);
    }
    workflow
}

/// Steps of five seconds each; the last one ends as the run does.
fn steps(definitions: &[StepDefinition], fate: &Status, from: i64) -> Vec<SimulatedStep> {
    let last = definitions.len() as i64 - 1;
    let step = |(index, definition): (i64, &StepDefinition)| {
        let status = match index {
            _ if index == last => fate.clone(),
            4 => Status::Failed,
            6 => Status::Skipped,
            _ => Status::Completed,
        };
        let mut step = SimulatedStep::new(definition, status, from + index * 5000);
        step.end = Some(from + index * 5000 + 5000);
        step.credits = (definition.step_type == "model").then_some(1.5);
        step
    };
    (0..).zip(definitions).map(step).collect()
}

/// A workflow with names that would break a careless exposition, and runs that lack something.
fn hostile(form: Form) -> SimulatedWorkflow {
    let name = "Quote \" backslash \\ line\nbreak {brace} 日本 \u{202E}turned é";
    let key = "step \"one\"\\\n=#";
    let mut workflow = SimulatedWorkflow::new(name)
        .with_id("work_\"hostile\"\\")
        .with_form(form)
        .with_step(key, "made up");
    workflow.version = None;
    workflow.enabled = false;
    let times = [
        ("whole", Some(NOON - 9000), Some(NOON - 8000)),
        ("unstarted", None, Some(NOON - 7000)),
        ("backwards", Some(NOON - 5000), Some(NOON - 6000)),
        ("unended", Some(NOON - 4000), None),
    ];
    for (id, started, ended) in times {
        let mut odd = SimulatedRun::new(Status::Completed, Origin::Workflow)
            .with_id(id)
            .with_times(NOON - 10_000, started, ended);
        odd.steps = steps(&workflow.steps, &Status::Completed, NOON - 9000);
        workflow.runs.push(odd);
    }
    let mut dated = SimulatedRun::new(Status::Failed, Origin::Test).with_id("dated");
    let day = json!("2023-12-24");
    let fields = ["created_at", "started_at", "ended_at", "updated_at"];
    let fields = fields.map(|field| (field.to_owned(), day.clone()));
    dated.tamper = Tamper::Fields(fields.into_iter().collect());
    workflow.runs.push(dated);
    let mut undecodable = SimulatedRun::new(Status::Failed, Origin::Test).with_id("undecodable");
    undecodable.tamper = Tamper::Whole(json!({ "id": "undecodable", "status": { "is": "odd" } }));
    workflow.runs.push(undecodable);
    workflow
}

/// With the values left out that differ each time.
fn normalised(text: &str) -> String {
    let line = |line: &str| {
        let varies = VARYING.iter().any(|family| line.starts_with(family));
        let name = line.find(['{', ' ']).unwrap_or(line.len());
        match line.rsplit_once(' ') {
            _ if line.starts_with("cortex_workflow_exporter_build_info") => {
                format!("{}{{…}} 1\n", &line[..name])
            }
            Some((series, _)) if varies => format!("{series} …\n"),
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// Prometheus' own linter: it exits with 3 when it would have something changed.
fn promtool_approves(text: &str) {
    let mut promtool = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = promtool.stdin.take().expect("it was asked for");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
    assert!(output.status.success(), "{}", output.status);
}
