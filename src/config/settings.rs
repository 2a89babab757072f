//! The settings, in one table. The flags, the environment variables, the keys of the configuration
//! file, the check at a reload and the tables of the documentation come from it.

use std::time::Duration;

use super::{
    kind::{SettingKind, put},
    parse,
    run_url::RunUrl,
    setting::{Command, Reload, Setting},
    types::Config,
    url,
};

use Command::{Check, CopyState, Demo, Once, Serve, Simulate};
use SettingKind as Kind;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const DECADE: Duration = Duration::from_secs(3650 * 86_400);

/// A row before anything is said about it.
const fn rows(heading: &'static str, commands: &'static [Command]) -> Setting {
    Setting {
        name: "",
        kind: Kind::Apps,
        default: "",
        help: "",
        heading,
        commands,
        reload: Reload::Applied,
    }
}

const FILES: Setting = rows("Configuration", &[Serve, Check, Once]);
const CORTEX: Setting = rows("Cortex API", &[Serve, Check, Once]);
const POLLING: Setting = rows("Polling", &[Serve, Check]);
const WORKFLOWS: Setting = rows("Workflows", &[Serve, Check, Once]);
const STATE: Setting = rows("State", &[Serve, Check]);
const WEB: Setting = rows("Web", &[Serve, Check, Demo]);
const METRICS: Setting = rows("Metrics", &[Serve, Check, Demo]);
const LOGGING: Setting = rows("Logging", &[Serve, Check, Once, Demo, Simulate, CopyState]);
const COPY: Setting = rows("State", &[CopyState]);
const SIMULATOR: Setting = rows("Simulator", &[Demo, Simulate]);

