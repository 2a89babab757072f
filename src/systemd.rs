//! Notifies systemd that the exporter serves, that it is well, that it stops. Started by anything
//! else, it notifies nobody. The protocol is in the manual page `sd_notify(3)`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Notifies that the exporter serves; then, if the unit has a watchdog, that it is alive for as
/// long as it is healthy; and once `stop` is cancelled, that it stops.
pub async fn notify(healthy: impl Fn() -> Result<(), String>, stop: CancellationToken) {
    send(&NotifyState::Ready);
    // The manual recommends half of the requested interval. Zero means no watchdog.
    let period = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
    if let Some(period) = period.filter(|period| !period.is_zero()) {
        let alive = || send(&NotifyState::Watchdog);
        stop.run_until_cancelled(answer_watchdog(period, healthy, alive)).await;
    }
    stop.cancelled().await;
    send(&NotifyState::Stopping);
}

/// Says `alive` once in each period in which the exporter is healthy, forever.
async fn answer_watchdog(
    period: Duration,
    healthy: impl Fn() -> Result<(), String>,
    alive: impl Fn(),
) {
    let mut periods = interval(period);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_healthy = true;
    loop {
        periods.tick().await;
        let verdict = healthy();
        match &verdict {
            Ok(()) => alive(),
            Err(why) if was_healthy => {
                warn!(%why, "Not healthy: systemd will restart the exporter if this lasts.");
            }
            Err(_) => {}
        }
        if verdict.is_ok() && !was_healthy {
            info!("Healthy again.");
        }
        was_healthy = verdict.is_ok();
    }
}

fn send(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(%error, %state, "Cannot notify systemd; is NOTIFY_SOCKET set by hand?");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    /// How often the watchdog is answered within ten periods, of which these are not healthy ones.
    async fn answers(is_ill: impl Fn(u32) -> bool) -> u32 {
        let (period, asked, answered) = (Duration::from_secs(30), Cell::new(0), Cell::new(0));
        let healthy = || {
            asked.set(asked.get() + 1);
            if is_ill(asked.get()) { Err("the poll loop hangs".into()) } else { Ok(()) }
        };
        let alive = || answered.set(answered.get() + 1);
        let forever = answer_watchdog(period, healthy, alive);
        let ended = timeout(period * 9 + Duration::from_secs(1), forever).await;
        assert!(ended.is_err(), "it continues for as long as the exporter runs");
        assert_eq!(asked.get(), 10);
        answered.get()
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_answered_exactly_while_the_exporter_is_healthy() {
        assert_eq!(answers(|_| false).await, 10);
        assert_eq!(answers(|_| true).await, 0);
        assert_eq!(answers(|period| (3..=5).contains(&period)).await, 7);
    }
}
