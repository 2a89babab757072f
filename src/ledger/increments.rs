//! What a run adds to the metrics. Pure.

use std::collections::BTreeSet;

use super::{metric::Metric, series::SeriesKey};
use crate::model::{Anomaly, Label, Run, RunFailure, Status, StepDuration, Timestamp};

/// What is added to one series.
pub(super) type Increment = (SeriesKey, f64);

/// What the submission of a run adds.
pub(super) fn of_submission(run: &Run) -> Increment {
    (SeriesKey::new(Metric::RunsSubmitted, &[run.origin.as_str()]), 1.0)
}

/// What one finished attempt adds, all of it together, and what is odd about it. `version` is what
/// the version of its workflow is called.
pub(super) fn of_attempt(
    run: &Run,
    replay: bool,
    version: &str,
) -> (Vec<Increment>, BTreeSet<Anomaly>) {
    let (status, origin) = (run.status.as_str(), run.origin.as_str());
    let mut odd: BTreeSet<Anomaly> = run.anomalies.iter().copied().collect();
    let mut increments = Vec::new();
    let mut add = |metric, labels: &[&str], amount| {
        increments.push((SeriesKey::new(metric, labels), amount));
    };
    add(Metric::Runs, &[status, origin], 1.0);
    add(Metric::VersionRuns, &[version, status], 1.0);
    if run.status == Status::Failed {
        let RunFailure { step, step_type, error_class } =
            run.failure.clone().unwrap_or_else(RunFailure::unknown);
        let labels = [&step, &step_type, &error_class].map(Label::as_str);
        add(Metric::RunFailures, &labels, 1.0);
    }
    match run_seconds(run) {
        Ok(seconds) => add(Metric::RunDuration, &[status, origin], seconds),
        Err(anomaly) => drop(odd.insert(anomaly)),
    }
    // A replay starts long after its run was created, which is no waiting.
    if !replay {
        match seconds_between(run.created_at, run.started_at) {
            Ok(seconds) => add(Metric::QueueDuration, &[origin], seconds),
            Err(anomaly) => drop(odd.insert(anomaly)),
        }
    }
    if let Some(credits) = run.credits {
        add(Metric::RunCredits, &[status, origin], credits);
    }
    for step in &run.steps {
        let (key, kind) = (step.key.as_str(), step.step_type.as_str());
        add(Metric::Steps, &[key, kind, step.status.as_str()], 1.0);
        match step.duration {
            StepDuration::Seconds(seconds) => {
                add(Metric::StepDuration, &[key, kind, step.status.as_str()], seconds);
            }
            StepDuration::Negative => drop(odd.insert(Anomaly::NegativeDuration)),
            StepDuration::Unknown => {}
        }
        if let Some(credits) = step.credits {
            add(Metric::StepCredits, &[key, kind], credits);
        }
    }
    (increments, odd)
}

/// How long a run took, in seconds; the anomaly says why that isn't known.
pub(super) fn run_seconds(run: &Run) -> Result<f64, Anomaly> {
    seconds_between(run.started_at, run.ended_at)
}

/// Seconds between two instants; the anomaly says why there are none.
fn seconds_between(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<f64, Anomaly> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Anomaly::MissingTimestamp);
    };
    let (Some(from), Some(to)) = (from.instant(), to.instant()) else {
        return Err(Anomaly::DateOnlyTimestamp);
    };
    if to < from {
        return Err(Anomaly::NegativeDuration);
    }
    Ok((to - from) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Step;

    #[test]
    fn a_run_that_has_everything_adds_to_every_metric_with_the_labels_of_its_row() {
        let step = Step {
            key: Label::new("ask"),
            step_type: Label::new("model"),
            status: Status::Completed,
            duration: StepDuration::Seconds(1.0),
            credits: Some(1.5),
        };
        let [created_at, started_at, ended_at] = [1, 2, 3].map(|ms| Some(Timestamp::Instant(ms)));
        let run = Run {
            created_at,
            started_at,
            ended_at,
            steps: vec![step],
            credits: Some(2.5),
            status: Status::Failed,
            ..Run::completed("a")
        };
        let (mut increments, anomalies) = of_attempt(&run, false, "7");
        increments.push(of_submission(&run));
        for (key, _) in &increments {
            assert_eq!(key.labels.len(), key.metric.row().labels.len(), "{key:?}");
        }
        let metrics: BTreeSet<_> = increments.iter().map(|(key, _)| key.metric).collect();
        assert_eq!(metrics, BTreeSet::from(Metric::ALL));
        assert!(anomalies.is_empty(), "{anomalies:?}");
    }
}
