//! What leads to runs.

use std::sync::Mutex;

use reqwest::Url;

use super::*;
use crate::model::{AppId, Label, Origin, RunFailure, RunId, RunVersion, WorkflowId};

/// A site that knows these runs, and what it was asked for.
async fn knowing(runs: Result<Vec<RunView>, String>) -> (TestServer, Arc<Mutex<Vec<RunQuery>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (queries, mut endpoints) = (Arc::clone(&asked), endpoints(Arc::new(Text(""))));
    endpoints.runs = Arc::new(move |query| {
        queries.lock().expect("nothing panics").push(query);
        let runs = runs.clone();
        Box::pin(async move { runs })
    });
    (site(endpoints, |_| ()).await, asked)
}

fn failed_run(workflow: &str) -> RunView {
    RunView {
        id: RunId::new("run_1").expect("an id"),
        app: AppId::new("app_1").expect("an id"),
        workflow: WorkflowId::new(workflow).expect("an id"),
        workflow_name: "Answer <mail>".into(),
        status: "FAILED".into(),
        origin: Some(Origin::Record),
        started_ms: Some(1_703_505_540_000),
        ended_ms: Some(1_703_505_600_250),
        version: Some(RunVersion::Number { number: 7, created_ms: None }),
        failure: Some(RunFailure {
            step: Label::new("ask <it>"),
            step_type: Label::new("http_request"),
            error_class: Label::new("rate_limited"),
        }),
        url: None,
    }
}

fn linked(workflow: &str) -> RunView {
    let url = Url::parse(&format!("https://cortex.test/{workflow}/run_1?a=b#c"));
    RunView { url: Some(url.expect("a URL")), ..failed_run(workflow) }
}

#[tokio::test]
async fn a_run_is_where_the_configuration_says() {
    let (site, asked) = knowing(Ok(vec![linked("work_1")])).await;
    for path in ["/runs/run_1", "/workflows/work_1/last-failed-run?then=https://evil.example"] {
        for method in ["GET", "HEAD"] {
            let answer = site.ask(&format!("{method} {path}"), "").await;
            assert_holds(
                &answer,
                &[
                    "HTTP/1.1 302 Found\r\n",
                    "location: https://cortex.test/work_1/run_1?a=b#c\r\n",
                    "referrer-policy: no-referrer\r\n",
                    "cache-control: no-store\r\n",
                ],
            );
        }
        let answer = site.ask(&format!("POST {path}"), "").await;
        assert_holds(&answer, &["405 Method Not Allowed", "allow: GET,HEAD\r\n"]);
    }
    let run = RunQuery::Run(RunId::new("run_1").expect("an id"));
    let failed = RunQuery::LastFailed(WorkflowId::new("work_1").expect("an id"));
    let asked = asked.lock().expect("nothing panics");
    assert_eq!(*asked, [run.clone(), run, failed.clone(), failed]);
}

#[tokio::test]
async fn without_an_address_a_page_shows_what_is_known_and_no_more() {
    let (site, _) = knowing(Ok(vec![failed_run("work_1")])).await;
    for (path, overview) in
        [("/runs/run_1", "../"), ("/workflows/work_1/last-failed-run", "../../")]
    {
        let answer = site.ask(&format!("GET {path}"), "").await;
        assert_holds(
            &answer,
            &[
                "HTTP/1.1 200 OK\r\n",
                "content-type: text/html; charset=utf-8\r\n",
                "content-security-policy: default-src 'none'; style-src 'nonce-",
                "referrer-policy: no-referrer\r\n",
                "<title>Run run_1: FAILED</title>",
                "Answer &lt;mail&gt;",
                "work_1",
                "app_1",
                "RECORD",
                "2023-12-25T11:59:00Z",
                "2023-12-25T12:00:00.25Z",
                "<td class=\"text\">7</td>",
                "ask &lt;it&gt;",
                "http_request",
                "rate_limited",
                &format!("<a href=\"{overview}\">"),
            ],
        );
    }
    let vanished = RunView {
        status: "finished".into(),
        workflow_name: String::new(),
        origin: None,
        started_ms: None,
        ended_ms: None,
        version: None,
        failure: None,
        ..failed_run("work_1")
    };
    let (site, _) = knowing(Ok(vec![vanished])).await;
    let answer = site.ask("GET /runs/run_1", "").await;
    assert_holds(&answer, &["<h2>work_1</h2>", "Run run_1: finished"]);
    for absent in ["Origin", "Started", "Ended", "Version", "Step", "Class of"] {
        assert!(!answer.contains(absent), "{absent} is in {answer}");
    }
}

