use serde_json::{Value, json};

use super::{super::*, NOON, Served};
use crate::model::{Origin, Status};

fn truth(simulator: &Simulator) -> Vec<(String, String, u64)> {
    let totals = simulator.world(|world| world.totals());
    let row = |((_, status, origin), count): (&(String, Status, Origin), &u64)| {
        (status.as_str().to_owned(), origin.as_str().to_owned(), *count)
    };
    totals.iter().map(row).collect()
}

#[tokio::test]
async fn totals_count_every_attempt_and_outlive_what_was_deleted() {
    let api = Served::scripted().await;
    api.simulator.world(|world| {
        let workflow = world.add_workflow(SimulatedWorkflow::new("W"));
        let run = world.create_run(&workflow, Origin::Record).expect("the workflow is there");
        assert!(!world.finish_run(&run, Status::Running), "no run ends so");
        assert!(world.start_run(&run) && world.finish_run(&run, Status::Failed));
        assert!(!world.finish_run(&run, Status::Failed), "it has finished");
        let first = world.run(&run).expect("it is there").clone();
        assert!(world.replay_run(&run) && !world.replay_run(&run));
        let again = world.run(&run).expect("it is there");
        assert_eq!((&again.status, again.ended_at), (&Status::Running, None));
        assert!(again.started_at > first.started_at);
        assert!(world.finish_run(&run, Status::Completed));
        assert!(world.delete_run(&run) && !world.delete_run(&run));
        assert!(world.rename_workflow(&workflow, "V") && world.workflow("V").is_some());
        assert!(world.delete_workflow(&workflow) && !world.delete_workflow(&workflow));
    });
    let row = |status: &str| (status.to_owned(), "RECORD".to_owned(), 1);
    assert_eq!(truth(&api.simulator), [row("COMPLETED"), row("FAILED")]);
    assert_eq!(api.simulator.world(|world| world.created().into_values().sum::<u64>()), 1);
}

#[tokio::test]
async fn a_test_of_the_real_binary_scripts_the_world_over_http() {
    let api = Served::scripted().await;
    let workflow = json!({ "id": "w", "name": "W", "form": "first", "direction": "oldest_first",
        "order_by": "started", "steps": [{ "key": "ask", "type": "model" }] });
    assert_eq!(api.post("workflows", workflow).await.json(), json!({ "id": "w" }));
    let failed = json!({ "workflow": "W", "status": "FAILED", "origin": "TEST", "count": 3 });
    let ids = api.post("runs", failed).await.json()["ids"].clone();
    assert_eq!(ids.as_array().map(Vec::len), Some(3));
    let replay = json!({ "id": ids[0], "status": "RUNNING" });
    assert_eq!(api.post("runs", replay.clone()).await.status, 200);
    assert_eq!(api.post("runs", replay).await.status, 400);
    let past = json!({ "workflow": "w", "id": "old", "status": "SKIPPED",
        "created_at": NOON - 1000, "ended_at": NOON });
    assert_eq!(api.post("runs", past).await.json(), json!({ "ids": ["old"] }));
    let listed = api.get("/apps/c/workflows/w/runs").await.json();
    let statuses: Vec<_> =
        listed.as_array().into_iter().flatten().map(|run| &run["status"]).collect();
    assert_eq!(statuses, ["FAILED", "FAILED", "RUNNING", "SKIPPED"]);
    for wrong in [
        json!({ "workflow": "none" }),
        json!({ "status": "FAILED" }),
        json!({ "workflow": "w", "statsu": "FAILED" }),
    ] {
        assert_eq!(api.post("runs", wrong.clone()).await.status, 400, "{wrong}");
    }
    assert_eq!(api.delete("runs/old").await.status, 204);
    let renamed = json!({ "id": "w", "name": "Renamed" });
    assert_eq!(api.post("workflows", renamed).await.status, 200);
    let totals = api.get("/_simulator/totals").await.json();
    let row = |status: &str, origin: &str, count: u64| {
        json!({ "workflow_id": "w",
        "workflow": "Renamed", "status": status, "origin": origin, "count": count })
    };
    let finished = json!([row("SKIPPED", "WORKFLOW", 1), row("FAILED", "TEST", 3)]);
    assert_eq!(totals["finished"], finished);
    assert_eq!(api.delete("workflows/w").await.status, 204);
    assert_eq!(api.delete("workflows/w").await.status, 404);
}

#[tokio::test]
async fn the_control_endpoints_need_no_key_and_are_not_counted() {
    let api = Served::scripted().await;
    let help = api.get_with_key("/_simulator/", None).await;
    assert!(help.text.contains("curl -X POST") && help.text.contains("/_simulator/spike"));
    assert_eq!(api.simulator.request_counts().total, 0);
    api.get("/apps/c/workflows").await;
    let counts = api.get_with_key("/_simulator/requests", None).await.json();
    let expected = json!({ "total": 1, "highest_per_minute": 1,
        "answers": { "workflows": { "200": 1 } } });
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn faults_and_quirks_are_set_over_http() {
    let api = Served::scripted().await;
    let list = "/apps/c/workflows";
    let status = async || api.get(list).await.status;
    for (control, expected) in [
        ("fault?kind=status&code=429&retry_after=5&endpoint=workflows&times=1", 429),
        ("outage?seconds=30", 503),
        ("fault?kind=redirect&url=http://127.0.0.1:1", 302),
    ] {
        assert_eq!(api.post(control, Value::Null).await.status, 204, "{control}");
        assert_eq!(status().await, expected, "{control}");
        assert_eq!(api.post("clear", Value::Null).await.status, 204);
        assert_eq!(status().await, 200, "{control}");
    }
    for control in ["fault?kind=odd", "fault?kind=redirect", "outage?seconds=-1", "fault?knd=hang"]
    {
        assert_eq!(api.post(control, Value::Null).await.status, 400, "{control}");
    }
    assert_eq!(api.post("spike", Value::Null).await.status, 404, "nothing lives here");
    let quirks = json!({ "quirks": ["omit_pagination", "omit_date"] });
    assert_eq!(api.post("quirks", quirks).await.status, 204);
    let answer = api.get(list).await;
    assert_eq!((answer.header("date"), answer.header("pagination-page")), (None, None));
}

#[tokio::test]
async fn a_list_is_made_to_move_over_http_so_many_times() {
    let api = Served::scripted().await;
    api.post("workflows", json!({ "id": "w", "name": "W" })).await;
    api.post("runs", json!({ "workflow": "w", "status": "COMPLETED", "count": 5 })).await;
    let shift = json!({ "after_page": { "create": 1, "delete": 2, "times": 1 } });
    assert_eq!(api.post("quirks", shift).await.status, 204);
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(api.get("/apps/c/workflows/w/runs").await.ids().len());
    }
    assert_eq!(counts, [5, 4, 4]);
}

#[tokio::test]
async fn a_spike_is_made_over_http() {
    let api = Served::busy().await;
    let spike = "spike?workflow=Enrich%20lead&seconds=60&ratio=1";
    assert_eq!(api.post(spike, Value::Null).await.status, 204);
    let before = truth(&api.simulator);
    api.clock.forward(60);
    let failed = |rows: Vec<(String, String, u64)>| -> u64 {
        rows.iter().filter(|row| row.0 == "FAILED").map(|row| row.2).sum()
    };
    assert!(failed(truth(&api.simulator)) > failed(before) + 15);
    assert_eq!(api.post("spike?ratio=2", Value::Null).await.status, 400);
}
