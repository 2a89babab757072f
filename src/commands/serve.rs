use std::sync::Arc;

use super::Failure;
use crate::{
    app::App,
    build_info,
    config::{self, CommandLine, Config},
    model::SystemClock,
    shutdown,
};

/// Polls and serves until SIGTERM or SIGINT. A reload reads the files anew.
pub async fn serve(config: Config, line: CommandLine) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    tracing::info!(
        version = build_info::VERSION,
        revision = build_info::REVISION,
        rustc = build_info::RUSTC,
        "Starting cortex-workflow-exporter."
    );
    let reread = move || config::load(&line).map_err(|errors| errors.to_string());
    let app = App::build(config, Arc::new(reread), Arc::new(SystemClock)).await?;
    app.run(stop).await?;
    tracing::info!("Stopped.");
    Ok(())
}
