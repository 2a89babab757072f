//! What is published, held against the truth. Pure.

use std::collections::BTreeMap;

use cortex_workflow_exporter::model::{Origin, Status};

use super::{
    exporter::Scrape,
    truth::{self, Counts, Known, Truth},
};

/// Nothing is counted that did not happen.
pub(super) fn counts(truth: &Truth, scrape: &Scrape) {
    let names = [truth::RUNS, truth::SUBMITTED, truth::DURATIONS, truth::WAITS, truth::STEPS];
    for ((name, workflow, labels), value) in scrape.samples() {
        let Some(name) = names.iter().find(|known| *known == name) else { continue };
        let key = (*name, workflow.clone(), labels.clone());
        let most = truth.counts.get(&key).copied().unwrap_or(0);
        assert!(value <= most as f64, "{key:?} is {value}, more than the {most} there were");
    }
}

/// What is counted by causes and by versions sums up to the runs.
pub(super) fn sums(scrape: &Scrape) {
    let mut sums = BTreeMap::<(&str, &str), [f64; 3]>::new();
    for ((name, workflow, labels), value) in scrape.samples() {
        let (place, status) = match name.as_str() {
            truth::RUNS => (0, labels[0].as_str()),
            "cortex_workflow_version_runs_total" => (1, labels[0].as_str()),
            "cortex_workflow_run_failures_total" => (2, "FAILED"),
            _ => continue,
        };
        sums.entry((workflow, status)).or_default()[place] += value;
    }
    for (place, [runs, by_version, by_cause]) in sums {
        assert_eq!(by_version.to_bits(), runs.to_bits(), "{place:?} by version");
        let failed = if place.1 == "FAILED" { runs } else { 0.0 };
        assert_eq!(by_cause.to_bits(), failed.to_bits(), "{place:?} by cause");
    }
}

/// Nothing is missing that must be there.
pub(super) fn floor(truth: &Truth, scrape: &Scrape, floor: &Counts) {
    for (key, least) in floor {
        let (name, workflow, labels) = key;
        let least = least.saturating_sub(truth.doubtful.get(key).copied().unwrap_or(0));
        let gone = truth.workflows.iter().any(|it| it.id == *workflow && it.deleted);
        if gone && !scrape.has(workflow) {
            continue;
        }
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let value = scrape.get(name, workflow, &labels).unwrap_or(0.0);
        assert!(value >= least as f64, "{key:?} is {value}, but there were {least}");
    }
}

/// The gauges of a workflow are as the world is.
pub(super) fn gauges(known: &Known, open: &BTreeMap<(String, String), u64>, scrape: &Scrape) {
    let of = |name, labels: &[&str]| scrape.get(name, &known.id, labels);
    for (status, origin) in Status::OPEN.iter().flat_map(|s| ORIGINS.iter().map(move |o| (s, o))) {
        let (status, origin) = (status.as_str(), origin.as_str());
        let expected = open.get(&(status.into(), origin.into())).copied().unwrap_or(0);
        let active = of("cortex_workflow_runs_active", &[status, origin]).unwrap_or(0.0);
        assert_eq!(active as u64, expected, "{status} {origin} runs of {}", known.name);
    }
    if let Some(expected) = known.failures {
        let failures = of("cortex_workflow_consecutive_failures", &[]).expect("it is published");
        assert_eq!(failures as u64, expected, "failures of {} in a row", known.name);
    }
    for (status, ms) in &known.last_run_ms {
        let name = "cortex_workflow_last_run_timestamp_seconds";
        let last = of(name, &[status.as_str()]).expect("it is published");
        assert_eq!((last * 1000.0).round() as i64, *ms, "last {status:?} run of {}", known.name);
    }
}

const ORIGINS: [Origin; 6] = [
    Origin::Workflow,
    Origin::Record,
    Origin::Test,
    Origin::Trigger,
    Origin::Endpoint,
    Origin::Webhook,
];
