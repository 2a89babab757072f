use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    CycleResult, Poller, ReadError, Status,
    pager::{Facts, Paged, Pager},
};
use crate::{
    api::ApiError,
    model::{Anomaly, Workflow, WorkflowId},
};

/// How a cycle ended.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// How much of it could be read.
    pub result: CycleResult,
    /// Whether the API refused the key.
    pub refused: bool,
    /// What went wrong first.
    pub error: Option<String>,
}

/// So many workflows are read at once, so that a slow API doesn't make a cycle long.
const AT_ONCE: usize = 8;

/// After so many failures in a row the API is taken to be down until the next cycle.
const DOWN_AFTER: u32 = 5;

/// What the readings of a cycle's workflows came to.
#[derive(Default)]
struct Tally {
    read: AtomicUsize,
    failed: AtomicUsize,
    failed_in_a_row: AtomicU32,
    refused: AtomicBool,
    throttled: AtomicBool,
    left_out: AtomicUsize,
    error: std::sync::OnceLock<String>,
}

impl Poller {
    /// Reads all that is due, once.
    pub async fn cycle(&self) -> Cycle {
        let begun = Instant::now();
        let tally = Tally::default();
        let listed = self.list().await;
        match &listed {
            Ok(_) => {}
            Err(error) => tally.failed(error, "the list of workflows"),
        }
        if !tally.refused.load(Relaxed) {
            let due = self.due(listed.as_deref().unwrap_or_default());
            let reading = |(id, few_runs)| self.read_one(id, few_runs, &tally);
            stream::iter(due).map(reading).buffer_unordered(AT_ONCE).collect::<()>().await;
        }
        let whole = tally.failed.load(Relaxed) == 0 && tally.left_out.load(Relaxed) == 0;
        let ended = self.ledger.end_cycle(&self.settings.app_id, whole, self.now()).await;
        if let Err(error) = ended {
            tally.failed(&error.into(), "the end of the cycle");
        }
        self.end(tally, begun)
    }

    /// Reads the list of workflows.
    async fn list(&self) -> Result<Vec<Workflow>, ReadError> {
        let begun = self.clock.now_ms();
        self.refresh_key();
        let mut pager = Pager::new(self.settings.page_size);
        let mut workflows = Vec::new();
        let mut first_read_at = None;
        loop {
            let page = match self.client.workflows(pager.request()).await {
                Err(ApiError::TooLarge { .. }) if pager.shrink() => continue,
                page => page?,
            };
            self.tell_undecodable(&page.undecodable, Anomaly::UndecodableWorkflow, "workflows");
            // What ended before the first answer is history.
            let read_at = *first_read_at.get_or_insert(self.read_at(page.read_at_ms));
            let ids = page.items.iter().map(|workflow| super::workflow::key(workflow.id.as_str()));
            let keys: Vec<_> = ids.chain(page.undecodable.iter().map(|item| item.key)).collect();
            workflows.extend(page.items);
            match pager.answered(Facts { keys: &keys, total: page.total, take: page.take }) {
                Paged::More => {}
                Paged::Restarted => workflows.clear(),
                Paged::GivenUp => return Err(ReadError::Moving),
                Paged::Ended => {
                    let app = &self.settings.app_id;
                    let filter = &self.settings.workflows;
                    self.ledger.record_workflows(app, &workflows, filter, read_at).await?;
                    tracing::debug!(
                        workflows = workflows.len(),
                        milliseconds = self.clock.now_ms() - begun,
                        "Read the list of workflows."
                    );
                    return Ok(workflows);
                }
            }
        }
    }

    /// Where there is no usable key any more, the former one stays in use.
    fn refresh_key(&self) {
        let error = match self.client.refresh_key() {
            Ok(true) => {
                tracing::info!("The API key was changed; the new one is used from now on.");
                None
            }
            Ok(false) => None,
            Err(error) => Some(error.to_string()),
        };
        let before = std::mem::replace(&mut self.memory().key_error, error.clone());
        if let Some(error) = error.filter(|error| before.as_ref() != Some(error)) {
            tracing::warn!(error, "There is no usable API key; the former one stays in use.");
        }
    }

