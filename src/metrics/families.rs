//! The table of the families that come out of the ledger: name, type, help, labels, and where their
//! samples come from. Its order is the exposition's.

use std::collections::BTreeMap;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::{
    ledger::{AppState, State, Total, Value, WorkflowState},
    model::{AppId, Label, Origin, Status, WorkflowId},
};

/// A metric family: one row of the table.
pub struct Family {
    /// Its name, as the text format has it.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    source: Source,
}

/// Where a family's samples come from.
#[derive(Clone, Copy)]
enum Source {
    /// The ledger's series of this total.
    Total(Total),
    /// A gauge of each workflow.
    Workflow(fn(&WorkflowState, &mut Samples<'_>)),
    /// A gauge of each app.
    App(fn(&AppState, &mut Samples<'_>)),
    /// One gauge of everything.
    All(fn(&State, Now, &mut Samples<'_>)),
}

/// What a gauge can depend on besides the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Our own clock: milliseconds since the Unix epoch.
    pub ms: i64,
}

macro_rules! per_workflow {
    ($($label:literal),*) => { &["workflow_id", "workflow", $($label),*] };
}

/// All families that come out of the ledger, the vital ones first.
pub const FAMILIES: [Family; 18] = [
    Family {
        name: "cortex_workflow_runs_total",
        help: "Runs that finished, once each, as of the last poll.",
        labels: per_workflow!("status", "origin"),
        source: Source::Total(Total::Runs),
    },
    Family {
        name: "cortex_workflow_consecutive_failures",
        help: "How many of the latest finished runs FAILED in a row, as of the last poll.",
        labels: per_workflow!(),
        source: Source::Workflow(consecutive_failures),
    },
    Family {
        name: "cortex_workflow_runs_active",
        help: "Runs that were PENDING or RUNNING at the last poll.",
        labels: per_workflow!("status", "origin"),
        source: Source::Workflow(active),
    },
    Family {
        name: "cortex_workflow_exporter_last_success_timestamp_seconds",
        help: "When the last complete, successful poll cycle of the app ended.",
        labels: &["app_id"],
        source: Source::App(last_success),
    },
    Family {
        name: "cortex_workflow_exporter_poll_lag_seconds",
        help: "How far the most overdue workflow is behind the time when it was to be read.",
        labels: &[],
        source: Source::All(poll_lag),
    },
    Family {
        name: "cortex_workflow_exporter_held_increments",
        help: "Runs that were counted, but are not shown before their series have been scraped.",
        labels: &[],
        source: Source::All(held_increments),
    },
    Family {
        name: "cortex_workflow_exporter_workflow_last_poll_timestamp_seconds",
        help: "When the workflow's runs were last read: how fresh its data is.",
        labels: per_workflow!(),
        source: Source::Workflow(last_poll),
    },
    Family {
        name: "cortex_workflow_last_run_timestamp_seconds",
        help: "When the latest run with that outcome ended, as of the last poll.",
        labels: per_workflow!("status"),
        source: Source::Workflow(last_run),
    },
    Family {
        name: "cortex_workflow_oldest_active_run_timestamp_seconds",
        help: "When the oldest run that was PENDING at the last poll was created, or RUNNING, started.",
        labels: per_workflow!("status"),
        source: Source::Workflow(oldest_active),
    },
    Family {
        name: "cortex_workflow_runs_created_total",
        help: "Runs that were created, once per run, as of the last poll.",
        labels: per_workflow!("origin"),
        source: Source::Total(Total::RunsCreated),
    },
    Family {
        name: "cortex_workflow_run_duration_seconds",
        help: "From the start of finished runs to their end, as of the last poll.",
        labels: per_workflow!("status", "origin"),
        source: Source::Total(Total::RunDuration),
    },
    Family {
        name: "cortex_workflow_run_queue_duration_seconds",
        help: "From the creation of finished runs to their start, as of the last poll.",
        labels: per_workflow!("origin"),
        source: Source::Total(Total::QueueDuration),
    },
    Family {
        name: "cortex_workflow_steps_total",
        help: "Steps of finished runs, by their own status, as of the last poll.",
        labels: per_workflow!("step", "step_type", "status"),
        source: Source::Total(Total::Steps),
    },
    Family {
        name: "cortex_workflow_step_duration_seconds",
        help: "From the start of steps of finished runs to their end, as of the last poll.",
        labels: per_workflow!("step", "step_type", "status"),
        source: Source::Total(Total::StepDuration),
    },
    Family {
        name: "cortex_workflow_run_credits_total",
        help: "Credits that finished runs used, as of the last poll.",
        labels: per_workflow!("status", "origin"),
        source: Source::Total(Total::RunCredits),
    },
    Family {
        name: "cortex_workflow_step_credits_total",
        help: "Credits that steps of finished runs used, as of the last poll.",
        labels: per_workflow!("step", "step_type"),
        source: Source::Total(Total::StepCredits),
    },
    Family {
        name: "cortex_workflow_tests",
        help: "Tests of the workflow by result, as of the last poll.",
        labels: per_workflow!("result"),
        source: Source::Workflow(tests),
    },
    Family {
        name: "cortex_workflow_info",
        help: "What the list of workflows tells of the workflow, as of the last poll; always 1.",
        labels: per_workflow!("app_id", "app", "key", "version", "enabled"),
        source: Source::Workflow(info),
    },
];

impl Family {
    /// Its type.
    pub fn kind(&self) -> MetricType {
        match self.source {
            Source::Total(Total::RunDuration | Total::QueueDuration | Total::StepDuration) => {
                MetricType::HISTOGRAM
            }
            Source::Total(_) => MetricType::COUNTER,
            Source::Workflow(_) | Source::App(_) | Source::All(_) => MetricType::GAUGE,
        }
    }

    /// Whether it moves with the clock, and not only when the ledger changes.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.source, Source::All(_))
    }

    /// Its samples as of this state.
    pub(super) fn collect(&self, state: &State, now: Now) -> MetricFamily {
        let mut samples = Samples { family: self, ids: Vec::new(), metrics: Vec::new() };
        if let Source::All(collect) = self.source {
            collect(state, now, &mut samples);
        }
        for (app_id, app) in &state.apps {
            if let Source::App(collect) = self.source {
                samples.ids = vec![app_id.as_str().into()];
                collect(app, &mut samples);
            }
            for (id, workflow) in app.published() {
                samples.collect_workflow(app_id, id, workflow);
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(self.kind());
        family.set_metric(samples.metrics);
        family
    }
}

/// The samples of a family, being collected.
struct Samples<'a> {
    family: &'a Family,
    /// The values of the first labels of the samples that come next.
    ids: Vec<String>,
    metrics: Vec<Metric>,
}

impl Samples<'_> {
    fn collect_workflow(&mut self, app_id: &AppId, id: &WorkflowId, workflow: &WorkflowState) {
        let source = self.family.source;
        if matches!(source, Source::App(_) | Source::All(_)) {
            return;
        }
        self.ids = vec![id.as_str().into(), Label::new(workflow.name(id)).as_str().into()];
        if self.family.labels.contains(&"app_id") {
            self.ids.push(app_id.as_str().into());
        }
        match source {
            Source::Total(total) => {
                for (key, series) in workflow.series_of(total) {
                    let labels = key.labels.iter().map(Label::as_str);
                    let metric = self.metric(labels);
                    self.metrics.push(with_value(metric, series.shown()));
                }
            }
            Source::Workflow(collect) => collect(workflow, self),
            Source::App(_) | Source::All(_) => {}
        }
    }

    /// A sample's labels: the ids, then these. There must be as many as the family has names.
    fn metric<'v>(&self, labels: impl Iterator<Item = &'v str>) -> Metric {
        let values = self.ids.iter().cloned().chain(labels.map(str::to_owned));
        let names = self.family.labels;
        let pair = |(name, value): (&&str, String)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value(value);
            pair
        };
        let pairs: Vec<_> = names.iter().zip(values).map(pair).collect();
        debug_assert_eq!(pairs.len(), names.len(), "labels of {}", self.family.name);
        Metric::from_label(pairs)
    }

    fn gauge(&mut self, labels: &[&str], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = self.metric(labels.iter().copied());
        metric.set_gauge(gauge);
        self.metrics.push(metric);
    }
}

fn with_value(mut metric: Metric, value: &Value) -> Metric {
    match value {
        Value::Counter(value) => {
            let mut counter = Counter::default();
            counter.set_value(*value);
            metric.set_counter(counter);
        }
        Value::Histogram(histogram) => {
            let mut cumulative = 0;
            let buckets = histogram.bounds.iter().zip(&histogram.counts).map(|(bound, count)| {
                cumulative += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(cumulative);
                bucket
            });
            let mut sample = Histogram::default();
            sample.set_bucket(buckets.collect());
            sample.set_sample_count(histogram.count());
            sample.set_sample_sum(histogram.sum);
            metric.set_histogram(sample);
        }
    }
    metric
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn consecutive_failures(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    samples.gauge(&[], workflow.record.failures.len() as f64);
}

fn active(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    let mut counts = BTreeMap::new();
    for status in &Status::OPEN {
        for origin in &Origin::FORESEEN {
            counts.insert((status, origin), 0_u32);
        }
    }
    for run in workflow.open.values() {
        *counts.entry((&run.status, &run.origin)).or_default() += 1;
    }
    for ((status, origin), count) in counts {
        samples.gauge(&[status.as_str(), origin.as_str()], f64::from(count));
    }
}

fn last_success(app: &AppState, samples: &mut Samples<'_>) {
    if let Some(ms) = app.record.succeeded_ms {
        samples.gauge(&[], seconds(ms));
    }
}

fn poll_lag(state: &State, now: Now, samples: &mut Samples<'_>) {
    let lags = state
        .apps
        .values()
        .flat_map(|app| app.published().map(|(id, workflow)| app.lag_ms(id, workflow, now.ms)));
    samples.gauge(&[], seconds(lags.max().unwrap_or(0)));
}

fn held_increments(state: &State, _: Now, samples: &mut Samples<'_>) {
    let workflows = state.apps.values().flat_map(AppState::published);
    let held: u64 = workflows.map(|(_, workflow)| workflow.held_runs()).sum();
    samples.gauge(&[], held as f64);
}

fn last_poll(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    if let Some(ms) = workflow.record.polled_ms {
        samples.gauge(&[], seconds(ms));
    }
}

fn last_run(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    for (status, ms) in &workflow.record.last_run_ms {
        samples.gauge(&[status.as_str()], seconds(*ms));
    }
}

fn oldest_active(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    let mut oldest = BTreeMap::new();
    for run in workflow.open.values() {
        if let Some(ms) = run.since_ms {
            let oldest = oldest.entry(&run.status).or_insert(ms);
            *oldest = ms.min(*oldest);
        }
    }
    for (status, ms) in oldest {
        samples.gauge(&[status.as_str()], seconds(ms));
    }
}

fn tests(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    let Some(tests) = &workflow.record.listed.tests else {
        return;
    };
    let results = [
        ("running", tests.running),
        ("cancelled", tests.cancelled),
        ("passing", tests.passing),
        ("failing", tests.failing),
    ];
    for (result, count) in results {
        if let Some(count) = count {
            samples.gauge(&[result], count as f64);
        }
    }
}

fn info(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    let listed = &workflow.record.listed;
    let [app, key, version] =
        [&listed.app, &listed.key, listed.version.as_ref().unwrap_or(&String::new())]
            .map(|text| Label::new(text));
    let enabled = if listed.enabled { "true" } else { "false" };
    samples.gauge(&[app.as_str(), key.as_str(), version.as_str(), enabled], 1.0);
}
