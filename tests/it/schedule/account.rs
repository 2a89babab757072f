//! An account of many workflows, polled in simulated time: the real poll loop, client and ledger, and
//! the simulated API without a network. Nothing waits, so a day takes minutes at the most.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{body::Body, http::StatusCode, response::IntoResponse as _};
use cortex_workflow_exporter::{
    api::{ApiMetrics, Client, Handler, RateLimiter},
    config::{ApiKey, Buckets, Cortex, LoggedRuns, Poll, WorkflowFilter},
    ledger::{self, Ledger, LedgerMetrics, Metric, State, WorkflowState},
    metrics::gauges_of,
    model::{AppId, Clock, ErrorClasses, Origin, Status},
    poller::{self, Poller, PollerMetrics, Polling},
    simulator::{
        ApiEndpoint, Quirk, RequestSeen, RunsCount, SimulatedRun, SimulatedWorkflow, Simulator,
        SimulatorSettings,
    },
};
use futures::TryFutureExt as _;
use prometheus::Registry;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::de::IgnoredAny;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// 2023-12-25T12:00:00Z.
const NOON: i64 = 1_703_505_600_000;
/// Requests a minute that the API answers, in any sliding minute, and so in any fixed one too.
const ALLOWED: u32 = 500;
/// What the world forgets is what no exporter looks at any more; it keeps the simulation quick.
const REMEMBERED: usize = 150;
/// How long the account lives before it is measured, so that sweeps have begun.
const BEFORE: Duration = Duration::from_secs(600);
/// How long the last runs may take until they are counted.
const AFTER: Duration = Duration::from_secs(3 * 3600);

/// What an account is like, and how it is polled.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) workflows: usize,
    /// How long it is from one run of a workflow to its next, on average; `None`: there are none.
    pub(crate) every: Option<Duration>,
    /// What the list of workflows tells of the number of runs.
    pub(crate) runs_count: RunsCount,
    /// Finished runs that each workflow had before.
    pub(crate) history: usize,
    /// The customer's data in each run, in bytes.
    pub(crate) padding: usize,
    pub(crate) quirks: BTreeSet<Quirk>,
    /// How long it is measured.
    pub(crate) measured: Duration,
    /// How long the API takes for an answer, in milliseconds.
    pub(crate) latency_ms: Range<u64>,
    /// A gateway before the API answers with 504 if it takes longer than this.
    pub(crate) gateway: Option<Duration>,
    pub(crate) sweep_interval: Duration,
    /// Where the exporter's key comes from; the API's is `demo-key`.
    pub(crate) key: ApiKey,
    /// How far the exporter's clock is ahead, now.
    pub(crate) local_ahead_ms: Arc<AtomicI64>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            workflows: 100,
            every: None,
            runs_count: RunsCount::Ever,
            history: 20,
            padding: 0,
            quirks: BTreeSet::new(),
            measured: Duration::from_secs(3600),
            latency_ms: 20..200,
            gateway: None,
            sweep_interval: Duration::from_secs(300),
            key: ApiKey::Value("demo-key".into()),
            local_ahead_ms: Arc::default(),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// From the start to the end of the first cycle, and the requests until then.
    pub(crate) first_cycle: Duration,
    pub(crate) first_requests: usize,
    /// Requests a minute while it was measured: all, and those for lists of workflows.
    pub(crate) requests: f64,
    pub(crate) lists: f64,
    /// What answers had while it was measured.
    pub(crate) traffic: Traffic,
    /// Runs that were read while it was measured.
    pub(crate) runs_read: u64,
    /// Answers with 429, ever.
    pub(crate) refused: usize,
    /// The most requests in any sliding minute and in any minute of the clock, ever.
    pub(crate) most_sliding: usize,
    pub(crate) most_fixed: usize,
    /// From the end of each run until it was counted, in seconds, ascending.
    pub(crate) delays: Vec<f64>,
    /// Runs that ended and were not counted at last.
    pub(crate) missing: usize,
    /// Runs that were counted more often than they ended.
    pub(crate) surplus: usize,
}

