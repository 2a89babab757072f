//! The overview for people.

use std::{cmp::Reverse, time::Duration};

use maud::{Markup, html};

use super::page::{HtmlPage, age, words_for};
use crate::{
    build_info,
    model::{AppId, FailedRun, Label, RunFailure, WorkflowId},
};

/// Maximum number of workflows in the table; a longer one is of no use to people, and slow on a
/// phone.
const MAX_ROWS: usize = 200;

/// Maximum number of characters of an error.
const MAX_ERROR: usize = 500;

/// What the landing page shows. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Overview {
    /// When this was true.
    pub now_ms: i64,
    /// The poll interval; a workflow that is further behind is shown as late.
    pub poll_interval: Duration,
    /// Whether another exporter polls, and this one stands by.
    pub stands_by: bool,
    /// All apps.
    pub apps: Vec<AppView>,
    /// All workflows, in any order.
    pub workflows: Vec<WorkflowView>,
}

/// The polls of an app.
#[derive(Clone, Debug)]
pub struct AppView {
    /// Its id.
    pub id: AppId,
    /// Whether the last poll cycle succeeded; `None` before the first one has ended.
    pub up: Option<bool>,
    /// How far the first one has got.
    pub first_poll: String,
    /// The end of the last complete, successful cycle.
    pub last_success_ms: Option<i64>,
    /// What went wrong in the last cycle, if something did; without secrets and customers' data.
    pub last_error: Option<String>,
}

/// The state of a workflow.
#[derive(Clone, Debug)]
pub struct WorkflowView {
    /// Its id.
    pub id: WorkflowId,
    /// Its name as it came; may be empty.
    pub name: String,
    /// Its runs now pending or running.
    pub active_runs: u64,
    /// When it was last read; `None` if not yet.
    pub last_poll_ms: Option<i64>,
    /// The run that failed last, if one is known.
    pub last_failed: Option<FailedRun>,
    /// When the latest failed run ended, as far as that is known, if one did.
    pub last_failure_ms: Option<i64>,
    /// How many of its latest finished runs failed in a row.
    pub consecutive_failures: u64,
    /// How far it is behind the time when it was due to be read, in milliseconds.
    pub lag_ms: i64,
}

/// The condition of a workflow; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Failing,
    Late,
    NotYetRead,
    Fine,
}

impl Condition {
    fn of(workflow: &WorkflowView, poll_interval: Duration) -> Self {
        let late = i128::from(workflow.lag_ms) > poll_interval.as_millis() as i128;
        match workflow {
            workflow if workflow.consecutive_failures > 0 => Self::Failing,
            _ if late => Self::Late,
            workflow if workflow.last_poll_ms.is_none() => Self::NotYetRead,
            _ => Self::Fine,
        }
    }

    fn class_and_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Failing => ("bad", "✖ failing"),
            Self::Late => ("warn", "▲ late"),
            Self::NotYetRead => ("", "… not yet read"),
            Self::Fine => ("", "✔ fine"),
        }
    }
}

/// The page; `telemetry_path` is where the metrics are.
pub(super) fn page(overview: &Overview, telemetry_path: &str) -> HtmlPage {
    let mut rows: Vec<_> = overview
        .workflows
        .iter()
        .map(|workflow| (Condition::of(workflow, overview.poll_interval), workflow))
        .collect();
    rows.sort_by_key(|(condition, workflow)| {
        let failures = Reverse(workflow.consecutive_failures);
        let lag = Reverse(workflow.lag_ms);
        (*condition, failures, lag, &workflow.name, &workflow.id)
    });
    let urgent = rows.iter().filter(|(condition, _)| *condition <= Condition::Late).count();
    let unreachable = overview.apps.iter().any(|app| app.up == Some(false));
    let title = match urgent {
        _ if unreachable => "✖ API unreachable".into(),
        0 => "Cortex workflows".into(),
        urgent => format!("▲ {urgent} of {} Cortex workflows", rows.len()),
    };
    let body = html! {
        header {
            h1 { "Cortex workflow exporter" }
            p { "Version " (build_info::VERSION) " (" (build_info::REVISION) "), polling every "
                (humantime::format_duration(overview.poll_interval)) "." }
            // Relative, so that they work behind a proxy that adds a prefix.
            nav {
                a href=(relative(telemetry_path)) { "Metrics" } " "
                a href="-/healthy" { "Health" } " "
                a href="-/ready" { "Readiness" }
            }
        }
        main {
            @if overview.stands_by {
                p { "Stands by: another exporter leads, polls and shows the workflows. This one \
                     takes over when that ends or falls silent." }
            } @else {
                (apps(overview))
                (workflows(&rows, overview.now_ms, urgent))
            }
        }
    };
    HtmlPage::new(&title, &body)
}

