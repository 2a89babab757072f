//! Arguments, then the log, then the configuration, then the command.

use std::process::ExitCode;

use cortex_workflow_exporter::{
    commands::{self, Failure},
    config::{self, Command, Line, Log},
    telemetry,
};

fn main() -> ExitCode {
    match run(config::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cortex-workflow-exporter: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    // Before any TLS: which implementation all of it uses.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("TLS was set up twice"))?;
    let line = Line::of_process();
    match command {
        Command::Serve(_) => {
            let config = line.serve()?;
            if config.check_only {
                println!("The configuration is valid.");
                return Ok(());
            }
            start(&config.log.clone(), commands::serve(config, line))
        }
        Command::Check(_) => {
            let config = line.serve()?;
            start(&config.log.clone(), commands::check(config))
        }
        Command::Once(_) => {
            let once = line.once()?;
            start(&once.log.clone(), commands::once(once))
        }
        Command::Demo(args) => {
            let demo = config::demo(&args)?;
            start(&demo.simulator.log.clone(), commands::demo(demo))
        }
        Command::Simulate(args) => {
            let simulate = config::simulate(&args)?;
            start(&simulate.log.clone(), commands::simulate(simulate))
        }
    }
}

/// Two threads are plenty for what mostly waits, however many processors there are.
const WORKERS: usize = 2;

fn start(log: &Log, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    telemetry::init(log)?;
    for name in config::unknown_variables(
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
    ) {
        tracing::warn!(name, "This variable looks like the exporter's but means nothing to it.");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let ended = runtime.block_on(command);
    // A password may still be being checked, which can take very long; nobody waits for the result.
    runtime.shutdown_background();
    ended
}
