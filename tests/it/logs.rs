//! The log: one line per event worth one.

use cortex_workflow_exporter::model::Status;

use crate::support::{Api, KEY, Process, ledger_url, scrape, wait_until};

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
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &[]);
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