/// Where a run failed and how, in a line.
fn cause(FailedRun { version, failure, .. }: &FailedRun) -> Markup {
    let RunFailure { step, error_class, .. } = failure;
    html! { "step " (step) ", error " (error_class) ", version " (version) }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn apps(overview: &Overview) -> Markup {
    html! {
        h2 { "Cortex API" }
        div.table { table {
            thead { tr { th { "App" } th { "API" } th { "Last success" } th { "Last error" } } }
            tbody { @for app in &overview.apps {
                @let (class, words) = match app.up {
                    None => ("", &*format!("… first poll under way: {}", app.first_poll)),
                    Some(true) => ("", "✔ reachable"),
                    Some(false) => ("bad", "✖ last poll failed"),
                };
                tr class=(class) {
                    th scope="row" { (app.id) }
                    td { (words) }
                    td { (age(overview.now_ms, app.last_success_ms)) }
                    td.text { @match &app.last_error {
                        Some(error) => { (error.chars().take(MAX_ERROR).collect::<String>()) }
                        None => { "none" }
                    } }
                }
            } }
        } }
    }
}

fn workflows(rows: &[(Condition, &WorkflowView)], now_ms: i64, urgent: usize) -> Markup {
    let hidden = rows.len().saturating_sub(MAX_ROWS);
    html! {
        h2 { "Workflows" }
        p {
            @if rows.is_empty() { "None is known yet." }
            @else if urgent == 0 { "All " (rows.len()) " are fine or not yet read." }
            @else { (urgent) " of " (rows.len()) " are failing or late; they come first." }
        }
        @if !rows.is_empty() { div.table { table {
            thead { tr {
                th { "State" } th { "Failures in a row" } th { "Last failure" } th { "Workflow" }
                th { "Active runs" } th { "Last poll" } th { "Lag" }
            } }
            tbody { @for (condition, workflow) in rows.iter().take(MAX_ROWS) {
                (row(*condition, workflow, now_ms))
            } }
        } } }
        @if hidden > 0 {
            p { "… and " (hidden) " more, less urgent than these " (MAX_ROWS)
                ". All of them are in the metrics." }
        }
    }
}

fn row(condition: Condition, workflow: &WorkflowView, now_ms: i64) -> Markup {
    let (class, words) = condition.class_and_words();
    let name = Label::new(&workflow.name);
    let cut = name.as_str().len() < workflow.name.len();
    html! {
        tr class=(class) {
            td { (words) }
            td { (workflow.consecutive_failures) }
            td {
                (age(now_ms, workflow.last_failure_ms))
                @if let Some(run) = &workflow.last_failed {
                    br; small { a href={ "runs/" (run.id.in_url()) } { (run.id) } }
                    br; (cause(run))
                }
            }
            th.text scope="row" {
                @if !workflow.name.is_empty() { (name) @if cut { "…" } br; }
                small { (workflow.id) }
            }
            td { (workflow.active_runs) }
            td { (age(now_ms, workflow.last_poll_ms)) }
            td { (words_for(workflow.lag_ms)) }
        }
    }
}

#[cfg(test)]
mod tests;
