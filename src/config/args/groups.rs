//! The flags, in groups that commands share.

#![expect(
    clippy::doc_markdown,
    reason = "the comments on flags are the help text, which terminals show as it is"
)]

use clap::Args;

/// Where more of the configuration is.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub struct FileArgs {
    /// YAML file with settings, among them what has no flag: several apps, buckets, labels. No default. Example: /etc/cortex-workflow-exporter/config.yml.
    #[arg(long = "config.file", env = "CORTEX_EXPORTER_CONFIG_FILE", value_name = "FILE")]
    pub(in crate::config) config_file: Option<String>,
}

/// How to speak to the Cortex API.
#[derive(Args)]
#[command(next_help_heading = "Cortex API")]
pub struct CortexArgs {
    /// File that holds the API key, read again when it changes. No default: this or CORTEX_API_KEY is needed. Example: /run/secrets/cortex.
    #[arg(long = "cortex.api-key-file", env = "CORTEX_API_KEY_FILE", value_name = "FILE")]
    pub(in crate::config) api_key_file: Option<String>,
    /// The app whose workflows are read; "c" lets the key tell the app. Example: app_1a2b3c.
    #[arg(long = "cortex.app-id", env = "CORTEX_APP_ID", value_name = "ID", default_value = "c")]
    pub(in crate::config) app_id: String,
    /// Where the API is; https, or http on loopback. Example: http://127.0.0.1:10059.
    #[arg(
        long = "cortex.api-url",
        env = "CORTEX_API_URL",
        value_name = "URL",
        default_value = "https://api.withcortex.ai"
    )]
    pub(in crate::config) api_url: String,
    /// Allow plain http to hosts other than loopback; the key is then readable on its way.
    #[arg(
        long = "cortex.allow-http",
        env = "CORTEX_EXPORTER_CORTEX_ALLOW_HTTP",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub(in crate::config) allow_http: String,
    /// Requests a minute that may be sent, all in all; Cortex allows each address 500. Example: 200.
    #[arg(
        long = "cortex.rate-limit",
        env = "CORTEX_EXPORTER_CORTEX_RATE_LIMIT",
        value_name = "NUMBER",
        default_value = "400"
    )]
    pub(in crate::config) rate_limit: String,
    /// How long one request may take, from connecting to the answer's last byte. Example: 10s.
    #[arg(
        long = "cortex.timeout",
        env = "CORTEX_EXPORTER_CORTEX_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    pub(in crate::config) timeout: String,
    /// How many items to ask for per page. Example: 50.
    #[arg(
        long = "cortex.page-size",
        env = "CORTEX_EXPORTER_CORTEX_PAGE_SIZE",
        value_name = "NUMBER",
        default_value = "100"
    )]
    pub(in crate::config) page_size: String,
    /// Ask the API for all properties (verbose=all); answers grow, and may tell more.
    #[arg(
        long = "cortex.verbose",
        env = "CORTEX_EXPORTER_CORTEX_VERBOSE",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub(in crate::config) verbose: String,
}

/// When to read.
#[derive(Args)]
#[command(next_help_heading = "Polling")]
pub struct PollArgs {
    /// From the start of one poll cycle to the start of the next, at least 1s. Example: 1m.
    #[arg(
        long = "poll.interval",
        env = "CORTEX_EXPORTER_POLL_INTERVAL",
        value_name = "DURATION",
        default_value = "30s"
    )]
    pub(in crate::config) interval: String,
    /// Every workflow is read at least so often, whatever hints say; never more often than the poll interval. Example: 15m.
    #[arg(
        long = "poll.sweep-interval",
        env = "CORTEX_EXPORTER_POLL_SWEEP_INTERVAL",
        value_name = "DURATION",
        default_value = "5m"
    )]
    pub(in crate::config) sweep_interval: String,
    /// At the very first start, also count runs that ended so long ago; 0s counts none of them. Example: 24h.
    #[arg(
        long = "history.lookback",
        env = "CORTEX_EXPORTER_HISTORY_LOOKBACK",
        value_name = "DURATION",
        default_value = "0s"
    )]
    pub(in crate::config) history_lookback: String,
}

