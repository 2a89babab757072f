//! A Prometheus exporter for the runs of Cortex AI workflows.

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
pub mod telemetry;
