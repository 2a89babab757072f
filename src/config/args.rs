//! The command line. Values stay as they were written here, so that `validate` can tell everything
//! that is wrong with them at once; only the shape of the command line is clap's to judge.

mod groups;

use std::{collections::BTreeSet, env};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use groups::{CortexArgs, FileArgs, LogArgs, PollArgs, StateArgs, WebArgs, WorkflowArgs};

use crate::build_info;

const EXAMPLES: &str = "\
Examples:
  Say what is wrong with the configuration, and show what would be exported:
    CORTEX_API_KEY_FILE=/run/secrets/cortex cortex-workflow-exporter check

  Serve the workflows of the key's own app:
    CORTEX_API_KEY_FILE=/run/secrets/cortex cortex-workflow-exporter

  Follow the production workflows only, keep the numbers in PostgreSQL:
    cortex-workflow-exporter --cortex.api-key-file=/run/secrets/cortex \\
      --workflows.include='prod-.*' --state.url=postgres://exporter@db/exporter

The metrics are at http://localhost:10058/metrics, an overview is at http://localhost:10058/.
The API key is never a flag: set CORTEX_API_KEY or CORTEX_API_KEY_FILE.
Each flag can be set by the variable beside it, or in the file that --config.file names.
The flag wins over the variable, and that over the file; an empty variable counts as unset.
Durations are written like 90s, 5m, 1h 30m or 30d.";

/// Prometheus exporter for the runs of Cortex AI workflows.
///
/// It polls the Cortex API for the runs of each workflow, counts every finished run exactly once,
/// across restarts too, and serves the totals to Prometheus. Without a command it serves.
#[derive(Parser)]
#[command(
    name = "cortex-workflow-exporter",
    version = build_info::SUMMARY,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Poll and serve until SIGTERM or SIGINT; what happens without a command, too.
    #[command(after_help = EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Try it out: a simulated Cortex API and the exporter in one process; needs no key and no network.
    Demo(DemoArgs),
    /// Only the simulated Cortex API, to point an exporter at.
    Simulate(SimulateArgs),
    /// Say everything that is wrong with the configuration, ask the API, and show what would be exported.
    #[command(after_help = EXAMPLES)]
    Check(Box<ServeArgs>),
    /// Poll once, counting every finished run that is listed, and print the metrics.
    Once(OnceArgs),
}

/// The command line of `serve`.
#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) cortex: CortexArgs,
    #[command(flatten)]
    pub(super) poll: PollArgs,
    #[command(flatten)]
    pub(super) workflows: WorkflowArgs,
    #[command(flatten)]
    pub(super) state: StateArgs,
    #[command(flatten)]
    pub(super) web: WebArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
    /// Validate the configuration, say what is wrong with it, and exit: 0 if nothing is.
    #[arg(
        long = "config.check",
        env = "CORTEX_EXPORTER_CONFIG_CHECK",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        help_heading = "Configuration"
    )]
    pub(super) check: String,
}

/// The command line of `once`.
#[derive(Args)]
pub struct OnceArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) cortex: CortexArgs,
    #[command(flatten)]
    pub(super) workflows: WorkflowArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// The command line of `demo`.
#[derive(Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub(super) simulate: SimulateArgs,
    #[command(flatten)]
    pub(super) web: WebArgs,
}

/// The command line of `simulate`.
#[derive(Args)]
pub struct SimulateArgs {
    /// What chance begins with: the same number makes the same runs. Example: 42.
    #[arg(long = "seed", env = "CORTEX_EXPORTER_SEED", value_name = "NUMBER", default_value = "1")]
    pub(super) seed: String,
    /// Where the simulated API listens, on loopback only; port 0 takes any that is free. Example: 127.0.0.1:0.
    #[arg(
        long = "simulator.listen-address",
        env = "CORTEX_EXPORTER_SIMULATOR_LISTEN_ADDRESS",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:10059"
    )]
    pub(super) simulator: String,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// Reads the command line and the environment. Ends the process with 2 if the command line is
/// wrong, with 0 after `--help` or `--version`.
pub fn parse() -> Command {
    let matches = command().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.chosen(),
        Err(error) => error.exit(),
    }
}

/// The variables among `names` that look like this exporter's but mean nothing to it: typing errors.
pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    // For a service named "cortex-exporter", Kubernetes sets variables with these beginnings.
    let foreign = ["CORTEX_EXPORTER_SERVICE_", "CORTEX_EXPORTER_PORT"];
    let known = variables(&Cli::command());
    names
        .into_iter()
        .filter(|name| name.starts_with("CORTEX_EXPORTER_") && !known.contains(name))
        .filter(|name| !foreign.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

impl Cli {
    fn chosen(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Box::new(self.serve)))
    }
}

/// The whole command line.
pub(super) fn command() -> clap::Command {
    prepare(Cli::command())
}

/// The flags of `serve`.
pub(super) fn flags_of_serve() -> Vec<clap::Arg> {
    ServeArgs::augment_args(clap::Command::new("serve")).get_arguments().cloned().collect()
}

/// Never shows what a variable holds, and takes an empty one as unset.
fn prepare(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let value = arg.get_env().and_then(env::var_os);
            if value.is_some_and(|value| value.is_empty()) {
                arg.env(None)
            } else {
                arg.hide_env_values(true)
            }
        })
        .mut_subcommands(prepare)
}

fn variables(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    own.map(|name| name.to_string_lossy().into_owned())
        .chain(command.get_subcommands().flat_map(variables))
        .collect()
}

#[cfg(test)]
mod tests;
