//! However many workflows there are, the exposition stays bounded, and nothing goes uncounted.

use cortex_workflow_exporter::model::Status;

use crate::support::{Api, Process, Samples, ledger_url, scrape, wait_until};

#[tokio::test]
async fn past_the_budget_new_workflows_are_counted_together() {
    let api = Api::start().await;
    let ids: Vec<_> = (0..40).map(|number| format!("work_{number:02}")).collect();
    for id in &ids {
        api.add_workflow(id);
    }
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter =
        Process::serve(&api, &ledger_url(directory.path()), &["--metrics.max-series=400"]);
    let url = exporter.ready_url().await;
    for id in &ids {
        api.finish_one(id, Status::Failed);
    }
    let failures = |samples: &Samples, labels: &[(&str, &str)]| {
        let labels = [&[("status", "FAILED")], labels].concat();
        samples.sum("cortex_workflow_runs_total", &labels).unwrap_or(0.0)
    };
    let counted = async || {
        let samples = scrape(&url).await;
        (failures(&samples, &[]) >= 40.0).then_some(samples)
    };
    let samples = wait_until("all failures are counted", counted, || exporter.log()).await;
    let gauge = |name| samples.sum(name, &[]).unwrap_or_default();
    let folded = gauge("cortex_workflow_exporter_folded_workflows");
    assert!((20.0..40.0).contains(&folded), "{folded} workflows are folded");
    assert_eq!(failures(&samples, &[]), 40.0);
    assert_eq!(failures(&samples, &[("workflow_id", "_other")]), folded);
    assert_eq!(gauge("cortex_workflow_exporter_series_limit"), 400.0);
    // The budget, the group, and what the exporter tells of itself.
    let series = gauge("cortex_workflow_exporter_series");
    assert!(series <= 400.0 + 300.0, "{series} series");
    assert!(exporter.log().contains("There is no room for more series"), "{}", exporter.log());
}
