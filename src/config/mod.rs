//! What the operator set, validated: one small struct per concern. Uses `model`.

mod api_key;
mod args;
mod file;
mod line;
mod read;
mod reload;
mod validate;
mod web;
mod yaml;

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use regex::Regex;
use reqwest::Url;

pub use api_key::{ApiKey, ApiKeyError};
pub use args::{
    Command, CortexArgs, DemoArgs, FileArgs, LogArgs, OnceArgs, PollArgs, ServeArgs, SimulateArgs,
    StateArgs, WebArgs, WorkflowArgs, parse, unknown_variables,
};
pub use line::{Line, file_keys};
pub use validate::{ConfigErrors, demo, simulate};
pub use web::{RateLimit, Users, WEB_CONFIG_KEYS, WebConfig, WebKey};

use crate::model::{AppId, WorkflowId};

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The apps that are read; at least one, and each once.
    pub apps: Vec<App>,
    /// Requests a minute that the whole process may send.
    pub rate_limit: u32,
    /// When to read.
    pub poll: Poll,
    /// At the very first start, runs that ended so long ago are counted too; zero counts none.
    pub history_lookback: Duration,
    /// Where the numbers are kept.
    pub state: State,
    /// What the exposition looks like, and when it shows what.
    pub metrics: Metrics,
    /// How to serve.
    pub web: Web,
    /// What to log.
    pub log: Log,
    /// Whether to stop once the configuration has been found valid.
    pub check_only: bool,
}

/// Everything that `once` needs.
#[derive(Clone, Debug)]
pub struct Once {
    /// The apps that are read; at least one, and each once.
    pub apps: Vec<App>,
    /// Requests a minute that the whole process may send.
    pub rate_limit: u32,
    /// The histograms' buckets.
    pub buckets: Buckets,
    /// Labels that every series has besides its own, by name.
    pub labels: BTreeMap<String, String>,
    /// What to log.
    pub log: Log,
}

/// Everything that `demo` needs.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The simulated API.
    pub simulator: Simulate,
    /// How to serve.
    pub web: Web,
    /// What the exposition looks like, and when it shows what.
    pub metrics: Metrics,
}

/// Everything that `simulate` needs.
#[derive(Clone, Debug)]
pub struct Simulate {
    /// Where the simulated API listens; a loopback address.
    pub listen_address: SocketAddr,
    /// The same number makes the same runs.
    pub seed: u64,
    /// What to log.
    pub log: Log,
}

/// An app whose workflows are read.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// How to speak to the Cortex API about it.
    pub cortex: Cortex,
    /// Which of its workflows to follow.
    pub workflows: WorkflowFilter,
}

/// How to speak to the Cortex API about an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Cortex {
    /// The base URL; https, or http where that was allowed.
    pub api_url: Url,
    /// The app whose workflows are read.
    pub app_id: AppId,
    /// Where the key comes from.
    pub api_key: ApiKey,
    /// How long one request may take, from connecting to the answer's last byte.
    pub timeout: Duration,
    /// How many items to ask for per page.
    pub page_size: u32,
    /// Whether to ask for `verbose=all`.
    pub verbose: bool,
}

/// When to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// From the start of one poll cycle to the start of the next.
    pub interval: Duration,
    /// Every workflow is read at least so often, whatever hints say.
    pub sweep_interval: Duration,
}

/// Which workflows to follow: regular expressions on the id or the name, anchored at both ends.
#[derive(Clone, Debug, Default)]
pub struct WorkflowFilter {
    /// If not empty, a workflow must match one of these.
    pub include: Vec<Regex>,
    /// A workflow that matches one of these is left out, even if included.
    pub exclude: Vec<Regex>,
}

impl Config {
    /// The ids of all apps, for people to read.
    pub fn app_ids(&self) -> String {
        let ids: Vec<_> = self.apps.iter().map(|app| app.cortex.app_id.as_str()).collect();
        ids.join(", ")
    }
}

impl PartialEq for WorkflowFilter {
    fn eq(&self, other: &Self) -> bool {
        let alike = |these: &[Regex], those: &[Regex]| {
            these.iter().map(Regex::as_str).eq(those.iter().map(Regex::as_str))
        };
        alike(&self.include, &other.include) && alike(&self.exclude, &other.exclude)
    }
}

impl WorkflowFilter {
    /// Whether to follow this workflow.
    pub fn admits(&self, id: &WorkflowId, name: &str) -> bool {
        let any = |patterns: &[Regex]| {
            patterns.iter().any(|pattern| pattern.is_match(id.as_str()) || pattern.is_match(name))
        };
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// Where the numbers are kept, and how long what has been counted is remembered.
#[derive(Clone)]
pub struct State {
    /// `sqlite:<file>`, `sqlite::memory:` or `postgres://…`. May hold a password: never log it.
    pub url: String,
    /// Runs created longer ago are forgotten, and never counted again.
    pub retention: Duration,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("retention", &self.retention).finish_non_exhaustive()
    }
}

/// What the exposition looks like, and when it shows what.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// How long a new or restored series shows its base if nobody scrapes that; zero: not at all.
    pub hold_timeout: Duration,
    /// Maximum number of series; beyond it, what is new is counted in one group.
    pub max_series: usize,
    /// Whether OpenMetrics states start times as samples of their own.
    pub created_lines: bool,
    /// The histograms' buckets.
    pub buckets: Buckets,
    /// Labels that every series has besides its own, by name.
    pub labels: BTreeMap<String, String>,
}

/// The upper bounds of the histograms' buckets, in seconds, ascending, without `+Inf`.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// For the durations of runs.
    pub runs: Vec<f64>,
    /// For how long runs waited.
    pub queues: Vec<f64>,
    /// For the durations of steps.
    pub steps: Vec<f64>,
}

impl Default for Buckets {
    fn default() -> Self {
        let runs = vec![
            1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0,
            86400.0,
        ];
        Self {
            queues: runs.clone(),
            runs,
            steps: vec![
                0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
                3600.0,
            ],
        }
    }
}

/// The names that a label of the operator's can't have: those that the families have already, those
/// that the formats give a meaning to, and those that Prometheus sets for each target.
pub const TAKEN_LABELS: [&str; 21] = [
    "app",
    "app_id",
    "code",
    "enabled",
    "endpoint",
    "instance",
    "job",
    "key",
    "le",
    "origin",
    "quantile",
    "reason",
    "result",
    "revision",
    "rustversion",
    "status",
    "step",
    "step_type",
    "version",
    "workflow",
    "workflow_id",
];

/// The paths that are other pages than the metrics.
pub(crate) const RESERVED_PATHS: [&str; 7] =
    ["/", "/-/healthy", "/healthz", "/livez", "/-/ready", "/readyz", "/-/reload"];

/// How to serve.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where to listen; `[::]` stands for all addresses, those of IPv4 included.
    pub listen_addresses: Vec<SocketAddr>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// How many requests may be in work at once; more are answered with 503.
    pub max_requests: usize,
    /// Who may connect, and how.
    pub config: WebConfig,
}

/// What to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important messages that are shown.
    pub level: tracing::Level,
    /// How a message is written.
    pub format: LogFormat,
}

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}
