//! The exporter under test, as one process would run it, and what it publishes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use cortex_workflow_exporter::{
    api::{ApiMetrics, Backoff, Client, RateLimiter},
    config::{ApiKey, Buckets, Cortex, LoggedRuns, Poll, WorkflowFilter},
    ledger::{self, Ledger, LedgerMetrics},
    metrics::{Exposition, Negotiated, ReleaseGate, gauges_of},
    model::{AppId, Clock, ErrorClasses, WorkflowId},
    poller::{self, Poller, PollerMetrics},
};
use prometheus::Registry;

/// A clock that only moves on command, read with an error that can change.
#[derive(Clone)]
pub(super) struct Hand {
    world_ms: Arc<AtomicI64>,
    wrong_by_ms: Arc<AtomicI64>,
}

impl Hand {
    pub(super) fn new(now_ms: i64) -> Self {
        Self { world_ms: Arc::new(AtomicI64::new(now_ms)), wrong_by_ms: Arc::default() }
    }

    pub(super) fn wrong_by(&self, wrong_by_ms: i64) -> Self {
        Self { wrong_by_ms: Arc::new(wrong_by_ms.into()), ..self.clone() }
    }

    pub(super) fn forward(&self, ms: i64) {
        self.world_ms.fetch_add(ms, SeqCst);
    }

    /// How far it is behind.
    pub(super) fn behind_ms(&self) -> i64 {
        (-self.wrong_by_ms.load(SeqCst)).max(0)
    }

    /// Somebody sets it.
    pub(super) fn set_wrong_by(&self, wrong_by_ms: i64) {
        self.wrong_by_ms.store(wrong_by_ms, SeqCst);
    }
}

impl Clock for Hand {
    fn now_ms(&self) -> i64 {
        self.world_ms.load(SeqCst) + self.wrong_by_ms.load(SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.world_ms.load(SeqCst)
    }
}

/// The clock of a ledger. Its steady time is that of leading and standing by, which passes only while
/// exporters beat, or are kept from it.
struct LedgerClock {
    hand: Hand,
    lease: Hand,
}

impl Clock for LedgerClock {
    fn now_ms(&self) -> i64 {
        self.hand.now_ms()
    }

    fn steady_ms(&self) -> i64 {
        self.lease.steady_ms()
    }
}

/// What is polled, and where the ledger lies.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) api: SocketAddr,
    /// The `--state.url`.
    pub(super) ledger: String,
    pub(super) page_size: u32,
    pub(super) clock: Hand,
    /// Moves when time passes for who leads.
    pub(super) lease: Hand,
    /// Whether what was counted is held until its base has been scraped.
    pub(super) hold: bool,
    /// Every workflow is read at least so often.
    pub(super) sweep: Duration,
}

/// All that polls and publishes.
pub(super) struct Exporter {
    pub(super) poller: Poller,
    exposition: Arc<Exposition>,
    gate: Arc<ReleaseGate>,
    ledger: Ledger,
    connections: Cell<u64>,
}

/// So long that it never passes: all that is held is released by scrapes.
const HOLD: Duration = Duration::from_secs(86_400);

impl Exporter {
    pub(super) async fn start(place: &Place) -> Self {
        let registry = Registry::new();
        let clock: Arc<dyn Clock> = Arc::new(place.clock.clone());
        let app_id = AppId::new("c").expect("a plain id");
        let settings = ledger::Settings {
            apps: vec![(app_id.clone(), WorkflowFilter::default())],
            url: place.ledger.clone(),
            retention: Some(Duration::from_secs(30 * 86_400)),
            lookback: Some(Duration::ZERO),
            buckets: Buckets::default(),
            max_series: usize::MAX,
            hold: place.hold,
            log_runs: LoggedRuns::Off,
        };
        let metrics = LedgerMetrics::new(&registry).expect("a new registry");
        let ledger_clock = LedgerClock { hand: place.clock.clone(), lease: place.lease.clone() };
        let ledger = Ledger::open(settings, metrics, gauges_of, Arc::new(ledger_clock)).await;
        let ledger = ledger.expect("it opens");
        let cortex = Cortex {
            api_url: format!("http://{}", place.api).parse().expect("a URL"),
            app_id: app_id.clone(),
            api_key: ApiKey::Value("demo-key".into()),
            timeout: Duration::from_secs(60),
            page_size: place.page_size,
            verbose: false,
            error_classes: ErrorClasses::default(),
        };
        let at_once = Backoff { base: Duration::ZERO, cap: Duration::ZERO };
        let client = Client::new(
            &cortex,
            Arc::new(RateLimiter::with_backoff(u32::MAX, at_once)),
            ApiMetrics::new(&registry).expect("a new registry"),
            Arc::clone(&clock),
        );
        let settings = poller::PollerSettings {
            app_id,
            page_size: place.page_size,
            poll: Poll { interval: super::INTERVAL, sweep_interval: place.sweep },
        };
        let poller = Poller::new(
            client.expect("a client"),
            ledger.clone(),
            Arc::clone(&clock),
            settings,
            PollerMetrics::new(&registry).expect("a new registry"),
        );
        let exposition = Exposition::new(&ledger, registry, Arc::clone(&clock));
        let exposition = Arc::new(exposition);
        let gate = ReleaseGate::new(Arc::clone(&exposition), ledger.clone(), clock, HOLD);
        Self { poller, exposition, gate: Arc::new(gate), ledger, connections: Cell::default() }
    }

