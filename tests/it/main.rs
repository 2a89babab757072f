//! What the whole exporter does: the real binary against the simulated API, real Prometheus, a real
//! browser. `tests/run` installs what these tests need.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

mod support;

mod alerting;
mod check;
mod cli;
mod config_file;
mod dashboards;
mod demo;
mod dependencies;
mod deploy;
mod docs;
mod exposition;
mod failover;
mod formats;
mod hostile;
mod increase;
mod layering;
mod links;
mod log_safety;
mod logs;
mod operations;
mod page;
mod postgres;
mod power_cut;
mod progress;
mod prometheus;
mod properties;
mod reload;
mod restart;
mod rules;
mod schedule;
mod series_budget;
mod shards;
mod state_copy;
mod stop;
mod troubles;
mod undecodable;
mod unusable_ledgers;
mod upgrade;
mod victoria_metrics;
mod web_config;
