//! The families that come out of the ledger: one for each metric of the ledger's table, and the
//! tables of gauges. Their order is the exposition's.

use std::{collections::BTreeMap, sync::LazyLock};

use super::sample::{Distribution, Head, MetricType, Sample, Sink, seconds};
use crate::{
    ledger::{AppState, Metric, MetricKind, MetricRow, OTHER, Series, State, Value, WorkflowState},
    model::{AppId, Label, Origin, Status, WorkflowId},
};

/// A metric family.
pub struct Family {
    /// Its name, as the text format has it.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// The names of its labels besides those that its source gives it.
    more_labels: &'static [&'static str],
    source: Source,
}

/// Where a family's samples come from.
#[derive(Clone, Copy)]
enum Source {
    /// The ledger's series of this metric.
    Metric(Metric),
    /// A gauge of each workflow, and how many series of it a workflow usually has.
    Workflow(fn(&WorkflowState, &mut Samples<'_>), usize),
    /// A gauge of each app.
    App(fn(&AppState, &mut Samples<'_>)),
    /// One gauge of everything.
    All(fn(&State, &mut Samples<'_>)),
    /// The same, moving with the clock.
    Live(fn(&State, Now, &mut Samples<'_>)),
}

/// What a gauge can depend on besides the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Our own clock: milliseconds since the Unix epoch.
    pub ms: i64,
    /// Whether this process leads.
    pub leads: bool,
}

/// All families that come out of the ledger, the vital ones first.
pub static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let (runs, others) = Metric::ALL.split_at(1);
    let [runs, others] =
        [runs, others].map(|metrics| metrics.iter().copied().map(Family::of_metric));
    runs.chain(VITAL_GAUGES).chain(others).chain(OTHER_GAUGES).collect()
});

const VITAL_GAUGES: [Family; 9] = [
    Family {
        name: "cortex_workflow_consecutive_failures",
        help: "How many of the latest finished runs FAILED in a row, as of the last poll.",
        more_labels: &[],
        source: Source::Workflow(consecutive_failures, 1),
    },
    Family {
        name: "cortex_workflow_runs_active",
        help: "Runs that were PENDING or RUNNING at the last poll.",
        more_labels: &["status", "origin"],
        source: Source::Workflow(active, 6),
    },
    Family {
        name: "cortex_workflow_exporter_last_success_timestamp_seconds",
        help: "When the last complete, successful poll cycle of the app ended.",
        more_labels: &[],
        source: Source::App(last_success),
    },
    Family {
        name: "cortex_workflow_exporter_leader",
        help: "Whether this exporter polls and shows workflows (1), or stands by for another (0).",
        more_labels: &[],
        source: Source::Live(leader),
    },
    Family {
        name: "cortex_workflow_exporter_poll_lag_seconds",
        help: "How far the most overdue workflow is behind the time when it was to be read.",
        more_labels: &[],
        source: Source::Live(poll_lag),
    },
    Family {
        name: "cortex_workflow_exporter_held_increments",
        help: "Runs that were counted, but are not shown before their series have been scraped.",
        more_labels: &[],
        source: Source::All(held_increments),
    },
    Family {
        name: "cortex_workflow_exporter_workflow_last_poll_timestamp_seconds",
        help: "When the workflow's runs were last read: how fresh its data is.",
        more_labels: &[],
        source: Source::Workflow(last_poll, 1),
    },
    Family {
        name: "cortex_workflow_last_run_timestamp_seconds",
        help: "When the latest run with that outcome ended, as of the last poll.",
        more_labels: &["status"],
        source: Source::Workflow(last_run, 4),
    },
    Family {
        name: "cortex_workflow_oldest_active_run_timestamp_seconds",
        help: "When the oldest run that was PENDING at the last poll was created, or RUNNING, started.",
        more_labels: &["status"],
        source: Source::Workflow(oldest_active, 2),
    },
];

const OTHER_GAUGES: [Family; 3] = [
    Family {
        name: "cortex_workflow_version_created_timestamp_seconds",
        help: "When that version of the workflow was made; the newest three that ran, as of the last \
               poll.",
        more_labels: &["version"],
        source: Source::Workflow(versions, 3),
    },
    Family {
        name: "cortex_workflow_tests",
        help: "Tests of the workflow by result, as of the last poll.",
        more_labels: &["result"],
        source: Source::Workflow(tests, 4),
    },
    Family {
        name: "cortex_workflow_info",
        help: "What the list of workflows says about the workflow, as of the last poll; always 1.",
        more_labels: &["app_id", "app", "key", "version", "enabled"],
        source: Source::Workflow(info, 1),
    },
];

/// How many series the budget has to reserve for the gauges of a workflow.
pub fn gauges_of(workflow: &WorkflowState) -> usize {
    let gauges = FAMILIES.iter().map(|family| {
        let Source::Workflow(collect, usual) = family.source else { return 0 };
        let mut series = 0;
        collect(workflow, &mut family.samples(Vec::new(), "", &mut |_, _| series += 1));
        series.max(usual)
    });
    gauges.sum()
}

impl Family {
    fn of_metric(metric: Metric) -> Self {
        let MetricRow { name, help, labels, .. } = *metric.row();
        Self { name, help, more_labels: labels, source: Source::Metric(metric) }
    }

    /// The names of its labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let of_source: &[&str] = match self.source {
            Source::Metric(_) | Source::Workflow(..) => &["workflow_id", "workflow"],
            Source::App(_) => &["app_id"],
            Source::All(_) | Source::Live(_) => &[],
        };
        of_source.iter().chain(self.more_labels).copied()
    }

    /// Its type.
    pub fn kind(&self) -> MetricType {
        match self.source {
            Source::Metric(metric) => match metric.row().kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Histogram(_) => MetricType::Histogram,
            },
            _ => MetricType::Gauge,
        }
    }

    pub(super) fn head(&self) -> Head<'static> {
        Head { name: self.name, help: self.help, kind: self.kind() }
    }

    /// Whether its samples move with the clock, and not with the ledger's state alone.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.source, Source::Live(_))
    }

