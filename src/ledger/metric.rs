//! The metrics that are added up run by run. Each is one row of the table; everything else is
//! derived from the rows.

use MetricKind::{Counter, Histogram};

use crate::{
    config::Buckets,
    model::{ERROR_CLASSES, Origin, Status},
};

/// Stands for workflows, steps and step types that have no series of their own.
pub const OTHER: &str = "_other";

/// What is known of a metric.
#[derive(Debug)]
pub struct MetricRow {
    /// Its id in the database, which never changes.
    pub(super) id: &'static str,
    /// The name of its family.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What its series are.
    pub kind: MetricKind,
    /// Its labels besides the workflow's id and name.
    pub labels: &'static [&'static str],
    /// Whether its series name a run as an example.
    pub(super) exemplars: bool,
}

/// What the series of a metric are.
#[derive(Clone, Copy, Debug)]
pub enum MetricKind {
    /// A count, or a sum of credits.
    Counter,
    /// A distribution of seconds over these of the configured buckets.
    Histogram(fn(&Buckets) -> &[f64]),
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $metric:ident => $row:expr,)*) => {
        /// What is added up, run by run. Each is the source of one metric family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$doc])* $metric,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($metric)),*].len()] = [$(Self::$metric),*];

            /// Its row of the table.
            pub const fn row(self) -> &'static MetricRow {
                match self {
                    $(Self::$metric => &$row,)*
                }
            }
        }
    };
}

metrics! {
    /// Finished runs.
    Runs => MetricRow {
        id: "runs",
        name: "cortex_workflow_runs_total",
        help: "Runs that finished, once each, as of the last poll.",
        kind: Counter,
        labels: &["status", "origin"],
        exemplars: true,
    },
    /// Runs submitted.
    RunsSubmitted => MetricRow {
        id: "runs_created",
        name: "cortex_workflow_runs_submitted_total",
        help: "Runs that were submitted, once per run, as of the last poll.",
        kind: Counter,
        labels: &["origin"],
        exemplars: false,
    },
    /// Seconds from start to end of runs.
    RunDuration => MetricRow {
        id: "run_duration",
        name: "cortex_workflow_run_duration_seconds",
        help: "From the start of finished runs to their end, as of the last poll.",
        kind: Histogram(|buckets| &buckets.runs),
        labels: &["status", "origin"],
        exemplars: true,
    },
    /// Seconds from creation to start of runs.
    QueueDuration => MetricRow {
        id: "queue_duration",
        name: "cortex_workflow_run_queue_duration_seconds",
        help: "From the creation of finished runs to their start, as of the last poll.",
        kind: Histogram(|buckets| &buckets.queues),
        labels: &["origin"],
        exemplars: true,
    },
    /// Runs that FAILED.
    RunFailures => MetricRow {
        id: "run_failures",
        name: "cortex_workflow_run_failures_total",
        help: "Runs that FAILED, by the step that ended them and the class of its error, as of the \
               last poll.",
        kind: Counter,
        labels: &["step", "step_type", "error_class"],
        exemplars: true,
    },
    /// Finished runs by the version of their workflow.
    VersionRuns => MetricRow {
        id: "version_runs",
        name: "cortex_workflow_version_runs_total",
        help: "Runs that finished, by the version of the workflow that ran, as of the last poll.",
        kind: Counter,
        labels: &["version", "status"],
        exemplars: false,
    },
    /// Steps of finished runs.
    Steps => MetricRow {
        id: "steps",
        name: "cortex_workflow_steps_total",
        help: "Steps of finished runs, by their own status, as of the last poll.",
        kind: Counter,
        labels: &["step", "step_type", "status"],
        exemplars: false,
    },
    /// Seconds that steps took.
    StepDuration => MetricRow {
        id: "step_duration",
        name: "cortex_workflow_step_duration_seconds",
        help: "From the start of steps of finished runs to their end, as of the last poll.",
        kind: Histogram(|buckets| &buckets.steps),
        labels: &["step", "step_type", "status"],
        exemplars: true,
    },
    /// Credits of runs.
    RunCredits => MetricRow {
        id: "run_credits",
        name: "cortex_workflow_run_credits_total",
        help: "Credits that finished runs used, as of the last poll.",
        kind: Counter,
        labels: &["status", "origin"],
        exemplars: false,
    },
    /// Credits of steps.
    StepCredits => MetricRow {
        id: "step_credits",
        name: "cortex_workflow_step_credits_total",
        help: "Credits that steps of finished runs used, as of the last poll.",
        kind: Counter,
        labels: &["step", "step_type"],
        exemplars: false,
    },
}

impl Metric {
    /// The metric with this id in the database; `None` if this version doesn't know it.
    pub(super) fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.row().id == id)
    }
}

/// What stands for the value of a label in the overflow group. Of words, only those that this
/// version knows are kept, so that there are few of them.
pub(super) fn overflow<'a>(label: &str, value: &'a str) -> &'a str {
    match label {
        "status" if !Status::new(value).is_unknown() => value,
        "origin" if !Origin::new(value).is_unknown() => value,
        "status" | "origin" => "OTHER",
        "error_class" if ERROR_CLASSES.contains(&value) => value,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_has_an_id_and_a_name_of_its_own() {
        let rows = Metric::ALL.map(Metric::row);
        let ids: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!((ids.len(), names.len()), (rows.len(), rows.len()));
        for metric in Metric::ALL {
            assert_eq!(Metric::parse(metric.row().id), Some(metric));
        }
        assert_eq!(Metric::parse("of a newer version"), None);
    }

    #[test]
    fn the_overflow_group_keeps_known_words_only() {
        for (label, value, expected) in [
            ("status", "FAILED", "FAILED"),
            ("status", "MADE_UP", "OTHER"),
            ("origin", "RECORD", "RECORD"),
            ("origin", "FAILED", "OTHER"),
            ("error_class", "timeout", "timeout"),
            ("error_class", "of_the_team", OTHER),
            ("version", "7", OTHER),
            ("step", "ask", OTHER),
            ("step_type", "model", OTHER),
            ("of a newer version", "FAILED", OTHER),
        ] {
            assert_eq!(overflow(label, value), expected, "{label} {value}");
        }
    }
}
