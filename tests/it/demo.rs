//! The demo: what its hints say to do, done.

use serde_json::Value;

use crate::support::{Process, client, get, scrape, wait_until};

/// Does what a hint says, and returns the URL and the answer.
async fn follow(demo: &mut Process, hint: &str) -> (String, Value) {
    let url = demo.word_after(&format!("{hint}: curl -X POST '"), Process::stdout).await;
    let url = url.trim_end_matches('\'').to_owned();
    let answer = client().post(&url).send().await.expect("it answers");
    let text = answer.text().await.expect("it can be read");
    let answer = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    (url, answer)
}

/// How many runs of this version failed, by the simulated API's own account.
async fn failed_by(totals: &str, version: &Value) -> u64 {
    let (_, text) = get(totals).await;
    let totals: Value = serde_json::from_str(&text).expect("it is JSON");
    let versions = totals["versions"].as_array().expect("a list");
    let failed = versions.iter().filter(|it| {
        it["workflow"] == version["workflow"]
            && it["version"] == version["version"]
            && it["status"] == "FAILED"
    });
    failed.filter_map(|it| it["count"].as_u64()).sum()
}

#[tokio::test]
async fn a_bad_version_on_command_makes_runs_fail_until_it_is_rolled_back() {
    let mut demo = Process::demo();
    let base = demo.ready_url().await;
    let (url, bad) = follow(&mut demo, "A bad version").await;
    let (simulator, _) = url.split_once("/_simulator/").expect("it is one of its endpoints");
    let totals = format!("{simulator}/_simulator/totals");
    let name = bad["workflow"].as_str().expect("a name").to_owned();
    let failed = async || {
        let labels = [("workflow", name.as_str()), ("status", "FAILED")];
        scrape(&base).await.sum("cortex_workflow_runs_total", &labels).unwrap_or_default()
    };
    let before = failed().await;
    let many = async || (failed_by(&totals, &bad).await >= 3).then_some(());
    wait_until("runs of the bad version fail", many, || demo.log()).await;
    let counted = async || (failed().await >= before + 3.0).then_some(());
    wait_until("the exporter counts them", counted, || demo.log()).await;
    // The path that an alert leads to ends at a run that failed.
    let last = demo.word_after("Last failed run: ", Process::stdout).await;
    let answer = client().get(&last).send().await.expect("it answers");
    let target = answer.headers().get("location").and_then(|target| target.to_str().ok());
    let target = target.unwrap_or_else(|| panic!("{last} leads nowhere")).to_owned();
    assert!(target.starts_with(simulator), "{target}");
    let (code, page) = get(&target).await;
    assert!(code == 200 && page.contains("<p>FAILED"), "{target}: {page}");
    let (_, good) = follow(&mut demo, "The one before it again").await;
    let number = |of: &Value| of["version"].as_u64().expect("a number");
    assert_eq!(number(&good) + 1, number(&bad));
    // Some of the errors hold what looks like a customer's data, which goes no further.
    let shown =
        format!("{}{}{}", get(&format!("{base}/metrics")).await.1, get(&base).await.1, demo.log());
    assert!(!shown.to_lowercase().contains("keller"), "{shown}");
}
