//! From the command line to a configuration, telling everything that is wrong with it at once.

use std::{env, fmt, path::PathBuf, time::Duration};

use super::{
    ApiKey, Buckets, Config, Cortex, CortexArgs, Demo, DemoArgs, Log, LogArgs, Once, OnceArgs,
    Poll, PollArgs, ServeArgs, Simulate, SimulateArgs, State, StateArgs, Web, WebArgs,
    WorkflowArgs, WorkflowFilter,
    read::{self, DAY, SECOND},
};

/// Everything that is wrong with the configuration; each entry names the flag and its variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

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
pub fn env_key() -> Option<String> {
    let key = env::var_os("CORTEX_API_KEY")?;
    // What isn't text is refused later, since its replacement can't be sent either.
    Some(key.to_string_lossy().into_owned()).filter(|key| !key.is_empty())
}

/// Validates the command line of `serve`; `env_key` is what [`env_key`] gave.
pub fn serve(args: &ServeArgs, env_key: Option<String>) -> Result<Config, ConfigErrors> {
    let mut checks = Checks::default();
    let cortex = checks.cortex(&args.cortex, env_key);
    let poll = checks.poll(&args.poll);
    let workflows = checks.workflows(&args.workflows);
    let history_lookback = checks.lookback(&args.poll.history_lookback);
    let state = checks.state(&args.state);
    let web = checks.web(&args.web);
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
            cortex: cortex?,
            poll: poll?,
            workflows: workflows?,
            history_lookback: history_lookback?,
            state: state?,
            buckets: Buckets::default(),
            web: web?,
            log: log?,
            check_only: check_only?,
        })
    };
    checks.finish(config())
}

/// Validates the command line of `once`; `env_key` is what [`env_key`] gave.
pub fn once(args: &OnceArgs, env_key: Option<String>) -> Result<Once, ConfigErrors> {
    let mut checks = Checks::default();
    let cortex = checks.cortex(&args.cortex, env_key);
    let workflows = checks.workflows(&args.workflows);
    let log = checks.log(&args.log);
    let config = || Some(Once { cortex: cortex?, workflows: workflows?, log: log? });
    checks.finish(config())
}

/// Validates the command line of `demo`.
pub fn demo(args: &DemoArgs) -> Result<Demo, ConfigErrors> {
    let mut checks = Checks::default();
    let simulator = checks.simulator(&args.simulate);
    let web = checks.web(&args.web);
    let config = || Some(Demo { simulator: simulator?, web: web? });
    checks.finish(config())
}

/// Validates the command line of `simulate`.
pub fn simulate(args: &SimulateArgs) -> Result<Simulate, ConfigErrors> {
    let mut checks = Checks::default();
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
#[derive(Default)]
struct Checks(Vec<String>);

impl Checks {
    fn error(&mut self, flag: &str, why: &str) {
        self.0.push(format!("--{flag} (or {}): {why}", variable(flag)));
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
        let values = texts
            .iter()
            .flat_map(|text| text.split(separators))
            .filter(|text| !text.trim().is_empty())
            .map(|text| self.flag(flag, text, &read));
        // Collected first, so that an error doesn't hide those after it.
        values.collect::<Vec<_>>().into_iter().collect()
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.0)),
        }
    }

    fn cortex(&mut self, args: &CortexArgs, env_key: Option<String>) -> Option<Cortex> {
        let api_key = self.api_key(args.api_key_file.as_deref(), env_key);
        let app_id = self.flag("cortex.app-id", &args.app_id, read::app_id);
        let allow_http = self.flag("cortex.allow-http", &args.allow_http, read::switch);
        let api_url = self.flag("cortex.api-url", &args.api_url, |text| {
            read::api_url(text, allow_http.unwrap_or(true))
        });
        let rate_limit = self
            .flag("cortex.rate-limit", &args.rate_limit, |text| read::number(text, 1..=1_000_000));
        let timeout = self.flag("cortex.timeout", &args.timeout, |text| {
            read::duration(text, Duration::from_millis(1)..=600 * SECOND)
        });
        let page_size =
            self.flag("cortex.page-size", &args.page_size, |text| read::number(text, 1..=1000));
        let verbose = self.flag("cortex.verbose", &args.verbose, read::switch);
        Some(Cortex {
            api_url: api_url?,
            app_id: app_id?,
            api_key: api_key?,
            rate_limit: rate_limit?,
            timeout: timeout?,
            page_size: page_size?,
            verbose: verbose?,
        })
    }

    fn api_key(&mut self, file: Option<&str>, env_key: Option<String>) -> Option<ApiKey> {
        let key = match (file, env_key) {
            (Some(file), None) => Ok(ApiKey::File(PathBuf::from(file))),
            (None, Some(key)) => Ok(ApiKey::Value(key.into())),
            (None, None) => Err("there is no API key; set CORTEX_API_KEY, or name a file with \
                                 --cortex.api-key-file (or CORTEX_API_KEY_FILE)"
                .into()),
            (Some(_), Some(_)) => Err("both CORTEX_API_KEY and --cortex.api-key-file (or \
                                       CORTEX_API_KEY_FILE) are set; unset one of them"
                .into()),
        };
        // Read now to find out whether it can be; the client reads it again.
        key.and_then(|key| key.read().map(|_| key).map_err(|error| error.to_string()))
            .map_err(|error| self.0.push(error))
            .ok()
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

    fn workflows(&mut self, args: &WorkflowArgs) -> Option<WorkflowFilter> {
        let separators = &['\n', '\r'];
        let include = self.each("workflows.include", &args.include, separators, read::pattern);
        let exclude = self.each("workflows.exclude", &args.exclude, separators, read::pattern);
        Some(WorkflowFilter { include: include?, exclude: exclude? })
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
        let hold_timeout = self.flag("metrics.hold-timeout", &args.hold_timeout, |text| {
            read::duration(text, Duration::ZERO..=DAY)
        });
        Some(Web {
            listen_addresses: addresses?,
            telemetry_path: path?,
            max_requests: max_requests?,
            hold_timeout: hold_timeout?,
        })
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
