//! Processor time per run, from the socket to the ledger.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use cortex_workflow_exporter::{
    api::{Answer, ApiMetrics, Client, PageRequest, RateLimiter},
    app::Core,
    config::{ApiKey, AppConfig, Buckets, Config, Cortex, LoggedRuns, Poll, WorkflowFilter},
    ledger,
    model::{AppId, ErrorClasses, SystemClock},
    poller::CycleResult,
};
use prometheus::Registry;
use tokio::runtime::Runtime;

use crate::{
    api::{Api, KEY, RUNS},
    measure::{Samples, cpu_seconds, row},
};

/// Runs on a whole page.
const PAGE: u32 = 100;
/// Cycles that are measured together, and how often.
const CYCLES: u32 = 40;
const SAMPLES: usize = 9;
/// New ledgers that read all runs.
const LEDGERS: usize = 5;

/// Then each reading is a deep one, which asks for a whole page and decodes it, changed or not.
const ALWAYS_DEEP: Duration = Duration::from_millis(1);
/// Then none is but the first.
const NEVER_DEEP: Duration = Duration::from_secs(86_400);

pub(crate) fn measure(runtime: &Runtime) {
    let api = Api::start("one-large");
    let mut polled = None;
    let new = Samples::of(LEDGERS, || {
        let directory = tempfile::tempdir().expect("a directory");
        let core = runtime.block_on(core(&api.url, directory.path(), ALWAYS_DEEP));
        let cpu = cpu_seconds();
        runtime.block_on(cycle(&core));
        let used = (cpu_seconds() - cpu) * 1e6 / RUNS as f64;
        polled = Some((directory, core));
        used
    });
    row("processor time per new run of 9 KB, until it is durable", new, "µs");
    let (_directory, core) = polled.expect("there is a last one");
    let known = Samples::of(SAMPLES, || {
        let before = runs_read(&core);
        let used = per_run(|| runtime.block_on(cycle(&core)));
        let read = runs_read(&core) - before;
        assert_eq!(read, u64::from(CYCLES * PAGE), "each cycle reads a whole page");
        used
    });
    row("processor time per listed run of 9 KB that is known", known, "µs");
    parts(runtime, &api.url);
    row(
        "processor time per poll of a workflow in which nothing has changed",
        idle(runtime, &api),
        "µs",
    );
}

/// A poll asks for a small page, whose bytes are those that it had before.
fn idle(runtime: &Runtime, api: &Api) -> Samples {
    let directory = tempfile::tempdir().expect("a directory");
    let core = runtime.block_on(core(&api.url, directory.path(), NEVER_DEEP));
    for _ in 0..2 {
        runtime.block_on(cycle(&core));
    }
    Samples::of(SAMPLES, || {
        let (before, asked) = (runs_read(&core), pages(&core));
        let used = per_run(|| runtime.block_on(cycle(&core))) * f64::from(PAGE);
        assert_eq!(pages(&core) - asked, u64::from(CYCLES), "each cycle asks for a page");
        assert_eq!(runs_read(&core), before, "and decodes none");
        used
    })
}

/// Where that goes: the answer as it comes, and decoded; the rest is the ledger and the rendering.
fn parts(runtime: &Runtime, url: &str) {
    let metrics = ApiMetrics::new(&Registry::new()).expect("a new registry");
    let rate_limiter = Arc::new(RateLimiter::new(1_000_000));
    let client = Client::new(&cortex(url), rate_limiter, metrics, Arc::new(SystemClock));
    let client = client.expect("a client");
    let request = PageRequest { number: 1, take: PAGE };
    let workflows = runtime.block_on(client.workflows(request, None)).expect("a list");
    let id = &changed(workflows).items[0].id;
    let address = format!("{url}/apps/c/workflows/{id}/runs?take={PAGE}&page=1");
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    let fetch = async || {
        let answer = plain.get(&address).bearer_auth(KEY).send().await.expect("an answer");
        assert!(answer.bytes().await.expect("all of it").len() > 8_000 * PAGE as usize);
    };
    let decode = async || {
        let page = client.runs(id, request, None).await.expect("an answer");
        assert_eq!(changed(page.expect("it is there")).items.len(), PAGE as usize);
    };
    let fetched = Samples::of(SAMPLES, || per_run(|| runtime.block_on(fetch())));
    row("– of that, the answer from the socket", fetched, "µs");
    let decoded = Samples::of(SAMPLES, || per_run(|| runtime.block_on(decode())));
    row("– the same, decoded", decoded, "µs");
    let page = runtime.block_on(client.runs(id, request, None)).expect("an answer");
    let known = changed(page.expect("it is there")).validator;
    let recognise = async || {
        let answer = client.runs(id, request, Some(&known)).await.expect("an answer");
        assert!(matches!(answer, Some(Answer::Unchanged { .. })), "it has the same bytes");
    };
    let recognised = Samples::of(SAMPLES, || per_run(|| runtime.block_on(recognise())));
    row("– or recognised as the page before, by its bytes", recognised, "µs");
}

fn changed<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Changed(page) => page,
        Answer::Unchanged { .. } => panic!("nobody said what is known"),
    }
}

/// Processor time of reading a page, in µs per run.
fn per_run(mut read: impl FnMut()) -> f64 {
    let cpu = cpu_seconds();
    for _ in 0..CYCLES {
        read();
    }
    (cpu_seconds() - cpu) * 1e6 / f64::from(CYCLES * PAGE)
}

fn cortex(url: &str) -> Cortex {
    Cortex {
        api_url: url.parse().expect("a URL"),
        app_id: AppId::new("c").expect("a plain id"),
        api_key: ApiKey::Value(KEY.into()),
        timeout: Duration::from_secs(60),
        page_size: PAGE,
        verbose: false,
        error_classes: ErrorClasses::default(),
    }
}

async fn core(url: &str, directory: &Path, sweep_interval: Duration) -> Core {
    let cortex = cortex(url);
    let settings = ledger::Settings {
        apps: vec![(cortex.app_id.clone(), WorkflowFilter::default())],
        url: format!("sqlite:{}/ledger.db", directory.display()),
        retention: None,
        lookback: None,
        buckets: Buckets::default(),
        max_series: usize::MAX,
        hold: false,
        log_runs: LoggedRuns::Off,
    };
    let poll = Poll { interval: Duration::from_millis(1), sweep_interval };
    let apps = vec![AppConfig { cortex, workflows: WorkflowFilter::default() }];
    let config = Config { apps, rate_limit: 1_000_000, poll, ..Config::default() };
    let core = Core::build(&config, settings, Arc::new(SystemClock));
    core.await.expect("a core")
}

/// How many runs were decoded.
fn runs_read(core: &Core) -> u64 {
    core.pollers()[0].status().borrow().runs_read.load(Relaxed)
}

/// How many pages of runs were read.
fn pages(core: &Core) -> u64 {
    let mark = "cortex_workflow_exporter_api_requests_total{code=\"200\",endpoint=\"runs\"} ";
    let text = core.exposition.text();
    let number = text.lines().find_map(|line| line.strip_prefix(mark)?.parse().ok());
    number.expect("pages were read")
}

/// Polls once; all that is listed is counted, and rendered.
async fn cycle(core: &Core) {
    let cycle = core.pollers()[0].cycle().await;
    assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
    let text = core.exposition.text();
    let lines = text.lines().filter(|line| line.starts_with("cortex_workflow_runs_total"));
    let counted: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counted as usize, RUNS, "each run is counted once");
}