    /// Hands out its samples.
    pub(super) fn collect(&self, state: &State, now: Now, sink: &mut Sink<'_>) {
        match self.source {
            Source::Metric(_) | Source::Workflow(..) => {
                for (app_id, app) in &state.apps {
                    for (id, workflow) in app.published() {
                        self.collect_workflow(app_id, id, workflow, sink);
                    }
                }
            }
            Source::App(collect) => {
                for (app_id, app) in &state.apps {
                    collect(app, &mut self.samples(vec![app_id.as_str()], "", sink));
                }
            }
            Source::All(collect) => collect(state, &mut self.samples(Vec::new(), "", sink)),
            Source::Live(collect) => collect(state, now, &mut self.samples(Vec::new(), "", sink)),
        }
    }

    fn collect_workflow(
        &self,
        app_id: &AppId,
        id: &WorkflowId,
        workflow: &WorkflowState,
        sink: &mut Sink<'_>,
    ) {
        let name = Label::new(workflow.name(id));
        let ids = vec![id.as_str(), name.as_str()];
        let mut samples = self.samples(ids, app_id.as_str(), sink);
        match self.source {
            Source::Metric(metric) => {
                for (key, series) in workflow.series_of(metric) {
                    let labels: Vec<_> = key.labels.iter().map(Label::as_str).collect();
                    samples.put(&labels, &of_series(series));
                }
            }
            // What is counted in the group has none, nor has the group itself.
            Source::Workflow(collect, _) if !workflow.is_overflowed() && id.as_str() != OTHER => {
                collect(workflow, &mut samples);
            }
            _ => {}
        }
    }

    fn samples<'a>(
        &'a self,
        ids: Vec<&'a str>,
        app_id: &'a str,
        sink: &'a mut Sink<'a>,
    ) -> Samples<'a> {
        Samples { family: self, ids, app_id, sink }
    }
}

/// The samples of a family, on their way out.
struct Samples<'a> {
    family: &'a Family,
    /// The values of the labels that the family's source gives it.
    ids: Vec<&'a str>,
    /// The app of the workflow.
    app_id: &'a str,
    sink: &'a mut Sink<'a>,
}

impl Samples<'_> {
    /// A sample with these values of the family's further labels, of which there must be as many.
    fn put(&mut self, labels: &[&str], sample: &Sample<'_>) {
        let values = self.ids.iter().chain(labels).copied();
        let pairs: Vec<_> = self.family.labels().zip(values).collect();
        debug_assert_eq!(labels.len(), self.family.more_labels.len(), "{}", self.family.name);
        (self.sink)(&pairs, sample);
    }

    fn gauge(&mut self, labels: &[&str], value: f64) {
        self.put(labels, &Sample::Gauge(value));
    }
}

fn of_series(series: &Series) -> Sample<'_> {
    let (start_ms, exemplars) = (series.start_ms, series.exemplars());
    match series.shown() {
        Value::Counter(value) => {
            let exemplar = exemplars.first().map(|(_, exemplar)| exemplar);
            Sample::Counter { value: *value, start_ms, exemplar }
        }
        Value::Histogram(histogram) => Sample::Histogram(Distribution {
            bounds: &histogram.bounds,
            counts: &histogram.counts,
            sum: histogram.sum,
            native: Some(&histogram.native),
            start_ms,
            exemplars,
        }),
    }
}

fn consecutive_failures(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    samples.gauge(&[], workflow.record.failures.len() as f64);
}

/// Maximum number of pairs of status and origin; an API that invents values must not create series
/// without end, so beyond it all others are counted as one.
const MAX_OPEN_SERIES: usize = 64;
const OTHER_WORD: &str = "OTHER";

fn active(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    let mut counts = BTreeMap::new();
    for status in &Status::OPEN {
        for origin in &Origin::PREDEFINED {
            counts.insert((status, origin), 0_u32);
        }
    }
    let other = (Status::new(OTHER_WORD), Origin::new(OTHER_WORD));
    for run in workflow.open.values() {
        let mut words = (&run.status, &run.origin);
        if counts.len() >= MAX_OPEN_SERIES && !counts.contains_key(&words) {
            words = (&other.0, &other.1);
        }
        *counts.entry(words).or_default() += 1;
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

fn leader(_: &State, now: Now, samples: &mut Samples<'_>) {
    samples.gauge(&[], f64::from(u8::from(now.leads)));
}

fn poll_lag(state: &State, now: Now, samples: &mut Samples<'_>) {
    let lags = state
        .apps
        .values()
        .flat_map(|app| app.published().map(|(id, workflow)| app.lag_ms(id, workflow, now.ms)));
    samples.gauge(&[], seconds(lags.max().unwrap_or(0)));
}

fn held_increments(state: &State, samples: &mut Samples<'_>) {
    let held: u64 = state.published().map(|workflow| workflow.held_runs()).sum();
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

fn versions(workflow: &WorkflowState, samples: &mut Samples<'_>) {
    for (number, created_ms) in workflow.record.versions.created() {
        samples.gauge(&[&number.to_string()], seconds(created_ms));
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
    let app_id = samples.app_id;
    samples.gauge(&[app_id, app.as_str(), key.as_str(), version.as_str(), enabled], 1.0);
}
