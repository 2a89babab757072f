use serde_json::{Value, json};

use super::{super::*, NOON, Served};
use crate::model::{Origin, Status, TestResults};

/// One workflow with a run that failed in its second step, and one that waits.
async fn with_two_runs(form: Form) -> Served {
    let api = Served::scripted().await;
    api.simulator.world(|world| {
        let mut workflow = SimulatedWorkflow::new("My flow").with_id("w").with_form(form);
        workflow = workflow.with_step("ask", "model").with_step("tell", "code");
        workflow.version = Some(3);
        let (passing, failing) = (Some(1), Some(1));
        workflow.tests = Some(TestResults { passing, failing, ..TestResults::default() });
        world.add_workflow(workflow);
        let failed = SimulatedRun::new(Status::Pending, Origin::Record).with_id("failed");
        world.add_run("w", SimulatedRun { credits: Some(1.5), padding: 9000, ..failed });
    });
    api.simulator.world(|world| world.start_run("failed"));
    api.clock.forward(10);
    api.simulator.world(|world| {
        world.finish_run("failed", Status::Failed);
        world.add_run("w", SimulatedRun::new(Status::Pending, Origin::Webhook).with_id("waiting"));
    });
    api
}

fn definitions() -> Value {
    json!([
        { "type": "model", "key": "ask", "prompt": "" },
        { "type": "code", "key": "tell", "code": "" },
    ])
}

fn version() -> Value {
    json!({
        "id": "workv_0000000000000000000003", "description": "", "version": 3,
        "created_at": "2023-12-25T12:00:00.250Z", "key": "my-flow", "input": {},
        "input_default": {}, "steps": definitions(),
    })
}

async fn run(api: &Served, id: &str) -> Value {
    let mut run = api.get(&format!("/apps/c/workflows/w/runs/{id}?verbose=all")).await.json();
    let padding = run["input"]["payload"].as_str().map(str::len);
    assert_eq!(padding, Some(if id == "failed" { 9000 } else { 0 }));
    run["input"] = json!({});
    run
}

#[tokio::test]
async fn the_first_form_is_as_the_reference_page_shows_it() {
    let api = with_two_runs(Form::First).await;
    let expected = json!({
        "id": "failed", "input": {}, "status": "FAILED", "origin": "RECORD",
        "output": [
            { "status": "COMPLETED", "key": "ask", "output": { "text": "done" }, "start": NOON },
            { "status": "FAILED", "key": "tell", "output": { "text": "done" }, "start": NOON + 5000 },
        ],
        "started_at": "2023-12-25T12:00:00.250Z", "ended_at": "2023-12-25T12:00:10.250Z",
        "workflow_id": "w", "workflow_version_draft": null, "workflow_version": version(),
        "created_at": "2023-12-25T12:00:00.250Z", "updated_at": "2023-12-25T12:00:10.250Z",
    });
    assert_eq!(run(&api, "failed").await, expected);
    let waiting = run(&api, "waiting").await;
    for name in ["output", "started_at", "ended_at", "workflow_version_draft"] {
        assert_eq!(waiting.get(name), Some(&Value::Null), "{name}");
    }
}

#[tokio::test]
async fn the_newest_form_has_a_map_of_steps_and_all_that_was_added() {
    let api = with_two_runs(Form::Newest).await;
    let app = api.simulator.world(|world| world.app_id.clone());
    let expected = json!({
        "id": "failed", "input": {}, "status": "FAILED", "origin": "RECORD",
        "output": {
            "ask": { "status": "COMPLETED", "type": "model", "key": "ask", "start": NOON,
                "end": NOON + 5000, "output": { "text": "done" }, "logs": [], "calls": [] },
            "tell": { "status": "FAILED", "type": "code", "key": "tell", "start": NOON + 5000,
                "end": NOON + 10_000, "output": { "text": "done" }, "logs": [], "calls": [],
                "error": "the step failed" },
        },
        "started_at": "2023-12-25T12:00:00.250Z", "ended_at": "2023-12-25T12:00:10.250Z",
        "workflow_id": "w", "workflow_version_draft": null, "workflow_version": version(),
        "created_at": "2023-12-25T12:00:00.250Z", "updated_at": "2023-12-25T12:00:10.250Z",
        "error": "a step failed", "app_id": app, "workflow_app_id": app, "version": 3,
        "usage": { "total": 1.5, "steps": {} },
    });
    assert_eq!(run(&api, "failed").await, expected);
    let waiting = run(&api, "waiting").await;
    assert_eq!((&waiting["output"], waiting.get("usage")), (&Value::Null, None));
    assert_eq!(waiting["origin"], "WEBHOOK");
}

#[tokio::test]
async fn a_running_step_has_no_end_and_a_draft_stands_in_for_a_version() {
    let api = with_two_runs(Form::Newest).await;
    api.simulator.world(|world| {
        let run = world.run_mut("waiting").expect("it is there");
        (run.version, run.draft) = (None, true);
        world.start_run("waiting")
    });
    let running = run(&api, "waiting").await;
    assert_eq!(running["output"]["ask"]["status"], "RUNNING");
    assert_eq!(running["output"]["ask"].get("end"), None);
    assert_eq!(running["workflow_version"], Value::Null);
    assert_eq!(running["workflow_version_draft"]["steps"], definitions());
}

