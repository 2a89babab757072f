//! The composition root: opens and checks everything, then starts it, then drains it. Uses all
//! modules below it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use prometheus::{GaugeVec, Opts, Registry, process_collector::ProcessCollector};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{ApiMetrics, Budget, Client},
    build_info,
    config::{Config, Cortex, Poll, WorkflowFilter},
    http::{self, AppView, Endpoints, Overview, Server, WorkflowView},
    ledger::{self, Ledger, LedgerMetrics},
    metrics::{Encoding, Exposition, Publishing},
    model::{AppId, Clock, Status},
    poller::{self, CycleResult, Poller, PollerMetrics},
    shutdown,
};

/// The exporter, ready to start.
pub struct App {
    server: Server,
    core: Core,
    poll_interval: Duration,
    hold_timeout: Duration,
}

/// What polls and renders, without what serves.
pub struct Core {
    /// Reads the API.
    pub poller: Poller,
    /// What was counted, for Prometheus.
    pub exposition: Arc<Exposition>,
    ledger: Ledger,
    client: Client,
    clock: Arc<dyn Clock>,
    app_id: AppId,
}

/// How long answers that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(5);

impl App {
    /// Opens everything that the configuration names; nothing is polled or served yet.
    pub async fn build(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let poll_interval = config.poll.interval;
        let server = Server::bind(&config.web).await?;
        let hold_timeout = config.web.hold_timeout;
        let counting = ledger::Settings {
            apps: vec![config.cortex.app_id.clone()],
            url: config.state.url.clone(),
            retention: Some(config.state.retention),
            lookback: Some(config.history_lookback),
            buckets: config.buckets.clone(),
            hold: !hold_timeout.is_zero(),
        };
        let Config { cortex, poll, workflows, .. } = config;
        let core = Core::build(&cortex, poll, workflows, counting, clock).await?;
        Ok(Self { server, core, poll_interval, hold_timeout })
    }

    /// Where it listens; for port 0 the port that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// Polls and serves until told to stop. The error says what ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { server, core, poll_interval, hold_timeout } = self;
        for address in server.addresses() {
            tracing::info!(%address, tls = false, "Listening.");
        }
        let status = core.poller.status();
        let polling = tokio::spawn(core.poller.run(stop.child_token()));
        let alive = polling.abort_handle();
        let key_of = core.client.clone();
        let reload = Arc::new(move || reload(&key_of));
        let hangups = shutdown::hangups().context("cannot listen to SIGHUP")?;
        tokio::spawn(obey_hangups(hangups, Arc::clone(&reload), stop.clone()));
        let publishing = Publishing::new(
            core.exposition,
            core.ledger.clone(),
            Arc::clone(&core.clock),
            hold_timeout,
        );
        let publishing = Arc::new(publishing);
        tokio::spawn(note_versions(Arc::clone(&publishing), stop.clone()));
        let ledger = core.ledger.clone();
        let view = View { ledger: core.ledger, status, clock: core.clock, app_id: core.app_id };
        let ready = view.status.clone();
        let endpoints = Endpoints {
            exposition: Arc::new(Rendering(publishing)),
            overview: Arc::new(move || view.overview(poll_interval)),
            ready: Arc::new(move || match ready.borrow().cycles {
                0 => Err("the first poll cycle has not ended yet".into()),
                _ => Ok(()),
            }),
            healthy: Arc::new(move || {
                let ended = alive.is_finished();
                if ended { Err("the poll loop has ended".into()) } else { Ok(()) }
            }),
            reload,
        };
        let serving = server.serve(endpoints, stop.clone(), GRACE);
        let watched = async {
            let ended = polling.await;
            let by_itself = !stop.is_cancelled();
            stop.cancel();
            match ended {
                Err(error) => Err(anyhow::anyhow!("the poll loop failed: {error}")),
                Ok(()) if by_itself => Err(anyhow::anyhow!("the poll loop ended by itself")),
                Ok(()) => Ok(()),
            }
        };
        let ((), ended) = tokio::join!(serving, watched);
        if let Err(error) = ledger.close().await {
            tracing::warn!(%error, "The ledger was not closed in order; nothing is lost.");
        }
        ended
    }
}

