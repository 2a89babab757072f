//! A Prometheus exporter for the runs of Cortex AI workflows: the map of its code. What it does for
//! its users is described in the README, and each subject in the README of its module.
//!
//! # How data flows
//!
//! One way, and each arrow passes plain values on:
//!
//! ```text
//! config → api → poller → ledger → metrics → http
//! ```
//!
//! The poller decides what to read next, asks the API for pages of runs and passes them to the
//! ledger. The ledger decides what is new, makes it durable, and publishes a new [`ledger::State`].
//! The metrics render that state; http serves the result. Two things flow back: the poller looks
//! into the state for open runs and for where the known region of a list begins, and a received
//! scrape releases what the ledger holds.
//!
//! # What each module is for
//!
//! | module | is for | uses |
//! |---|---|---|
//! | [`model`] | the vocabulary: ids, runs, steps, statuses, timestamps, anomalies; pure | – |
//! | [`config`] | one table of settings; flags, variables and files, validated, all errors at once | `build_info`, `model` |
//! | [`api`] | the only place that speaks to Cortex: requests, retries, one rate limit, both wire forms | `config`, `model` |
//! | [`ledger`] | what was counted: pure decisions, then one transaction; all SQL | `config`, `model` |
//! | [`poller`] | which workflow is due, which page to request next; one loop for all apps | `api`, `config`, `ledger`, `model` |
//! | [`metrics`] | the families and their three formats, and when more may be published | `ledger`, `model` |
//! | [`http`] | metrics, health checks, overview; TLS and users; limits against bad clients | `build_info`, `config`, `metrics`, `model` |
//! | [`simulator`] | an API with a world behind it, for `demo`, `simulate` and tests | `model` |
//! | [`app`] | the composition root: opens, binds and checks everything, starts it, drains it | `api`, `build_info`, `config`, `http`, `ledger`, `metrics`, `model`, `poller`, `systemd`, `telemetry` |
//! | [`commands`] | `serve`, `check`, `once`, `demo`, `simulate`, `state copy`, and their exit codes | `api`, `app`, `build_info`, `config`, `ledger`, `model`, `poller`, `shutdown`, `simulator`, `telemetry` |
//! | [`telemetry`] | the log | `config` |
//! | [`systemd`] | readiness and watchdog | – |
//! | [`shutdown`] | signals | – |
//! | [`build_info`] | the version | – |
//!
//! No two files use each other, and no type name has two meanings; tests check both.
//!
//! # The central ideas
//!
//! - **A run has an identity, and each of its attempts is counted once.** The ledger remembers each
//!   run by workflow and run id, with the instants of its last attempt, which distinguish a replay
//!   from a stale answer. A run passes through four pure steps: is this attempt new
//!   (`ledger/identity.rs`), what does it add (`ledger/increments.rs`), is there room for it
//!   (`ledger/budget.rs`), when may it be published (`ledger/hold.rs`). `ledger/observe.rs` calls
//!   them, and `ledger/writer.rs` writes and publishes the result.
//! - **A metric is one row.** What is known of a counter or histogram (its id in the database, its
//!   kind, its labels) is a row of `ledger/metric.rs`; families and storage are derived from it. In
//!   the same way a setting is a row of `config/settings.rs`.
//! - **Only a complete read proves something.** A list of runs is read from its newest end until a
//!   page contains nothing new. That proves that everything behind was seen only if the read which
//!   recorded those runs was itself complete. So each remembered run carries the number of its read,
//!   and an interrupted read leaves no gap.
//! - **A list shifts while it is read.** Pages overlap, and two that share no run show that something
//!   may be between them. The order of a list is detected (`poller/pager.rs`, `poller/order.rs`,
//!   `poller/reading.rs`; all pure).
//! - **A count is a hint, never truth.** The list of workflows contains the number of runs of each.
//!   Where it changed, runs are read, elsewhere only by a sweep. A count that missed something is
//!   ignored for a day (`poller/hint.rs`, `poller/schedule.rs`; both pure).
//! - **One rate limit, spent as late as possible.** The loop begins a read only when no request is
//!   waiting, so that it is decided last which is most urgent (`poller/polling.rs`,
//!   `api/rate_limiter.rs`).
//! - **History is not news.** What ended before the ledger first met an app isn't counted; times are
//!   compared with the API's clock, taken from its `Date` header.
//! - **Durable first, then published.** Totals and identities are written in one transaction; readers
//!   see them once they are on disk. A counter that steps back after a power failure would read as an
//!   increase by its whole value. After a failed commit the state is loaded again.
//! - **One leads, others stand by.** The lock on the connection that writes decides who may write; a
//!   time limit that ends earlier at the leader than at the server decides who may publish
//!   (`ledger/leadership.rs`, `ledger/succession.rs`).
//! - **A base is scraped before what was added to it.** Prometheus takes the first sample of a series
//!   as its base, so what a new or restored series gains is held until that base was in a received
//!   scrape. A connection has received a scrape when it sends its next request. The ledger records
//!   what was published, so that a restart begins exactly there (`ledger/hold.rs`,
//!   `metrics/release_gate.rs`, `http/scrapes.rs`).
//! - **The exposition is bounded.** What there is no room for is counted together, so that totals stay
//!   right (`ledger/budget.rs`).
//! - **The state is immutable and swapped whole.** Readers hold an `Arc` of one state, so a counter
//!   and its histogram always agree, and nobody waits for a lock of the poller.
//! - **One body per format.** A state is rendered and compressed at most once per format and encoding,
//!   when somebody requests it, and shared by all scrapes (`metrics/exposition.rs`,
//!   `metrics/encoding.rs`). A format is a small encoder of samples (`metrics/text.rs`,
//!   `metrics/openmetrics.rs`, `metrics/protobuf`).
//! - **HTTP/1.1 only.** A connection serves one request after the other, which makes it known what a
//!   client has received; timeouts and limits are set there (`http/connection.rs`,
//!   `http/connections.rs`).
//! - **A configuration is applied as a whole or not at all.** A reload first prepares everything that
//!   can fail, then replaces it; what outlives it (ledger, rate limit, metrics) is kept apart from
//!   what is replaced (`app/supervisor.rs`, `app/shared.rs`).
//! - **One bad item affects nothing else.** Wire types accept anything, and what can't be used is an
//!   [`model::Anomaly`], reported once.
//!
//! # Where to start reading
//!
//! [`model::Run`], then `ledger/observe.rs` and its four steps, then `poller/schedule.rs` and
//! `poller/runs.rs`, then `metrics/families.rs`. [`app`] shows how they are put together.

pub mod api;
pub mod app;
pub mod build_info;
pub mod commands;
pub mod config;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod poller;
pub mod shutdown;
pub mod simulator;
pub mod systemd;
pub mod telemetry;
