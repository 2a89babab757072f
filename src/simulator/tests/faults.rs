use std::{pin::pin, time::Duration};

use futures::poll;
use serde_json::Value;

use super::{super::*, Answer, Served};

const LIST: &str = "/apps/c/workflows";

async fn with_a_workflow() -> Served {
    let api = Served::scripted().await;
    api.simulator.world(|world| world.add_workflow(SimulatedWorkflow::new("W").with_id("w")));
    api
}

async fn under(fault: Fault) -> Result<Answer, reqwest::Error> {
    let api = with_a_workflow().await;
    api.simulator.inject(Rule::new(fault));
    api.try_get(LIST).await
}

#[tokio::test]
async fn a_status_comes_with_an_error_body_and_retry_after_if_wanted() {
    for code in [401, 403, 404, 429, 500, 503] {
        let answer = under(Fault::status(code)).await.expect("it answers");
        assert_eq!((answer.status, &answer.json()["status"]), (code, &code.into()));
        assert_eq!(answer.header("retry-after"), None);
        assert!(answer.header("date").is_some());
    }
    let throttled = under(Fault::throttled("7")).await.expect("it answers");
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("7")));
}

#[tokio::test]
async fn bodies_that_are_no_json_come_with_200() {
    let html = under(Fault::html()).await.expect("it answers");
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let broken = under(Fault::not_json()).await.expect("it answers");
    assert_eq!((broken.status, broken.header("content-type")), (200, Some("application/json")));
    serde_json::from_str::<Value>(&broken.text).expect_err("it isn't JSON");
}

#[tokio::test]
async fn a_truncated_body_starts_well_and_breaks_off() {
    let api = with_a_workflow().await;
    let whole = api.get(LIST).await.text;
    api.simulator.inject(Rule::new(Fault::Truncate));
    let request = api.client.get(format!("{}{LIST}", api.base)).bearer_auth("demo-key");
    let mut response = request.send().await.expect("the head arrives");
    assert_eq!(
        (response.status().as_u16(), response.content_length()),
        (200, Some(whole.len() as u64))
    );
    let start = response.chunk().await.expect("half arrives").expect("it isn't empty");
    assert_eq!(start, whole[..whole.len() / 2]);
    response.chunk().await.expect_err("the other half is missing");
}

#[tokio::test]
async fn a_disconnect_leaves_no_answer_at_all() {
    let api = with_a_workflow().await;
    api.simulator.inject(Rule::new(Fault::Disconnect).times(1));
    let error = api.try_get(LIST).await.err().expect("nothing was answered");
    assert!(error.is_request() && error.status().is_none(), "{error:?}");
    assert_eq!(api.simulator.requests()[0].status, None);
    assert_eq!(api.get(LIST).await.status, 200);
}

#[tokio::test]
async fn a_hanging_answer_comes_once_the_faults_are_cleared() {
    let api = with_a_workflow().await;
    api.simulator.inject(Rule::new(Fault::Hang));
    let mut answer = pin!(api.get(LIST));
    while api.simulator.requests().is_empty() {
        assert!(poll!(&mut answer).is_pending());
        tokio::task::yield_now().await;
    }
    // What was seen has also met its fault: nothing is awaited in between.
    assert!(poll!(&mut answer).is_pending());
    api.simulator.clear_faults();
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn a_redirect_names_its_target() {
    let answer = under(Fault::Redirect("http://127.0.0.1:1/there".into())).await;
    let answer = answer.expect("it answers");
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1:1/there")));
}

#[tokio::test]
async fn a_huge_body_is_as_long_as_wanted_and_json_in_the_end() {
    let answer = under(Fault::Huge(1_000_000)).await.expect("it answers");
    assert_eq!((answer.text.len(), answer.json()), (1_000_000, Value::Array(Vec::new())));
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn a_delay_passes_and_then_comes_the_proper_answer() {
    let answer = under(Fault::Delay(Duration::from_millis(1))).await;
    assert_eq!(answer.expect("it answers").ids(), ["w"]);
}

#[tokio::test]
async fn a_rule_holds_where_and_as_often_as_it_says() {
    let api = with_a_workflow().await;
    let rule = Rule::new(Fault::status(500));
    api.simulator.inject(rule.on(ApiEndpoint::Runs).containing("page=2").times(1));
    let runs = "/apps/c/workflows/w/runs";
    let mut statuses = Vec::new();
    for path in [LIST, runs, &format!("{runs}?page=2"), &format!("{runs}?page=2")] {
        statuses.push(api.get(path).await.status);
    }
    assert_eq!(statuses, [200, 200, 500, 200]);
}

#[tokio::test]
async fn an_outage_ends_by_the_worlds_clock_or_by_clearing() {
    let api = with_a_workflow().await;
    api.simulator.outage(Duration::from_secs(30));
    assert_eq!(api.get(LIST).await.status, 503);
    api.clock.forward(30);
    assert_eq!(api.get(LIST).await.status, 200);
    api.simulator.outage(Duration::from_secs(30));
    api.simulator.clear_faults();
    assert_eq!(api.get(LIST).await.status, 200);
}
