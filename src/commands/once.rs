use std::{io::Write, sync::Arc, time::Duration};

use super::Failure;
use crate::{app::Core, config, ledger, model::SystemClock, poller::CycleResult};

/// Polls once, counting every finished run that is listed, and prints the exposition. Prints
/// nothing if not everything could be read: a part would pass for the whole.
pub async fn once(once: config::Once) -> Result<(), Failure> {
    let counting = ledger::Settings {
        apps: once.apps.iter().map(|app| app.cortex.app_id.clone()).collect(),
        url: "sqlite::memory:".into(),
        retention: None,
        lookback: None,
        buckets: once.buckets,
        max_series: usize::MAX,
        hold: false,
    };
    let poll = config::Poll {
        interval: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(300),
    };
    let clock = Arc::new(SystemClock);
    let (apps, limit, labels) = (&once.apps, once.rate_limit, &once.labels);
    let core = Core::build(apps, limit, &poll, counting, labels, clock).await?;
    for poller in core.pollers() {
        let cycle = poller.cycle().await;
        let error = cycle.error.unwrap_or_default();
        if cycle.refused {
            return Err(Failure::KeyRejected(error));
        }
        if cycle.result != CycleResult::Success {
            return Err(anyhow::anyhow!("not everything could be read: {error}").into());
        }
    }
    std::io::stdout().write_all(core.exposition.text().as_bytes())?;
    Ok(())
}
