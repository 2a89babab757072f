//! A Prometheus exporter for the runs of Cortex AI workflows: the map of its code. What it does for
//! its users is in the README.
//!
//! # How data flows
//!
//! One way, and each arrow is a hand-over of plain values:
//!
//! ```text
//! config → api → poller → ledger → metrics → http
//! ```
//!
//! The poller decides what is to be read next, asks the API for pages of runs and tells the ledger what it
//! read. The ledger decides
//! what is new, makes it durable, and publishes a new [`ledger::State`]. The metrics render that
//! state; http serves the rendering. Two things flow back: the poller looks at the state to know which
//! runs are open and where the known region of a list begins, and what was scraped completely
//! releases what the ledger holds.
//!
//! # What each module is for
//!
//! | module | is for | uses |
//! |---|---|---|
//! | [`model`] | the vocabulary: ids, runs, steps, statuses, timestamps, anomalies; pure | – |
//! | [`config`] | flags, variables and the configuration file, validated, all errors at once | `model` |
//! | [`api`] | the only place that speaks to Cortex: requests, retries, one budget, both wire forms | `config`, `model` |
//! | [`ledger`] | what was counted: pure decisions, then one transaction; all SQL | `config`, `model` |
//! | [`poller`] | which workflow is due, which page to ask for next; one loop for all apps | `api`, `config`, `ledger`, `model` |
//! | [`metrics`] | the table of families, their three formats, and when more may be shown | `ledger`, `model` |
//! | [`http`] | metrics, health checks, overview; TLS and users; limits against bad clients | `config`, `metrics`, `model` |
//! | [`simulator`] | an API with a world behind it, for `demo`, `simulate` and tests | `model` |
//! | [`app`] | the composition root: opens, binds and checks everything, starts it, drains it | all above |
//! | [`commands`] | `serve`, `check`, `once`, `demo`, `simulate`, and their exit codes | all above |
//! | [`shutdown`], [`systemd`], [`telemetry`], [`build_info`] | signals, readiness and watchdog, the log, which build this is | `config` |
//!
//! # The ideas that carry it
//!
//! - **A run has an identity, and an attempt is counted once.** The ledger remembers each run by
//!   workflow and run id, with the phase that it was last seen in and when it started. Open after
//!   finished, or a later start, is a replay and a new attempt; everything else was counted already.
//!   `ledger/observe.rs` is where this is decided, without any I/O.
//! - **Readings close.** A list of runs is read from its young end until a page holds nothing new.
//!   That proves that what lies behind was seen only if the reading which met those runs itself got
//!   that far. So each remembered run carries the number of its reading, and only readings that
//!   reached the known region count as proof. One that breaks off leaves no gap behind.
//! - **A list moves while it is read.** Pages overlap, and two that share nothing show that something
//!   may lie between them. The order of a list is found out by looking (`poller/pager.rs`,
//!   `poller/order.rs`, `poller/reading.rs`; all pure).
//! - **A count is a hint, never truth.** The list of workflows tells how many runs each has. What moved
//!   is read, the rest only for its sweep. A count that didn't tell of something is not believed for a
//!   day (`poller/hint.rs`, `poller/schedule.rs`; both pure).
//! - **One budget, spent as late as possible.** The loop begins a reading only when no request waits
//!   for a slot, so what is most urgent is decided last (`poller/polling.rs`, `api/rate_limiter.rs`).
//! - **History is not news.** What ended before the ledger first met an app isn't counted; times are
//!   compared with the API's clock, taken from its `Date` header.
//! - **Durable first, then published.** Totals and identities go into one transaction; readers see
//!   them when it is on the disk. A counter that goes back after a power cut would read as an
//!   increase by its whole value. After a failed commit the state is loaded anew.
//! - **A base is scraped before what was added to it.** Prometheus takes the first sample of a series
//!   as its base, so what a new or restored series gains is held until that base was in a completed
//!   scrape. Whatever is counted is shown by the next scrape at the earliest, and the ledger knows what
//!   was shown, so that a restart begins exactly there (`ledger/hold.rs`, `metrics/release_gate.rs`,
//!   `http/connection.rs`).
//! - **The exposition is bounded.** What there is no room for is counted in one group, so that totals
//!   stay right (`ledger/room.rs`).
//! - **The state is immutable and swapped whole.** Readers hold an `Arc` of one state, so a counter
//!   and the histogram beside it always agree, and nobody waits for a lock of the poller's.
//! - **Rendered when it changes, not when it is scraped.** The families of the ledger are kept in
//!   pieces, rendered and compressed; a change renders the workflows around it, and a scrape sends
//!   shared bytes (`metrics/rendering.rs`, `metrics/exposition.rs`). The families are one table,
//!   and a format is a small encoder (`metrics/text.rs`, `openmetrics.rs`, `protobuf`).
//! - **A configuration is taken over whole or not at all.** A reload makes everything that can fail
//!   first, then exchanges it; what outlives it (ledger, budget, metrics) stands apart from what is
//!   replaced (`app/supervisor.rs`, `app/shared.rs`).
//! - **One bad item spoils nothing else.** Wire types accept anything, and what can't be used is an
//!   [`model::Anomaly`], told once.
//!
//! # Where to start reading
//!
//! [`model::Run`], then `ledger/observe.rs`, then `poller/schedule.rs` and `poller/workflow.rs`, then
//! [`metrics::FAMILIES`]. [`app`] shows how they are put together.

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
