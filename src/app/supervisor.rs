//! Runs the polls, and applies a reload to them.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use super::shared::{Pollers, Shared, ledger_settings};
use crate::{
    api::Client,
    config::{Config, needing_restart},
    http::AccessControl,
    model::AppId,
    poller::{self, Polling, Watchdog},
    telemetry,
};

/// Reads the configuration anew; the error states everything that is wrong with it.
pub type LoadConfig = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// A request to reload; the answer is how that went.
pub(super) type Request = oneshot::Sender<Result<(), String>>;

/// How the polls go.
pub(super) struct PollHealth {
    /// The apps, and how the polls of each go.
    pub(super) apps: Vec<(AppId, watch::Receiver<poller::PollerStatus>)>,
    /// The poll interval.
    pub(super) interval: Duration,
    watchdog: Watchdog,
    alive: AbortHandle,
}

/// Polls by a configuration, until there is another one.
pub(super) struct Supervisor {
    shared: Shared,
    config: Config,
    load_config: LoadConfig,
    access_control: Arc<AccessControl>,
    health: watch::Sender<Arc<PollHealth>>,
    running: Running,
    stop: CancellationToken,
}

/// Polls that are running.
struct Running {
    clients: Vec<Client>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl PollHealth {
    /// Whether the poll loop is alive.
    pub(super) fn healthy(&self) -> Result<(), String> {
        if self.alive.is_finished() {
            return Err("the poll loop has ended".into());
        }
        self.watchdog.check()
    }
}

impl Supervisor {
    /// Begins to poll.
    pub(super) fn start(
        shared: Shared,
        config: Config,
        pollers: Pollers,
        load_config: LoadConfig,
        access_control: Arc<AccessControl>,
        stop: CancellationToken,
    ) -> Self {
        let (running, health) = begin(pollers, config.poll.interval, &stop);
        let health = watch::Sender::new(Arc::new(health));
        Self { shared, config, load_config, access_control, health, running, stop }
    }

    /// How the polls go, also after reloads.
    pub(super) fn health(&self) -> watch::Receiver<Arc<PollHealth>> {
        self.health.subscribe()
    }

    /// Polls until stopped, and reloads when asked to. The error states what ended by itself.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut hangups: impl Stream<Item = ()> + Unpin,
    ) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                ended = &mut self.running.task => {
                    let by_itself = !self.stop.is_cancelled();
                    return match ended {
                        Err(error) => Err(anyhow::anyhow!("the poll loop failed: {error}")),
                        Ok(()) if by_itself => Err(anyhow::anyhow!("the poll loop ended by itself")),
                        Ok(()) => Ok(()),
                    };
                }
                Some(answer) = requests.recv() => {
                    // Without an answer, the requester learns that this is the end.
                    let outcome = stop.run_until_cancelled(self.reload()).await;
                    let _ = outcome.map(|outcome| answer.send(outcome));
                }
                Some(()) = hangups.next() => {
                    // What went wrong is in the log already.
                    let _ = stop.run_until_cancelled(self.reload()).await;
                }
            }
        }
    }

    /// Takes over a new configuration whole, or nothing of it.
    async fn reload(&mut self) -> Result<(), String> {
        let outcome = self.apply().await;
        self.shared.reloads.reloaded(outcome.is_ok(), self.shared.clock.now_ms());
        match &outcome {
            Ok(keys_changed) => {
                let apps = self.config.app_ids();
                let tls = self.access_control.is_tls();
                tracing::info!(apps, keys_changed, tls, "Reloaded the configuration.");
            }
            Err(error) => {
                tracing::error!(error, "Cannot reload; what was in force stays so.");
            }
        }
        outcome.map(|_| ())
    }

    /// Returns how many keys are others than before.
    async fn apply(&mut self) -> Result<usize, String> {
        let load_config = Arc::clone(&self.load_config);
        let read = spawn_blocking(move || load_config()).await;
        let config = read.map_err(|error| format!("reading it failed: {error}"))??;
        let fixed = needing_restart(&config, &self.config);
        if !fixed.is_empty() {
            let fixed = fixed.join(", ");
            return Err(format!("only a restart can change {fixed}; undo that, or restart"));
        }
        let polls_alike = config.apps == self.config.apps && config.poll == self.config.poll;
        let pollers = if polls_alike {
            None
        } else {
            let made = self.shared.pollers(&config.apps, &config.poll);
            Some(made.map_err(|error| self.refused(&config, format!("{error:#}")))?)
        };
        let settings = ledger_settings(&config);
        if settings != ledger_settings(&self.config) {
            let now_ms = self.shared.clock.now_ms();
            let reconfigured = self.shared.ledger.reconfigure(settings, now_ms).await;
            reconfigured.map_err(|error| self.refused(&config, error.to_string()))?;
        }
        // From here on nothing can fail.
        let keys_changed = refresh_keys(&self.running.clients);
        self.shared.limit(config.rate_limit);
        self.shared.links.replace(&config);
        self.access_control.replace(config.web.config.clone());
        telemetry::set_level(config.log.level);
        if let Some(pollers) = pollers {
            self.replace_polls(pollers, &config).await;
        }
        self.config = config;
        Ok(keys_changed)
    }

    /// Ends the series of apps that only this configuration has. Returns the reason that it was not
    /// applied.
    fn refused(&self, config: &Config, reason: String) -> String {
        self.shared.forget_all_but(&config.apps, &self.config.apps);
        reason
    }

    /// What is under way is given up: what was read of it is in the ledger, and the rest is read
    /// again at once.
    async fn replace_polls(&mut self, pollers: Pollers, config: &Config) {
        self.running.stop.cancel();
        if let Err(error) = (&mut self.running.task).await {
            tracing::error!(%error, "The poll loop failed; another one begins.");
        }
        self.shared.forget_all_but(&self.config.apps, &config.apps);
        let (running, health) = begin(pollers, config.poll.interval, &self.stop);
        self.running = running;
        self.health.send_replace(Arc::new(health));
    }
}

fn begin(
    Pollers { pollers, clients }: Pollers,
    interval: Duration,
    stop: &CancellationToken,
) -> (Running, PollHealth) {
    let apps = pollers.iter().map(|poller| (poller.app_id().clone(), poller.status()));
    let apps = apps.collect();
    let polling = Polling::new(pollers);
    let (watchdog, stop) = (polling.watchdog(), stop.child_token());
    tokio::spawn(watchdog.clone().watch(stop.clone()));
    let task = tokio::spawn(polling.run(stop.clone()));
    let alive = task.abort_handle();
    (Running { clients, task, stop }, PollHealth { apps, interval, watchdog, alive })
}

/// The configuration was found valid, and with it the keys; one that went away since stays in use,
/// as it does between reloads.
fn refresh_keys(clients: &[Client]) -> usize {
    clients.iter().filter(|client| matches!(client.refresh_key(), Ok(true))).count()
}
