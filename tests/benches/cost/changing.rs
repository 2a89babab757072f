//! What a change of the ledger costs the scrape right after it.

use std::{sync::Arc, time::Instant};

use cortex_workflow_exporter::{
    config::{Buckets, LoggedRuns, WorkflowFilter},
    ledger::{Ledger, LedgerMetrics, RunsRead, Settings, StopWhen},
    metrics::{Encoding, Exposition, Format, Negotiated, gauges_of},
    model::{
        AppId, Clock as _, Label, Origin, ReadAt, Run, RunId, RunVersion, Status, Step,
        StepDuration, SystemClock, Timestamp, Workflow, WorkflowId,
    },
};
use prometheus::Registry;
use tokio::runtime::Runtime;

use crate::measure::{Samples, row};

const WORKFLOWS: usize = 1_000;
const CHANGES: usize = 41;

pub(crate) fn measure(runtime: &Runtime) {
    let (ledger, exposition) = runtime.block_on(filled());
    let series = exposition.text().lines().filter(|line| !line.starts_with('#')).count();
    let mut runs = 2;
    for (name, format, encoding) in [
        ("OpenMetrics, compressed", Format::OpenMetrics, Encoding::Gzip),
        ("protocol buffers, compressed", Format::Protobuf, Encoding::Gzip),
        ("text, plain", Format::Text, Encoding::Identity),
    ] {
        let wanted = Negotiated { format, encoding };
        let timed = || {
            let begun = Instant::now();
            exposition.render(wanted);
            begun.elapsed().as_secs_f64() * 1e3
        };
        timed();
        let later = Samples::of(CHANGES, || {
            runs += 1;
            runtime.block_on(run(&ledger, runs * 7 % WORKFLOWS, runs));
            let changed = timed();
            changed - timed()
        });
        let what =
            format!("one run of {series} series changed: the next scrape is later by, {name}");
        row(&what, later, "ms");
    }
}

async fn filled() -> (Ledger, Exposition) {
    let settings = Settings {
        apps: vec![(app(), WorkflowFilter::default())],
        url: "sqlite::memory:".into(),
        retention: None,
        lookback: None,
        buckets: Buckets::default(),
        max_series: usize::MAX,
        hold: false,
        log_runs: LoggedRuns::Off,
    };
    let metrics = LedgerMetrics::new(&Registry::new()).expect("a new registry");
    let ledger =
        Ledger::open(settings, metrics, gauges_of, Arc::new(SystemClock)).await.expect("it opens");
    let workflows: Vec<_> = (0..WORKFLOWS).map(workflow).collect();
    ledger.record_workflows(&app(), &workflows, at()).await.expect("it is recorded");
    for workflow in 0..WORKFLOWS {
        for n in [0, 1] {
            run(&ledger, workflow, n).await;
        }
    }
    let clock = Arc::new(SystemClock);
    let exposition = Exposition::new(&ledger, Registry::new(), clock);
    (ledger, exposition)
}

fn app() -> AppId {
    AppId::new("c").expect("a plain id")
}

fn at() -> ReadAt {
    let now = SystemClock.now_ms();
    ReadAt::new(now, now)
}

fn id(n: usize) -> WorkflowId {
    WorkflowId::new(&format!("work_{n:022}")).expect("a plain id")
}

fn workflow(n: usize) -> Workflow {
    Workflow {
        id: id(n),
        name: format!("Workflow number {n}"),
        app: "App".into(),
        key: String::new(),
        version: None,
        enabled: true,
        deleted: false,
        created_at: None,
        runs_count: None,
        tests: None,
    }
}

async fn run(ledger: &Ledger, workflow: usize, n: usize) {
    let now = SystemClock.now_ms();
    let moment = |ms: i64| Some(Timestamp::Instant(now - ms));
    let run = Run {
        id: RunId::new(&format!("run_{n:022}")).expect("a plain id"),
        status: if n.is_multiple_of(2) { Status::Completed } else { Status::Failed },
        origin: Origin::Workflow,
        created_at: moment(9_000),
        started_at: moment(8_000),
        ended_at: moment(n as i64 % 8_000),
        updated_at: None,
        steps: vec![Step {
            key: Label::new("ask"),
            step_type: Label::new("model"),
            status: Status::Completed,
            duration: StepDuration::Seconds(1.5),
            credits: None,
        }],
        credits: Some(1.5),
        version: RunVersion::Unknown,
        failure: None,
        anomalies: Vec::new(),
    };
    let read = RunsRead {
        runs: &[run],
        read_at: at(),
        newest_first: true,
        stop_when: StopWhen::Always,
        old_end: false,
    };
    ledger.record_runs(&app(), &id(workflow), read).await.expect("it is recorded");
}
