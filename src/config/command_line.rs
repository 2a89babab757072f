//! The command line, made of the table of settings. Values stay as they were written, so that
//! everything that is wrong with them can be reported at once; only the shape of the command line
//! is clap's to judge.

use std::{collections::BTreeSet, env, ffi::OsString};

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource, value_parser};

use super::{
    kind::SettingKind,
    setting::{Command, Setting},
    settings::SETTINGS,
};
use crate::build_info;

const ABOUT: &str = "\
Prometheus exporter for the runs of Cortex AI workflows.

It polls the Cortex API for the runs of each workflow, counts every finished run exactly once, \
across restarts too, and serves the totals to Prometheus. Without a command it serves.";

const EXAMPLES: &str = "\
Examples:
  Report what is wrong with the configuration, and show what would be exported:
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

/// The commands, each with its name and what it does.
const COMMANDS: [(Command, &str, &str); 6] = [
    (
        Command::Serve,
        "serve",
        "Poll and serve until SIGTERM or SIGINT; what happens without a command, too",
    ),
    (
        Command::Demo,
        "demo",
        "Try it out: a simulated Cortex API and the exporter in one process; needs no key and no \
         network",
    ),
    (Command::Simulate, "simulate", "Only the simulated Cortex API, to point an exporter at"),
    (
        Command::Check,
        "check",
        "Report everything that is wrong with the configuration, ask the API, and show what would \
         be exported",
    ),
    (
        Command::Once,
        "once",
        "Poll once, counting every finished run that is listed, and print the metrics",
    ),
    (
        Command::CopyState,
        "copy",
        "Copy a ledger to another place or engine, so that counting goes on there",
    ),
];

/// What a process was started with: its command, its flags and its environment variables.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What to do.
    pub command: Command,
    matches: ArgMatches,
    /// What `CORTEX_API_KEY` holds.
    pub(super) key: Option<OsString>,
}

impl CommandLine {
    /// That of this process. The error is what clap has to say: what is wrong, or the help.
    pub fn of_process() -> Result<Self, clap::Error> {
        let key = env::var_os("CORTEX_API_KEY").filter(|key| !key.is_empty());
        Self::new(without_empty_variables(command_line()), env::args_os(), key)
    }

    fn new(
        clap: clap::Command,
        words: impl IntoIterator<Item = OsString>,
        key: Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = clap.try_get_matches_from(words)?;
        let name = chosen(&matches).0.unwrap_or("serve");
        let found = COMMANDS.iter().find(|(_, of, _)| *of == name);
        let command = found.map_or(Command::Serve, |(command, ..)| *command);
        Ok(Self { command, matches, key })
    }

    /// That of these words, and of no variable but the key.
    #[cfg(test)]
    pub(super) fn of(words: &[&str], key: Option<&str>) -> Result<Self, clap::Error> {
        let unset = |command: clap::Command| command.mut_args(|arg| arg.env(None));
        let clap = unset(command_line()).mut_subcommands(unset);
        Self::new(clap, words.iter().map(OsString::from), key.map(OsString::from))
    }

    /// What a setting is set to by its flag or its variable. The error is that it is not text.
    pub(super) fn given(&self, setting: &Setting) -> Option<Result<Vec<&str>, String>> {
        let (_, matches) = chosen(&self.matches);
        let values = matches.try_get_many::<OsString>(setting.name).ok()??;
        if matches.value_source(setting.name) == Some(ValueSource::DefaultValue) {
            return None;
        }
        let texts: Option<_> = values.map(|value| value.to_str()).collect();
        Some(texts.ok_or_else(|| "it is not text in UTF-8".into()))
    }
}

/// The name of the innermost command, and what it was given.
fn chosen(matches: &ArgMatches) -> (Option<&str>, &ArgMatches) {
    match matches.subcommand() {
        None => (None, matches),
        Some((name, inner)) => {
            let (inner_name, inner) = chosen(inner);
            (inner_name.or(Some(name)), inner)
        }
    }
}

/// Whether the words or the variable of this process ask for a log in JSON, for when nothing else
/// can be made of them.
pub fn asks_for_json() -> bool {
    let words: Vec<_> = env::args_os().collect();
    let separate = words.windows(2).any(|pair| pair[0] == "--log.format" && pair[1] == "json");
    let variable = env::var_os(Setting::named("log.format").variable());
    separate
        || words.iter().any(|word| word == "--log.format=json")
        || variable.is_some_and(|value| value == "json")
}

/// The whole command line.
fn command_line() -> clap::Command {
    let (about, _) = ABOUT.split_once(".\n").unwrap_or_default();
    let serve = clap::Command::new("cortex-workflow-exporter")
        .about(about)
        .long_about(ABOUT)
        .version(build_info::SUMMARY)
        .args_conflicts_with_subcommands(true);
    let with_flags = |clap: clap::Command, command| {
        let examples = matches!(command, Command::Serve | Command::Check);
        clap.args(flags(command)).after_help(if examples { EXAMPLES } else { "" })
    };
    COMMANDS.iter().fold(with_flags(serve, Command::Serve), |all, (command, name, about)| {
        let sub = with_flags(clap::Command::new(*name).about(*about), *command);
        all.subcommand(if *command == Command::CopyState { of_state(sub) } else { sub })
    })
}

/// The commands that deal with ledgers.
fn of_state(command: clap::Command) -> clap::Command {
    let state = clap::Command::new("state").about("What can be done with a ledger: copy");
    state.subcommand_required(true).subcommand(command)
}

fn flags(command: Command) -> impl Iterator<Item = Arg> {
    let flags = SETTINGS.iter().filter(|setting| setting.has_flag());
    flags.filter(move |setting| setting.commands.contains(&command)).map(|setting| {
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .env(setting.variable())
            .hide_env_values(true)
            .value_name(setting.kind.words().0)
            .value_parser(value_parser!(OsString))
            .help(setting.help)
            .help_heading(setting.heading);
        let arg = match &setting.kind {
            SettingKind::Bool(_) => {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            }
            kind if kind.is_repeatable() => arg.action(ArgAction::Append),
            _ => arg,
        };
        let default = Some(setting.default).filter(|default| !default.is_empty());
        arg.default_values(default)
    })
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let value = arg.get_env().and_then(env::var_os);
            if value.is_some_and(|value| value.is_empty()) { arg.env(None) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

/// The variables among `names` that look like this exporter's but mean nothing to it: typing errors.
pub fn unknown_variables(names: impl IntoIterator<Item = OsString>) -> BTreeSet<String> {
    // For a service named "cortex-exporter", Kubernetes sets variables with these beginnings.
    let foreign = ["CORTEX_EXPORTER_SERVICE_", "CORTEX_EXPORTER_PORT"];
    let flags = SETTINGS.iter().filter(|setting| setting.has_flag());
    let known: BTreeSet<_> = flags.map(Setting::variable).collect();
    names
        .into_iter()
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("CORTEX_EXPORTER_") && !known.contains(name))
        .filter(|name| !foreign.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[cfg(test)]
mod tests;
