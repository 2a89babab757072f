use std::sync::Arc;

use futures::Stream;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::{
    app::App,
    build_info,
    config::{self, CommandLine, Config},
    model::SystemClock,
};

/// Polls and serves until stopped. A reload reads the files anew.
pub(super) async fn serve(
    config: Config,
    line: CommandLine,
    stop: CancellationToken,
    hangups: impl Stream<Item = ()> + Unpin,
) -> Result<(), Failure> {
    tracing::info!(
        version = build_info::VERSION,
        revision = build_info::REVISION,
        rustc = build_info::RUSTC,
        "Starting cortex-workflow-exporter."
    );
    let load_config = move || config::load(&line).map_err(|errors| errors.to_string());
    // It may wait for the ledger's lock.
    let building = App::build(config, Arc::new(load_config), Arc::new(SystemClock));
    if let Some(app) = stop.run_until_cancelled(building).await {
        app?.run(stop, hangups).await?;
    }
    tracing::info!("Stopped.");
    Ok(())
}
