//! What is known of single runs, for people.

use std::sync::Arc;

use futures::future::BoxFuture;
use maud::{Markup, html};
use reqwest::Url;

use super::page::{HtmlPage, moment};
use crate::model::{AppId, Label, Origin, RunFailure, RunId, RunVersion, WorkflowId};

/// Which run somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunQuery {
    /// The one with this id, of whatever workflow.
    Run(RunId),
    /// The one of this workflow that FAILED last.
    LastFailed(WorkflowId),
}

/// Finds runs; the error says why that cannot be done now.
pub type FindRuns =
    Arc<dyn Fn(RunQuery) -> BoxFuture<'static, Result<Vec<RunView>, String>> + Send + Sync>;

/// What is known of a run; without customers' data. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// The app that it was found in.
    pub app: AppId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The name of that as it came; may be empty.
    pub workflow_name: String,
    /// Its status, or else what is known of it in words.
    pub status: String,
    /// What started it.
    pub origin: Option<Origin>,
    /// When its last attempt began.
    pub started_ms: Option<i64>,
    /// When its last attempt ended.
    pub ended_ms: Option<i64>,
    /// The version of the workflow that ran.
    pub version: Option<RunVersion>,
    /// Why it FAILED.
    pub failure: Option<RunFailure>,
    /// Where people see it.
    pub url: Option<Url>,
}

/// A page of these runs, of which there is one at least; `overview` is the way to the overview.
pub(super) fn page(runs: &[RunView], overview: &str) -> HtmlPage {
    let title = match runs {
        [run] => format!("Run {}: {}", run.id, run.status),
        runs => format!("{} runs with one id", runs.len()),
    };
    let body = html! {
        header {
            h1 { (title) }
            nav { a href=(overview) { "Overview" } }
        }
        main { @for run in runs { (table(run)) } }
    };
    HtmlPage::new(&title, &body)
}

fn table(run: &RunView) -> Markup {
    let name = Label::new(&run.workflow_name);
    let heading = if run.workflow_name.is_empty() { run.workflow.as_str() } else { name.as_str() };
    let time = |ms: Option<i64>| ms.map(moment);
    let rows = [
        ("Run", Some(run.id.to_string())),
        ("Status", Some(run.status.clone())),
        ("Workflow", Some(run.workflow.to_string())),
        ("App", Some(run.app.to_string())),
        ("Origin", run.origin.as_ref().map(|origin| origin.as_str().to_owned())),
        ("Started", time(run.started_ms)),
        ("Ended", time(run.ended_ms)),
        ("Version", run.version.map(|version| version.to_string())),
        ("Step that ended it", run.failure.as_ref().map(|failure| failure.step.to_string())),
        ("Type of that step", run.failure.as_ref().map(|failure| failure.step_type.to_string())),
        ("Class of the error", run.failure.as_ref().map(|failure| failure.error_class.to_string())),
    ];
    html! {
        h2 { (heading) }
        @if let Some(url) = &run.url { p { a href=(url) { "Open this run" } } }
        div.table { table { tbody { @for (name, value) in rows { @if let Some(value) = value {
            tr { th scope="row" { (name) } td.text { (value) } }
        } } } } }
    }
}
