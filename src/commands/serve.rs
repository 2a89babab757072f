use std::sync::Arc;

use super::Failure;
use crate::{app::App, build_info, config::Config, model::SystemClock, shutdown};

/// Polls and serves until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    tracing::info!(
        version = build_info::VERSION,
        revision = build_info::REVISION,
        rustc = build_info::RUSTC,
        "Starting cortex-workflow-exporter."
    );
    let app = App::build(config, Arc::new(SystemClock)).await?;
    app.run(stop).await?;
    tracing::info!("Stopped.");
    Ok(())
}