/// All settings, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "config.file",
        // It is read before all others.
        kind: Kind::File(|_, _| ()),
        help: "YAML file with settings, among them what has no flag: several apps, buckets, labels. \
               No default. Example: /etc/cortex-workflow-exporter/config.yml",
        ..FILES
    },
    Setting {
        name: "config.check",
        kind: Kind::Bool(|draft, on| draft.config.check_only = on),
        default: "false",
        help: "Validate the configuration, report what is wrong with it, and exit: 0 if nothing is",
        commands: &[Serve, Check],
        ..FILES
    },
    Setting {
        name: "cortex.api-key-file",
        kind: Kind::File(|draft, path| draft.key_file = Some(path)),
        help: "File that holds the API key, read again when it changes. No default: this or \
               CORTEX_API_KEY is needed. Example: /run/secrets/cortex",
        ..CORTEX
    },
    Setting {
        name: "cortex.app-id",
        kind: Kind::String("ID", |draft, text| {
            put(&mut draft.app.cortex.app_id, parse::app_id(text))
        }),
        default: "c",
        help: "The app whose workflows are read; \"c\" stands for the app of the key. \
               Example: app_1a2b3c",
        ..CORTEX
    },
    Setting {
        name: "cortex.api-url",
        kind: Kind::String("URL", |draft, text| {
            put(&mut draft.app.cortex.api_url, url::api_url(text))
        }),
        default: "https://api.withcortex.ai",
        help: "Where the API is; https, or http on loopback. Example: http://127.0.0.1:10059",
        ..CORTEX
    },
    Setting {
        name: "cortex.allow-http",
        kind: Kind::Bool(|draft, on| draft.allow_http = on),
        default: "false",
        help: "Allow plain http to hosts other than loopback; the key is then readable on its way",
        ..CORTEX
    },
    Setting {
        name: "cortex.rate-limit",
        kind: Kind::Int(1..=1_000_000, |draft, number| draft.config.rate_limit = number as u32),
        default: "400",
        help: "Maximum number of requests per minute, all apps together; Cortex allows 500 per \
               address. Example: 200",
        ..CORTEX
    },
    Setting {
        name: "cortex.timeout",
        kind: Kind::Duration(Duration::from_millis(1)..=Duration::from_secs(600), |draft, time| {
            draft.app.cortex.timeout = time;
        }),
        default: "30s",
        help: "Time limit of one request, from connecting to the answer's last byte. Example: 10s",
        ..CORTEX
    },
    Setting {
        name: "cortex.page-size",
        kind: Kind::Int(1..=1000, |draft, number| draft.app.cortex.page_size = number as u32),
        default: "100",
        help: "Number of items to ask for per page. Example: 50",
        ..CORTEX
    },
    Setting {
        name: "cortex.verbose",
        kind: Kind::Bool(|draft, on| draft.app.cortex.verbose = on),
        default: "false",
        help: "Ask the API for all properties (verbose=all); answers grow, and may hold more",
        ..CORTEX
    },
    Setting {
        name: "poll.interval",
        kind: Kind::Duration(SECOND..=DAY, |draft, time| draft.config.poll.interval = time),
        default: "30s",
        help: "From the start of one poll cycle to the start of the next, at least 1s. Example: 1m",
        ..POLLING
    },
    Setting {
        name: "poll.sweep-interval",
        kind: Kind::Duration(SECOND..=MONTH, |draft, time| {
            draft.config.poll.sweep_interval = time;
        }),
        default: "5m",
        help: "Longest time between two readings of a workflow, whatever hints say; never shorter \
               than the poll interval. Example: 15m",
        ..POLLING
    },
    Setting {
        name: "history.lookback",
        kind: Kind::Duration(Duration::ZERO..=DECADE, |draft, time| {
            draft.config.history_lookback = time;
        }),
        default: "0s",
        help: "At the very first start, also count runs that ended within this time; 0s counts none \
               of them. Example: 24h",
        ..POLLING
    },
    Setting {
        name: "workflows.include",
        kind: Kind::Patterns(|draft| &mut draft.app.workflows.include),
        help: "Follow only workflows whose whole id or name matches; all by default. Repeatable; in \
               the variable one per line. Example: 'prod-.*'",
        ..WORKFLOWS
    },
    Setting {
        name: "workflows.exclude",
        kind: Kind::Patterns(|draft| &mut draft.app.workflows.exclude),
        help: "Leave out workflows whose whole id or name matches, even if included; none by \
               default. Repeatable; in the variable one per line. Example: '.*-test'",
        ..WORKFLOWS
    },
    Setting {
        name: "workflows.shard",
        kind: Kind::String("NUMBER/OF", |draft, text| {
            put(&mut draft.app.workflows.shard, parse::shard(text))
        }),
        default: "1/1",
        help: "Follow one of several equal parts of the workflows: of exporters on different \
               addresses, each follows another. Example: 2/3",
        ..WORKFLOWS
    },
    Setting {
        name: "apps",
        kind: Kind::Apps,
        help: "The apps that are read, instead of the one of the flags; at least one, each once",
        ..WORKFLOWS
    },
    Setting {
        name: "state.url",
        kind: Kind::Ledger(|draft, url| draft.config.state.url = url),
        default: "sqlite:cortex-workflow-exporter.db",
        help: "The database that keeps the totals: sqlite:FILE, sqlite::memory: (forgets at the end) \
               or postgres://… Example: sqlite:/var/lib/exporter/state.db",
        reload: Reload::Refused(|now, before| now.state.url == before.state.url),
        ..STATE
    },
    Setting {
        name: "state.retention",
        kind: Kind::Duration(DAY..=DECADE, |draft, time| draft.config.state.retention = time),
        default: "30d",
        help: "How long a counted run is remembered after it was created; an older one is never \
               counted. At least 1d. Example: 90d",
        ..STATE
    },
    Setting {
        name: "from",
        kind: Kind::Ledger(|draft, url| draft.config.copy.from = url),
        help: "The ledger to copy, which keeps its numbers; no exporter may use it meanwhile. No \
               default. Example: sqlite:/var/lib/exporter/state.db",
        ..COPY
    },
    Setting {
        name: "to",
        kind: Kind::Ledger(|draft, url| draft.config.copy.to = url),
        help: "Where the copy goes; nothing may be there yet. No default. \
               Example: postgres://exporter@db/exporter",
        ..COPY
    },
    Setting {
        name: "web.listen-address",
        kind: Kind::Addresses(|draft| &mut draft.config.web.listen_addresses),
        default: ":10058",
        help: "Where to serve; without a host on all addresses. Repeatable; in the variable \
               separated by commas or lines. Example: 127.0.0.1:10058",
        reload: Reload::Refused(|now, before| {
            now.web.listen_addresses == before.web.listen_addresses
        }),
        ..WEB
    },
    Setting {
        name: "web.telemetry-path",
        kind: Kind::String("PATH", |draft, text| {
            put(&mut draft.config.web.telemetry_path, parse::telemetry_path(text))
        }),
        default: "/metrics",
        help: "The path of the metrics. Example: /cortex/metrics",
        reload: Reload::Refused(|now, before| now.web.telemetry_path == before.web.telemetry_path),
        ..WEB
    },
    Setting {
        name: "web.config.file",
        kind: Kind::File(|draft, path| draft.config.web.config.file = Some(path)),
        help: "TLS, client certificates, users and limits, in a file of the format that all \
               Prometheus exporters share. By default, plain HTTP for everybody. Example: \
               /etc/cortex-workflow-exporter/web.yml",
        ..WEB
    },
    Setting {
        name: "web.max-requests",
        kind: Kind::Int(1..=1_000_000, |draft, number| {
            draft.config.web.max_requests = number as usize;
        }),
        default: "40",
        help: "Maximum number of requests in work at once; more are answered with 503, health checks \
               excepted. Example: 10",
        reload: Reload::Refused(|now, before| now.web.max_requests == before.web.max_requests),
        ..WEB
    },
    Setting {
        name: "web.external-url",
        kind: Kind::String("URL", |draft, text| {
            put(&mut draft.config.web.external_url, url::external_url(text).map(Some))
        }),
        help: "Where people reach this exporter, for the links in alerts; may have a path, if a proxy \
               adds one. No default: without it, alerts have no such links. Example: \
               https://exporter.example/cortex",
        ..WEB
    },
    Setting {
        name: "links.run-url",
        kind: Kind::String("URL", |draft, text| {
            put(&mut draft.config.run_url, RunUrl::parse(text).map(Some))
        }),
        help: "Where people see a run: an address with {run_id} in it, and {workflow_id} and {app_id} \
               where they are needed. No default: without it, links lead to what the exporter \
               itself knows of a run. Example: \
               https://cortex.example/apps/{app_id}/workflows/{workflow_id}/runs/{run_id}",
        ..WEB
    },
    Setting {
        name: "metrics.hold-timeout",
        kind: Kind::Duration(Duration::ZERO..=DAY, |draft, time| {
            draft.config.metrics.hold_timeout = time;
        }),
        default: "2m",
        help: "A new or restored series shows its base until that has been scraped, but no longer \
               than this; 0s shows everything at once. Example: 5m",
        reload: Reload::Refused(|now, before| {
            now.metrics.hold_timeout == before.metrics.hold_timeout
        }),
        ..METRICS
    },
    Setting {
        name: "metrics.max-series",
        kind: Kind::Int(100..=100_000_000, |draft, number| {
            draft.config.metrics.max_series = number as usize;
        }),
        default: "200000",
        help: "Maximum number of series; beyond it, new workflows, steps and outcomes are counted \
               together as workflow_id=\"_other\". Example: 50000",
        ..METRICS
    },
    Setting {
        name: "metrics.created-lines",
        kind: Kind::Bool(|draft, on| draft.config.metrics.created_lines = on),
        default: "false",
        help: "In OpenMetrics, state the start of counters and histograms as samples (_created) of \
               their own; only for a Prometheus that reads them as start times \
               (created-timestamp-zero-ingestion)",
        reload: Reload::Refused(|now, before| {
            now.metrics.created_lines == before.metrics.created_lines
        }),
        ..METRICS
    },
    Setting {
        name: "metrics.native-histograms",
        kind: Kind::Bool(|draft, on| draft.config.metrics.native_histograms = on),
        default: "false",
        help: "In protocol buffers, add native buckets to the classic ones; only for a Prometheus \
               that takes native histograms and keeps the classic ones \
               (always_scrape_classic_histograms)",
        reload: Reload::Refused(|now, before| {
            now.metrics.native_histograms == before.metrics.native_histograms
        }),
        ..METRICS
    },
    Setting {
        name: "metrics.buckets.run_duration",
        kind: Kind::Bounds(|draft| &mut draft.config.metrics.buckets.runs),
        help: "The upper bounds, in seconds, of the buckets for durations of runs",
        commands: &[Serve, Check, Once],
        ..METRICS
    },
    Setting {
        name: "metrics.buckets.queue_duration",
        kind: Kind::Bounds(|draft| &mut draft.config.metrics.buckets.queues),
        help: "The same for how long runs waited",
        commands: &[Serve, Check, Once],
        ..METRICS
    },
    Setting {
        name: "metrics.buckets.step_duration",
        kind: Kind::Bounds(|draft| &mut draft.config.metrics.buckets.steps),
        help: "The same for durations of steps",
        commands: &[Serve, Check, Once],
        ..METRICS
    },
    Setting {
        name: "metrics.labels",
        kind: Kind::Labels(|draft| &mut draft.config.metrics.labels),
        help: "Labels that every series has besides its own",
        reload: Reload::Refused(|now, before| now.metrics.labels == before.metrics.labels),
        commands: &[Serve, Check, Once],
        ..METRICS
    },
    Setting {
        name: "failures.classes",
        kind: Kind::ErrorClasses(|draft| &mut draft.app.cortex.error_classes),
        help: "A team's own classes of errors, which come before the built-in ones: at most 16, each \
               with a name and a pattern that is searched for in the texts of errors",
        commands: &[Serve, Check, Once],
        ..METRICS
    },
    Setting {
        name: "log.level",
        kind: Kind::String("LEVEL", |draft, text| {
            put(&mut draft.config.log.level, parse::log_level(text))
        }),
        default: "info",
        help: "The least important messages to show: error, warn, info, debug or trace. \
               Example: debug",
        ..LOGGING
    },
    Setting {
        name: "log.format",
        kind: Kind::String("FORMAT", |draft, text| {
            put(&mut draft.config.log.format, parse::log_format(text))
        }),
        default: "logfmt",
        help: "How messages are written to standard error: logfmt or json. Example: json",
        reload: Reload::Refused(|now, before| now.log.format == before.log.format),
        ..LOGGING
    },
    Setting {
        name: "log.runs",
        kind: Kind::String("WHICH", |draft, text| {
            put(&mut draft.config.log.runs, parse::logged_runs(text))
        }),
        default: "failed",
        help: "Which runs get a line each once they are counted: failed, all (that ended) or off. \
               Needs log.level=info or a more detailed one. Example: all",
        commands: &[Serve, Check, Demo],
        ..LOGGING
    },
    Setting {
        name: "seed",
        kind: Kind::Int(0..=u64::MAX, |draft, number| draft.config.simulator.seed = number),
        default: "1",
        help: "The seed of the simulated world: the same number makes the same runs. Example: 42",
        ..SIMULATOR
    },
    Setting {
        name: "simulator.listen-address",
        kind: Kind::String("HOST:PORT", |draft, text| {
            put(&mut draft.config.simulator.listen_address, parse::loopback_address(text))
        }),
        default: "127.0.0.1:10059",
        help: "Where the simulated API listens, on loopback only; port 0 takes any that is free. \
               Example: 127.0.0.1:0",
        ..SIMULATOR
    },
];

impl Setting {
    /// The setting of this name.
    ///
    /// # Panics
    ///
    /// If there is none, which is a mistake in the code.
    pub fn named(name: &str) -> &'static Self {
        let found = SETTINGS.iter().find(|setting| setting.name == name);
        found.unwrap_or_else(|| panic!("there is no setting {name}"))
    }
}

/// The keys of the settings that are others than before although only a restart can change them.
pub fn needing_restart(now: &Config, before: &Config) -> Vec<String> {
    let differs = |setting: &&Setting| match setting.reload {
        Reload::Applied => false,
        Reload::Refused(same) => !same(now, before),
    };
    SETTINGS.iter().filter(differs).filter_map(Setting::key).collect()
}
