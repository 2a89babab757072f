//! A real Prometheus scrapes the exporter and answers queries about it.

use std::{fs, net::TcpListener, process::Command};

use serde_json::Value;

use crate::support::{Process, client, tool, wait_until};

/// What a dashboard asks for: each gives samples once runs have come to their end.
const QUERIES: [&str; 24] = [
    "cortex_workflow_runs_total",
    "cortex_workflow_runs_created_total",
    "cortex_workflow_runs_active",
    "cortex_workflow_run_duration_seconds_count",
    "cortex_workflow_run_queue_duration_seconds_count",
    "cortex_workflow_steps_total",
    "cortex_workflow_step_duration_seconds_count",
    "cortex_workflow_run_credits_total",
    "cortex_workflow_step_credits_total",
    "cortex_workflow_last_run_timestamp_seconds",
    "cortex_workflow_oldest_active_run_timestamp_seconds",
    "cortex_workflow_consecutive_failures",
    "cortex_workflow_tests",
    "cortex_workflow_info",
    "cortex_workflow_exporter_build_info",
    "cortex_workflow_exporter_up == 1",
    "cortex_workflow_exporter_last_success_timestamp_seconds",
    "cortex_workflow_exporter_workflow_last_poll_timestamp_seconds",
    "cortex_workflow_exporter_polls_total",
    "cortex_workflow_exporter_poll_lag_seconds",
    "cortex_workflow_exporter_api_requests_total",
    "cortex_workflow_exporter_series",
    "sum by (workflow) (increase(cortex_workflow_runs_total[30s])) > 0",
    "histogram_quantile(0.9, sum by (le) (rate(cortex_workflow_run_duration_seconds_bucket[30s]))) > 0",
];

#[tokio::test]
async fn prometheus_scrapes_the_demo_and_has_samples_of_every_family() {
    let mut demo = Process::demo();
    let target = demo.ready_url().await;
    let prometheus = Prometheus::start(&target).await;
    prometheus.wait_for("up == 1").await;
    let first = prometheus.wait_for("sum(cortex_workflow_runs_total)").await;
    for query in QUERIES {
        prometheus.wait_for(query).await;
    }
    let grown = format!("sum(cortex_workflow_runs_total) > {first}");
    prometheus.wait_for(&grown).await;
    let metadata = prometheus.ask("metadata", &[]).await;
    let names = QUERIES.iter().filter_map(|query| query.split(' ').next());
    for name in names.filter(|name| name.starts_with("cortex_")) {
        let family = name.strip_suffix("_count").unwrap_or(name);
        let told = &metadata["data"][family][0];
        let [kind, help] = ["type", "help"].map(|key| told[key].as_str().unwrap_or_default());
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{family}");
        assert!(!help.is_empty(), "{family}");
    }
}

/// A Prometheus that scrapes one target every second.
struct Prometheus {
    process: Process,
    url: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    async fn start(target: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let config = directory.path().join("prometheus.yml");
        let target = target.trim_start_matches("http://");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - job_name: cortex\n  \
               static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).expect("there is room for temporary files");
        // It can't tell which port it chose, so one that is free now is chosen for it.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("loopback has a free port");
        let mut command = Command::new(tool("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path());
        let prometheus = Self {
            process: Process::start(command),
            url: format!("http://{address}"),
            _directory: directory,
        };
        let ready = format!("{}/-/ready", prometheus.url);
        let is_ready = async || {
            let answer = client().get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        let evidence = || prometheus.process.log();
        wait_until("Prometheus is ready", is_ready, evidence).await;
        prometheus
    }

    async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/v1/{endpoint}", self.url);
        let answer = client().get(&url).query(parameters).send().await;
        let answer = answer.expect("Prometheus answers").text().await;
        let text = answer.expect("an answer comes to its end");
        let answer: Value = serde_json::from_str(&text).expect("Prometheus speaks JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {text}");
        answer
    }

    /// Waits until a query has a result; the value of the first sample.
    async fn wait_for(&self, query: &str) -> String {
        let what = format!("Prometheus has samples of {query}");
        let first = async || {
            let answer = self.ask("query", &[("query", query)]).await;
            let value = answer["data"]["result"][0]["value"][1].as_str();
            value.map(str::to_owned)
        };
        wait_until(&what, first, || self.process.log()).await
    }
}
