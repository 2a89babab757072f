//! A real Alertmanager, and a receiver that it notifies.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Process, client, free_address, tool, wait_until};

/// A running Alertmanager.
pub(crate) struct Alertmanager {
    process: Process,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts one with this configuration and waits until it answers.
    pub(crate) async fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let file = directory.path().join("alertmanager.yml");
        fs::write(&file, config).expect("there is room for temporary files");
        let address = free_address();
        let mut command = Command::new(tool("prometheus-alertmanager"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=");
        let process = Process::start(command);
        let alertmanager = Self { process, address, _directory: directory };
        let ready = format!("http://{address}/-/ready");
        let is_ready = async || {
            let answer = client().get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        wait_until("Alertmanager is ready", is_ready, || alertmanager.log()).await;
        alertmanager
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// A webhook that keeps the alerts that it receives. It ends when this is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    alerts: Alerts,
    serving: JoinHandle<()>,
}

type Alerts = Arc<Mutex<Vec<Value>>>;

impl Receiver {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let alerts = Alerts::default();
        let take = async |State(alerts): State<Alerts>, Json(mut message): Json<Value>| {
            let received = message["alerts"].as_array_mut().map(std::mem::take);
            alerts.lock().expect("no holder panics").extend(received.unwrap_or_default());
        };
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&alerts));
        let serving = async { axum::serve(listener, router).await.expect("it serves on") };
        Self { address, alerts, serving: tokio::spawn(serving) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until it has received an alert in this state that has all these labels.
    pub(crate) async fn wait_for(
        &self,
        state: &str,
        labels: &[(&str, &str)],
        evidence: impl Fn() -> String,
    ) -> Value {
        let is_it = |alert: &&Value| {
            let has = |(name, value): &(&str, &str)| alert["labels"][name] == *value;
            alert["status"] == state && labels.iter().all(has)
        };
        let find = || {
            let alerts = self.alerts.lock().expect("no holder panics");
            alerts.iter().rfind(is_it).cloned()
        };
        let received = || {
            let alerts = self.alerts.lock().expect("no holder panics");
            format!("received so far: {alerts:#?}\n{}", evidence())
        };
        wait_until(&format!("an alert is {state}: {labels:?}"), async || find(), received).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