#[tokio::test]
async fn an_id_that_two_workflows_use_leads_to_a_choice() {
    let (site, _) = knowing(Ok(vec![linked("work_1"), linked("work_2")])).await;
    let answer = site.ask("GET /runs/run_1", "").await;
    assert_holds(
        &answer,
        &[
            "HTTP/1.1 200 OK\r\n",
            "<a href=\"https://cortex.test/work_1/run_1?a=b#c\">",
            "<a href=\"https://cortex.test/work_2/run_1?a=b#c\">",
        ],
    );
}

#[tokio::test]
async fn what_is_unknown_is_404_with_the_reason_and_what_is_no_id_is_not_even_looked_up() {
    let (site, asked) = knowing(Ok(Vec::new())).await;
    let unknown = site.ask("GET /runs/run_1", "").await;
    assert_holds(&unknown, &["404 Not Found", "--state.retention"]);
    let unknown = site.ask("GET /workflows/work_1/last-failed-run", "").await;
    assert_holds(&unknown, &["404 Not Found", "no failed run of this workflow"]);
    assert_eq!(asked.lock().expect("nothing panics").drain(..).count(), 2);
    let huge = "r".repeat(5000);
    for id in [
        "",
        ".",
        "..",
        "%2e%2e",
        "/evil.example",
        "//evil.example",
        "a/b",
        "%0d%0alocation:%20https://evil.example",
        "%00",
        "%E2%80%AE",
        "%FF",
        &huge,
    ] {
        for path in [format!("/runs/{id}"), format!("/workflows/{id}/last-failed-run")] {
            let answer = site.ask(&format!("GET {path}"), "").await;
            assert_holds(&answer, &["HTTP/1.1 404 Not Found\r\n"]);
            assert!(!answer.contains("evil") && !answer.contains("location"), "{answer}");
        }
    }
    assert_eq!(*asked.lock().expect("nothing panics"), []);
}

#[tokio::test]
async fn an_odd_id_is_looked_up_as_it_is() {
    let (site, asked) = knowing(Ok(Vec::new())).await;
    for (id, meant) in [
        ("a%2fb", "a/b"),
        ("..%2f..%2fx", "../../x"),
        ("%2F%2Fevil.example", "//evil.example"),
        ("https:%2F%2Fevil.example", "https://evil.example"),
        ("a%3Fb%23c", "a?b#c"),
        ("%C3%A4%E2%9C%96", "ä✖"),
        ("%252e%252e", "%2e%2e"),
        ("a+b%20c", "a+b c"),
        ("'%20OR%201=1;--", "' OR 1=1;--"),
        ("%3Cscript%3E", "<script>"),
    ] {
        assert_holds(&site.ask(&format!("GET /runs/{id}"), "").await, &["404 Not Found"]);
        let failed = site.ask(&format!("GET /workflows/{id}/last-failed-run"), "").await;
        assert_holds(&failed, &["404 Not Found"]);
        let run = RunQuery::Run(RunId::new(meant).expect("an id"));
        let failed = RunQuery::LastFailed(WorkflowId::new(meant).expect("an id"));
        let asked: Vec<_> = asked.lock().expect("nothing panics").drain(..).collect();
        assert_eq!(asked, [run, failed], "{id}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_up_now_is_503_with_the_time_to_wait() {
    let (site, _) = knowing(Err("the ledger is busy".into())).await;
    for path in ["/runs/run_1", "/workflows/work_1/last-failed-run"] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        let why = "can't be looked up now: the ledger is busy\n";
        assert_holds(&answer, &["503 Service Unavailable", "retry-after: 2\r\n", why]);
    }
}
