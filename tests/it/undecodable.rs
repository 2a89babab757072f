//! One bad item spoils neither its page nor the cycle, and is told once, not once per poll.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{SimulatedWorkflow, Tamper},
};
use serde_json::json;

use crate::support::{Api, Process, Samples, ledger_url, scrape, wait_until};

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
    let told = |samples: &Samples, reason| {
        samples.sum("cortex_workflow_exporter_anomalies_total", &[("reason", reason)])
    };
    let polls = |samples: &Samples| {
        let labels = [("result", "success")];
        samples.sum("cortex_workflow_exporter_polls_total", &labels).unwrap_or(0.0)
    };
    let first = exporter.shows_failures(&url, 3.0).await;
    let later = async || {
        let samples = scrape(&url).await;
        (polls(&samples) >= polls(&first) + 3.0).then_some(samples)
    };
    let samples = wait_until("three more polls succeed", later, || exporter.log()).await;
    assert_eq!(told(&samples, "undecodable_run"), Some(3.0));
    assert_eq!(told(&samples, "undecodable_workflow"), Some(1.0));
    assert_eq!(samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]), Some(3.0));
}
