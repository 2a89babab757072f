//! How far the first readings have got, which can take minutes: on standard error, and in words.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    poller::{CycleProgress, PollerStatus},
    telemetry,
};

/// When the first line is logged. Each pause after it is twice as long as the one before.
const FIRST_LINE: Duration = Duration::from_secs(5);

const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How often a bar is drawn.
const REFRESH: Duration = Duration::from_millis(200);

/// Reports on the first cycles of all apps until they have ended: by a bar on a terminal, otherwise by
/// a line in the log now and then. `apps` returns those that are polled now, since a reload replaces
/// them.
pub async fn report(apps: impl Fn() -> Vec<watch::Receiver<PollerStatus>>) {
    let (begun, bar, mut pause) = (Instant::now(), telemetry::progress_bar(), FIRST_LINE);
    loop {
        sleep(if bar.is_some() { REFRESH } else { pause }).await;
        let apps = apps();
        if apps.iter().all(|app| app.borrow().cycles > 0) {
            break;
        }
        let mut sum = CycleProgress { elapsed: begun.elapsed(), ..CycleProgress::default() };
        let mut runs = 0;
        for app in &apps {
            let status = app.borrow();
            sum.workflows += status.progress.workflows;
            sum.read += status.progress.read;
            runs += status.runs_read.load(Relaxed);
        }
        if let Some(bar) = &bar {
            bar.set_length(sum.workflows as u64);
            bar.set_position(sum.read as u64);
            bar.set_message(format!("{runs} runs read{}", rest(&sum)));
        } else {
            let CycleProgress { workflows, read, .. } = sum;
            let seconds_left = sum.remaining().map(|left| left.as_secs());
            tracing::info!(workflows, read, runs, seconds_left, "Reading for the first time.");
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// How far a first cycle has got, for people.
pub(super) fn words(progress: &CycleProgress) -> String {
    let CycleProgress { workflows, read, .. } = progress;
    format!("{read} of {workflows} workflows read{}", rest(progress))
}

fn rest(progress: &CycleProgress) -> String {
    let seconds = |left: Duration| format!(", about {} s left", left.as_secs_f64().ceil());
    progress.remaining().map(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_reload_replaced_is_no_longer_reported_on() {
        let (replaced, ended) = (watch::Sender::default(), watch::Sender::default());
        ended.send_modify(|status: &mut PollerStatus| status.cycles = 1);
        let polled = watch::Sender::new(replaced.subscribe());
        let now = polled.subscribe();
        let mut reporting = std::pin::pin!(report(|| vec![now.borrow().clone()]));
        let minutes = Duration::from_secs(300);
        let early = tokio::time::timeout(minutes, reporting.as_mut()).await;
        assert!(early.is_err(), "the first cycle has not ended");
        polled.send_replace(ended.subscribe());
        let late = tokio::time::timeout(minutes, reporting).await;
        assert!(late.is_ok(), "the first cycle of what is polled now has ended");
    }

    #[test]
    fn the_rest_takes_as_long_as_what_was_read_did() {
        let elapsed = Duration::from_secs(10);
        for (read, workflows, expected) in [
            (0, 0, "0 of 0 workflows read"),
            (0, 80, "0 of 80 workflows read"),
            (20, 80, "20 of 80 workflows read, about 30 s left"),
            (80, 80, "80 of 80 workflows read, about 0 s left"),
        ] {
            assert_eq!(words(&CycleProgress { workflows, read, elapsed }), expected);
        }
    }
}
