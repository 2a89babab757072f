//! Alerts about how exporters stand to each other.

use regex::Regex;

use super::configuration;
use crate::support::{Api, Postgres, Process, Prometheus, free_address};

const ID: &str = "work_one";

/// An exporter of an API, and where Prometheus finds it.
async fn exporter(api: &Api, state_url: &str) -> (Process, String) {
    let mut process = Process::serve(api, state_url, &[]);
    let url = process.ready_url().await;
    (process, url.trim_start_matches("http://").to_owned())
}

#[tokio::test]
async fn a_workflow_that_two_exporters_count_raises_an_alert_that_names_both_until_one_ends() {
    let api = Api::start().await;
    api.add_workflow(ID);
    let (_first, one) = exporter(&api, "sqlite::memory:").await;
    let (mut second, other) = exporter(&api, "sqlite::memory:").await;
    let directory = configuration(&[&one, &other], free_address());
    let prometheus = Prometheus::start_in(directory).await;
    let alert = [("alertname", "CortexWorkflowCountedTwice"), ("workflow_id", ID)];
    let mut both = [&one, &other].map(|it| format!(" {it} \\(job cortex-workflows\\),"));
    both.sort();
    let says = Regex::new(&both.concat()).expect("it is well-formed");
    let text = prometheus.wait_for_alert(&alert, &says).await;
    assert!(text.contains(&format!("the workflow {ID} has been read by")), "{text}");
    second.kill();
    prometheus.wait_until_resolved(&alert).await;
}

#[tokio::test]
async fn exporters_that_all_stand_by_raise_an_alert_that_names_them_until_one_leads() {
    let api = Api::start().await;
    api.add_workflow(ID);
    let server = Postgres::start();
    let ledger = server.url("public");
    // It is in no job of Prometheus.
    let (mut leader, _) = exporter(&api, &ledger).await;
    let (_standby, target) = exporter(&api, &ledger).await;
    let prometheus = Prometheus::start_in(configuration(&[&target], free_address())).await;
    let alert = [("alertname", "CortexWorkflowExporterNoLeader"), ("job", "cortex-workflows")];
    let says = Regex::new(&format!("have been standing by: {target}; their workflows"));
    prometheus.wait_for_alert(&alert, &says.expect("it is well-formed")).await;
    leader.kill();
    prometheus.wait_until_resolved(&alert).await;
    // The other one leads.
    prometheus.wait_for("workflow:cortex_workflow_info:current").await;
}
