//! Writes hours of a simulated fleet's metrics to standard output within minutes, for `draw`.
//!
//! The exporter is the real one: it polls the simulated API, counts into a ledger, and renders. Only
//! the clock is not: it jumps from one poll to the next. After each poll the exposition is written
//! as Prometheus would have scraped it, in the format that `promtool` reads, with the time and the
//! target's labels. By this clock a poll takes no time; how long requests and commits take is real.

use std::{
    io::{BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use cortex_workflow_exporter::{
    app::Core,
    config::{ApiKey, AppConfig, Buckets, Config, Cortex, LoggedRuns, Poll, WorkflowFilter},
    ledger,
    model::{AppId, Clock, ErrorClasses, Origin, Status, SystemClock},
    simulator::{Simulator, SimulatorSettings},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const MINUTE_MS: i64 = 60_000;

/// How long the history is, in minutes.
const MINUTES: i64 = 360;

/// From one poll, and scrape, to the next.
const INTERVAL: Duration = Duration::from_secs(60);

/// What happens in the story, by minute.
const STORY: [(i64, Event); 5] = [
    (70, Event::Stuck("Build report")),
    (130, Event::Outage(Duration::from_secs(3 * 60))),
    (180, Event::Spike("Research company", Duration::from_secs(45 * 60), 0.6)),
    (240, Event::Unstuck),
    (318, Event::BadVersion("Answer support ticket", 0.92)),
];

/// Something out of the ordinary.
enum Event {
    /// A run of this workflow goes on and on.
    Stuck(&'static str),
    /// It fails at last.
    Unstuck,
    /// The API answers 503.
    Outage(Duration),
    /// The share of this workflow's runs that fail.
    Spike(&'static str, Duration, f64),
    /// The share of the runs of a new version that fail.
    BadVersion(&'static str, f64),
}

/// A clock that is moved by hand.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_ms(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // It begins now, so that the start of this process is the exporter's.
    let clock = Arc::new(Hand(AtomicI64::new(SystemClock.now_ms())));
    let simulator = Simulator::new(
        SimulatorSettings { rate_limit: None, generate_runs: true, ..SimulatorSettings::default() },
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let api_url = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(simulator.clone().serve(listener, CancellationToken::new()));
    let directory = tempfile::tempdir()?;
    let ledger = format!("sqlite:{}", directory.path().join("ledger.db").display());
    let core = exporter(api_url, ledger, Arc::clone(&clock) as Arc<dyn Clock>).await?;
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut stuck = None;
    for minute in 0..MINUTES {
        for (_, event) in STORY.iter().filter(|(at, _)| *at == minute) {
            happen(&simulator, event, &mut stuck);
        }
        core.pollers()[0].cycle().await;
        write_scrape(&mut output, &core.exposition.text(), clock.now_ms())?;
        if minute % 30 == 0 {
            eprintln!("{minute} of {MINUTES} minutes");
        }
        clock.0.fetch_add(MINUTE_MS, SeqCst);
    }
    writeln!(output, "# EOF")?;
    output.flush()?;
    Ok(())
}

async fn exporter(
    api_url: reqwest::Url,
    ledger: String,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Core> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let app_id = AppId::new("c").ok_or_else(|| anyhow::anyhow!("the app id is a plain one"))?;
    let cortex = Cortex {
        api_url,
        app_id: app_id.clone(),
        api_key: ApiKey::Value(SimulatorSettings::default().api_key.into()),
        timeout: Duration::from_secs(30),
        page_size: 100,
        verbose: false,
        error_classes: ErrorClasses::default(),
    };
    let settings = ledger::Settings {
        apps: vec![(app_id, WorkflowFilter::default())],
        url: ledger,
        retention: Some(Duration::from_secs(30 * 86_400)),
        lookback: Some(Duration::ZERO),
        buckets: Buckets::default(),
        max_series: usize::MAX,
        // Nothing is to be waited for: each exposition is taken for scraped.
        hold: false,
        log_runs: LoggedRuns::Off,
    };
    let poll = Poll { interval: INTERVAL, sweep_interval: 5 * INTERVAL };
    let apps = vec![AppConfig { cortex, workflows: WorkflowFilter::default() }];
    let mut config = Config { apps, rate_limit: 400, poll, ..Config::default() };
    config.web.external_url = Some("https://exporter.example".into());
    Core::build(&config, settings, clock).await
}

fn happen(simulator: &Simulator, event: &Event, stuck: &mut Option<String>) {
    match event {
        Event::Stuck(workflow) => simulator.world(|world| {
            *stuck = world.create_run(workflow, Origin::Workflow);
            if let Some(id) = stuck {
                world.start_run(id);
            }
        }),
        Event::Unstuck => simulator.world(|world| {
            if let Some(id) = stuck.take() {
                world.finish_run(&id, Status::Failed);
            }
        }),
        Event::Outage(duration) => simulator.outage(*duration),
        Event::Spike(workflow, duration, ratio) => {
            simulator.spike(Some(workflow), *duration, *ratio);
        }
        Event::BadVersion(workflow, ratio) => {
            simulator.deploy(workflow, *ratio);
        }
    }
}

/// The labels that Prometheus adds.
const TARGET: &str = "instance=\"exporter:10058\",job=\"cortex-workflows\"";

fn write_scrape(output: &mut impl Write, text: &str, at_ms: i64) -> std::io::Result<()> {
    let at = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
    writeln!(output, "up{{{TARGET}}} 1 {at}")?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        match series.split_once('{') {
            Some((name, labels)) => writeln!(output, "{name}{{{TARGET},{labels} {value} {at}")?,
            None => writeln!(output, "{series}{{{TARGET}}} {value} {at}")?,
        }
    }
    Ok(())
}
