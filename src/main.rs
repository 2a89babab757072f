//! Arguments, then the log, then the configuration, then the command.

use std::process::ExitCode;

use cortex_workflow_exporter::{
    commands::{self, Failure},
    config::{self, Command, CommandLine, Log},
    telemetry,
};

fn main() -> ExitCode {
    let line = match CommandLine::of_process() {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cortex-workflow-exporter: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(line: CommandLine) -> Result<(), Failure> {
    // Before any TLS: which implementation all of it uses.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    let config = config::load(&line)?;
    let log = config.log;
    match line.command {
        Command::Serve if config.check_only => {
            println!("The configuration is valid.");
            Ok(())
        }
        Command::Serve => start(&log, commands::serve(config, line)),
        Command::Check => start(&log, commands::check(config)),
        Command::Once => start(&log, commands::once(config)),
        Command::Demo => start(&log, commands::demo(config, line)),
        Command::Simulate => start(&log, commands::simulate(config.simulator)),
    }
}

/// Two threads are plenty for what mostly waits, however many processors there are.
const WORKERS: usize = 2;

fn start(log: &Log, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    telemetry::init(log)?;
    for name in config::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(name, "This variable looks like the exporter's but means nothing to it.");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let ended = runtime.block_on(command);
    // A password may still be being checked, which can take very long; nobody waits for the result.
    runtime.shutdown_background();
    ended
}
