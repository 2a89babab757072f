use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, Registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry, register_int_gauge_with_registry,
};

use super::{exchange::RawAnswer, retry::Reason};

/// A kind of request: a value of the label `endpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// The list of workflows.
    Workflows,
    /// A workflow's list of runs.
    Runs,
    /// One run.
    Run,
}

impl RequestKind {
    const ALL: [Self; 3] = [Self::Workflows, Self::Runs, Self::Run];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Workflows => "workflows",
            Self::Runs => "runs",
            Self::Run => "run",
        }
    }
}

/// The value of `code` where there was no whole answer.
const NO_ANSWER: &str = "error";

/// Counts the requests to the API, over all apps. Clones share their numbers.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    response_bytes: IntCounterVec,
    rate_limit: IntGauge,
}

impl ApiMetrics {
    /// Registers the families, with every label value that can be foreseen at 0. Fails only if one
    /// is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_api_requests_total",
                "Requests sent to the Cortex API, retries included, by status code; \"error\" where \
                 there was no whole answer.",
                &["endpoint", "code"],
                registry
            )?,
            duration: register_histogram_vec_with_registry!(
                "cortex_workflow_exporter_api_request_duration_seconds",
                "How long requests to the Cortex API took, each attempt by itself, from connecting to \
                 the last byte of the answer.",
                &["endpoint"],
                vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
                registry
            )?,
            retries: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_api_retries_total",
                "Requests sent to the Cortex API once more, by what was wrong the time before.",
                &["reason"],
                registry
            )?,
            response_bytes: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_api_response_bytes_total",
                "Bytes in the bodies of the Cortex API's answers, decompressed.",
                &["endpoint"],
                registry
            )?,
            rate_limit: register_int_gauge_with_registry!(
                "cortex_workflow_exporter_api_rate_limit_requests_per_minute",
                "Requests a minute that this exporter may send to the Cortex API.",
                registry
            )?,
        };
        metrics.init_series();
        Ok(metrics)
    }

    fn init_series(&self) {
        for endpoint in RequestKind::ALL.map(RequestKind::as_str) {
            self.duration.with_label_values(&[endpoint]);
            self.response_bytes.with_label_values(&[endpoint]);
            for code in ["200", "401", "429", "500", NO_ANSWER] {
                self.requests.with_label_values(&[endpoint, code]);
            }
        }
        for reason in Reason::ALL {
            self.retries.with_label_values(&[reason.as_str()]);
        }
    }

    /// Counts an attempt; `answer` is `None` where there was no whole one.
    pub(super) fn attempt(&self, kind: RequestKind, answer: Option<&RawAnswer>, took: Duration) {
        let endpoint = kind.as_str();
        let code = answer.map_or_else(|| NO_ANSWER.into(), |it| it.status.as_u16().to_string());
        let bytes = answer.map_or(0, |answer| answer.body.len() as u64);
        self.response_bytes.with_label_values(&[endpoint]).inc_by(bytes);
        self.requests.with_label_values(&[endpoint, code.as_str()]).inc();
        self.duration.with_label_values(&[endpoint]).observe(took.as_secs_f64());
    }

    pub(super) fn retry(&self, reason: Reason) {
        self.retries.with_label_values(&[reason.as_str()]).inc();
    }

    /// Sets how many requests a minute may be sent.
    pub fn set_rate_limit(&self, requests_per_minute: u32) {
        self.rate_limit.set(requests_per_minute.into());
    }
}
