//! What a configuration holds: one small struct per concern.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use regex::Regex;
use reqwest::Url;

use super::{api_key::ApiKey, run_url::RunUrl, web::WebConfig};
use crate::model::{AppId, ErrorClasses, WorkflowId};

/// Everything that a command needs. What its command has no flag for has its default.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The apps that are read; at least one, and each once.
    pub apps: Vec<AppConfig>,
    /// Maximum number of requests per minute, all apps together.
    pub rate_limit: u32,
    /// When to read.
    pub poll: Poll,
    /// At the very first start, runs that ended within this time are counted too; zero counts none.
    pub history_lookback: Duration,
    /// Where the numbers are kept.
    pub state: StateConfig,
    /// What the exposition looks like, and when it shows what.
    pub metrics: Metrics,
    /// How to serve.
    pub web: Web,
    /// Where people see a run.
    pub run_url: Option<RunUrl>,
    /// What to log.
    pub log: Log,
    /// Whether to stop once the configuration has been found valid.
    pub check_only: bool,
    /// The simulated API of `demo` and `simulate`.
    pub simulator: Simulate,
    /// What `state copy` copies.
    pub copy: CopyState,
}

/// An app whose workflows are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppConfig {
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
    /// Time limit of one request, from connecting to the answer's last byte.
    pub timeout: Duration,
    /// Number of items to ask for per page.
    pub page_size: u32,
    /// Whether to ask for `verbose=all`.
    pub verbose: bool,
    /// How errors are classified.
    pub error_classes: ErrorClasses,
}

impl Default for Cortex {
    fn default() -> Self {
        Self {
            api_url: Url::parse("https://api.withcortex.ai").expect("it is a URL"),
            app_id: AppId::new("c").expect("it is an id"),
            api_key: ApiKey::default(),
            timeout: Duration::ZERO,
            page_size: 0,
            verbose: false,
            error_classes: ErrorClasses::default(),
        }
    }
}

/// When to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// From the start of one poll cycle to the start of the next.
    pub interval: Duration,
    /// Longest time between two readings of a workflow, whatever hints say.
    pub sweep_interval: Duration,
}

/// Which workflows to follow: regular expressions on the id or the name, anchored at both ends.
#[derive(Clone, Debug, Default)]
pub struct WorkflowFilter {
    /// If not empty, a workflow must match one of these.
    pub include: Vec<Regex>,
    /// A workflow that matches one of these is left out, even if included.
    pub exclude: Vec<Regex>,
    /// Of all workflows, only those of this shard are followed.
    pub shard: Shard,
}

/// One of several equal parts of all workflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `of`.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Default for Shard {
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl Shard {
    /// Whether a workflow belongs to it: the CRC-32 of its id, as in zlib and gzip, modulo the
    /// number of shards. It must never change, or workflows would move between exporters.
    fn holds(self, id: &WorkflowId) -> bool {
        crc32fast::hash(id.as_str().as_bytes()) % self.of == self.number - 1
    }
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
        alike(&self.include, &other.include)
            && alike(&self.exclude, &other.exclude)
            && self.shard == other.shard
    }
}

impl WorkflowFilter {
    /// Whether to follow this workflow.
    pub fn admits(&self, id: &WorkflowId, name: &str) -> bool {
        let any = |patterns: &[Regex]| {
            patterns.iter().any(|pattern| pattern.is_match(id.as_str()) || pattern.is_match(name))
        };
        self.shard.holds(id)
            && (self.include.is_empty() || any(&self.include))
            && !any(&self.exclude)
    }
}

/// Where the numbers are kept, and how long what has been counted is remembered.
#[derive(Clone, Default)]
pub struct StateConfig {
    /// `sqlite:<file>`, `sqlite::memory:` or `postgres://…`. May hold a password: never log it.
    pub url: String,
    /// Runs created longer ago are forgotten, and never counted again.
    pub retention: Duration,
}

impl fmt::Debug for StateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateConfig").field("retention", &self.retention).finish_non_exhaustive()
    }
}

/// What to copy where: URLs as in [`StateConfig`]. They may hold passwords: never log them.
#[derive(Clone, Default)]
pub struct CopyState {
    /// The ledger that is copied.
    pub from: String,
    /// Where the copy goes.
    pub to: String,
}

impl fmt::Debug for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyState").finish_non_exhaustive()
    }
}

/// What the exposition looks like, and when it shows what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// How long a new or restored series shows its base if nobody scrapes that; zero: not at all.
    pub hold_timeout: Duration,
    /// Maximum number of series; beyond it, what is new is counted in one group.
    pub max_series: usize,
    /// Whether OpenMetrics states start times as samples of their own.
    pub created_lines: bool,
    /// Whether protocol buffers have native buckets besides the classic ones.
    pub native_histograms: bool,
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

/// How to serve.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// Where to listen; `[::]` stands for all addresses, those of IPv4 included.
    pub listen_addresses: Vec<SocketAddr>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Maximum number of requests in work at once; more are answered with 503.
    pub max_requests: usize,
    /// Where people reach the exporter, without a slash at the end.
    pub external_url: Option<String>,
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
    /// Which runs have a line of their own.
    pub runs: LoggedRuns,
}

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Which finished runs are logged one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedRuns {
    /// None.
    Off,
    /// Those that FAILED.
    Failed,
    /// All.
    All,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: tracing::Level::INFO, format: LogFormat::Logfmt, runs: LoggedRuns::Failed }
    }
}

/// The simulated API.
#[derive(Clone, Debug)]
pub struct Simulate {
    /// Where it listens; a loopback address.
    pub listen_address: SocketAddr,
    /// The same number makes the same runs.
    pub seed: u64,
}

impl Default for Simulate {
    fn default() -> Self {
        Self { listen_address: ([127, 0, 0, 1], 0).into(), seed: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(id: &str, of: u32) -> u32 {
        let id = WorkflowId::new(id).expect("a plain id");
        let holds = |number: &u32| Shard { number: *number, of }.holds(&id);
        let holding: Vec<_> = (1..=of).filter(holds).collect();
        assert_eq!(holding.len(), 1, "{id:?} is in exactly one of {of}");
        holding[0]
    }

    #[test]
    fn a_workflow_stays_in_its_shard_for_ever() {
        // The check value of the published CRC-32, 0xCBF43926, and of a longer text, 0x414FA339.
        assert_eq!(shard_of("123456789", 1000), 0xCBF4_3926 % 1000 + 1);
        let longer = "The quick brown fox jumps over the lazy dog";
        assert_eq!(shard_of(longer, 7), 0x414F_A339 % 7 + 1);
        assert_eq!(shard_of("123456789", 1), 1);
    }

    #[test]
    fn shards_are_about_equal() {
        let mut sizes = [0; 4];
        for number in 0..4000 {
            sizes[shard_of(&format!("work_{number}"), 4) as usize - 1] += 1;
        }
        assert!(sizes.iter().all(|size| (850..1150).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_filter_admits_only_its_shard() {
        let id = WorkflowId::new("123456789").expect("a plain id");
        let admits = |number| {
            let filter = WorkflowFilter { shard: Shard { number, of: 2 }, ..Default::default() };
            filter.admits(&id, "any")
        };
        // 0xCBF43926 is even.
        assert!(admits(1) && !admits(2));
    }
}
