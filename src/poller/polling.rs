//! The poll loop: all apps of the process on one budget.

use std::time::Duration;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    Poller, lag,
    schedule::{Begun, Policy},
    watchdog::Watchdog,
};
use crate::model::WorkflowId;

/// So many lists and workflows are read at once, so that an API that takes seconds for an answer
/// can be asked hundreds of times a minute.
const AT_ONCE: usize = 16;

/// Of so many readings, one goes to whatever is most overdue, so that nobody starves while others
/// are more urgent.
pub(super) const TURNS: usize = 4;

/// The loop looks around at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The pollers of all apps at work together. What is most urgent in any of them is read next, never
/// one workflow twice at a time.
pub struct Polling {
    pollers: Vec<Poller>,
    watchdog: Watchdog,
}

/// What to do next.
enum Job {
    /// Read the list of workflows.
    List,
    /// Read a workflow.
    Workflow(WorkflowId, Begun),
}

impl Polling {
    /// All of these must share one budget.
    pub fn new(pollers: Vec<Poller>) -> Self {
        let watchdog = Watchdog::of(&pollers);
        Self { pollers, watchdog }
    }

    /// Tells whether it advances.
    pub fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    /// Polls until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let polling = drive(&self.pollers, || false);
        let both = async { tokio::join!(polling, lag::tell(&self.pollers)) };
        stop.run_until_cancelled(both).await;
    }
}

/// Reads whatever is due until it is enough. Each thing is begun only when the budget has nobody
/// waiting, so that what is most urgent is decided as late as possible.
pub(super) async fn drive(pollers: &[Poller], enough: impl Fn() -> bool) {
    let mut flying: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut turn = 0;
    while !enough() {
        let room = flying.len() < AT_ONCE;
        let policy = if turn % TURNS == TURNS - 1 { Policy::MostOverdue } else { Policy::Urgent };
        // Only if there is room: what is chosen counts as begun.
        if room && let Some((poller, job)) = next(pollers, policy) {
            turn += usize::from(matches!(job, Job::Workflow(..)));
            flying.push(poller.perform(job).boxed());
            tokio::select! {
                biased;
                Some(()) = flying.next() => {}
                () = poller.client.rate_limiter().until_idle() => {}
            }
            continue;
        }
        let until_list = if room { sleep_until_list(pollers) } else { LONGEST_SLEEP };
        tokio::select! {
            Some(()) = flying.next(), if !flying.is_empty() => {}
            () = tokio::time::sleep(until_list) => {}
        }
    }
}

/// What is most urgent in all apps: a list that is due comes first, since it tells what else is.
fn next(pollers: &[Poller], policy: Policy) -> Option<(&Poller, Job)> {
    let mut due = in_turn(pollers).filter(|poller| {
        let due_ms = poller.schedule().list_due_ms();
        due_ms.is_some_and(|due_ms| due_ms <= poller.clock.steady_ms())
    });
    if let Some(poller) = due.next() {
        poller.schedule().begin_list(poller.clock.steady_ms());
        return Some((poller, Job::List));
    }
    let most_urgent = pollers.iter().filter_map(|poller| {
        let schedule = poller.schedule();
        let (priority, id) = schedule.next(policy, poller.clock.steady_ms())?;
        Some((priority, poller, id.clone()))
    });
    let (_, poller, id) = most_urgent.max_by_key(|(priority, ..)| *priority)?;
    let begun = poller.schedule().begin(&id, poller.clock.steady_ms())?;
    Some((poller, Job::Workflow(id, begun)))
}

/// The apps whose turn has come. Which app shows a workflow that several list must not depend on whose
/// answer comes first. So an app that the ledger doesn't know yet is only read once those before it
/// are known, or have been tried.
fn in_turn(pollers: &[Poller]) -> impl Iterator<Item = &Poller> {
    let tried = |poller: &Poller| poller.is_met() || poller.status.borrow().cycles > 0;
    let untried = pollers.iter().position(|poller| !tried(poller)).unwrap_or(pollers.len());
    let in_turn = move |(at, poller): &(usize, &Poller)| *at <= untried || poller.is_met();
    pollers.iter().enumerate().filter(in_turn).map(|(_, poller)| poller)
}

fn sleep_until_list(pollers: &[Poller]) -> Duration {
    let left = in_turn(pollers).filter_map(|poller| {
        let left_ms = poller.schedule().list_due_ms()? - poller.clock.steady_ms();
        Some(Duration::from_millis(left_ms.max(0) as u64))
    });
    left.min().map_or(LONGEST_SLEEP, |left| left.min(LONGEST_SLEEP))
}

impl Poller {
    /// Whether the ledger knows the app.
    fn is_met(&self) -> bool {
        let state = self.ledger.state();
        let app = state.apps.get(&self.settings.app_id);
        app.is_some_and(|app| app.record.cold_start_ms.is_some())
    }

    async fn perform(&self, job: Job) {
        let _at_work = self.heartbeat.at_work();
        match job {
            Job::List => self.refresh_workflows().await,
            Job::Workflow(id, begun) => self.poll_workflow(&id, begun).await,
        }
        let can_read_any = self.schedule().can_read_any();
        if self.stats().has_given_up(can_read_any) {
            let left_out = self.schedule().break_off();
            self.stats().left_out(left_out);
        }
        let ended = self.schedule().end_cycle();
        if let Some(begun_ms) = ended {
            self.end_cycle(begun_ms).await;
        }
    }

    async fn poll_workflow(&self, id: &WorkflowId, begun: Begun) {
        let read = self.read_workflow(id, begun.told).await;
        match &read {
            Ok(_) => self.stats().read(),
            Err(error) => {
                tracing::debug!(workflow_id = %id, %error, "A workflow could not be read.");
                self.stats().failed(error, &format!("workflow {id}"));
            }
        }
        self.schedule().ended(id, begun, read.ok(), self.clock.steady_ms());
    }
}
