//! Processor time per run, from the socket to the ledger.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cortex_workflow_exporter::{
    app::Core,
    config::{self, ApiKey, Buckets, Cortex, Poll, WorkflowFilter},
    ledger,
    model::{AppId, SystemClock},
    poller::CycleResult,
};
use tokio::runtime::Runtime;

use crate::{
    api::{Api, KEY, RUNS},
    measure::{Samples, cpu_seconds, row},
};

/// Runs on the page that each cycle reads.
const PAGE: u32 = 100;
/// Cycles that are measured together, and how often.
const CYCLES: u32 = 40;
const SAMPLES: usize = 9;
/// New ledgers that read all runs.
const LEDGERS: usize = 5;

pub(crate) fn measure(runtime: &Runtime) {
    let api = Api::start("one-large");
    let mut polled = None;
    let new = Samples::of(LEDGERS, || {
        let directory = tempfile::tempdir().expect("a directory");
        let core = runtime.block_on(core(&api.url, directory.path()));
        let cpu = cpu_seconds();
        runtime.block_on(cycle(&core));
        let used = (cpu_seconds() - cpu) * 1e6 / RUNS as f64;
        polled = Some((directory, core));
        used
    });
    row("processor time per new run of 9 KB, until it is durable", new, "µs");
    let (_directory, core) = polled.expect("there is a last one");
    let known = Samples::of(SAMPLES, || {
        let cpu = cpu_seconds();
        for _ in 0..CYCLES {
            runtime.block_on(cycle(&core));
        }
        (cpu_seconds() - cpu) * 1e6 / f64::from(CYCLES * PAGE)
    });
    row("processor time per listed run of 9 KB that is known", known, "µs");
}

async fn core(url: &str, directory: &std::path::Path) -> Core {
    let cortex = Cortex {
        api_url: url.parse().expect("a URL"),
        app_id: AppId::new("c").expect("a plain id"),
        api_key: ApiKey::Value(KEY.into()),
        timeout: Duration::from_secs(60),
        page_size: PAGE,
        verbose: false,
    };
    let counting = ledger::Settings {
        apps: vec![cortex.app_id.clone()],
        url: format!("sqlite:{}/ledger.db", directory.display()),
        retention: None,
        lookback: None,
        buckets: Buckets::default(),
        hold: false,
    };
    let second = Duration::from_secs(1);
    let poll = Poll { interval: second, sweep_interval: second };
    let (clock, labels) = (Arc::new(SystemClock), BTreeMap::new());
    let apps = [config::App { cortex, workflows: WorkflowFilter::default() }];
    let core = Core::build(&apps, 1_000_000, &poll, counting, &labels, clock);
    core.await.expect("a core")
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