/// What answers had while it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Runs in them, alone or in lists, and the bytes of these answers.
    pub(crate) runs: u64,
    pub(crate) runs_bytes: u64,
}

impl Traffic {
    fn add(&mut self, request: &reqwest::Request, body: &[u8]) {
        let bytes = body.len() as u64;
        self.bytes += bytes;
        if request.url().path().contains("/runs") {
            self.runs_bytes += bytes;
            // A list, or else a run, unless there is nothing, as in a 304.
            let list = serde_json::from_slice::<Vec<IgnoredAny>>(body);
            let single = u64::from(!body.is_empty());
            self.runs += list.map_or(single, |runs| runs.len() as u64);
        }
    }
}

impl Figures {
    /// The delay that this part of the runs stays below.
    pub(crate) fn delay(&self, part: f64) -> f64 {
        let at = (part * self.delays.len() as f64).ceil() as usize;
        self.delays.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// The time of the runtime, which stands while there is something to do.
struct SimulatedClock(Instant);

impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        NOON + self.0.elapsed().as_millis() as i64
    }
}

/// The exporter's own clock, which somebody may set.
struct LocalClock {
    real: Arc<dyn Clock>,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock for LocalClock {
    fn now_ms(&self) -> i64 {
        self.real.now_ms() + self.ahead_ms.load(Relaxed)
    }

    fn steady_ms(&self) -> i64 {
        self.real.steady_ms()
    }
}

/// When runs of each workflow ended that were not counted yet, and the delays of those that were.
#[derive(Default)]
struct Truth {
    ended: HashMap<String, VecDeque<i64>>,
    delays: Vec<f64>,
    surplus: usize,
}

/// An API and what polls it, which time is simulated for.
pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) poller: Poller,
    pub(crate) ledger: Ledger,
    clock: Arc<dyn Clock>,
    traffic: Arc<Mutex<Traffic>>,
}

impl Stage {
    /// Nothing has been polled yet. To be made within [`simulated`].
    pub(crate) async fn new(setting: &Setting) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock(Instant::now()));
        let api = SimulatorSettings {
            rate_limit: Some(ALLOWED),
            api_key: "demo-key".into(),
            ..SimulatorSettings::default()
        };
        let simulator = Simulator::new(api, Arc::clone(&clock));
        people(&simulator, setting);
        let ahead_ms = Arc::clone(&setting.local_ahead_ms);
        let local: Arc<dyn Clock> = Arc::new(LocalClock { real: Arc::clone(&clock), ahead_ms });
        let ledger = ledger(&local).await;
        tokio::spawn(stand_still_for(ledger.clone()));
        let traffic = Arc::<Mutex<Traffic>>::default();
        let answer = handler(&simulator, setting, Arc::clone(&traffic));
        let poller = poller(setting, answer, &ledger, &local);
        Self { simulator, poller, ledger, clock, traffic }
    }
}

/// Runs it in a time that goes by whenever there is nothing to do.
pub(crate) fn simulated<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(story)
}

/// Lives through it.
pub(crate) fn live(setting: &Setting) -> Figures {
    simulated(lived(setting))
}