impl Core {
    /// Opens the ledger and prepares the poller.
    pub async fn build(
        cortex: &Cortex,
        poll: Poll,
        workflows: WorkflowFilter,
        counting: ledger::Settings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        register_process(&registry)?;
        let ledger_metrics = LedgerMetrics::new(&registry)?;
        let ledger = Ledger::open(counting, ledger_metrics, clock.now_ms()).await?;
        let budget = Arc::new(Budget::new(cortex.rate_limit));
        let api_metrics = ApiMetrics::new(&registry)?;
        let client = Client::new(cortex, budget, api_metrics, Arc::clone(&clock))?;
        let interval_ms = poll.interval.as_millis() as i64;
        let app_id = cortex.app_id.clone();
        let page_size = cortex.page_size;
        let settings = poller::Settings { app_id: app_id.clone(), page_size, poll, workflows };
        let poller = Poller::new(
            client.clone(),
            ledger.clone(),
            Arc::clone(&clock),
            settings,
            PollerMetrics::new(&registry)?,
        );
        let exposition =
            Exposition::new(ledger.states(), registry, Arc::clone(&clock), interval_ms);
        Ok(Self { poller, exposition: Arc::new(exposition), ledger, client, clock, app_id })
    }
}

fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build = GaugeVec::new(
        Opts::new(
            "cortex_workflow_exporter_build_info",
            "Which build of the exporter runs; always 1.",
        ),
        &["version", "revision", "rustversion"],
    )?;
    let values = [build_info::VERSION, build_info::REVISION, build_info::RUSTC];
    build.with_label_values(&values).set(1.0);
    registry.register(Box::new(build))
}

/// The configuration comes from flags and variables, which don't change; the key's file can.
fn reload(client: &Client) -> Result<(), String> {
    match client.refresh_key() {
        Ok(changed) => {
            tracing::info!(key_changed = changed, "Reloaded.");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "Cannot reload; what was in force stays so.");
            Err(error.to_string())
        }
    }
}

async fn obey_hangups(
    mut hangups: impl StreamExt<Item = ()> + Unpin,
    reload: Arc<impl Fn() -> Result<(), String>>,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(hangups.next()).await.flatten().is_some() {
        // What went wrong is in the log already.
        let _ = reload();
    }
}

/// Notes what is published although nobody scrapes.
async fn note_versions(publishing: Arc<Publishing>, stop: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while stop.run_until_cancelled(seconds.tick()).await.is_some() {
        publishing.note();
    }
}

/// What `http` needs to know of the metrics.
struct Rendering(Arc<Publishing>);

#[async_trait]
impl http::Exposition for Rendering {
    async fn render(&self, encoding: Encoding) -> (Bytes, u64) {
        self.0.render(encoding).await
    }

    fn completed(&self, client: u64, number: u64) {
        self.0.completed(client, number);
    }

    fn left(&self, client: u64) {
        self.0.left(client);
    }
}

/// What the landing page is made of.
struct View {
    ledger: Ledger,
    status: watch::Receiver<poller::Status>,
    clock: Arc<dyn Clock>,
    app_id: AppId,
}

impl View {
    fn overview(&self, poll_interval: Duration) -> Overview {
        let now_ms = self.clock.now_ms();
        let state = self.ledger.state();
        let app = state.apps.get(&self.app_id);
        let last = self.status.borrow().last.clone();
        let interval_ms = poll_interval.as_millis() as i64;
        let workflows = app.into_iter().flat_map(|app| {
            app.published().map(move |(id, workflow)| WorkflowView {
                id: id.clone(),
                name: workflow.record.listed.name.clone(),
                active_runs: workflow.open.len() as u64,
                last_poll_ms: workflow.record.polled_ms,
                last_failure_ms: workflow.record.last_run_ms.get(&Status::Failed).copied(),
                consecutive_failures: workflow.record.failures.len(),
                lag_ms: workflow.lag_ms(interval_ms, now_ms),
            })
        });
        Overview {
            now_ms,
            poll_interval,
            workflows: workflows.collect(),
            apps: vec![AppView {
                id: self.app_id.clone(),
                up: last.as_ref().map(|last| last.result == CycleResult::Success),
                last_success_ms: app.and_then(|app| app.record.succeeded_ms),
                last_error: last.and_then(|last| last.error),
            }],
        }
    }
}
