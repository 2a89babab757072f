use std::time::Duration;

use prometheus::{
    Gauge, Histogram, IntCounterVec, IntGauge, Registry, histogram_opts,
    register_gauge_with_registry, register_histogram_with_registry,
    register_int_counter_vec_with_registry, register_int_gauge_with_registry,
};

use crate::model::Anomaly;

/// What the ledger reports about itself.
#[derive(Clone)]
pub struct LedgerMetrics {
    commits: IntCounterVec,
    commit_duration: Histogram,
    detection_delay: Histogram,
    anomalies: IntCounterVec,
    series_limit: Gauge,
    pub(super) folded_workflows: IntGauge,
}

impl LedgerMetrics {
    /// Registers the families. Fails if they are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            commits: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_ledger_commits_total",
                "Transactions of the ledger, by result.",
                &["result"],
                registry
            )?,
            commit_duration: register_histogram_with_registry!(
                histogram_opts!(
                    "cortex_workflow_exporter_ledger_commit_duration_seconds",
                    "How long transactions of the ledger took until they were durable.",
                    vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]
                ),
                registry
            )?,
            detection_delay: register_histogram_with_registry!(
                histogram_opts!(
                    "cortex_workflow_exporter_detection_delay_seconds",
                    "From the end of a run, by the API's clock, until it was counted.",
                    vec![
                        1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0
                    ]
                ),
                registry
            )?,
            anomalies: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_anomalies_total",
                "Anomalies in the API's answers, by reason; each reason is explained in the README.",
                &["reason"],
                registry
            )?,
            series_limit: register_gauge_with_registry!(
                "cortex_workflow_exporter_series_limit",
                "Maximum number of series; beyond it, what is new is counted as workflow_id _other.",
                registry
            )?,
            folded_workflows: register_int_gauge_with_registry!(
                "cortex_workflow_exporter_folded_workflows",
                "Workflows without series of their own, since there was no room for them.",
                registry
            )?,
        };
        for result in ["success", "failure"] {
            metrics.commits.with_label_values(&[result]);
        }
        for anomaly in Anomaly::ALL {
            metrics.anomalies.with_label_values(&[anomaly.as_str()]);
        }
        Ok(metrics)
    }

    /// Counts an anomaly.
    pub fn anomaly(&self, anomaly: Anomaly) {
        self.anomalies.with_label_values(&[anomaly.as_str()]).inc();
    }

    pub(super) fn limited_to(&self, max_series: usize) {
        let limit = if max_series == usize::MAX { f64::INFINITY } else { max_series as f64 };
        self.series_limit.set(limit);
    }

    /// A transaction has ended.
    pub(super) fn committed(&self, ok: bool, took: Duration) {
        self.commits.with_label_values(&[if ok { "success" } else { "failure" }]).inc();
        self.commit_duration.observe(took.as_secs_f64());
    }

    /// Runs were counted: with these anomalies, this many seconds after they ended.
    pub(super) fn observed(&self, anomalies: &[Anomaly], detection_delays: &[f64]) {
        for anomaly in anomalies {
            self.anomaly(*anomaly);
        }
        for seconds in detection_delays {
            self.detection_delay.observe(*seconds);
        }
    }
}
