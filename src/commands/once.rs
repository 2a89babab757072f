use std::{io::Write, sync::Arc, time::Duration};

use super::Failure;
use crate::{
    app::Core,
    config::{self, Buckets},
    ledger,
    metrics::Encoding,
    model::SystemClock,
    poller::CycleResult,
};

/// Polls once, counting every finished run that is listed, and prints the exposition. Prints
/// nothing if not everything could be read: a part would pass for the whole.
pub async fn once(once: config::Once) -> Result<(), Failure> {
    let counting = ledger::Settings {
        apps: vec![once.cortex.app_id.clone()],
        url: "sqlite::memory:".into(),
        retention: None,
        lookback: None,
        buckets: Buckets::default(),
        hold: false,
    };
    let poll = config::Poll {
        interval: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(300),
    };
    let core =
        Core::build(&once.cortex, poll, once.workflows, counting, Arc::new(SystemClock)).await?;
    let cycle = core.poller.cycle().await;
    let error = cycle.error.unwrap_or_default();
    if cycle.refused {
        return Err(Failure::KeyRejected(error));
    }
    if cycle.result != CycleResult::Success {
        return Err(anyhow::anyhow!("not everything could be read: {error}").into());
    }
    std::io::stdout().write_all(&core.exposition.render(Encoding::Identity).0)?;
    Ok(())
}
