//! The whole chain, of real programs: the simulated API, the exporter, Prometheus with the rules as they
//! are shipped, Alertmanager, and a receiver.

use std::{fs, net::SocketAddr, path::Path};

use tempfile::TempDir;

use crate::support::{
    Alertmanager, Process, Prometheus, Receiver, client, documents::ROOT, ledger_url,
    newest_prometheus, report_missing,
};

/// A workflow of the simulator's that has a run every few seconds.
const WORKFLOW: &str = "Enrich lead";

mod cause;
mod exporters;

/// What is replaced in the shipped files besides addresses: how often things happen, and for how long
/// alerts wait. The windows of a spike and of a version are among them; the expressions stay as they are.
const FASTER: [(&str, &[(&str, &str)]); 4] = [
    (
        "prometheus.yml",
        &[
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ],
    ),
    (
        "rules/recording.yml",
        &[
            ("[10m]", "[40s]"),
            ("offset 10m", "offset 40s"),
            (" 600 * rate", " 40 * rate"),
            ("[1h]", "[5m]"),
            ("offset 1h", "offset 5m"),
            ("3600 * rate", "300 * rate"),
            ("[1w:10m]) / 6", "[10m:1s]) / 300"),
            ("interval: 3m", "interval: 1s"),
        ],
    ),
    (
        "rules/workflows.yml",
        &[
            ("keep_firing_for: 5m", "keep_firing_for: 1s"),
            ("version_runs_total[10m])) == 0", "version_runs_total[10s])) == 0"),
            (" for: 5m", " for: 1s"),
        ],
    ),
    ("rules/exporter.yml", &[("for: 5m", "for: 1s"), ("for: 2m", "for: 1s")]),
];

/// A shipped file with these words replaced. Each has to be there.
fn shipped(file: &str, replacements: &[(&str, &str)]) -> String {
    let path = Path::new(ROOT).join("deploy").join(file);
    let text = fs::read_to_string(path).expect("it is shipped");
    replacements.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{file} has no {from:?}");
        text.replace(from, to)
    })
}

/// The shipped configuration of Prometheus and its rules, but for the addresses of exporters and
/// Alertmanager, and pace.
fn configuration(exporters: &[&str], alertmanager: SocketAddr) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    fs::create_dir(directory.path().join("rules")).expect("likewise");
    for (file, faster) in FASTER {
        let mut text = shipped(&format!("prometheus/{file}"), faster);
        if file == "prometheus.yml" {
            let exporters = exporters.join("\", \"");
            for (from, to) in
                [("localhost:9093", &*alertmanager.to_string()), ("localhost:10058", &exporters)]
            {
                assert!(text.contains(from), "{file} has no {from}");
                text = text.replace(from, to);
            }
        }
        fs::write(directory.path().join(file), text).expect("likewise");
    }
    directory
}

/// Alertmanager as it is shipped, but for its pace and a receiver where its comments have one.
async fn alertmanager(receiver: &Receiver) -> Alertmanager {
    let webhook = format!("    webhook_configs:\n      - url: {}\n", receiver.url());
    let config = shipped(
        "alertmanager/alertmanager.yml",
        &[
            ("    # webhook_configs:\n    #   - url: http://localhost:5001/\n", &webhook),
            ("group_wait: 30s", "group_wait: 1s"),
            ("group_interval: 5m", "group_interval: 1s"),
        ],
    );
    Alertmanager::start(&config).await
}

#[tokio::test]
async fn a_spike_of_failures_reaches_the_receiver_and_is_resolved_there() {
    spike_reaches_the_receiver(async |directory| Prometheus::start_in(directory).await).await;
}

#[tokio::test]
async fn a_spike_of_failures_reaches_the_receiver_with_prometheus_3_as_well() {
    if newest_prometheus("prometheus").is_none() {
        return report_missing("Prometheus 3", "alerts on their way to a receiver");
    }
    let start = async |directory| {
        let started = Prometheus::start_newest_in(directory).await;
        started.expect("it is there, as was just found")
    };
    spike_reaches_the_receiver(start).await;
}

async fn spike_reaches_the_receiver(start: impl AsyncFnOnce(TempDir) -> Prometheus) {
    let mut api = Process::spawn(&["simulate", "--simulator.listen-address=127.0.0.1:0"], &[]);
    let api_url = api.word_after("The simulated Cortex API is at ", Process::stdout).await;
    let ledger = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::spawn(
        &[
            "serve",
            &format!("--cortex.api-url={api_url}"),
            &format!("--state.url={}", ledger_url(ledger.path())),
            "--web.listen-address=127.0.0.1:0",
            "--poll.interval=2s",
            "--web.external-url=https://exporter.example/cortex",
        ],
        &[("CORTEX_API_KEY", "demo-key")],
    );
    let exporter_url = exporter.ready_url().await;
    let target = exporter_url.trim_start_matches("http://");
    let receiver = Receiver::start().await;
    let alertmanager = alertmanager(&receiver).await;
    let prometheus = start(configuration(&[target], alertmanager.address())).await;
    let evidence = || format!("{}\n{}", prometheus.log(), alertmanager.log());

    let of_workflow = format!("workflow:cortex_workflow_info:current{{workflow=\"{WORKFLOW}\"}}");
    prometheus.wait_for(&of_workflow).await;
    let spike = format!("{api_url}/_simulator/spike");
    let query = [("workflow", WORKFLOW), ("seconds", "45"), ("ratio", "1")];
    let answer = client().post(&spike).query(&query).send().await.expect("it answers");
    assert!(answer.status().is_success(), "{answer:?}");

    let spike = [("alertname", "CortexWorkflowFailureSpike"), ("workflow", WORKFLOW)];
    let alert = receiver.wait_for("firing", &spike, evidence).await;
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["annotations"]["summary"], format!("Failed runs of {WORKFLOW} spike."));
    let description = alert["annotations"]["description"].as_str().unwrap_or_default();
    assert!(
        description.contains("failed within 10 minutes. For that number of runs"),
        "{description}"
    );
    assert!(description.contains(" Most failed at step "), "{description}");
    let id = alert["labels"]["workflow_id"].as_str().expect("it is about a workflow");
    let link = format!("https://exporter.example/cortex/workflows/{id}/last-failed-run");
    assert!(description.ends_with(&format!("The last failed run: {link}")), "{description}");
    let resolved = receiver.wait_for("resolved", &spike, evidence).await;
    assert_eq!(resolved["labels"], alert["labels"]);
    assert_eq!(resolved["startsAt"], alert["startsAt"], "it is the same one");

    exporter.kill();
    let down = [("alertname", "CortexWorkflowExporterDown"), ("instance", target)];
    receiver.wait_for("firing", &down, evidence).await;
}