async fn lived(setting: &Setting) -> Figures {
    let Stage { simulator, poller, ledger, clock, traffic } = Stage::new(setting).await;
    let mut status = poller.status();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let truth = Arc::new(Mutex::new(Truth::default()));
    tokio::spawn(watch(ledger.states(), Arc::clone(&truth), Arc::clone(&clock)));
    let begun = Instant::now();
    tokio::spawn(Polling::new(vec![poller]).run(stop));
    status.wait_for(|status| status.cycles > 0).await.expect("it polls");
    let first_cycle = begun.elapsed();
    let first = simulator.take_requests();
    let living = tokio::spawn(happen(setting.clone(), simulator.clone(), Arc::clone(&truth)));
    tokio::time::sleep(BEFORE).await;
    let before = simulator.take_requests();
    let take_traffic =
        || std::mem::take(&mut *traffic.lock().unwrap_or_else(PoisonError::into_inner));
    take_traffic();
    let runs_read = Arc::clone(&status.borrow().runs_read);
    let read_before = runs_read.load(Relaxed);
    truth.lock().unwrap_or_else(PoisonError::into_inner).delays.clear();
    tokio::time::sleep(setting.measured).await;
    let measured = simulator.take_requests();
    let (traffic, runs_read) = (take_traffic(), runs_read.load(Relaxed) - read_before);
    living.await.expect("the world lives");
    let missing = || {
        let truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
        truth.ended.values().map(VecDeque::len).sum::<usize>()
    };
    let given_up = Instant::now() + AFTER;
    while missing() > 0 && Instant::now() < given_up {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let after = simulator.take_requests();
    let missing = missing();
    let truth = std::mem::take(&mut *truth.lock().unwrap_or_else(PoisonError::into_inner));
    let mut delays = truth.delays;
    delays.sort_by(f64::total_cmp);
    let minutes = setting.measured.as_secs_f64() / 60.0;
    let is_list = |request: &&RequestSeen| request.endpoint == Some(ApiEndpoint::Workflows);
    let all: Vec<_> = [&first, &before, &measured, &after].into_iter().flatten().collect();
    Figures {
        first_cycle,
        first_requests: first.len(),
        requests: measured.len() as f64 / minutes,
        lists: measured.iter().filter(is_list).count() as f64 / minutes,
        traffic,
        runs_read,
        refused: all.iter().filter(|request| request.status == Some(429)).count(),
        most_sliding: most_sliding(&all),
        most_fixed: most_fixed(&all),
        delays,
        missing,
        surplus: truth.surplus,
    }
}

fn people(simulator: &Simulator, setting: &Setting) {
    simulator.world(|world| {
        world.quirks.clone_from(&setting.quirks);
        for n in 0..setting.workflows {
            let mut workflow = SimulatedWorkflow::new(&format!("Workflow number {n}"));
            workflow.created_at = Some(NOON - 30 * 86_400_000);
            workflow.runs_count = setting.runs_count;
            let id = world.add_workflow(workflow);
            for old in (1..=setting.history as i64).rev() {
                let created = NOON - 86_400_000 - old * 60_000;
                let run = SimulatedRun::new(Status::Completed, Origin::Workflow).with_times(
                    created,
                    Some(created + 100),
                    Some(created + 4_000),
                );
                world.add_run(&id, SimulatedRun { padding: setting.padding, ..run });
            }
        }
    });
}

async fn ledger(clock: &Arc<dyn Clock>) -> Ledger {
    let settings = ledger::Settings {
        apps: vec![(app(), WorkflowFilter::default())],
        url: "sqlite::memory:".into(),
        retention: Some(Duration::from_secs(30 * 86_400)),
        lookback: Some(Duration::ZERO),
        buckets: Buckets::default(),
        max_series: usize::MAX,
        hold: false,
        log_runs: LoggedRuns::Off,
    };
    let metrics = LedgerMetrics::new(&Registry::new()).expect("a new registry");
    Ledger::open(settings, metrics, gauges_of, Arc::clone(clock)).await.expect("a ledger in memory")
}

pub(crate) fn app() -> AppId {
    AppId::new("c").expect("a plain id")
}

fn poller(setting: &Setting, answer: Handler, ledger: &Ledger, clock: &Arc<dyn Clock>) -> Poller {
    let cortex = Cortex {
        api_url: "http://127.0.0.1".parse().expect("a URL"),
        app_id: app(),
        api_key: setting.key.clone(),
        timeout: Duration::from_secs(30),
        page_size: 100,
        verbose: false,
        error_classes: ErrorClasses::default(),
    };
    let registry = Registry::new();
    let metrics = ApiMetrics::new(&registry).expect("a new registry");
    let rate_limiter = Arc::new(RateLimiter::new(400));
    let client = Client::in_process(answer, &cortex, rate_limiter, metrics, Arc::clone(clock));
    let interval = Duration::from_secs(30);
    let settings = poller::PollerSettings {
        app_id: app(),
        page_size: 100,
        poll: Poll { interval, sweep_interval: setting.sweep_interval },
    };
    let metrics = PollerMetrics::new(&registry).expect("a new registry");
    Poller::new(client.expect("a client"), ledger.clone(), Arc::clone(clock), settings, metrics)
}

/// Answers as the simulated API does, after a while that differs from request to request.
fn handler(simulator: &Simulator, setting: &Setting, traffic: Arc<Mutex<Traffic>>) -> Handler {
    let (router, gateway) = (simulator.router(), setting.gateway);
    let latency_ms = setting.latency_ms.clone();
    let random = Arc::new(Mutex::new(StdRng::seed_from_u64(7)));
    Arc::new(move |request: reqwest::Request| {
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        let [out, back] =
            [(); 2].map(|()| Duration::from_millis(random.random_range(latency_ms.clone()) / 2));
        let (router, traffic) = (router.clone(), Arc::clone(&traffic));
        Box::pin(async move {
            tokio::time::sleep(out).await;
            let mut sent = axum::http::Request::get(request.url().as_str());
            sent.headers_mut().expect("a plain request").extend(request.headers().clone());
            let sent = sent.body(Body::empty()).expect("a plain request");
            let answer = router.oneshot(sent).unwrap_or_else(|never| match never {});
            let answer = match gateway {
                Some(patience) => tokio::time::timeout(patience, answer).await,
                None => Ok(answer.await),
            };
            let answer = answer.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response());
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("it is in memory");
            let add = |mut it: std::sync::MutexGuard<'_, Traffic>| it.add(&request, &body);
            add(traffic.lock().unwrap_or_else(PoisonError::into_inner));
            tokio::time::sleep(back).await;
            reqwest::Response::from(axum::http::Response::from_parts(parts, body))
        })
    })
}

