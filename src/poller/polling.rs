//! The poll loop: all apps of the process on one rate limit.

use std::time::Duration;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    app::{Job, Poller},
    cycle::Cycle,
    lag,
    schedule::{MAX_CONCURRENT, Policy, Schedule},
    watchdog::Watchdog,
};

/// The maximum time between two decisions on what to do next.
const MAX_SLEEP: Duration = Duration::from_secs(10);

/// The pollers of all apps at work together. What is most urgent in any of them is read next, never
/// one workflow twice at a time.
pub struct Polling {
    pollers: Vec<Poller>,
}

impl Polling {
    /// All of these must share one ledger and one rate limiter.
    pub fn new(pollers: Vec<Poller>) -> Self {
        Self { pollers }
    }

    /// What notices if it no longer advances.
    pub fn watchdog(&self) -> Watchdog {
        Watchdog::new(self.pollers.iter().map(Poller::heartbeat).collect())
    }

    /// Polls while this process leads, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.lead().await;
            }
        })
        .await;
    }

    /// Waits until this process leads, and polls until it no longer does. What is under way then is
    /// given up; the ledger would not take it.
    async fn lead(&self) {
        let Some(first) = self.pollers.first() else { return std::future::pending().await };
        let leadership = first.reader.ledger.leadership();
        if !leadership.is_held() {
            self.pollers.iter().for_each(Poller::stand_by);
        }
        leadership.gained().await;
        self.pollers.iter().for_each(Poller::start_anew);
        tokio::select! {
            () = leadership.lost() => {}
            ((), ()) = async {
                tokio::join!(drive(&self.pollers, || false), lag::monitor(&self.pollers))
            } => {}
        }
    }
}

impl Poller {
    /// Reads the list of workflows and all that is due, once.
    ///
    /// # Panics
    ///
    /// Never: a cycle leaves a record of how it ended.
    pub async fn cycle(&self) -> Cycle {
        let status = self.status();
        let before = status.borrow().cycles;
        self.with_schedule(Schedule::restart);
        drive(std::slice::from_ref(self), || status.borrow().cycles > before).await;
        status.borrow().last.clone().expect("a cycle has ended")
    }
}

/// Reads whatever is due until it is enough. Each thing is begun only when no request waits for the
/// rate limiter, so that what is most urgent is decided as late as possible.
async fn drive(pollers: &[Poller], enough: impl Fn() -> bool) {
    let mut running: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut turn = 0;
    while !enough() {
        let room = running.len() < MAX_CONCURRENT;
        // Only if there is room: what is chosen counts as begun.
        if room && let Some((poller, job)) = next(pollers, Policy::of_turn(turn)) {
            turn += usize::from(matches!(job, Job::Workflow(..)));
            running.push(poller.perform(job).boxed());
            tokio::select! {
                biased;
                Some(()) = running.next() => {}
                () = poller.reader.client.rate_limiter().until_idle() => {}
            }
            continue;
        }
        let until_list = if room { sleep_until_list(pollers) } else { MAX_SLEEP };
        tokio::select! {
            Some(()) = running.next(), if !running.is_empty() => {}
            () = tokio::time::sleep(until_list) => {}
        }
    }
}

/// What is most urgent in all apps: a list that is due comes first, since it shows what else is.
fn next(pollers: &[Poller], policy: Policy) -> Option<(&Poller, Job)> {
    let list = in_turn(pollers).find_map(|poller| Some((poller, poller.begin_list()?)));
    list.or_else(|| {
        let queued = pollers.iter().filter_map(|it| Some((it.next_workflow(policy)?, it)));
        let ((_, id), poller) = queued.max_by_key(|((priority, _), _)| *priority)?;
        Some((poller, poller.begin_workflow(id)?))
    })
}

/// The apps whose turn has come. Which app shows a workflow that several list must not depend on
/// whose answer comes first. So an app that the ledger doesn't know yet is only read once those
/// before it are known, or have been tried.
fn in_turn(pollers: &[Poller]) -> impl Iterator<Item = &Poller> {
    let tried = |poller: &Poller| poller.is_known() || poller.status().borrow().cycles > 0;
    let untried = pollers.iter().position(|poller| !tried(poller)).unwrap_or(pollers.len());
    let in_turn = move |(at, poller): &(usize, &Poller)| *at <= untried || poller.is_known();
    pollers.iter().enumerate().filter(in_turn).map(|(_, poller)| poller)
}

fn sleep_until_list(pollers: &[Poller]) -> Duration {
    let left = in_turn(pollers).filter_map(|poller| {
        poller.with_schedule(|schedule, now_ms| {
            Some(Duration::from_millis((schedule.list_due_ms()? - now_ms).max(0) as u64))
        })
    });
    left.min().map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP))
}
