//! What is kept from one state to the next.

use std::{io::Read as _, thread, time::Duration};

use bytes::Bytes;
use prometheus::{IntCounter, Registry};

use super::*;
use crate::{
    config::{Buckets, LoggedRuns, WorkflowFilter},
    ledger::{Ledger, LedgerMetrics, RunsRead, Settings, StopWhen},
    model::{
        AppId, Clock, Label, Origin, ReadAt, Run, Status, Step, StepDuration, Timestamp, Workflow,
        WorkflowId,
    },
};
use std::sync::Arc;

const NOW: i64 = 1_700_000_000_000;

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&self) -> i64 {
        NOW
    }
}

/// A ledger, and an exposition that lives as long as it.
struct FilledLedger {
    ledger: Ledger,
    workflows: Vec<Workflow>,
    kept: Exposition,
    runs: usize,
}

impl FilledLedger {
    async fn new(workflows: usize) -> Self {
        let settings = Settings {
            apps: vec![(app(), WorkflowFilter::default())],
            url: "sqlite::memory:".into(),
            retention: None,
            lookback: Some(Duration::ZERO),
            buckets: Buckets::default(),
            max_series: usize::MAX,
            hold: false,
            log_runs: LoggedRuns::Off,
        };
        let metrics = LedgerMetrics::new(&Registry::new()).expect("a new registry");
        let ledger =
            Ledger::open(settings, metrics, gauges_of, Arc::new(Stopped)).await.expect("it opens");
        let kept = exposition(&ledger);
        let workflows = (0..workflows).map(workflow).collect();
        let world = Self { ledger, workflows, kept, runs: 0 };
        world.list().await;
        world
    }

    async fn list(&self) {
        let listed = self.ledger.record_workflows(&app(), &self.workflows, at()).await;
        listed.expect("it is recorded");
    }

    /// A run of a workflow with this number of steps, each of another key.
    async fn run(&mut self, workflow: usize, steps: usize) {
        self.runs += 1;
        let moment = |seconds: i64| Some(Timestamp::Instant(NOW + seconds * 1000));
        let step = |n: usize| Step {
            key: Label::new(&format!("step{n}")),
            step_type: Label::new("code"),
            status: Status::Completed,
            duration: StepDuration::Seconds(n as f64 / 10.0),
            credits: None,
        };
        let run = Run {
            status: Status::Failed,
            origin: Origin::Webhook,
            created_at: moment(1),
            started_at: moment(2),
            ended_at: moment(2 + self.runs as i64),
            steps: (0..steps).map(step).collect(),
            ..Run::completed(&format!("run{}", self.runs))
        };
        let read = RunsRead {
            runs: &[run],
            read_at: at(),
            newest_first: true,
            stop_when: StopWhen::Always,
            old_end: false,
        };
        let id = &self.workflows[workflow].id;
        self.ledger.record_runs(&app(), id, read).await.expect("it is recorded");
    }

    /// What was kept and updated equals a fresh rendering.
    fn agrees(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for format in Format::ALL {
            let [plain, zipped] = Encoding::ALL.map(|encoding| Negotiated { format, encoding });
            let expected = exposition(&self.ledger).render(plain).0.concat();
            assert!(self.kept.render(plain).0.concat() == expected, "{format:?}");
            let mut unzipped = Vec::new();
            let zipped = self.kept.render(zipped).0.concat();
            let mut decoder = flate2::bufread::GzDecoder::new(&zipped[..]);
            decoder.read_to_end(&mut unzipped).expect("a whole member");
            assert!(unzipped == expected, "{format:?}, compressed");
            if format == Format::Text {
                text = expected;
            }
        }
        text
    }
}

fn exposition(ledger: &Ledger) -> Exposition {
    let own = Registry::new();
    let counter = IntCounter::new("own_total", "Something of the exporter's own.");
    own.register(Box::new(counter.expect("a good name"))).expect("a new registry");
    Exposition::new(ledger, own, Arc::new(Stopped))
}

fn app() -> AppId {
    AppId::new("c").expect("a plain id")
}

fn at() -> ReadAt {
    ReadAt::new(NOW, NOW)
}

fn workflow(n: usize) -> Workflow {
    Workflow {
        id: WorkflowId::new(&format!("work_{n}")).expect("a plain id"),
        name: format!("Workflow \"{n}\""),
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

#[tokio::test]
async fn after_every_change_what_is_kept_equals_a_fresh_rendering() {
    let mut world = FilledLedger::new(300).await;
    world.agrees();
    world.run(7, 2).await;
    world.agrees();
    world.run(7, 100).await;
    world.run(299, 1).await;
    let text = world.agrees();
    let text = String::from_utf8(text).expect("it is text");
    assert!(text.lines().count() > 300 * 20 + 100 * 16, "one workflow has more than a piece");
    world.run(7, 101).await;
    world.agrees();
    world.workflows[7].name = "Another name".into();
    world.list().await;
    world.agrees();
    world.workflows.push(workflow(1000));
    world.workflows.insert(0, workflow(1001));
    world.list().await;
    world.agrees();
    world.workflows.remove(150);
    world.list().await;
    world.agrees();
}

#[tokio::test]
async fn scrapes_of_one_state_share_what_was_rendered_and_of_former_ones_nothing_is_kept() {
    let mut world = FilledLedger::new(300).await;
    let negotiated = |encoding| Negotiated { format: Format::OpenMetrics, encoding };
    let [plain, zipped] = Encoding::ALL.map(negotiated);
    let render = |negotiated| world.kept.render(negotiated).0.shared;
    let is_same = |one: &Bytes, other: &Bytes| one.as_ptr() == other.as_ptr();
    let before = render(zipped);
    let others: Vec<_> = thread::scope(|scope| {
        let scrapes: Vec<_> = (0..8).map(|_| scope.spawn(|| render(zipped))).collect();
        scrapes.into_iter().map(|scrape| scrape.join().expect("no panic")).collect()
    });
    assert!(others.iter().all(|other| is_same(other, &before)));
    drop(others);
    let plain_before = render(plain);
    assert!(!before.is_unique() && !plain_before.is_unique(), "both are kept");
    world.run(7, 2).await;
    let after = world.kept.render(zipped).0.shared;
    assert_ne!(after, before);
    assert!(before.is_unique() && plain_before.is_unique(), "neither is kept");
}
