//! What people are shown of single runs.

use super::view::View;
use crate::{
    http::{RunQuery, RunView},
    ledger::{RunPhase, RunRecord, WorkflowState},
    model::{AppId, FailedRun, RunId, Status, WorkflowId},
};

impl View {
    /// The runs that somebody asks for; the error says why they can't be looked up now.
    pub(super) async fn runs(&self, query: RunQuery) -> Result<Vec<RunView>, String> {
        let id = match &query {
            RunQuery::Run(id) => Some(id),
            RunQuery::LastFailed(_) => None,
        };
        let known = self.ledger.look_up(id).await;
        let (state, records) = known.ok_or("the ledger is busy or out of reach")?;
        let run_url = self.links.run_url();
        let mut runs = Vec::new();
        for (app, state) in &state.apps {
            let followed = state.workflows.iter().filter(|(_, it)| it.record.followed);
            for (workflow, state) in followed {
                let found = match &query {
                    RunQuery::Run(run) => {
                        let record = records.get(&(app.clone(), workflow.clone()));
                        Found::of(state, run, record)
                    }
                    RunQuery::LastFailed(wanted) if wanted == workflow => Found::last_failed(state),
                    RunQuery::LastFailed(_) => None,
                };
                runs.extend(found.map(|found| {
                    let url = run_url.as_ref().map(|url| url.of(app, workflow, found.id));
                    RunView { url, ..found.view(app, workflow, state) }
                }));
            }
        }
        Ok(runs)
    }
}

/// What the ledger knows of a run: one of these at least.
struct Found<'a> {
    id: &'a RunId,
    record: Option<&'a RunRecord>,
    failed: Option<&'a FailedRun>,
}

impl<'a> Found<'a> {
    /// The run of this workflow that FAILED last.
    fn last_failed(workflow: &'a WorkflowState) -> Option<Self> {
        let failed = workflow.record.last_failed.as_ref()?;
        Some(Self { id: &failed.id, record: None, failed: Some(failed) })
    }

    /// The run of this id; `record` is what is remembered of it.
    fn of(
        workflow: &'a WorkflowState,
        id: &'a RunId,
        record: Option<&'a RunRecord>,
    ) -> Option<Self> {
        let is_latest = |failed: &&FailedRun| match record {
            None => true,
            // Otherwise it was replayed since.
            Some(record) => {
                record.phase == RunPhase::Finished && record.started_ms <= failed.started_ms
            }
        };
        let failed = workflow.record.last_failed.as_ref();
        let failed = failed.filter(|failed| failed.id == *id).filter(is_latest);
        (record.is_some() || failed.is_some()).then_some(Self { id, record, failed })
    }

    /// Without the address.
    fn view(&self, app: &AppId, workflow: &WorkflowId, state: &WorkflowState) -> RunView {
        let open = self.record.and_then(|record| match &record.phase {
            RunPhase::Open(open) => Some(open),
            RunPhase::Finished | RunPhase::Vanished => None,
        });
        let status = match self.record.map(|record| &record.phase) {
            _ if self.failed.is_some() => Status::Failed.as_str(),
            Some(RunPhase::Open(open)) => open.status.as_str(),
            Some(RunPhase::Vanished) => "no longer known to the API",
            Some(RunPhase::Finished) | None => "finished",
        };
        let origin = self.failed.map(|failed| &failed.origin).or(open.map(|open| &open.origin));
        // What a replay has not yet changed is about the attempt before.
        let ended = self.record.filter(|_| open.is_none()).and_then(RunRecord::ended_ms);
        RunView {
            id: self.id.clone(),
            app: app.clone(),
            workflow: workflow.clone(),
            workflow_name: state.record.listed.name.clone(),
            status: status.to_owned(),
            origin: origin.cloned(),
            started_ms: match (self.record, self.failed) {
                (Some(record), _) => record.started_ms,
                (None, failed) => failed.and_then(|failed| failed.started_ms),
            },
            version: self.failed.map(|failed| failed.version),
            failure: self.failed.map(|failed| failed.failure.clone()),
            ended_ms: self.failed.map(|failed| failed.ended_ms).or(ended),
            url: None,
        }
    }
}
