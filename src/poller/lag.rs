//! Whether polling keeps up. Logs when that changes, once, with the numbers.

use std::time::Duration;

use super::{app::Poller, estimate::estimate, schedule::Workload};
use crate::config;

/// Whether polling is behind if the most overdue workflow is this late. Less than two intervals are
/// nothing, unless it was behind before: within a cycle, some always wait for others.
fn is_behind(was_behind: bool, lag: Duration, interval: Duration) -> bool {
    lag > if was_behind { interval } else { interval * 2 }
}

/// Checks once per interval. Before the first cycles have ended, everything is overdue; while the
/// API can't be asked, the cycles report that.
pub(super) async fn monitor(pollers: &[Poller]) {
    let Some(first) = pollers.first() else { return };
    let poll = &first.reader.settings.poll;
    let mut was_behind = false;
    let mut ticks = tokio::time::interval(poll.interval);
    loop {
        ticks.tick().await;
        let ended_well = |poller: &Poller| {
            poller.status().borrow().last.as_ref().is_some_and(|cycle| cycle.error.is_none())
        };
        if !pollers.iter().all(ended_well) {
            continue;
        }
        let lags = pollers.iter().map(|it| it.with_schedule(|schedule, now| schedule.lag_ms(now)));
        let lag = Duration::from_millis(lags.max().unwrap_or(0) as u64);
        let behind = is_behind(was_behind, lag, poll.interval);
        if std::mem::replace(&mut was_behind, behind) != behind {
            // A reload may have changed it.
            let limit = first.reader.client.rate_limiter().limit();
            log(behind, &workload(pollers), poll, limit, lag);
        }
    }
}

fn workload(pollers: &[Poller]) -> Workload {
    let mut sum = Workload::default();
    for poller in pollers {
        let workload = poller.with_schedule(|schedule, _| schedule.workload());
        sum.list_requests += workload.list_requests;
        sum.followed += workload.followed;
        sum.open += workload.open;
        sum.uncounted += workload.uncounted;
    }
    sum
}

fn log(behind: bool, workload: &Workload, poll: &config::Poll, limit: u32, lag: Duration) {
    let needed = estimate(workload, poll, limit);
    let requests = needed.requests().round();
    let (workflows, lag_seconds) = (workload.followed, lag.as_secs());
    match behind {
        true if needed.is_stretched(poll) => tracing::warn!(
            workflows,
            needed_per_minute = requests,
            rate_limit = limit,
            lag_seconds,
            interval_seconds = needed.interval.as_secs(),
            sweep_seconds = needed.sweep_interval.as_secs(),
            "More requests are needed than --cortex.rate-limit allows, so a workflow with news is read \
             about every interval_seconds, any other every sweep_seconds. Follow fewer workflows, or \
             raise --poll.interval or --poll.sweep-interval."
        ),
        true => tracing::warn!(
            workflows,
            needed_per_minute = requests,
            rate_limit = limit,
            lag_seconds,
            "Polling has fallen behind, although --cortex.rate-limit would allow for it: there is more to \
             read than usual, or the API is slow."
        ),
        false => tracing::info!(
            workflows,
            needed_per_minute = requests,
            rate_limit = limit,
            "Polling keeps up again."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_behind_and_catching_up_are_reported_once_each() {
        let (mut was_behind, interval) = (false, Duration::from_secs(30));
        let changes = [0, 20, 59, 61, 45, 300, 31, 30, 59, 0, 70].into_iter().filter_map(|lag| {
            let behind = is_behind(was_behind, Duration::from_secs(lag), interval);
            let changed = std::mem::replace(&mut was_behind, behind) != behind;
            changed.then_some((lag, behind))
        });
        assert_eq!(changes.collect::<Vec<_>>(), [(61, true), (30, false), (70, true)]);
    }
}
