//! What polling costs: processor time per listed run, and memory with a thousand workflows.
//!
//! `cargo bench --bench cost` runs it. The simulated API runs in a process of its own, so that what
//! it uses isn't counted.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cortex_workflow_exporter::{
    app::Core,
    config::{self, ApiKey, Buckets, Cortex, Poll, WorkflowFilter},
    ledger,
    model::{AppId, Origin, Status, SystemClock},
    poller::CycleResult,
    simulator::{Run, Settings, Simulator, Step, StepDefinition, Workflow},
};
use tokio_util::sync::CancellationToken;

/// The customer's data that makes a run about 9 KB.
const PADDING: usize = 7_200;
/// Runs of the one workflow.
const RUNS: usize = 10_000;
/// Runs on the page that each cycle reads.
const PAGE: u32 = 100;
/// Cycles that are measured together, and how often.
const CYCLES: u32 = 40;
const SAMPLES: usize = 7;
const KEY: &str = "bench-key";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("one-large") => runtime.block_on(simulate(one_large_workflow)),
        Some("thousand") => runtime.block_on(simulate(thousand_workflows)),
        _ => {
            runtime.block_on(cost_of_a_listed_run());
            memory_of_a_thousand_workflows();
        }
    }
}

/// Serves a world until the process is killed; says where.
async fn simulate(make: fn(&Simulator)) {
    let settings = Settings { api_key: KEY.into(), rate_limit: None, ..Settings::default() };
    let simulator = Simulator::new(settings, Arc::new(SystemClock));
    make(&simulator);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    simulator.serve(listener, CancellationToken::new()).await.expect("it serves");
}

fn one_large_workflow(simulator: &Simulator) {
    simulator.world(|world| {
        let steps = ["fetch", "ask", "check", "tell"];
        let workflow = Workflow::new("large");
        let workflow =
            steps.iter().fold(workflow, |workflow, key| workflow.with_step(key, "model"));
        let id = world.add_workflow(workflow);
        let now_ms = world.now_ms();
        for n in 0..RUNS as i64 {
            let start = now_ms + n * 10;
            let mut run = Run::new(Status::Completed, Origin::Workflow).with_times(
                start - 500,
                Some(start),
                Some(start + 4_000),
            );
            run.padding = PADDING;
            run.credits = Some(1.5);
            run.steps = steps
                .iter()
                .zip(0..)
                .map(|(key, n)| {
                    let definition = StepDefinition::new(key, "model");
                    let mut step = Step::new(&definition, Status::Completed, start + n * 1_000);
                    step.end = Some(start + (n + 1) * 1_000);
                    step
                })
                .collect();
            world.add_run(&id, run);
        }
    });
}

fn thousand_workflows(simulator: &Simulator) {
    simulator.world(|world| {
        let now_ms = world.now_ms();
        for n in 0..1_000_i64 {
            let id = world.add_workflow(Workflow::new(&format!("Workflow number {n}")));
            for run in 0..150_i64 {
                let start = now_ms - 86_400_000 + run * 500_000;
                let status = if run % 10 == 0 { Status::Failed } else { Status::Completed };
                let mut run = Run::new(status, Origin::Workflow).with_times(
                    start,
                    Some(start + 100),
                    Some(start + 4_000),
                );
                run.padding = 500;
                world.add_run(&id, run);
            }
        }
    });
}

/// A simulated API in a process of its own.
struct Api(Child, String);

impl Api {
    fn start(world: &str) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(this)
            .arg(world)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut address = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut address).expect("it says where it is");
        Self(child, format!("http://{}", address.trim()))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn cost_of_a_listed_run() {
    let api = Api::start("one-large");
    let directory = tempfile::tempdir().expect("a directory");
    let cortex = Cortex {
        api_url: api.1.parse().expect("a URL"),
        app_id: AppId::new("c").expect("a plain id"),
        api_key: ApiKey::Value(KEY.into()),
        timeout: Duration::from_secs(60),
        page_size: PAGE,
        verbose: false,
    };
    let counting = ledger::Settings {
        apps: vec![cortex.app_id.clone()],
        url: format!("sqlite:{}/ledger.db", directory.path().display()),
        retention: None,
        lookback: None,
        buckets: Buckets::default(),
        hold: false,
    };
    let second = Duration::from_secs(1);
    let poll = Poll { interval: second, sweep_interval: second };
    let clock = Arc::new(SystemClock);
    let apps = [config::App { cortex, workflows: WorkflowFilter::default() }];
    let labels = BTreeMap::new();
    let core = Core::build(&apps, 1_000_000, poll, counting, &labels, clock);
    let core = core.await.expect("a core");
    let cpu = cpu_seconds();
    cycle(&core).await;
    println!("a new run, until durable: {:.1} µs", (cpu_seconds() - cpu) * 1e6 / RUNS as f64);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let cpu = cpu_seconds();
        for _ in 0..CYCLES {
            cycle(&core).await;
        }
        samples.push((cpu_seconds() - cpu) * 1e6 / f64::from(CYCLES * PAGE));
    }
    samples.sort_by(f64::total_cmp);
    let (least, median, most) = (samples[0], samples[SAMPLES / 2], samples[SAMPLES - 1]);
    println!("a listed run that is known: {median:.1} µs ({least:.1} to {most:.1})");
}

async fn cycle(core: &Core) {
    let cycle = core.pollers[0].cycle().await;
    assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
    let text = core.exposition.text();
    let lines = text.lines().filter(|line| line.starts_with("cortex_workflow_runs_total"));
    let counted: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counted as usize, RUNS, "each run is counted once");
}

fn memory_of_a_thousand_workflows() {
    let api = Api::start("thousand");
    let directory = tempfile::tempdir().expect("a directory");
    let mut exporter = Command::new(env!("CARGO_BIN_EXE_cortex-workflow-exporter"))
        .args(["--web.listen-address=127.0.0.1:0", "--cortex.rate-limit=1000000"])
        .arg("--poll.interval=2s")
        .arg(format!("--cortex.api-url={}", api.1))
        .arg(format!("--state.url=sqlite:{}/ledger.db", directory.path().display()))
        .env("CORTEX_API_KEY", KEY)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the exporter runs");
    let log = BufReader::new(exporter.stderr.take().expect("it is piped"));
    let mut address = None;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for line in log.lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("address=") {
            address = rest.split(' ').next().map(str::to_owned);
        }
        if line.contains("The first poll cycle succeeded") {
            break;
        }
    }
    let url = format!("http://{}/metrics", address.expect("it says where it listens"));
    for gzip in [false, true].repeat(3) {
        let begun = Instant::now();
        let client = reqwest::Client::builder().gzip(false).build().expect("a client");
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = client.get(&url).header("Accept-Encoding", encoding).send();
        let body = runtime.block_on(async { request.await?.bytes().await }).expect("a scrape");
        println!("a scrape, {encoding}: {} bytes in {:.1?}", body.len(), begun.elapsed());
    }
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.id())).expect("it runs");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux tells");
    let kib: f64 =
        peak.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    println!("peak memory with 1,000 workflows: {:.1} MiB", kib / 1024.0);
    let _ = exporter.kill();
    let _ = exporter.wait();
}

/// Processor time that all threads of this process used.
fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("Linux tells");
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
