//! What the commands do. Uses all modules below it.

mod check;
mod demo;
mod once;
mod serve;
mod simulate;
mod table;

use std::{
    env, fmt,
    io::{self, Write as _},
};

use anyhow::Context as _;
use tokio::task::spawn_blocking;

use crate::{
    config::{self, Command, CommandLine, Config, ConfigErrors, LogFormat},
    shutdown::Signals,
    telemetry,
};

/// What is wrong when what was asked for cannot be shown.
pub const CANNOT_PRINT: &str = "cannot write to standard output";

/// Does what a command line asks for.
pub async fn execute(line: CommandLine, signals: Signals) -> Result<(), Failure> {
    if matches!(line.command, Command::Check | Command::Once) {
        signals.ending();
        let (command, config) = (line.command, start(line.clone()).await?);
        return match command {
            Command::Check => check::check(config).await,
            _ => once::once(config).await,
        };
    }
    let (stop, hangups) = signals.draining();
    let Some(config) = stop.run_until_cancelled(start(line.clone())).await else { return Ok(()) };
    let config = config?;
    match line.command {
        Command::Serve if config.check_only => Ok(print("The configuration is valid.\n")?),
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

/// Writes to standard output, to the last byte.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context(CANNOT_PRINT)
}

/// Why a command ended badly, and so the exit code.
#[derive(Debug)]
pub enum Failure {
    /// The API rejected the key: 4.
    KeyRejected(String),
    /// Anything else: 1.
    Other(anyhow::Error),
}

impl Failure {
    /// What is wrong with the configuration, if that is it.
    pub fn config_errors(&self) -> Option<&ConfigErrors> {
        match self {
            Self::KeyRejected(_) => None,
            Self::Other(error) => error.downcast_ref(),
        }
    }

    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::KeyRejected(_) => 4,
            Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyRejected(why) => f.write_str(why),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
