//! A real Prometheus scrapes the exporter and answers queries about it.

use crate::support::{Process, Prometheus};

/// What a dashboard asks for: each gives samples once runs have come to their end.
const QUERIES: [&str; 24] = [
    "cortex_workflow_runs_total",
    "cortex_workflow_runs_submitted_total",
    "cortex_workflow_runs_active",
    "cortex_workflow_run_duration_seconds_count",
    "cortex_workflow_run_queue_duration_seconds_count",
    "cortex_workflow_steps_total",
    "cortex_workflow_step_duration_seconds_count",
    "cortex_workflow_run_credits_total",
    "cortex_workflow_step_credits_total",
    "cortex_workflow_last_run_timestamp_seconds",
    "cortex_workflow_oldest_active_run_timestamp_seconds",
    "cortex_workflow_consecutive_failures",
    "cortex_workflow_tests",
    "cortex_workflow_info",
    "cortex_workflow_exporter_build_info",
    "cortex_workflow_exporter_up == 1",
    "cortex_workflow_exporter_last_success_timestamp_seconds",
    "cortex_workflow_exporter_workflow_last_poll_timestamp_seconds",
    "cortex_workflow_exporter_polls_total",
    "cortex_workflow_exporter_poll_lag_seconds",
    "cortex_workflow_exporter_api_requests_total",
    "cortex_workflow_exporter_series",
    "sum by (workflow) (increase(cortex_workflow_runs_total[30s])) > 0",
    "histogram_quantile(0.9, sum by (le) (rate(cortex_workflow_run_duration_seconds_bucket[30s]))) > 0",
];

#[tokio::test]
async fn prometheus_scrapes_the_demo_and_has_samples_of_every_family() {
    let mut demo = Process::demo();
    let target = demo.ready_url().await;
    let prometheus = Prometheus::start(&target).await;
    prometheus.wait_for("up == 1").await;
    let first = prometheus.wait_for("sum(cortex_workflow_runs_total)").await;
    for query in QUERIES {
        prometheus.wait_for(query).await;
    }
    let grown = format!("sum(cortex_workflow_runs_total) > {first}");
    prometheus.wait_for(&grown).await;
    let metadata = prometheus.ask("metadata", &[]).await;
    let names = QUERIES.iter().filter_map(|query| query.split(' ').next());
    for name in names.filter(|name| name.starts_with("cortex_")) {
        let family = name.strip_suffix("_count").unwrap_or(name);
        // In OpenMetrics a counter is called what its samples are called without their ending.
        let stem = family.strip_suffix("_total").unwrap_or(family);
        let told = [stem, family].map(|name| &metadata["data"][name][0]);
        let told = told.into_iter().find(|told| told.is_object()).expect(family);
        let [kind, help] = ["type", "help"].map(|key| told[key].as_str().unwrap_or_default());
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{family}: {kind}");
        assert!(!help.is_empty(), "{family}");
    }
}
