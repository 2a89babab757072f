//! From the command line to a configuration, telling everything that is wrong with it at once.

mod apps;
mod families;

use std::{env, fmt, path::Path, time::Duration};

use super::{
    Config, Demo, DemoArgs, Log, LogArgs, Metrics, Once, OnceArgs, Poll, PollArgs, ServeArgs,
    Simulate, SimulateArgs, State, StateArgs, Web, WebArgs, WebConfig,
    file::{self, Setting},
    line::Sources,
    read::{self, DAY, SECOND},
};

/// Everything that is wrong with the configuration; each entry names the flag and its variable, or
/// the file, line and column.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    pub(super) fn new(errors: Vec<String>) -> Self {
        Self(errors)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid:")?;
        self.0.iter().try_for_each(|error| {
            let error = error.replace('\n', "\n    ");
            write!(f, "\n  {error}")
        })
    }
}

impl std::error::Error for ConfigErrors {}

/// The value of `CORTEX_API_KEY`, if it is set and not empty.
pub(super) fn env_key() -> Option<String> {
    let key = env::var_os("CORTEX_API_KEY")?;
    // What isn't text is refused later, since its replacement can't be sent either.
    Some(key.to_string_lossy().into_owned()).filter(|key| !key.is_empty())
}

/// Validates the command line of `serve`; `env_key` is what [`env_key`] gave.
pub(super) fn serve(
    args: &ServeArgs,
    sources: &Sources,
    env_key: Option<String>,
) -> Result<Config, ConfigErrors> {
    let mut checks = Checks::new(sources);
    let apps = checks.apps(&args.cortex, &args.workflows, env_key);
    let rate_limit = checks.rate_limit(&args.cortex);
    let poll = checks.poll(&args.poll);
    let history_lookback = checks.lookback(&args.poll.history_lookback);
    let state = checks.state(&args.state);
    let web = checks.web(&args.web);
    let metrics = checks.metrics(&args.web);
    let log = checks.log(&args.log);
    let check_only = checks.flag("config.check", &args.check, read::switch);
    if let (Some(lookback), Some(state)) = (history_lookback, &state)
        && lookback > state.retention
    {
        checks.error(
            "history.lookback",
            "it reaches further back than --state.retention, and what is older than that is never \
             counted; raise the retention",
        );
    }
    let config = || {
        Some(Config {
            apps: apps?,
            rate_limit: rate_limit?,
            poll: poll?,
            history_lookback: history_lookback?,
            state: state?,
            metrics: metrics?,
            web: web?,
            log: log?,
            check_only: check_only?,
        })
    };
    checks.finish(config())
}

/// Validates the command line of `once`; `env_key` is what [`env_key`] gave.
pub(super) fn once(
    args: &OnceArgs,
    sources: &Sources,
    env_key: Option<String>,
) -> Result<Once, ConfigErrors> {
    let mut checks = Checks::new(sources);
    let apps = checks.apps(&args.cortex, &args.workflows, env_key);
    let rate_limit = checks.rate_limit(&args.cortex);
    let buckets = checks.buckets();
    let labels = checks.labels();
    let log = checks.log(&args.log);
    let config = || {
        Some(Once {
            apps: apps?,
            rate_limit: rate_limit?,
            buckets: buckets?,
            labels: labels?,
            log: log?,
        })
    };
    checks.finish(config())
}

/// Validates the command line of `demo`.
pub fn demo(args: &DemoArgs) -> Result<Demo, ConfigErrors> {
    let sources = Sources::default();
    let mut checks = Checks::new(&sources);
    let simulator = checks.simulator(&args.simulate);
    let web = checks.web(&args.web);
    let metrics = checks.metrics(&args.web);
    let config = || Some(Demo { simulator: simulator?, web: web?, metrics: metrics? });
    checks.finish(config())
}

/// Validates the command line of `simulate`.
pub fn simulate(args: &SimulateArgs) -> Result<Simulate, ConfigErrors> {
    let sources = Sources::default();
    let mut checks = Checks::new(&sources);
    let simulator = checks.simulator(args);
    checks.finish(simulator)
}

/// The variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    let name = flag.replace(['.', '-'], "_").to_ascii_uppercase();
    match flag {
        "cortex.api-key-file" | "cortex.app-id" | "cortex.api-url" => name,
        _ => format!("CORTEX_EXPORTER_{name}"),
    }
}

/// Collects what is wrong. Each method gives `None` when it has added an error.
struct Checks<'a> {
    sources: &'a Sources,
    errors: Vec<String>,
}

impl<'a> Checks<'a> {
    fn new(sources: &'a Sources) -> Self {
        Self { sources, errors: Vec::new() }
    }

    fn error(&mut self, flag: &str, why: &str) {
        self.error_of(flag, 0, why);
    }

