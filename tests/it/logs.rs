//! The log: one line per event worth one.

use cortex_workflow_exporter::model::Status;

use crate::support::{Api, KEY, Process, get, ledger_url, scrape, wait_until};

async fn polled(url: &str, exporter: &Process, times: f64) {
    let ask = async || {
        let labels = [("result", "success")];
        let polls = scrape(url).await.sum("cortex_workflow_exporter_polls_total", &labels);
        (polls >= Some(times)).then_some(())
    };
    wait_until(&format!("{times} polls succeed"), ask, || exporter.log()).await;
}

/// The lines but for those that say that it starts.
fn news(exporter: &Process) -> Vec<String> {
    let log = exporter.stderr();
    let (_, rest) = log.split_once("The first poll cycle succeeded").expect("it says so");
    rest.lines().skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_quiet_time_is_quiet_even_when_runs_end() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &["--log.runs=off"]);
    let url = exporter.ready_url().await;
    for polls in 1..=12 {
        api.finish_one("work_one", Status::Failed);
        polled(&url, &exporter, f64::from(polls)).await;
    }
    assert_eq!(news(&exporter), [""; 0]);
}

#[tokio::test]
async fn the_start_tells_what_runs_where_and_for_whom_but_no_key() {
    let api = Api::start().await;
    let mut exporter = Process::serve(&api, "sqlite::memory:", &["--log.format=json"]);
    let marks = ["\"version\"", "\"revision\"", "\"address\"", "\"tls\":false", "\"apps\":\"c\""];
    let told = async || {
        let log = exporter.stderr();
        marks.iter().all(|mark| log.contains(mark)).then_some(log)
    };
    let log = wait_until("it says how it starts", told, || exporter.log()).await;
    assert!(!log.contains(KEY), "{log}");
    for line in log.lines() {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(read.is_ok_and(|line| line.is_object()), "{line}");
    }
    exporter.kill();
}

/// The lines about runs, each as its fields.
fn runs(exporter: &Process) -> Vec<serde_json::Value> {
    let log = exporter.stderr();
    let lines = log.lines().map(|line| serde_json::from_str(line).expect("one object"));
    lines.filter(|line: &serde_json::Value| line["message"] == "A run ended.").collect()
}

#[tokio::test]
async fn each_failed_run_has_one_line_whatever_ends_the_exporter_and_history_has_none() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    api.finish_one("work_one", Status::Failed);
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let ledger = ledger_url(directory.path());
    let flags = ["--log.format=json", "--metrics.hold-timeout=0s"];
    let (mut logged, mut failed) = (Vec::new(), Vec::new());
    for round in 0..3 {
        if round > 0 {
            // While it is down.
            failed.push(api.finish_one("work_one", Status::Failed));
        }
        let mut exporter = Process::serve(&api, &ledger, &flags);
        let address = exporter.word_after("\"address\":\"", Process::stderr).await;
        let url = format!("http://{}", address.split('"').next().unwrap_or_default());
        let ready = async || (get(&format!("{url}/-/ready")).await.0 == 200).then_some(());
        wait_until("it is ready", ready, || exporter.log()).await;
        failed.push(api.finish_one("work_one", Status::Failed));
        api.finish_one("work_one", Status::Completed);
        let both = async || (runs(&exporter).len() + logged.len() == failed.len()).then_some(());
        wait_until("the failed runs are logged", both, || exporter.log()).await;
        exporter.kill();
        logged.extend(runs(&exporter));
    }
    let ids: Vec<_> = logged.iter().map(|line| line["run_id"].as_str().expect("an id")).collect();
    assert_eq!(ids, failed);
    for line in logged {
        assert_eq!(line["workflow"], "Workflow work_one", "{line}");
        assert_eq!(line["status"], "FAILED", "{line}");
    }
}
