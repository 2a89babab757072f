//! What all apps share, and what outlives every reload.

use std::sync::Arc;

use anyhow::Context;
use prometheus::{Gauge, IntGauge, Registry};

use super::links::Links;
use crate::{
    api::{ApiMetrics, Client, RateLimiter},
    config::{AppConfig, Config, Poll},
    ledger::{self, Ledger},
    model::{AppId, Clock},
    poller::{self, Poller, PollerMetrics},
};

/// What the pollers of all apps are made with. Clones share everything.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reloads: ReloadMetrics,
    pub(super) links: Links,
    rate_limiter: Arc<RateLimiter>,
    api_metrics: ApiMetrics,
    poller_metrics: PollerMetrics,
}

/// Whether the configuration in force is the latest.
#[derive(Clone)]
pub(super) struct ReloadMetrics {
    successful: IntGauge,
    succeeded: Gauge,
}

/// The pollers of all apps, and the clients that they use.
pub(super) struct Pollers {
    pub(super) pollers: Vec<Poller>,
    pub(super) clients: Vec<Client>,
}

/// The ledger's settings by this configuration.
pub fn ledger_settings(config: &Config) -> ledger::Settings {
    let app = |app: &AppConfig| (app.cortex.app_id.clone(), app.workflows.clone());
    ledger::Settings {
        apps: config.apps.iter().map(app).collect(),
        url: config.state.url.clone(),
        retention: Some(config.state.retention),
        lookback: Some(config.history_lookback),
        buckets: config.metrics.buckets.clone(),
        max_series: config.metrics.max_series,
        hold: !config.metrics.hold_timeout.is_zero(),
        log_runs: config.log.runs,
    }
}

impl Shared {
    /// Registers the families. All requests share a budget of `rate_limit` a minute.
    pub(super) fn new(
        registry: &Registry,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        rate_limit: u32,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            ledger,
            reloads: ReloadMetrics::new(registry, clock.now_ms())?,
            links: Links::new(registry)?,
            clock,
            rate_limiter: Arc::new(RateLimiter::new(rate_limit)),
            api_metrics: ApiMetrics::new(registry)?,
            poller_metrics: PollerMetrics::new(registry)?,
        })
    }

    /// Prepares the pollers of these apps; nothing is read yet.
    pub(super) fn pollers(&self, apps: &[AppConfig], poll: &Poll) -> anyhow::Result<Pollers> {
        let mut made = Pollers { pollers: Vec::new(), clients: Vec::new() };
        for AppConfig { cortex, .. } in apps {
            let (rate_limiter, metrics) =
                (Arc::clone(&self.rate_limiter), self.api_metrics.clone());
            let client = Client::new(cortex, rate_limiter, metrics, Arc::clone(&self.clock))
                .with_context(|| format!("app {}", cortex.app_id))?;
            made.clients.push(client.clone());
            let settings = poller::PollerSettings {
                app_id: cortex.app_id.clone(),
                page_size: cortex.page_size,
                poll: poll.clone(),
            };
            let (ledger, metrics) = (self.ledger.clone(), self.poller_metrics.clone());
            let clock = Arc::clone(&self.clock);
            made.pollers.push(Poller::new(client, ledger, clock, settings, metrics));
        }
        Ok(made)
    }

    /// The maximum number of requests per minute from now on.
    pub(super) fn limit(&self, requests_per_minute: u32) {
        self.rate_limiter.set_limit(requests_per_minute);
        self.api_metrics.set_rate_limit(self.rate_limiter.limit());
    }

    /// Ends the series of those apps that are not among the others, which are read.
    pub(super) fn forget_all_but(&self, apps: &[AppConfig], read: &[AppConfig]) {
        let is_read = |id: &AppId| read.iter().any(|app| app.cortex.app_id == *id);
        for app in apps.iter().filter(|app| !is_read(&app.cortex.app_id)) {
            self.poller_metrics.forget(&app.cortex.app_id);
        }
    }
}

impl ReloadMetrics {
    /// Registers the families. The configuration was read just now.
    fn new(registry: &Registry, now_ms: i64) -> prometheus::Result<Self> {
        let successful = IntGauge::new(
            "cortex_workflow_exporter_config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded.",
        )?;
        let succeeded = Gauge::new(
            "cortex_workflow_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration that is in force was loaded.",
        )?;
        registry.register(Box::new(successful.clone()))?;
        registry.register(Box::new(succeeded.clone()))?;
        let metrics = Self { successful, succeeded };
        metrics.reloaded(true, now_ms);
        Ok(metrics)
    }

    /// It was tried to load the configuration.
    pub(super) fn reloaded(&self, well: bool, now_ms: i64) {
        self.successful.set(well.into());
        if well {
            self.succeeded.set(now_ms as f64 / 1000.0);
        }
    }
}
