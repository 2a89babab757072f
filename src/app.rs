//! The composition root: opens and checks everything, then starts it, then drains it. Uses all
//! modules below it.

mod links;
mod progress;
mod runs;
mod shared;
mod supervisor;
mod view;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context;
use futures::{Stream, future::BoxFuture};
use prometheus::{GaugeVec, Opts, Registry, process_collector::ProcessCollector};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Client,
    build_info,
    config::{Config, Setting},
    http::{Endpoints, Server},
    ledger::{self, Ledger, LedgerMetrics},
    metrics::{Exposition, ExpositionOptions, ReleaseGate, gauges_of},
    model::Clock,
    poller::Poller,
    systemd,
};
pub use progress::report as report_progress;
pub use shared::ledger_settings;
use shared::{Pollers, Shared};
pub use supervisor::LoadConfig;
use supervisor::{Request, Supervisor};
use view::View;

/// The exporter, ready to start.
pub struct App {
    server: Server,
    core: Core,
    config: Config,
    load_config: LoadConfig,
}

/// What polls and renders, without what serves.
pub struct Core {
    /// What was counted, for Prometheus.
    pub exposition: Exposition,
    pollers: Pollers,
    shared: Shared,
}

/// How long answers that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(5);

impl App {
    /// Opens everything that the configuration names; nothing is polled or served yet.
    /// `load_config` reads the configuration anew for a reload.
    pub async fn build(
        config: Config,
        load_config: LoadConfig,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let server = Server::bind(&config.web).await;
        let server = server.with_context(|| Setting::named("web.listen-address").to_string())?;
        let core = Core::build(&config, ledger_settings(&config), clock).await?;
        Ok(Self { server, core, config, load_config })
    }

    /// Where it listens; for port 0 the port that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// Polls and serves until stopped; each item of `hangups` asks for a reload. The error states
    /// what ended by itself.
    pub async fn run(
        self,
        stop: CancellationToken,
        hangups: impl Stream<Item = ()> + Unpin,
    ) -> anyhow::Result<()> {
        let Self { server, core, config, load_config } = self;
        let Core { exposition, pollers, shared } = core;
        let access_control = server.access_control();
        for address in server.addresses() {
            tracing::info!(%address, tls = access_control.is_tls(), "Listening.");
        }
        let (apps, rate_limit) = (config.app_ids(), config.rate_limit);
        tracing::info!(apps, rate_limit, interval = ?config.poll.interval, "Polling.");
        let exposition = Arc::new(exposition);
        let (ledger, clock) = (shared.ledger.clone(), Arc::clone(&shared.clock));
        let links = shared.links.clone();
        let hold_timeout = config.metrics.hold_timeout;
        let gate = ReleaseGate::new(exposition, ledger.clone(), Arc::clone(&clock), hold_timeout);
        let gate = Arc::new(gate);
        tokio::spawn(observe_versions(Arc::clone(&gate), stop.clone()));
        let (following, stopped) = (ledger.clone(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(following.follow()).await });
        let supervisor =
            Supervisor::start(shared, config, pollers, load_config, access_control, stop.clone());
        let health = supervisor.health();
        let polled = move || health.borrow().apps.iter().map(|(_, it)| it.clone()).collect();
        let (reporting, stopped) = (progress::report(polled), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(reporting).await });
        let health = supervisor.health();
        let was_ready = AtomicBool::new(false);
        let view = View { ledger: ledger.clone(), clock, links, health, was_ready };
        // As many as may wait for their turn.
        let (requests, reloads) = mpsc::channel(16);
        let endpoints = endpoints(view, gate, requests);
        let healthy = Arc::clone(&endpoints.healthy);
        let notifying = systemd::notify(move || healthy(), stop.clone());
        let serving = server.serve(endpoints, stop.clone(), GRACE);
        let polling = async {
            let ended = supervisor.run(reloads, hangups).await;
            stop.cancel();
            ended
        };
        let ((), (), ended) = tokio::join!(notifying, serving, polling);
        if let Err(error) = ledger.close().await {
            tracing::warn!(%error, "The ledger was not closed in order; nothing is lost.");
        }
        ended
    }
}

/// What is served; `requests` leads to who reloads.
fn endpoints(view: View, metrics: Arc<ReleaseGate>, requests: mpsc::Sender<Request>) -> Endpoints {
    let view = Arc::new(view);
    let [overview, runs, ready, healthy] = std::array::from_fn(|_| Arc::clone(&view));
    Endpoints {
        metrics,
        overview: Arc::new(move || overview.overview()),
        runs: Arc::new(move |query| {
            let view = Arc::clone(&runs);
            Box::pin(async move { view.runs(query).await })
        }),
        ready: Arc::new(move || ready.ready()),
        healthy: Arc::new(move || healthy.healthy()),
        reload: Arc::new(move || ask(requests.clone())),
    }
}

/// Asks for a reload.
fn ask(requests: mpsc::Sender<Request>) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let (request, answer) = oneshot::channel();
        // If that fails, there will be no answer either.
        let _ = requests.send(request).await;
        answer.await.map_err(|_| "the exporter is ending".to_owned())?
    })
}

impl Core {
    /// Opens the ledger, which is to count so, and prepares the pollers.
    pub async fn build(
        config: &Config,
        settings: ledger::Settings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        register_process(&registry)?;
        let ledger_metrics = LedgerMetrics::new(&registry)?;
        let ledger = Ledger::open(settings, ledger_metrics, gauges_of, Arc::clone(&clock)).await;
        let ledger = ledger.with_context(|| Setting::named("state.url").to_string())?;
        let shared = Shared::new(&registry, ledger, Arc::clone(&clock), config.rate_limit)?;
        shared.links.replace(config);
        let pollers = shared.pollers(&config.apps, &config.poll)?;
        let ledger = &shared.ledger;
        let options = ExpositionOptions {
            created_lines: config.metrics.created_lines,
            native_histograms: config.metrics.native_histograms,
            labels: config.metrics.labels.clone(),
        };
        let exposition = Exposition::new(ledger, registry, clock).with_options(options);
        Ok(Self { exposition, pollers, shared })
    }

    /// Asks the API, one for each app.
    pub fn clients(&self) -> &[Client] {
        &self.pollers.clients
    }

    /// What was counted.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Read the API, one for each app.
    pub fn pollers(&self) -> &[Poller] {
        &self.pollers.pollers
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

/// Notes what is published although nobody scrapes.
async fn observe_versions(gate: Arc<ReleaseGate>, stop: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while stop.run_until_cancelled(seconds.tick()).await.is_some() {
        gate.observe_version();
    }
}
