//! The rules under vmalert, with a `VictoriaMetrics` that scrapes the exporter. Its `increase()` counts
//! what a series shows first, and its `rate()` divides by the time that a series has existed.

use std::{fs, path::Path, process::Command};

use cortex_workflow_exporter::model::Status;
use serde_json::Value;

use crate::support::{
    Api, Process, client, documents::ROOT, free_address, ledger_url, report_missing, scrape,
    victoria_metrics, wait_until,
};

const RUNS: &str = "cortex_workflow_runs_total";

/// `VictoriaMetrics`, and vmalert with the rules as they are shipped.
struct Server {
    database: Process,
    vmalert: Process,
    url: String,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts both and waits until they answer. `None` where they are missing.
    async fn start(targets: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let scrape = directory.path().join("scrape.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: cortex\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            targets.join("', '")
        );
        fs::write(&scrape, text).expect("there is room for temporary files");
        let (address, alerts) = (free_address(), free_address());
        let url = format!("http://{address}");
        let mut database = Command::new(victoria_metrics("victoria-metrics")?);
        database
            .arg(format!("-storageDataPath={}", directory.path().join("data").display()))
            .arg(format!("-promscrape.config={}", scrape.display()))
            .arg(format!("-httpListenAddr={address}"))
            // Queries see what was scraped up to now, not up to half a minute ago.
            .arg("-search.latencyOffset=0s");
        let mut vmalert = Command::new(victoria_metrics("vmalert")?);
        vmalert
            .arg(format!(
                "-rule={}",
                Path::new(ROOT).join("deploy/prometheus/rules/*.yml").display()
            ))
            .arg(format!("-httpListenAddr={alerts}"))
            .args(["datasource", "remoteWrite", "remoteRead"].map(|to| format!("-{to}.url={url}")))
            .args(["-evaluationInterval=1s", "-rule.evalDelay=0s", "-notifier.blackhole"])
            .arg("-remoteWrite.flushInterval=200ms");
        let database = Process::start(database);
        is_healthy(&url, &database).await;
        let vmalert = Process::start(vmalert);
        is_healthy(&format!("http://{alerts}"), &vmalert).await;
        Some(Self { database, vmalert, url, _directory: directory })
    }

    /// The values of an expression at present.
    async fn values(&self, query: &str) -> Vec<f64> {
        let url = format!("{}/api/v1/query", self.url);
        let answer = client().get(&url).query(&[("query", query), ("nocache", "1")]).send().await;
        let text = answer.expect("it answers").text().await.expect("an answer comes to its end");
        let answer: Value = serde_json::from_str(&text).expect("VictoriaMetrics speaks JSON");
        assert_eq!(answer["status"], "success", "{query}: {text}");
        let found = answer["data"]["result"].as_array().expect("a vector is a list");
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|it| it.parse().ok());
        found.iter().map(|sample| value(sample).expect("a sample is a number")).collect()
    }

    async fn wait_for(&self, query: &str) {
        let found = async || (!self.values(query).await.is_empty()).then_some(());
        let evidence = || format!("{}\n{}", self.database.log(), self.vmalert.log());
        wait_until(&format!("{query} has samples"), found, evidence).await;
    }
}

async fn is_healthy(url: &str, process: &Process) {
    let health = format!("{url}/health");
    let answers = async || {
        let answer = client().get(&health).send().await.ok()?;
        answer.status().is_success().then_some(())
    };
    wait_until(&format!("{url} is healthy"), answers, || process.log()).await;
}

/// The failures that a `VictoriaMetrics` sees which meets totals of before: each once, and no spike.
#[tokio::test]
async fn neither_a_known_nor_a_new_nor_a_renamed_nor_a_moved_series_makes_a_spike() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let state = ledger_url(directory.path());
    let api = Api::start().await;
    api.add_workflow("work_old");
    let [before, after] = [(); 2].map(|()| free_address().to_string());
    let mut exporter = Process::serve_on(&before, &api, &state, &[]);
    let url = exporter.ready_url().await;
    for _ in 0..20 {
        api.finish_one("work_old", Status::Failed);
    }
    let failed = [("workflow_id", "work_old"), ("status", "FAILED")];
    let shown = async || {
        let total = scrape(&url).await.sum(RUNS, &failed);
        (total == Some(20.0)).then_some(())
    };
    wait_until("the failures are published", shown, || exporter.log()).await;
    let Some(server) = Server::start(&[&before, &after]).await else {
        return report_missing("VictoriaMetrics", "the rules under vmalert");
    };
    server.wait_for(&format!("sum({RUNS}{{status=\"FAILED\"}}) == 20")).await;

    api.add_workflow("work_new");
    api.finish_one("work_new", Status::Failed);
    let of_new = format!("{RUNS}{{workflow_id=\"work_new\",status=\"FAILED\"}}");
    server.wait_for(&format!("sum({of_new}) == 1")).await;

    assert!(api.simulator().world(|world| world.rename_workflow("work_new", "Renamed")));
    let renamed = format!("{RUNS}{{workflow=\"Renamed\",status=\"FAILED\"}}");
    server.wait_for(&renamed).await;
    api.finish_one("work_new", Status::Failed);
    server.wait_for(&format!("sum({renamed}) >= 1")).await;

    // Another address, as a new pod has, and one run failed meanwhile. A third failure of the new
    // workflow would rightly burn its budget.
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    api.finish_one("work_old", Status::Failed);
    let _exporter = Process::serve_on(&after, &api, &state, &[]);
    let moved =
        format!("{RUNS}{{instance=\"{after}\",workflow_id=\"work_old\",status=\"FAILED\"}}");
    server.wait_for(&format!("sum({moved}) == 21")).await;

    for window in ["5m", "10m", "30m", "1h"] {
        for (workflow, real) in [("work_old", 1.0), ("work_new", 2.0)] {
            let selector = format!("{{workflow_id=\"{workflow}\",status=\"FAILED\"}}");
            let recorded =
                format!("workflow_status:cortex_workflow_runs:increase{window}{selector}");
            server.wait_for(&format!("max_over_time({recorded}[1h]) >= 1")).await;
            let most = server.values(&format!("max_over_time({recorded}[1h])")).await;
            assert!(most.len() == 1 && most[0] <= real, "{recorded}: {most:?}");
        }
    }
    let firing = |alerts: &str| {
        format!("count_over_time(ALERTS{{alertstate=\"firing\",alertname=~\"{alerts}\"}}[1h])")
    };
    let failed = firing("CortexWorkflowRunFailed");
    server.wait_for(&format!("count(count by (workflow_id) ({failed})) == 2")).await;
    let loud = "CortexWorkflow(FailureSpike|FailureRatioHigh|ErrorBudgetBurn.+)";
    assert_eq!(server.values(&firing(loud)).await, [0.0; 0], "{}", server.vmalert.log());
}
