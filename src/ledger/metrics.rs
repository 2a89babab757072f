use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use crate::model::Anomaly;

/// What the ledger tells of itself.
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
        let commits = IntCounterVec::new(
            Opts::new(
                "cortex_workflow_exporter_ledger_commits_total",
                "Transactions of the ledger, by result.",
            ),
            &["result"],
        )?;
        let commit_duration = Histogram::with_opts(
            HistogramOpts::new(
                "cortex_workflow_exporter_ledger_commit_duration_seconds",
                "How long transactions of the ledger took until they were durable.",
            )
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
        )?;
        let detection_delay = Histogram::with_opts(
            HistogramOpts::new(
                "cortex_workflow_exporter_detection_delay_seconds",
                "From the end of a run, by the API's clock, until it was counted.",
            )
            .buckets(vec![
                1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
            ]),
        )?;
        let anomalies = IntCounterVec::new(
            Opts::new(
                "cortex_workflow_exporter_anomalies_total",
                "Oddities in what the API told, by reason; each reason is explained in the README.",
            ),
            &["reason"],
        )?;
        let series_limit = Gauge::new(
            "cortex_workflow_exporter_series_limit",
            "Past so many series, what is new is counted together as workflow_id _other.",
        )?;
        let folded_workflows = IntGauge::new(
            "cortex_workflow_exporter_folded_workflows",
            "Workflows without series of their own, since there was no room for them.",
        )?;
        for result in ["success", "failure"] {
            commits.with_label_values(&[result]);
        }
        for anomaly in Anomaly::ALL {
            anomalies.with_label_values(&[anomaly.as_str()]);
        }
        registry.register(Box::new(commits.clone()))?;
        registry.register(Box::new(commit_duration.clone()))?;
        registry.register(Box::new(detection_delay.clone()))?;
        registry.register(Box::new(anomalies.clone()))?;
        registry.register(Box::new(series_limit.clone()))?;
        registry.register(Box::new(folded_workflows.clone()))?;
        Ok(Self {
            commits,
            commit_duration,
            detection_delay,
            anomalies,
            series_limit,
            folded_workflows,
        })
    }

    /// Counts an oddity.
    pub fn anomaly(&self, anomaly: Anomaly) {
        self.anomalies.with_label_values(&[anomaly.as_str()]).inc();
    }

    pub(super) fn limited_to(&self, max_series: usize) {
        let limit = if max_series == usize::MAX { f64::INFINITY } else { max_series as f64 };
        self.series_limit.set(limit);
    }

    /// A transaction has ended.
    pub(super) fn committed(&self, well: bool, took: Duration) {
        self.commits.with_label_values(&[if well { "success" } else { "failure" }]).inc();
        self.commit_duration.observe(took.as_secs_f64());
    }

    /// Runs were counted: with these oddities, so many seconds after they ended.
    pub(super) fn observed(&self, anomalies: &[Anomaly], detection_delays: &[f64]) {
        for anomaly in anomalies {
            self.anomaly(*anomaly);
        }
        for seconds in detection_delays {
            self.detection_delay.observe(*seconds);
        }
    }
}
