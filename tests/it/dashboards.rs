//! The dashboards in `grafana/`: they hold together as Grafana needs it, ask only for metrics and labels
//! that there are, and a real Prometheus has an answer to each of their queries.

mod annotations;
mod asking;
mod exemplars;
mod filling;
mod model;
mod numbers;
mod pictures;
mod provisioning;
mod queries;
mod scene;
mod schema;
mod structure;
