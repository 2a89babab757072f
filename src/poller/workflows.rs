//! Reads the list of workflows.

use std::collections::{BTreeMap, HashSet};

use super::{
    cycle::ReadError,
    pager::{Paged, Pager},
    reader::AppReader,
    schedule::{Activity, Listing},
    unchanged::KnownWorkflows,
};
use crate::{
    api::{Answer, ApiError, Client, Page},
    model::{Anomaly, ReadAt, Status, Workflow},
};

/// How long after a run of it FAILED a workflow is read before others: people who were alerted
/// want to know what happens next.
const RECENTLY_MS: i64 = 10 * 60_000;

/// The list of an app's workflows.
pub struct WorkflowList {
    /// The workflows, deleted ones included.
    pub workflows: Vec<Workflow>,
    /// When its first page was asked for.
    pub read_at: ReadAt,
    /// How many requests it took.
    pub requests: u32,
}

/// Reads the list of an app's workflows to its end; `on_page` sees each page of it. `known` is what
/// an earlier reading left there.
pub async fn list_workflows(
    client: &Client,
    page_size: u32,
    known: &mut KnownWorkflows,
    mut on_page: impl FnMut(&Page<Workflow>),
) -> Result<WorkflowList, ReadError> {
    let mut pager = Pager::new(page_size, page_size, 0);
    // Pages overlap; of what was listed twice, the last one is the latest.
    let mut workflows = BTreeMap::new();
    let (mut first_read_at, mut requests) = (None, 0);
    loop {
        let request = pager.request();
        let answer = client.workflows(request, known.validator(request)).await;
        requests += 1;
        let page = match answer {
            Err(ApiError::TooLarge { .. }) if pager.shrink() => continue,
            Ok(Answer::Changed(page)) => page,
            Ok(Answer::Unchanged { read_at, total }) => {
                match known.unchanged(request, read_at, total) {
                    Some(page) => page,
                    None => continue,
                }
            }
            Err(error) => return Err(error.into()),
        };
        on_page(&page);
        // What ended before the first answer is history.
        let read_at = *first_read_at.get_or_insert(page.read_at);
        let progress = pager.answered(&page.keys, page.total);
        workflows.extend(page.items.iter().map(|it| (it.id.clone(), it.clone())));
        known.read(request, page);
        match progress {
            Paged::More => {}
            Paged::Restarted => {
                workflows.clear();
                known.forget();
            }
            Paged::GivenUp => return Err(ReadError::Moving),
            Paged::Ended => {
                let workflows = workflows.into_values().collect();
                return Ok(WorkflowList { workflows, read_at, requests });
            }
        }
    }
}

impl AppReader {
    /// Reads the list of workflows and records it.
    pub(super) async fn read_workflows(&self) -> Result<Listing, ReadError> {
        let begun_ms = self.clock.steady_ms();
        let mut known = std::mem::take(&mut self.memory().workflows);
        // As often as each workflow is looked at, whatever the hints say.
        known.begin(begun_ms, self.settings.poll.sweep_interval.as_millis() as i64);
        let list = list_workflows(&self.client, self.settings.page_size, &mut known, |page| {
            self.report_undecodable(&page.undecodable, Anomaly::UndecodableWorkflow, "workflows");
        });
        let WorkflowList { workflows, read_at, requests } = list.await?;
        self.ledger.record_workflows(&self.settings.app_id, &workflows, read_at).await?;
        {
            let mut memory = self.memory();
            memory.workflows = known;
            let listed: HashSet<_> = workflows.iter().map(|workflow| &workflow.id).collect();
            memory.settled_pages.retain(|id| listed.contains(id));
        }
        tracing::debug!(
            workflows = workflows.len(),
            milliseconds = self.clock.steady_ms() - begun_ms,
            "Read the list of workflows."
        );
        let there = workflows.into_iter().filter(|workflow| !workflow.deleted);
        let counts = there.map(|workflow| (workflow.id, workflow.runs_count)).collect();
        let limit = i64::from(self.client.rate_limiter().limit());
        let cost_ms = i64::from(requests).saturating_mul(60_000) / limit;
        Ok(Listing { counts, requests, cost_ms })
    }

    /// The workflows to follow, as they were when last read.
    pub(super) fn activity(&self) -> Vec<Activity> {
        let state = self.ledger.state();
        let Some(app) = state.apps.get(&self.settings.app_id) else {
            return Vec::new();
        };
        let since_ms = self.client.now().api_ms - RECENTLY_MS;
        let workflows = app.published().map(|(id, workflow)| Activity {
            id: id.clone(),
            open: !workflow.open.is_empty(),
            failed: workflow.record.last_run_ms.get(&Status::Failed) > Some(&since_ms),
        });
        workflows.collect()
    }
}