/// Which workflows to follow.
#[derive(Args)]
#[command(next_help_heading = "Workflows")]
pub struct WorkflowArgs {
    /// Follow only workflows whose whole id or name matches; all by default. Repeatable; in the variable one per line. Example: 'prod-.*'.
    #[arg(
        long = "workflows.include",
        env = "CORTEX_EXPORTER_WORKFLOWS_INCLUDE",
        value_name = "REGEX"
    )]
    pub(in crate::config) include: Vec<String>,
    /// Leave out workflows whose whole id or name matches, even if included; none by default. Repeatable; in the variable one per line. Example: '.*-test'.
    #[arg(
        long = "workflows.exclude",
        env = "CORTEX_EXPORTER_WORKFLOWS_EXCLUDE",
        value_name = "REGEX"
    )]
    pub(in crate::config) exclude: Vec<String>,
}

/// Where the numbers are kept.
#[derive(Args)]
#[command(next_help_heading = "State")]
pub struct StateArgs {
    /// The database that keeps the totals: sqlite:FILE, sqlite::memory: (forgets at the end) or postgres://… Example: sqlite:/var/lib/exporter/state.db.
    #[arg(
        long = "state.url",
        env = "CORTEX_EXPORTER_STATE_URL",
        value_name = "URL",
        default_value = "sqlite:cortex-workflow-exporter.db"
    )]
    pub(in crate::config) url: String,
    /// How long a counted run is remembered after it was created; an older one is never counted. At least 1d. Example: 90d.
    #[arg(
        long = "state.retention",
        env = "CORTEX_EXPORTER_STATE_RETENTION",
        value_name = "DURATION",
        default_value = "30d"
    )]
    pub(in crate::config) retention: String,
}

/// How to serve.
#[derive(Args)]
#[command(next_help_heading = "Web")]
pub struct WebArgs {
    /// Where to serve; without a host on all addresses. Repeatable; in the variable separated by commas or lines. Example: 127.0.0.1:10058.
    #[arg(
        long = "web.listen-address",
        env = "CORTEX_EXPORTER_WEB_LISTEN_ADDRESS",
        value_name = "[HOST]:PORT",
        default_value = ":10058"
    )]
    pub(in crate::config) listen_address: Vec<String>,
    /// The path of the metrics. Example: /cortex/metrics.
    #[arg(
        long = "web.telemetry-path",
        env = "CORTEX_EXPORTER_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub(in crate::config) telemetry_path: String,
    /// TLS, client certificates, users and limits, in a file of the format that all Prometheus exporters share. By default, plain HTTP for everybody. Example: /etc/cortex-workflow-exporter/web.yml.
    #[arg(long = "web.config.file", env = "CORTEX_EXPORTER_WEB_CONFIG_FILE", value_name = "FILE")]
    pub(in crate::config) web_config_file: Option<String>,
    /// How many requests may be in work at once; more are answered with 503, health checks excepted. Example: 10.
    #[arg(
        long = "web.max-requests",
        env = "CORTEX_EXPORTER_WEB_MAX_REQUESTS",
        value_name = "NUMBER",
        default_value = "40"
    )]
    pub(in crate::config) max_requests: String,
    /// A new or restored series shows its base until that has been scraped, but no longer than this; 0s shows everything at once. Example: 5m.
    #[arg(
        long = "metrics.hold-timeout",
        env = "CORTEX_EXPORTER_METRICS_HOLD_TIMEOUT",
        value_name = "DURATION",
        default_value = "2m"
    )]
    pub(in crate::config) hold_timeout: String,
    /// Past so many series, new workflows, steps and outcomes are counted together as workflow_id="_other". Example: 50000.
    #[arg(
        long = "metrics.max-series",
        env = "CORTEX_EXPORTER_METRICS_MAX_SERIES",
        value_name = "NUMBER",
        default_value = "200000"
    )]
    pub(in crate::config) max_series: String,
    /// In OpenMetrics, tell the start of counters and histograms as samples (_created) of their own; only for a Prometheus that reads them as start times (created-timestamp-zero-ingestion).
    #[arg(
        long = "metrics.created-lines",
        env = "CORTEX_EXPORTER_METRICS_CREATED_LINES",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub(in crate::config) created_lines: String,
}

/// What to log.
#[derive(Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// The least important messages to show: error, warn, info, debug or trace. Example: debug.
    #[arg(
        long = "log.level",
        env = "CORTEX_EXPORTER_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub(in crate::config) level: String,
    /// How messages are written to standard error: logfmt or json. Example: json.
    #[arg(
        long = "log.format",
        env = "CORTEX_EXPORTER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt"
    )]
    pub(in crate::config) format: String,
}