/// SQLite works in a thread of its own, which the runtime takes for idleness: it would let time go
/// by. So five times a second somebody waits for the ledger in a way that time does not pass.
async fn stand_still_for(ledger: Ledger) {
    let nobody = AppId::new("nobody").expect("a plain id");
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (ledger, nobody) = (ledger.clone(), nobody.clone());
        let runtime = tokio::runtime::Handle::current();
        let wait = move || runtime.block_on(ledger.record_due(&nobody, BTreeMap::new()));
        tokio::task::spawn_blocking(wait).await.expect("it waits");
    }
}

/// Compares what is counted with what ended.
async fn watch(
    mut states: watch::Receiver<Arc<State>>,
    truth: Arc<Mutex<Truth>>,
    clock: Arc<dyn Clock>,
) {
    let mut before = Arc::clone(&states.borrow_and_update());
    let mut counted = HashMap::<String, u64>::new();
    let nothing = BTreeMap::new();
    while states.changed().await.is_ok() {
        let state = Arc::clone(&states.borrow_and_update());
        let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
        let [now, known] = [&state, &before]
            .map(|state| state.apps.get(&app()).map_or(&nothing, |app| &app.workflows));
        // Mostly both have the same ones.
        let mut known = known.iter().peekable();
        for (id, workflow) in now {
            while known.next_if(|(known, _)| *known < id).is_some() {}
            if known.peek().is_some_and(|(_, known)| Arc::ptr_eq(known, workflow)) {
                continue;
            }
            let total = runs_counted(workflow);
            let counted = counted.entry(id.as_str().to_owned()).or_default();
            for _ in *counted..total {
                let ended_ms = truth.ended.get_mut(id.as_str()).and_then(VecDeque::pop_front);
                match ended_ms {
                    Some(ms) => truth.delays.push((clock.now_ms() - ms) as f64 / 1000.0),
                    None => truth.surplus += 1,
                }
            }
            *counted = total;
        }
        before = state;
    }
}

