//! Signals, then arguments, then the command.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use cortex_workflow_exporter::{
    commands::{self, Failure},
    config::{self, CommandLine, ConfigErrors, Log, LogFormat},
    shutdown::Signals,
    telemetry,
};
use tokio::runtime::Builder;

/// Two threads are plenty for what mostly waits, however many processors there are.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    // Before anything that takes time.
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let signals = runtime.block_on(async { Signals::catch() })?;
    let line = match CommandLine::of_process() {
        Ok(line) => line,
        Err(said) => return without_command(&said),
    };
    // Before any TLS: which implementation all of it uses.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    let ended = runtime.block_on(commands::execute(line, signals));
    // A password may still be being checked, which can take very long; nobody waits for the result.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Shows the help, or what is wrong with the command line.
fn without_command(said: &clap::Error) -> Result<ExitCode, Failure> {
    if said.use_stderr() && config::asks_for_json() {
        telemetry::init(&Log { format: LogFormat::Json, ..Log::default() })?;
        tracing::error!(error = %said, "The command line is not valid.");
    } else {
        let printed = said.print();
        // What is wrong with the command line is so, whether that can be said or not.
        if !said.use_stderr() {
            commands::printed(printed)?;
        }
    }
    Ok(ExitCode::from(said.exit_code() as u8))
}

fn report(failure: &Failure) {
    if !telemetry::is_json() {
        // Nothing can be done where this cannot be written either.
        let _ = writeln!(io::stderr(), "cortex-workflow-exporter: {failure}");
    } else if let Some(ConfigErrors { errors, .. }) = failure.config_errors() {
        for error in errors {
            tracing::error!(error, "The configuration is not valid.");
        }
    } else {
        tracing::error!(error = %failure, "The command failed.");
    }
}
