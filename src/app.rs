//! The composition root: opens and checks everything, then starts it, then drains it. Uses all
//! modules below it.

mod view;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use futures::StreamExt;
use prometheus::{GaugeVec, Opts, Registry, process_collector::ProcessCollector};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{ApiMetrics, Budget, Client},
    build_info, config,
    config::{Config, Poll},
    http::{self, Endpoints, Protection, Server},
    ledger::{self, Ledger, LedgerMetrics},
    metrics::{Body, Exposition, Publishing, Wanted},
    model::Clock,
    poller::{self, Poller, PollerMetrics, Polling},
    shutdown, systemd,
};
use view::View;

/// The exporter, ready to start.
pub struct App {
    server: Server,
    core: Core,
    poll_interval: Duration,
    hold_timeout: Duration,
}

/// What polls and renders, without what serves.
pub struct Core {
    /// Read the API, one for each app.
    pub pollers: Vec<Poller>,
    /// What was counted, for Prometheus.
    pub exposition: Exposition,
    ledger: Ledger,
    clients: Vec<Client>,
    clock: Arc<dyn Clock>,
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
            apps: config.apps.iter().map(|app| app.cortex.app_id.clone()).collect(),
            url: config.state.url.clone(),
            retention: Some(config.state.retention),
            lookback: Some(config.history_lookback),
            buckets: config.buckets.clone(),
            hold: !hold_timeout.is_zero(),
        };
        let Config { apps, rate_limit, poll, labels, .. } = config;
        let mut core = Core::build(&apps, rate_limit, poll, counting, &labels, clock).await?;
        core.exposition = core.exposition.with_created_lines(config.web.created_lines);
        Ok(Self { server, core, poll_interval, hold_timeout })
    }

    /// Where it listens; for port 0 the port that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// Polls and serves until told to stop. The error says what ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { server, core, poll_interval, hold_timeout } = self;
        let protection = server.protection();
        for address in server.addresses() {
            tracing::info!(%address, tls = protection.is_tls(), "Listening.");
        }
        let apps = core.pollers.iter().map(|poller| (poller.app_id().clone(), poller.status()));
        let apps: Vec<_> = apps.collect();
        let polling = Polling::new(core.pollers);
        let pulse = polling.pulse();
        tokio::spawn(pulse.clone().watch(stop.clone()));
        let polling = tokio::spawn(polling.run(stop.child_token()));
        let alive = polling.abort_handle();
        let clients = core.clients;
        let reload = Arc::new(move || reload(&clients, &protection));
        let hangups = shutdown::hangups().context("cannot listen to SIGHUP")?;
        tokio::spawn(obey_hangups(hangups, Arc::clone(&reload), stop.clone()));
        let exposition = Arc::new(core.exposition);
        let (ready, stopped) = (Arc::clone(&exposition).keep_ready(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(ready).await });
        let publishing =
            Publishing::new(exposition, core.ledger.clone(), Arc::clone(&core.clock), hold_timeout);
        let publishing = Arc::new(publishing);
        tokio::spawn(note_versions(Arc::clone(&publishing), stop.clone()));
        let ledger = core.ledger.clone();
        let view = Arc::new(View { ledger: core.ledger, clock: core.clock, apps });
        let overview = Arc::clone(&view);
        let endpoints = Endpoints {
            exposition: Arc::new(Rendering(publishing)),
            overview: Arc::new(move || overview.overview(poll_interval)),
            ready: Arc::new(move || view.ready()),
            healthy: Arc::new(move || {
                let ended = alive.is_finished();
                if ended { Err("the poll loop has ended".into()) } else { pulse.check() }
            }),
            reload,
        };
        let healthy = Arc::clone(&endpoints.healthy);
        let telling = systemd::accompany(move || healthy(), stop.clone());
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
        let ((), (), ended) = tokio::join!(telling, serving, watched);
        if let Err(error) = ledger.close().await {
            tracing::warn!(%error, "The ledger was not closed in order; nothing is lost.");
        }
        ended
    }
}

impl Core {
    /// Opens the ledger and prepares the pollers. All apps share one budget of `rate_limit`
    /// requests a minute.
    pub async fn build(
        apps: &[config::App],
        rate_limit: u32,
        poll: Poll,
        counting: ledger::Settings,
        labels: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        register_process(&registry)?;
        let ledger_metrics = LedgerMetrics::new(&registry)?;
        let ledger = Ledger::open(counting, ledger_metrics, clock.now_ms()).await?;
        let budget = Arc::new(Budget::new(rate_limit));
        let api_metrics = ApiMetrics::new(&registry)?;
        let poller_metrics = PollerMetrics::new(&registry)?;
        let (mut clients, mut pollers) = (Vec::new(), Vec::new());
        for config::App { cortex, workflows } in apps {
            let (budget, metrics) = (Arc::clone(&budget), api_metrics.clone());
            let client = Client::new(cortex, budget, metrics, Arc::clone(&clock))?;
            clients.push(client.clone());
            let settings = poller::Settings {
                app_id: cortex.app_id.clone(),
                page_size: cortex.page_size,
                poll: poll.clone(),
                workflows: workflows.clone(),
            };
            let (ledger, metrics) = (ledger.clone(), poller_metrics.clone());
            pollers.push(Poller::new(client, ledger, Arc::clone(&clock), settings, metrics));
        }
        let exposition = Exposition::new(ledger.states(), registry, Arc::clone(&clock));
        let exposition = exposition.with_labels(labels);
        Ok(Self { pollers, exposition, ledger, clients, clock })
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

/// Flags and variables don't change; the files that they name can.
fn reload(clients: &[Client], protection: &Protection) -> Result<(), String> {
    let read = || {
        let web = protection.read()?;
        let keys = clients.iter().map(Client::refresh_key);
        let keys: Result<Vec<_>, _> = keys.collect();
        Ok((web, keys.map_err(|error| error.to_string())?))
    };
    let (web, keys) = read().inspect_err(|error: &String| {
        tracing::error!(error, "Cannot reload; what was in force stays so.");
    })?;
    protection.replace(web);
    let keys_changed = keys.into_iter().filter(|changed| *changed).count();
    tracing::info!(keys_changed, tls = protection.is_tls(), "Reloaded.");
    Ok(())
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
    async fn render(&self, wanted: Wanted) -> (Body, u64) {
        self.0.render(wanted).await
    }

    fn completed(&self, client: u64, number: u64) {
        self.0.completed(client, number);
    }

    fn left(&self, client: u64) {
        self.0.left(client);
    }
}