pub(crate) fn runs_counted(workflow: &WorkflowState) -> u64 {
    workflow.series_of(Metric::Runs).map(|(_, series)| series.value.amount()).sum::<f64>() as u64
}

/// What happens next to a run.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Create { workflow: usize },
    Start { workflow: usize, run: String },
    End { workflow: usize, run: String },
}

/// Lets runs be created, start and end, until nothing is to be measured any more.
async fn happen(setting: Setting, simulator: Simulator, truth: Arc<Mutex<Truth>>) {
    let Some(every) = setting.every else { return };
    let mut random = StdRng::seed_from_u64(1);
    // Waiting times between what happens independently.
    let mut wait = move |mean: f64| -mean * (1.0 - random.random::<f64>()).ln() * 1000.0;
    let begun = Instant::now();
    let until_ms = (BEFORE + setting.measured).as_millis() as i64;
    let every = every.as_secs_f64();
    let mut agenda = BinaryHeap::new();
    for workflow in 0..setting.workflows {
        agenda.push(Reverse((wait(every) as i64, Event::Create { workflow })));
    }
    while let Some(Reverse((at_ms, event))) = agenda.pop() {
        if at_ms > until_ms {
            continue;
        }
        tokio::time::sleep_until(begun + Duration::from_millis(at_ms as u64)).await;
        simulator.world(|world| {
            let now_ms = world.now_ms();
            match event {
                Event::Create { workflow } => {
                    let id = world.workflows[workflow].id.clone();
                    let run = SimulatedRun::new(Status::Pending, Origin::Workflow);
                    let run = SimulatedRun { padding: setting.padding, ..run };
                    let run = world.add_run(&id, run).expect("it is there");
                    let started_ms = at_ms + 200 + wait(1.0) as i64;
                    agenda.push(Reverse((started_ms, Event::Start { workflow, run })));
                    let next_ms = at_ms + 1 + wait(every) as i64;
                    agenda.push(Reverse((next_ms, Event::Create { workflow })));
                }
                Event::Start { workflow, run } => {
                    let runs = &mut world.workflows[workflow].runs;
                    let run = runs.iter_mut().rfind(|it| it.id == run).expect("it waits");
                    run.status = Status::Running;
                    (run.started_at, run.updated_at) = (Some(now_ms), Some(now_ms));
                    let ended_ms = at_ms + 1_000 + wait(45.0) as i64;
                    let run = run.id.clone();
                    agenda.push(Reverse((ended_ms, Event::End { workflow, run })));
                }
                Event::End { workflow, run } => {
                    let workflow = &mut world.workflows[workflow];
                    let run = workflow.runs.iter_mut().rfind(|it| it.id == run).expect("it runs");
                    let fails = crc32fast::hash(run.id.as_bytes()).is_multiple_of(20);
                    run.status = if fails { Status::Failed } else { Status::Completed };
                    (run.ended_at, run.updated_at) = (Some(now_ms), Some(now_ms));
                    let surplus = workflow.runs.len().saturating_sub(REMEMBERED);
                    if setting.history <= REMEMBERED {
                        workflow.runs.drain(..surplus);
                    }
                    let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
                    truth.ended.entry(workflow.id.clone()).or_default().push_back(now_ms);
                }
            }
        });
    }
}

fn most_sliding(requests: &[&RequestSeen]) -> usize {
    let mut times: Vec<_> = requests.iter().map(|request| request.at_ms).collect();
    times.sort_unstable();
    let mut from = 0;
    let within = |(to, at_ms): (usize, &i64)| {
        while times[from] + 60_000 <= *at_ms {
            from += 1;
        }
        to + 1 - from
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

fn most_fixed(requests: &[&RequestSeen]) -> usize {
    let mut minutes = HashMap::<i64, usize>::new();
    for request in requests {
        *minutes.entry(request.at_ms / 60_000).or_default() += 1;
    }
    minutes.into_values().max().unwrap_or(0)
}
