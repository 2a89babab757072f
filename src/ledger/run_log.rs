//! A line in the log for a run that ended.

use std::time::Duration;

use super::increments::run_seconds;
use crate::{
    config::LoggedRuns,
    model::{AppId, Label, Origin, Run, RunFailure, RunId, RunVersion, Status, WorkflowId},
};

/// An attempt at a run that was counted, to be logged once that is durable. Nothing of it is the
/// customer's.
#[derive(Debug)]
pub(super) struct FinishedRun {
    app: AppId,
    workflow: WorkflowId,
    name: Label,
    id: RunId,
    version: RunVersion,
    status: Status,
    origin: Origin,
    failure: Option<RunFailure>,
    seconds: Option<f64>,
    credits: Option<f64>,
}

impl FinishedRun {
    /// A run of this workflow, if such runs are to be logged.
    pub(super) fn of(
        run: &Run,
        (app, workflow): &(AppId, WorkflowId),
        name: &str,
        logged: LoggedRuns,
    ) -> Option<Self> {
        let is_logged = match logged {
            LoggedRuns::Off => false,
            LoggedRuns::Failed => run.status == Status::Failed,
            LoggedRuns::All => true,
        };
        is_logged.then(|| Self {
            app: app.clone(),
            workflow: workflow.clone(),
            name: Label::new(name),
            id: run.id.clone(),
            version: run.version,
            status: run.status.clone(),
            origin: run.origin.clone(),
            failure: run.failure.clone(),
            seconds: run_seconds(run).ok(),
            credits: run.credits,
        })
    }

    /// Writes the line.
    pub(super) fn log(&self) {
        let failure = self.failure.as_ref();
        let duration = self.seconds.map(Duration::from_secs_f64);
        tracing::info!(
            run_id = %self.id,
            workflow_id = %self.workflow,
            workflow = %self.name,
            app_id = %self.app,
            version = %self.version,
            status = self.status.as_str(),
            origin = self.origin.as_str(),
            step = failure.map(|failure| tracing::field::display(&failure.step)),
            error_class = failure.map(|failure| tracing::field::display(&failure.error_class)),
            duration = duration.map(tracing::field::debug),
            credits = self.credits,
            "A run ended."
        );
    }
}