    /// Ends it as a crash does. The database's own thread needs a moment to notice, and a new
    /// process would not find it still writing.
    pub(super) async fn die(self, place: &Place) {
        drop(self);
        let Some(file) = place.ledger.strip_prefix("sqlite:") else { return };
        while Path::new(&format!("{file}-wal")).exists() {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Ends it as a signal does.
    pub(super) async fn end(self) {
        self.ledger.close().await.expect("the server is there");
    }

    /// Proves that it leads, or looks whether it may. Where the database is out of reach, it
    /// can't.
    pub(super) async fn beat(&self) {
        let _ = self.ledger.beat().await;
    }

    pub(super) fn leads(&self) -> bool {
        self.ledger.leadership().is_held()
    }

    /// Whether it shows anything of a workflow.
    pub(super) fn shows_workflows(&self) -> bool {
        self.exposition.text().contains("workflow_id=")
    }

    /// What is published at this moment, without any effect on what is held.
    pub(super) fn look(&self) -> Scrape {
        Scrape::parse(&self.exposition.text())
    }

    /// The run of a workflow that failed last, as far as the ledger knows.
    pub(super) fn last_failed(&self, workflow: &str) -> Option<String> {
        let (state, id) = (self.ledger.state(), WorkflowId::new(workflow)?);
        let workflow = state.apps.values().find_map(|app| app.workflows.get(&id))?;
        Some(workflow.record.last_failed.as_ref()?.id.to_string())
    }

    /// Whether nothing is held.
    pub(super) fn shows_everything(&self) -> bool {
        let state = self.ledger.state();
        let mut series = state.published().flat_map(|workflow| workflow.series.values());
        series.all(|series| *series.shown() == series.value)
    }

    pub(super) fn gate(&self) -> &Arc<ReleaseGate> {
        &self.gate
    }

    /// The number of a new connection.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.update(|number| number + 1);
        self.connections.get()
    }
}

/// Answers a scrape on this connection: the text, and its number.
pub(super) async fn render(gate: &Arc<ReleaseGate>, connection: u64) -> (String, u64) {
    let (body, version) = gate.render(connection, Negotiated::PLAIN).await;
    (String::from_utf8(body.concat()).expect("the exposition is text"), version)
}

/// A counter of a workflow, under the name that the workflow has.
pub(super) type Named = (String, Sample);

/// The counters of workflows in an exposition. Sums of seconds are left out: they are rounded.
pub(super) fn counters(text: &str) -> impl Iterator<Item = (Named, f64)> {
    let lines = text.lines().filter(|line| line.contains('{') && !line.starts_with('#'));
    lines.filter_map(named).filter(|((_, sample), _)| is_counter(sample))
}

pub(super) fn is_counter((name, ..): &Sample) -> bool {
    ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end))
}

/// The samples of workflows in an exposition.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scrape {
    named: BTreeMap<Named, f64>,
    samples: BTreeMap<Sample, f64>,
}

/// Which sample: its name, its workflow's id, and its other labels without the workflow's name.
pub(super) type Sample = (String, String, Vec<String>);

impl Scrape {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| line.contains('{') && !line.starts_with('#'));
        let named: BTreeMap<_, _> = lines.filter_map(named).collect();
        let samples = named.iter().map(|((_, sample), value)| (sample.clone(), *value)).collect();
        Self { named, samples }
    }

    /// What only grows, under the name that its workflow has.
    pub(super) fn growing(&self) -> impl Iterator<Item = (&Named, f64)> {
        let samples = self.named.iter().map(|(named, value)| (named, *value));
        samples.filter(|((_, sample), _)| is_counter(sample) || sample.0.ends_with("_sum"))
    }

    /// Adds to each counter its values under other names that the workflow had.
    pub(super) fn add_former_names(&mut self, last: &BTreeMap<Named, f64>) {
        for (named, value) in last.iter().filter(|(named, _)| !self.named.contains_key(named)) {
            if let Some(sum) = self.samples.get_mut(&named.1) {
                *sum += value;
            }
        }
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = (&Sample, f64)> {
        self.samples.iter().map(|(sample, value)| (sample, *value))
    }

    /// The sample with exactly these labels after the workflow's.
    pub(super) fn get(&self, name: &str, workflow: &str, labels: &[&str]) -> Option<f64> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.samples.get(&(name.into(), workflow.into(), labels)).copied()
    }

    pub(super) fn has(&self, workflow: &str) -> bool {
        self.samples
            .keys()
            .any(|(name, id, _)| name == "cortex_workflow_runs_total" && id == workflow)
    }

    pub(super) fn has_workflows(&self) -> bool {
        !self.samples.is_empty()
    }
}

/// Reads a line. Labels are identified by their values, in the order of their names.
fn named(line: &str) -> Option<(Named, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{')?;
    let pairs = labels.trim_end_matches('}').split("\",");
    let mut labels: BTreeMap<_, _> = pairs
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    let workflow = labels.remove("workflow_id")?;
    let workflow_name = labels.remove("workflow")?;
    // In the order that a reader thinks of: status before origin.
    let order = ["status", "origin", "le"];
    let place = |name: &String| order.iter().position(|known| known == name).unwrap_or(9);
    let mut labels: Vec<_> = labels.into_iter().collect();
    labels.sort_by_key(|(name, _)| place(name));
    let labels = labels.into_iter().map(|(_, value)| value).collect();
    Some(((workflow_name, (name.into(), workflow, labels)), value.parse().ok()?))
}
