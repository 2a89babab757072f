//! Workflows whose number and names mean harm.

use std::collections::BTreeSet;

use cortex_workflow_exporter::{model::Status, simulator::SimulatedWorkflow};

use crate::support::{Api, Process, get, parse, wait_until};

/// For 10,000 workflows with about 30 series each.
const MAX_MEMORY_OF_MANY_MIB: u64 = 500;

/// Names that would break a careless page, log or exposition.
fn hostile_names() -> Vec<String> {
    vec![
        "x".repeat(5000),
        "\u{202E}".repeat(5000),
        "\u{1F600}".repeat(5000),
        "a\u{0}b\nc\rd\te\u{1b}[31mf\u{7f}g\u{85}h\u{2028}i".into(),
        "\u{202E}txt.exe\u{2066}\u{2069}\u{200F}".into(),
        "\"} 1\ncortex_workflow_runs_total{workflow=\"forged\"} 99\n# EOF\n".into(),
        "</td><script>alert(1)</script><!--".into(),
        "\\".repeat(300),
        String::new(),
        " ".into(),
    ]
}

#[tokio::test]
async fn names_of_any_length_and_kind() {
    let api = Api::start().await;
    let mut workflows = Vec::new();
    for (number, name) in hostile_names().iter().enumerate() {
        let workflow =
            SimulatedWorkflow::new(name).with_id(&format!("work_{number}")).with_step(name, name);
        workflows.push(api.simulator().world(|world| world.add_workflow(workflow)));
    }
    let more = ["--metrics.hold-timeout=0s", "--log.level=debug"];
    let mut exporter = Process::serve(&api, "sqlite::memory:", &more);
    let url = exporter.ready_url().await;
    for workflow in &workflows {
        api.finish_one(workflow, Status::Failed);
    }
    let samples = exporter.shows_failures(&url, workflows.len() as f64).await;
    for series in samples.values.keys() {
        for (label, value) in &series.labels {
            assert!(value.chars().count() <= 128, "{series}: {label}");
            assert!(!value.chars().any(char::is_control), "{series}: {label}");
        }
    }
    let ids: BTreeSet<_> = samples
        .matching("cortex_workflow_info", &[])
        .map(|(series, _)| &series.labels["workflow_id"])
        .collect();
    assert_eq!(ids.len(), workflows.len());
    let (status, page) = get(&format!("{url}/")).await;
    assert_eq!(status, 200);
    assert!(!page.contains("<script>alert"), "{page}");
    let log = exporter.stderr();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{0}'), "{log}");
    assert!(log.lines().all(|line| line.len() < 4000), "a line is too long");
    super::assert_small(&exporter, "hostile names");
}

#[tokio::test]
async fn ten_thousand_workflows_with_one_name() {
    let api = Api::start().await;
    api.simulator().world(|world| {
        for number in 0..10_000 {
            world.add_workflow(
                SimulatedWorkflow::new("The same").with_id(&format!("work_{number}")),
            );
        }
    });
    let mut exporter = Process::serve(&api, "sqlite::memory:", &["--cortex.page-size=1000"]);
    let url = exporter.url().await;
    // Each exists from its first listing, long before all have been read.
    let listed = async || {
        let (status, text) = get(&format!("{url}/metrics")).await;
        assert_eq!(status, 200);
        let of_workflow = |line: &&str| line.starts_with("cortex_workflow_info{");
        (text.lines().filter(of_workflow).count() >= 5000).then_some(text)
    };
    let text = wait_until("they are listed", listed, || exporter.log()).await;
    // It panics on a series that comes twice.
    let samples = parse(&text);
    assert!(samples.sum("cortex_workflow_runs_total", &[("workflow", "The same")]) == Some(0.0));
    assert_eq!(get(&format!("{url}/")).await.0, 200);
    let (peak, series) = (exporter.peak_memory(), samples.values.len());
    println!("peak memory: {peak} MiB, {series} series");
    assert!(peak < MAX_MEMORY_OF_MANY_MIB, "{peak} MiB");
}