    /// What is wrong with the value of a repeatable flag that has this index.
    fn error_of(&mut self, flag: &str, index: usize, why: &str) {
        self.errors.push(match self.sources.place(flag, index) {
            Some((file, place)) => file.error(place, &file::key(flag), why),
            None => format!("--{flag} (or {}): {why}", variable(flag)),
        });
    }

    /// What the file sets a key to that is no flag's.
    fn setting(&self, key: &str) -> Option<(&'a file::File, &'a Setting)> {
        let file = self.sources.file()?;
        file.get(key).map(|setting| (file, setting))
    }

    fn flag<T>(
        &mut self,
        flag: &str,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        read(text.trim()).map_err(|why| self.error(flag, &why)).ok()
    }

    /// For repeatable flags, whose variable holds several values with `separators` between them.
    fn each<T>(
        &mut self,
        flag: &str,
        texts: &[String],
        separators: &[char],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = texts.iter().enumerate();
        let values = texts
            .flat_map(|(index, text)| text.split(separators).map(move |text| (index, text.trim())))
            .filter(|(_, text)| !text.is_empty())
            .map(|(index, text)| read(text).map_err(|why| self.error_of(flag, index, &why)).ok());
        // Collected first, so that an error doesn't hide those after it.
        values.collect::<Vec<_>>().into_iter().collect()
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    fn poll(&mut self, args: &PollArgs) -> Option<Poll> {
        let interval =
            self.flag("poll.interval", &args.interval, |text| read::duration(text, SECOND..=DAY));
        let sweep = self.flag("poll.sweep-interval", &args.sweep_interval, |text| {
            read::duration(text, SECOND..=30 * DAY)
        });
        let interval = interval?;
        Some(Poll { interval, sweep_interval: sweep?.max(interval) })
    }

    fn lookback(&mut self, text: &str) -> Option<Duration> {
        self.flag("history.lookback", text, |text| {
            read::duration(text, Duration::ZERO..=3650 * DAY)
        })
    }

    fn state(&mut self, args: &StateArgs) -> Option<State> {
        let url = self.flag("state.url", &args.url, read::state_url);
        let retention = self.flag("state.retention", &args.retention, |text| {
            read::duration(text, DAY..=3650 * DAY)
        });
        Some(State { url: url?, retention: retention? })
    }

    fn web(&mut self, args: &WebArgs) -> Option<Web> {
        let flag = "web.listen-address";
        let separators = &[',', '\n', '\r'];
        let addresses = self.each(flag, &args.listen_address, separators, read::listen_address);
        if addresses.as_ref().is_some_and(Vec::is_empty) {
            self.error(flag, "there is no address in it; write one like :10058");
        }
        let path = self.flag("web.telemetry-path", &args.telemetry_path, read::telemetry_path);
        let max_requests = self
            .flag("web.max-requests", &args.max_requests, |text| read::number(text, 1..=1_000_000));
        let config = self.web_config(args.web_config_file.as_deref());
        Some(Web {
            listen_addresses: addresses?,
            telemetry_path: path?,
            max_requests: max_requests?,
            config: config?,
        })
    }

    fn metrics(&mut self, args: &WebArgs) -> Option<Metrics> {
        let hold_timeout = self.flag("metrics.hold-timeout", &args.hold_timeout, |text| {
            read::duration(text, Duration::ZERO..=DAY)
        });
        let max_series = self.flag("metrics.max-series", &args.max_series, |text| {
            read::number(text, 100..=100_000_000)
        });
        let created_lines = self.flag("metrics.created-lines", &args.created_lines, read::switch);
        let (buckets, labels) = (self.buckets(), self.labels());
        Some(Metrics {
            hold_timeout: hold_timeout?,
            max_series: max_series?,
            created_lines: created_lines?,
            buckets: buckets?,
            labels: labels?,
        })
    }

    fn web_config(&mut self, file: Option<&str>) -> Option<WebConfig> {
        let Some(file) = file else { return Some(WebConfig::default()) };
        let errors = match WebConfig::read(Path::new(file)) {
            Ok(config) => return Some(config),
            Err(errors) => errors,
        };
        for why in errors {
            self.error("web.config.file", &why);
        }
        None
    }

    fn log(&mut self, args: &LogArgs) -> Option<Log> {
        let level = self.flag("log.level", &args.level, read::log_level);
        let format = self.flag("log.format", &args.format, read::log_format);
        Some(Log { level: level?, format: format? })
    }

    fn simulator(&mut self, args: &SimulateArgs) -> Option<Simulate> {
        let flag = "simulator.listen-address";
        let address = self.flag(flag, &args.simulator, read::loopback_address);
        let seed = self.flag("seed", &args.seed, |text| read::number(text, 0..=u64::MAX));
        let log = self.log(&args.log);
        Some(Simulate { listen_address: address?, seed: seed?, log: log? })
    }
}

#[cfg(test)]
mod tests;
