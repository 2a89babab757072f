use prometheus::{
    GaugeVec, HistogramVec, IntCounterVec, Registry, register_gauge_vec_with_registry,
    register_histogram_vec_with_registry, register_int_counter_vec_with_registry,
};

use crate::model::AppId;

/// The poller's own metrics.
#[derive(Clone)]
pub struct PollerMetrics {
    up: GaugeVec,
    polls: IntCounterVec,
    poll_duration: HistogramVec,
}

/// How a poll cycle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleResult {
    /// Everything was read.
    Success,
    /// A part was read, and counted.
    Partial,
    /// Nothing was read.
    Failure,
}

impl CycleResult {
    const ALL: [Self; 3] = [Self::Success, Self::Partial, Self::Failure];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
        }
    }
}

impl PollerMetrics {
    /// Registers the families. Fails if they are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            up: register_gauge_vec_with_registry!(
                "cortex_workflow_exporter_up",
                "Whether the last poll cycle of the app succeeded completely.",
                &["app_id"],
                registry
            )?,
            polls: register_int_counter_vec_with_registry!(
                "cortex_workflow_exporter_polls_total",
                "Poll cycles, by result: success, partial (some of it could not be read), failure.",
                &["app_id", "result"],
                registry
            )?,
            poll_duration: register_histogram_vec_with_registry!(
                "cortex_workflow_exporter_poll_duration_seconds",
                "How long poll cycles took.",
                &["app_id"],
                vec![0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0],
                registry
            )?,
        })
    }

    /// Ends the series of an app that is no longer read.
    pub fn forget(&self, app: &AppId) {
        // What was never there needs no removal.
        let _ = self.up.remove_label_values(&[app.as_str()]);
        let _ = self.poll_duration.remove_label_values(&[app.as_str()]);
        for result in CycleResult::ALL {
            let _ = self.polls.remove_label_values(&[app.as_str(), result.as_str()]);
        }
    }

    /// The app is polled by another process.
    pub(super) fn stand_by(&self, app: &AppId) {
        let _ = self.up.remove_label_values(&[app.as_str()]);
    }

    /// Makes the app's series exist, at 0 if they don't yet.
    pub(super) fn init_series(&self, app: &AppId) {
        self.up.with_label_values(&[app.as_str()]);
        self.poll_duration.with_label_values(&[app.as_str()]);
        for result in CycleResult::ALL {
            self.polls.with_label_values(&[app.as_str(), result.as_str()]);
        }
    }

    pub(super) fn cycle_ended(&self, app: &AppId, result: CycleResult, seconds: f64) {
        let up = if result == CycleResult::Success { 1.0 } else { 0.0 };
        self.up.with_label_values(&[app.as_str()]).set(up);
        self.polls.with_label_values(&[app.as_str(), result.as_str()]).inc();
        self.poll_duration.with_label_values(&[app.as_str()]).observe(seconds);
    }
}
