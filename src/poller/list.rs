use std::collections::HashMap;

use super::{
    Poller, ReadError,
    pager::{PageInfo, Paged, Pager},
    schedule::{Activity, Listing},
};
use crate::{
    api::ApiError,
    model::{Anomaly, Status, Workflow},
};

/// So long after a run of it FAILED, a workflow is read before others: whoever was woken wants to
/// know how it goes on.
const RECENTLY_MS: i64 = 10 * 60_000;

impl Poller {
    /// Reads the list of workflows, and so finds out which of them are due.
    pub(super) async fn refresh_workflows(&self) {
        let begun_ms = self.clock.steady_ms();
        self.refresh_key();
        let listed = self.list().await;
        if let Err(error) = &listed {
            self.stats().list_failed(error);
        }
        let now_ms = self.clock.steady_ms();
        let seen = self.seen();
        let due = {
            let mut schedule = self.schedule();
            schedule.listed(listed.as_ref().ok(), seen, begun_ms, now_ms);
            let local_ms = self.clock.now_ms();
            schedule.due(now_ms).map(|(id, late_ms)| (id.clone(), local_ms - late_ms)).collect()
        };
        self.ledger.record_due(&self.settings.app_id, due).await;
    }

    async fn list(&self) -> Result<Listing, ReadError> {
        let begun_ms = self.clock.steady_ms();
        let mut pager = Pager::new(self.settings.page_size);
        let mut workflows = Vec::new();
        let (mut first_read_at, mut requests) = (None, 0);
        loop {
            let page = self.client.workflows(pager.request()).await;
            self.heartbeat.beat();
            requests += 1;
            let page = match page {
                Err(ApiError::TooLarge { .. }) if pager.shrink() => continue,
                page => page?,
            };
            self.tell_undecodable(&page.undecodable, Anomaly::UndecodableWorkflow, "workflows");
            // What ended before the first answer is history.
            let read_at = *first_read_at.get_or_insert(self.read_at(page.read_at_ms));
            let ids = page.items.iter().map(|workflow| super::workflow::key(workflow.id.as_str()));
            let keys: Vec<_> = ids.chain(page.undecodable.iter().map(|item| item.key)).collect();
            workflows.extend(page.items);
            match pager.answered(PageInfo { keys: &keys, total: page.total, take: page.take }) {
                Paged::More => {}
                Paged::Restarted => workflows.clear(),
                Paged::GivenUp => return Err(ReadError::Moving),
                Paged::Ended => {
                    let app = &self.settings.app_id;
                    let filter = &self.settings.workflows;
                    self.ledger.record_workflows(app, &workflows, filter, read_at).await?;
                    tracing::debug!(
                        workflows = workflows.len(),
                        milliseconds = self.clock.steady_ms() - begun_ms,
                        "Read the list of workflows."
                    );
                    return Ok(self.listing(&workflows, requests));
                }
            }
        }
    }

    fn listing(&self, workflows: &[Workflow], requests: i64) -> Listing {
        let there = workflows.iter().filter(|workflow| !workflow.deleted);
        let counts: HashMap<_, _> =
            there.map(|workflow| (workflow.id.clone(), workflow.runs_count)).collect();
        let limit = i64::from(self.client.rate_limiter().limit());
        Listing { counts, cost_ms: requests.saturating_mul(60_000) / limit }
    }

    /// The workflows to follow, as they were when last read.
    fn seen(&self) -> Vec<Activity> {
        let state = self.ledger.state();
        let Some(app) = state.apps.get(&self.settings.app_id) else {
            return Vec::new();
        };
        let since_ms = self.client.now_ms() - RECENTLY_MS;
        let workflows = app.published().map(|(id, workflow)| Activity {
            id: id.clone(),
            open: !workflow.open.is_empty(),
            failed: workflow.record.last_run_ms.get(&Status::Failed) > Some(&since_ms),
        });
        workflows.collect()
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
}