    /// The workflows to read, and whether so few runs are told of that reading all of them is
    /// cheapest. The longest unread ones come first.
    fn due(&self, listed: &[Workflow]) -> Vec<(WorkflowId, bool)> {
        let state = self.ledger.state();
        let Some(app) = state.apps.get(&self.settings.app_id) else {
            return Vec::new();
        };
        let few = |id: &WorkflowId| {
            let workflow = listed.iter().find(|workflow| workflow.id == *id);
            let count = workflow.and_then(|workflow| workflow.runs_count);
            count.is_some_and(|count| count < u64::from(self.settings.page_size))
        };
        let mut due: Vec<_> = app
            .published()
            .map(|(id, workflow)| {
                let few_runs = workflow.record.first_reading && few(id);
                (workflow.record.polled_ms, (id.clone(), few_runs))
            })
            .collect();
        due.sort_by_key(|(polled_ms, _)| *polled_ms);
        due.into_iter().map(|(_, workflow)| workflow).collect()
    }

    async fn read_one(&self, id: WorkflowId, few_runs: bool, tally: &Tally) {
        if tally.given_up() {
            tally.left_out.fetch_add(1, Relaxed);
            return;
        }
        match self.read_workflow(&id, few_runs).await {
            Ok(()) => {
                tally.read.fetch_add(1, Relaxed);
                tally.failed_in_a_row.store(0, Relaxed);
            }
            Err(error) => {
                tracing::debug!(workflow_id = %id, %error, "A workflow could not be read.");
                tally.failed(&error, &format!("workflow {id}"));
            }
        }
    }

    /// Tells how the cycle went: in the metrics always, in the log when it went otherwise than the
    /// one before.
    fn end(&self, tally: Tally, begun: Instant) -> Cycle {
        let (read, failed) = (tally.read.into_inner(), tally.failed.into_inner());
        let left_out = tally.left_out.into_inner();
        let result = match (failed + left_out, read) {
            (0, _) => CycleResult::Success,
            (_, 0) => CycleResult::Failure,
            (_, _) => CycleResult::Partial,
        };
        let (refused, error) = (tally.refused.into_inner(), tally.error.into_inner());
        let cycle = Cycle { result, refused, error };
        let seconds = begun.elapsed().as_secs_f64();
        self.metrics.cycle_ended(&self.settings.app_id, result, seconds);
        let before = self.status.borrow().clone();
        let app_id = self.settings.app_id.as_str();
        match (&cycle.error, &before.last) {
            (Some(error), last) if last.as_ref().is_none_or(|last| last.error != cycle.error) => {
                tracing::warn!(
                    app_id,
                    result = result.as_str(),
                    error,
                    failed,
                    left_out,
                    "A poll cycle could not read everything; what was published stays, and it is \
                     tried again."
                );
            }
            (None, Some(Cycle { error: Some(_), .. })) => {
                tracing::info!(app_id, workflows = read, "Poll cycles succeed again.");
            }
            (None, None) => {
                tracing::info!(
                    app_id,
                    workflows = read,
                    seconds,
                    "The first poll cycle succeeded."
                );
            }
            _ => tracing::debug!(app_id, result = result.as_str(), seconds, "A poll cycle ended."),
        }
        self.status.send_replace(Status { cycles: before.cycles + 1, last: Some(cycle.clone()) });
        cycle
    }
}

impl Tally {
    /// Whether to read nothing more in this cycle.
    fn given_up(&self) -> bool {
        self.refused.load(Relaxed)
            || self.throttled.load(Relaxed)
            || self.failed_in_a_row.load(Relaxed) >= DOWN_AFTER
    }

    fn failed(&self, error: &ReadError, place: &str) {
        self.failed.fetch_add(1, Relaxed);
        match error {
            ReadError::Api(error) if error.is_auth() => self.refused.store(true, Relaxed),
            // It was asked too often four times, with a pause after each.
            ReadError::Api(ApiError::Throttled { .. }) => self.throttled.store(true, Relaxed),
            ReadError::Api(_) | ReadError::Ledger(_) => {
                self.failed_in_a_row.fetch_add(1, Relaxed);
            }
            ReadError::Moving | ReadError::Missing => {}
        }
        self.error.get_or_init(|| format!("{place}: {error}"));
    }
}
