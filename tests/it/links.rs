//! From an alert or the overview to a run.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::Tamper,
};
use serde_json::{Value, json};

use crate::support::{Api, ConfigFile, KEY, Process, client, get, ledger_url, scrape, wait_until};

/// The status of an answer, and where it leads.
pub(crate) async fn lead(url: &str) -> (u16, String) {
    let answer = client().get(url).send().await.expect("the exporter answers");
    let location = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
    (answer.status().as_u16(), location.unwrap_or_default())
}

/// Waits until so many failures are counted.
async fn counted(url: &str, failures: f64, exporter: &Process) {
    let counted = async || {
        let samples = scrape(url).await;
        let shown = samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]);
        (shown == Some(failures)).then_some(())
    };
    wait_until(&format!("{failures} failures are counted"), counted, || exporter.log()).await;
}

#[tokio::test]
async fn a_run_is_led_to_by_its_id_and_by_its_workflow_also_right_after_a_restart() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    api.add_workflow("work_two");
    let history = api.finish_one("work_one", Status::Failed);
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let ledger = ledger_url(directory.path());
    let flags = [
        "--links.run-url=https://cortex.test/{app_id}/{workflow_id}?run={run_id}",
        "--metrics.hold-timeout=0s",
    ];
    let mut exporter = Process::serve(&api, &ledger, &flags);
    let url = exporter.ready_url().await;
    let run_at = |run: &str| (302, format!("https://cortex.test/c/work_one?run={run}"));
    let failed = "/workflows/work_one/last-failed-run";
    assert_eq!(lead(&format!("{url}{failed}")).await, run_at(&history), "{}", exporter.log());
    assert_eq!(lead(&format!("{url}/runs/{history}")).await, run_at(&history));

    let completed = api.finish_one("work_one", Status::Completed);
    let run = api.finish_one("work_one", Status::Failed);
    counted(&url, 1.0, &exporter).await;
    exporter.kill();
    let mut exporter = Process::serve_without_api(&ledger, &flags);
    let url = exporter.url().await;
    assert_eq!(lead(&format!("{url}{failed}")).await, run_at(&run), "{}", exporter.log());
    for run in [&run, &completed] {
        assert_eq!(lead(&format!("{url}/runs/{run}")).await, run_at(run));
    }
    let nothing = (404, String::new());
    for path in ["/runs/run_none", "/workflows/work_two/last-failed-run"] {
        assert_eq!(lead(&format!("{url}{path}")).await, nothing, "{path}");
    }
}

#[tokio::test]
async fn no_id_in_the_answers_of_the_api_leads_elsewhere() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let flags =
        ["--links.run-url=https://cortex.test/runs/{run_id}/x", "--metrics.hold-timeout=0s"];
    let mut exporter = Process::serve(&api, "sqlite::memory:", &flags);
    let url = exporter.ready_url().await;
    let mut failures = 0.0;
    for (id, in_url) in [
        ("../../evil", "..%2F..%2Fevil"),
        ("//evil.example/a?b#c", "%2F%2Fevil.example%2Fa%3Fb%23c"),
        ("\\\\evil.example", "%5C%5Cevil.example"),
        ("%0d%0aset-cookie: a=b", "%250d%250aset-cookie%3A%20a%3Db"),
        ("\"><script>ä", "%22%3E%3Cscript%3E%C3%A4"),
        ("{workflow_id}", "%7Bworkflow_id%7D"),
    ] {
        api.simulator().world(|world| {
            let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
            world.start_run(&run);
            world.finish_run(&run, Status::Failed);
            let mut fields = serde_json::Map::new();
            fields.insert("id".into(), json!(id));
            world.run_mut(&run).expect("it was just made").tamper = Tamper::Fields(fields);
        });
        failures += 1.0;
        counted(&url, failures, &exporter).await;
        let expected = (302, format!("https://cortex.test/runs/{in_url}/x"));
        let failed = format!("{url}/workflows/work_one/last-failed-run");
        assert_eq!(lead(&failed).await, expected, "{id}");
        assert_eq!(lead(&format!("{url}/runs/{in_url}")).await, expected, "{id}");
        let overview = get(&format!("{url}/")).await.1;
        assert!(overview.contains(&format!("href=\"runs/{in_url}\"")), "{overview}");
        assert!(!overview.contains("<script>"), "{overview}");
    }
}

/// The cells of a workflow's row of the overview, between its state and its name.
async fn row(url: &str, state: &str) -> String {
    let overview = get(&format!("{url}/")).await.1;
    let (_, row) = overview.split_once(state).unwrap_or_else(|| panic!("{overview}"));
    row.split_once("<th").expect("its name follows").0.to_owned()
}

#[tokio::test]
async fn a_run_of_which_no_end_is_told_is_shown_as_the_last_that_failed() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let mut exporter = Process::serve(&api, "sqlite::memory:", &["--metrics.hold-timeout=0s"]);
    let url = exporter.ready_url().await;
    assert!(row(&url, "✔ fine").await.contains("never"), "none has failed");
    let id = api.simulator().world(|world| {
        let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
        world.start_run(&run);
        world.finish_run(&run, Status::Failed);
        world.run_mut(&run).expect("it was just made").tamper =
            Tamper::field("ended_at", Value::Null);
        run
    });
    counted(&url, 1.0, &exporter).await;
    let row = row(&url, "✖ failing").await;
    assert!(row.contains(&format!("<a href=\"runs/{id}\">{id}</a>")), "{row}");
    assert!(row.contains(" ago") && !row.contains("never"), "{row}");
}

#[tokio::test]
async fn where_a_run_is_seen_is_taken_over_by_a_reload() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let run = api.finish_one("work_one", Status::Failed);
    let config = |links: &str| {
        format!(
            "cortex: {{api_url: '{}', api_key_file: key}}\npoll: {{interval: 1s}}\n\
             state: {{url: 'sqlite::memory:'}}\nweb: {{listen_address: '127.0.0.1:0'}}\n{links}\n",
            api.url()
        )
    };
    let file = ConfigFile::new(&config(""));
    file.write("key", KEY);
    let mut exporter = Process::spawn(&["serve", &file.flag()], &[]);
    let url = exporter.ready_url().await;
    let failed = format!("{url}/workflows/work_one/last-failed-run");
    let (status, page) = get(&failed).await;
    assert_eq!(status, 200, "{page}");
    for part in [&*run, "FAILED", "Workflow work_one", "WORKFLOW", "href=\"../../\""] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let reload = async |links: &str| {
        file.write("config.yml", &config(links));
        let answer = client().post(format!("{url}/-/reload")).send().await;
        let answer = answer.expect("the exporter answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, _) = reload("links: {run_url: 'https://one.test/{run_id}'}").await;
    assert_eq!(status, 200, "{}", exporter.log());
    assert_eq!(lead(&failed).await, (302, format!("https://one.test/{run}")));
    let (status, why) = reload("links: {run_url: 'https://{run_id}.test/'}").await;
    assert_eq!(status, 500, "{why}");
    assert!(why.contains("config.yml:5:18: links.run_url: the host"), "{why}");
    assert_eq!(lead(&failed).await, (302, format!("https://one.test/{run}")));
    assert_eq!(reload("").await.0, 200, "{}", exporter.log());
    assert_eq!(lead(&failed).await, (200, String::new()));
}
