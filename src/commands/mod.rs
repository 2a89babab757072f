//! What the commands do. Uses all modules below it.

mod check;
mod copy_state;
mod demo;
mod failure;
mod once;
mod output;
mod serve;
mod simulate;
mod table;

use std::env;

use tokio::task::spawn_blocking;

pub use failure::Failure;
pub use output::printed;

use crate::{
    config::{self, Command, CommandLine, Config, LogFormat},
    shutdown::Signals,
    telemetry,
};
use output::print;

/// What `--config.check` prints where nothing is wrong.
const VALID: &str = "The configuration is valid.\n";

/// Does what a command line asks for.
pub async fn execute(line: CommandLine, signals: Signals) -> Result<(), Failure> {
    if matches!(line.command, Command::Check | Command::Once | Command::CopyState) {
        signals.ending();
        let (command, config) = (line.command, start(line.clone()).await?);
        return match command {
            Command::Check if config.check_only => Ok(print(VALID)?),
            Command::Check => check::check(config).await,
            Command::CopyState => copy_state::copy_state(&config.copy).await,
            _ => once::once(config).await,
        };
    }
    let (stop, hangups) = signals.draining();
    let Some(config) = stop.run_until_cancelled(start(line.clone())).await else { return Ok(()) };
    let config = config?;
    match line.command {
        Command::Serve if config.check_only => Ok(print(VALID)?),
        Command::Demo => Box::pin(demo::demo(config, line, stop, hangups)).await,
        Command::Simulate => simulate::simulate(&config.simulator, stop, hangups).await,
        _ => Box::pin(serve::serve(config, line, stop, hangups)).await,
    }
}

/// Reads the configuration, which can take time, and begins to log by it.
async fn start(line: CommandLine) -> Result<Config, Failure> {
    let loaded = spawn_blocking(move || config::load(&line)).await?;
    let config = match loaded {
        Ok(config) => config,
        Err(errors) => {
            if errors.log.format == LogFormat::Json {
                telemetry::init(&errors.log)?;
            }
            return Err(errors.into());
        }
    };
    telemetry::init(&config.log)?;
    for name in config::unknown_variables(env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(name, "This variable looks like the exporter's but means nothing to it.");
    }
    Ok(config)
}
