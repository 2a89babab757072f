//! One bad item spoils neither its page nor the cycle, and is told once, not once per poll.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{RunsCount, SimulatedWorkflow, Tamper},
};
use serde_json::json;

use crate::support::{Api, Process, Samples, ledger_url, scrape, wait_until};

/// How many anomalies with this reason were counted.
fn told(samples: &Samples, reason: &str) -> Option<f64> {
    samples.sum("cortex_workflow_exporter_anomalies_total", &[("reason", reason)])
}

/// What is exported once three more polls have succeeded.
async fn three_polls_later(exporter: &Process, url: &str, first: &Samples) -> Samples {
    let polls = |samples: &Samples| {
        let labels = [("result", "success")];
        samples.sum("cortex_workflow_exporter_polls_total", &labels).unwrap_or(0.0)
    };
    let later = async || {
        let samples = scrape(url).await;
        (polls(&samples) >= polls(first) + 3.0).then_some(samples)
    };
    wait_until("three more polls succeed", later, || exporter.log()).await
}

#[tokio::test]
async fn what_cannot_be_decoded_is_told_once_and_spoils_nothing_else() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &[]);
    let url = exporter.ready_url().await;
    api.simulator().world(|world| {
        for item in [json!({ "id": true, "status": "FAILED" }), json!("no run"), json!(null)] {
            let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
            world.run_mut(&run).expect("it was just made").tamper = Tamper::Whole(item);
        }
        let mut bad = SimulatedWorkflow::new("bad");
        bad.tamper = Tamper::Whole(json!([]));
        world.add_workflow(bad);
    });
    for _ in 0..3 {
        api.finish_one("work_one", Status::Failed);
    }
    let first = exporter.shows_failures(&url, 3.0).await;
    let samples = three_polls_later(&exporter, &url, &first).await;
    assert_eq!(told(&samples, "undecodable_run"), Some(3.0));
    assert_eq!(told(&samples, "undecodable_workflow"), Some(1.0));
    assert_eq!(samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]), Some(3.0));
}

#[tokio::test]
async fn a_run_that_is_too_large_even_by_itself_is_told_once_and_hides_no_other() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    api.simulator().world(|world| {
        // So that the lists of open runs are asked for.
        let workflow = world.workflow_mut("work_one").expect("there it is");
        workflow.runs_count = RunsCount::Absent;
        let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
        let private = "private ".repeat(5 << 20);
        world.run_mut(&run).expect("it was just made").tamper = Tamper::field("output", private);
    });
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &[]);
    let url = exporter.ready_url().await;
    for _ in 0..2 {
        api.finish_one("work_one", Status::Failed);
    }
    let first = exporter.shows_failures(&url, 2.0).await;
    api.finish_one("work_one", Status::Failed);
    three_polls_later(&exporter, &url, &first).await;
    let samples = exporter.shows_failures(&url, 3.0).await;
    assert_eq!(told(&samples, "undecodable_run"), Some(1.0));
    let log = exporter.log();
    let reason = "number 1 of the list, by itself, is larger than 32 MiB";
    assert!(log.contains("work_one") && log.contains(reason) && !log.contains("private"), "{log}");
}
