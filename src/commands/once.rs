use std::sync::Arc;

use futures::FutureExt as _;

use super::{failure::Failure, output::print};
use crate::{
    app::{self, Core},
    config::{Config, LoggedRuns},
    ledger,
    model::SystemClock,
    poller::{CycleResult, Poller},
};

/// Polls once, counting every finished run that is listed, and prints the exposition. Prints
/// nothing if not everything could be read: a part would pass for the whole.
pub(super) async fn once(config: Config) -> Result<(), Failure> {
    let settings = ledger::Settings {
        url: "sqlite::memory:".into(),
        retention: None,
        lookback: None,
        max_series: usize::MAX,
        hold: false,
        log_runs: LoggedRuns::Off,
        ..app::ledger_settings(&config)
    };
    let core = Core::build(&config, settings, Arc::new(SystemClock)).await?;
    let reporting = app::report_progress(|| core.pollers().iter().map(Poller::status).collect());
    tokio::select! {
        read = read_all(core.pollers()) => read?,
        // It may notice the end first.
        () = reporting.then(|()| std::future::pending()) => {}
    }
    Ok(print(&core.exposition.text())?)
}

async fn read_all(pollers: &[Poller]) -> Result<(), Failure> {
    for poller in pollers {
        let cycle = poller.cycle().await;
        let error = cycle.error.unwrap_or_default();
        if cycle.rejected {
            return Err(Failure::KeyRejected(error));
        }
        if cycle.result != CycleResult::Success {
            return Err(anyhow::anyhow!("not everything could be read: {error}").into());
        }
    }
    Ok(())
}