#[tokio::test]
async fn a_mixed_list_holds_both_forms_and_null_for_what_is_absent() {
    let api = Served::scripted().await;
    api.simulator.world(|world| {
        let workflow = SimulatedWorkflow::new("W").with_id("w").with_form(Form::Mixed);
        world.add_workflow(workflow.with_step("ask", "model"));
        for _ in 0..20 {
            let run = world.create_run("w", Origin::Workflow).expect("the workflow is there");
            world.finish_run(&run, Status::Failed);
        }
    });
    let runs = api.get("/apps/c/workflows/w/runs").await.json();
    let runs = runs.as_array().expect("a list");
    let newest: Vec<_> = runs.iter().filter(|run| run["output"].is_object()).collect();
    let first = runs.iter().filter(|run| run["output"].is_array()).count();
    assert!(!newest.is_empty() && first > 0 && newest.len() + first == 20);
    for run in newest {
        let step = &run["output"]["ask"];
        assert_eq!((run.get("usage"), step.get("type")), (Some(&Value::Null), None));
        assert!(run["error"].is_object() && step["error"].is_object());
    }
}

#[tokio::test]
async fn the_list_of_workflows_tells_counts_and_tests_in_the_newest_form_only() {
    let api = with_two_runs(Form::Newest).await;
    let list = "/apps/c/workflows";
    let app = api.simulator.world(|world| world.app_id.clone());
    let expected = json!([{
        "id": "w", "name": "My flow", "description": "", "version": version(), "tags": [],
        "app": { "id": app, "name": "Simulated app", "verified": false },
        "tests_stats": { "total_count": 2, "running_count": 0, "cancelled_count": 0,
            "passing_count": 1, "failing_count": 1 },
        "runs_count": 2, "enabled": true, "deleted": false, "key": "my-flow",
        "created_at": "2023-12-25T12:00:00.250Z", "updated_at": "2023-12-25T12:00:00.250Z",
        "input": {}, "input_default": {}, "steps": definitions(),
    }]);
    assert_eq!(api.get(list).await.json(), expected);
    let api = with_two_runs(Form::First).await;
    let first = api.get(list).await.json();
    for name in ["tests_stats", "runs_count", "enabled", "deleted"] {
        assert_eq!(first[0].get(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_tampered_item_goes_out_as_told() {
    let api = with_two_runs(Form::Newest).await;
    let tamper = |tamper: Tamper| {
        api.simulator.world(|world| world.run_mut("failed").expect("it is there").tamper = tamper);
    };
    let path = "/apps/c/workflows/w/runs/failed";
    tamper(Tamper::Whole(json!("hostile")));
    assert_eq!(api.get(path).await.json(), "hostile");
    tamper(Tamper::field("ended_at", "yesterday"));
    assert_eq!(api.get(path).await.json()["ended_at"], "yesterday");
    tamper(Tamper::Without(vec!["status".into()]));
    assert_eq!(api.get(path).await.json().get("status"), None);
}

#[tokio::test]
async fn a_run_repeats_the_error_of_its_failed_step_or_its_first_line() {
    let api = with_two_runs(Form::Newest).await;
    let tell = async |value: Value| {
        api.simulator.world(|world| {
            let run = world.run_mut("failed").expect("it is there");
            run.steps[1].error = Some(StepError { kind: "test", value });
        });
        let run = run(&api, "failed").await;
        (run["error"].clone(), run["output"]["tell"]["error"].clone())
    };
    let same = |value: Value| (value.clone(), value);
    assert_eq!(tell(json!("it broke")).await, same(json!("it broke")));
    assert_eq!(tell(json!({ "type": "error" })).await, same(json!({ "type": "error" })));
    let (of_run, of_step) = tell(json!("TypeError: x\n    at run")).await;
    assert_eq!(of_run, "Step \"tell\" failed: TypeError: x");
    assert_eq!(of_step, "TypeError: x\n    at run");
}

#[tokio::test]
async fn a_run_has_the_version_that_it_was_created_with() {
    let api = with_two_runs(Form::Newest).await;
    api.clock.forward(60);
    let deployed = api.post("deploy?workflow=w", Value::Null).await;
    assert_eq!(deployed.json(), json!({ "workflow": "w", "version": 4 }));
    api.simulator.world(|world| {
        let run = SimulatedRun::new(Status::Pending, Origin::Workflow).with_id("young");
        world.add_run("w", run);
    });
    let (old, young) = (run(&api, "failed").await, run(&api, "young").await);
    assert_eq!((&old["version"], &young["version"]), (&json!(3), &json!(4)));
    assert_eq!(old["workflow_version"], version());
    assert_eq!(young["workflow_version"]["version"], 4);
    assert_eq!(young["workflow_version"]["created_at"], "2023-12-25T12:01:10.250Z");
    let back = api.post("rollback", Value::Null).await;
    assert_eq!(back.json(), json!({ "workflow": "My flow", "version": 3 }));
    let spoilt = api.post("deploy?ratio=0.5", Value::Null).await;
    assert_eq!(spoilt.status, 404, "{}", spoilt.text);
    assert_eq!(api.post("deploy?ratio=2", Value::Null).await.status, 400);
    assert_eq!(api.post("rollback?workflow=nobody", Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_page_shows_a_run_and_its_errors_to_people() {
    let api = with_two_runs(Form::Newest).await;
    api.simulator.world(|world| {
        let run = world.run_mut("failed").expect("it is there");
        run.steps[1].error = Some(StepError { kind: "test", value: json!("<h1>502</h1>") });
    });
    let page = api.get_with_key("/_simulator/runs/failed", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for part in ["FAILED, version 3, RECORD", "tell: FAILED", "&lt;h1&gt;502"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert_eq!(api.get("/_simulator/runs/nobody").await.status, 404);
}
