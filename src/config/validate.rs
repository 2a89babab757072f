//! From the command line to a configuration, with everything that is wrong with it at once.

use std::env;

use super::{
    apps,
    command_line::CommandLine,
    environment,
    setting::Command,
    settings::SETTINGS,
    sources::{self, ConfigErrors, Sources},
    types::Config,
    web::WebConfig,
};

/// Reads the configuration of a command: its flags and variables, and the files that they name.
pub fn load(line: &CommandLine) -> Result<Config, ConfigErrors> {
    let file = sources::file(line);
    let mut sources = Sources::new(line, file.as_ref().ok().and_then(Option::as_ref));
    let mut apps = vec![sources.draft.app.clone()];
    if let Err(why) = &file {
        sources.errors.push(why.clone());
    } else if matches!(line.command, Command::Serve | Command::Check | Command::Once) {
        apps = apps::apps(&mut sources);
    }
    finish(&mut sources);
    environment(&mut sources);
    let mut config = sources.finish()?.config;
    config.apps = apps;
    Ok(config)
}

/// Checks what goes together, and reads the web configuration.
fn finish(sources: &mut Sources<'_>) {
    let config = &mut sources.draft.config;
    config.poll.sweep_interval = config.poll.sweep_interval.max(config.poll.interval);
    let web_file = config.web.config.file.clone();
    let no_address = config.web.listen_addresses.is_empty();
    if config.history_lookback > config.state.retention {
        let why = "it reaches further back than --state.retention, and what is older than that is \
                   never counted; raise the retention";
        sources.error("history.lookback", why);
    }
    if no_address {
        sources.error("web.listen-address", "there is no address in it; write one like :10058");
    }
    let copies = sources.line.command == Command::CopyState;
    let copy = &sources.draft.config.copy;
    for (name, url) in [("from", copy.from.clone()), ("to", copy.to.clone())] {
        if copies && url.is_empty() {
            sources.error(name, "it is missing; write --from=URL --to=URL");
        }
    }
    match web_file.map(|file| WebConfig::read(&file)) {
        None => {}
        Some(Ok(config)) => sources.draft.config.web.config = config,
        Some(Err(errors)) => {
            for why in errors {
                sources.error("web.config.file", &why);
            }
        }
    }
}

/// Checks the variables that libraries read for what the command does.
fn environment(sources: &mut Sources<'_>) {
    if matches!(sources.line.command, Command::Serve | Command::Check | Command::Once) {
        sources.errors.extend(environment::client_errors(env::vars_os()));
    }
    let Config { state, copy, .. } = &sources.draft.config;
    if [&state.url, &copy.from, &copy.to].iter().any(|url| url.starts_with("postgres")) {
        sources.errors.extend(environment::postgres_errors(env::vars_os()));
    }
}

/// The keys of the configuration file, dotted, each with what it is set to in words; those of an
/// app begin with `apps[].`.
pub fn file_keys() -> Vec<(String, &'static str)> {
    let keys = SETTINGS.iter().filter_map(|setting| Some((setting.key()?, setting.expected())));
    keys.chain(apps::keys().map(|(key, value)| (format!("apps[].{key}"), value))).collect()
}

#[cfg(test)]
mod tests;
