//! What must never be seen, in no log, metric or page, however much is told.

use std::fs;

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{ApiEndpoint, Fault, Rule, SimulatedWorkflow, Tamper},
};
use serde_json::{Value, json};

use crate::support::{Api, KEY, Process, client, get, wait_until};

/// What stands in the data of runs.
const DATA: &str = "run-data-7c1f";

/// The password of somebody who may look.
const PASSWORD: &str = "password-4b8e";

/// Every field of a run and of its steps that holds what customers put in and get out.
fn data() -> Value {
    json!({
        "input": { "mail": DATA, DATA: 1 },
        "result": { "text": DATA },
        "error": { "message": DATA, "stack": [DATA] },
        "logs": [DATA],
        "record": { "id": DATA },
        "retention": DATA,
        "unheard_of": DATA,
        "usage": { "credits": DATA },
        "output": {
            "answer": {
                "status": "FAILED", "type": "model", "output": DATA, "error": { "message": DATA },
                "input": DATA, "logs": DATA, "start": DATA, "end": [DATA], "usage": { DATA: DATA },
            },
            "prepare": DATA,
        },
    })
}

fn tampered(id: &str, more: Value) -> Tamper {
    let Value::Object(mut fields) = data() else { unreachable!("it is an object") };
    let Value::Object(more) = more else { unreachable!("it is an object") };
    fields.extend(more);
    fields.insert("id".into(), id.into());
    Tamper::Fields(fields)
}

/// A world full of data, some of it malformed.
fn fill(api: &Api) {
    api.simulator().world(|world| {
        let workflow =
            SimulatedWorkflow::new("Answer mail").with_id("work_one").with_step("answer", "model");
        world.add_workflow(workflow);
    });
}

fn add_runs(api: &Api) {
    api.simulator().world(|world| {
        for (id, more) in [
            ("run_whole", json!({})),
            ("run_odd_times", json!({ "started_at": DATA, "ended_at": [DATA] })),
            ("run_odd_words", json!({ "status": "FAILED", "origin": { DATA: DATA } })),
            ("run_open", json!({ "status": "RUNNING", "ended_at": null })),
        ] {
            let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
            world.start_run(&run);
            world.finish_run(&run, Status::Failed);
            world.run_mut(&run).expect("it was just made").tamper = tampered(id, more);
        }
        let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
        let whole = json!({ "id": { "of": DATA }, "status": [DATA], "input": DATA });
        world.run_mut(&run).expect("it was just made").tamper = Tamper::Whole(whole);
    });
}

#[tokio::test]
async fn neither_keys_nor_passwords_nor_the_data_of_runs_are_ever_shown() {
    for format in ["logfmt", "json"] {
        let api = Api::start().await;
        fill(&api);
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let file = directory.path().join("web.yml");
        let hash = bcrypt::hash(PASSWORD, 4).expect("the cost is right");
        fs::write(&file, format!("basic_auth_users: {{alice: {hash}}}"))
            .expect("it can be written");
        let flags = [
            format!("--web.config.file={}", file.display()),
            format!("--log.format={format}"),
            "--log.level=trace".into(),
            "--cortex.verbose".into(),
            "--metrics.hold-timeout=0s".into(),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut exporter = Process::serve(&api, "sqlite::memory:", &flags);
        let (before, after) =
            if format == "json" { ("\"address\":\"", "\"") } else { ("address=", " ") };
        let address = exporter.word_after(before, Process::stderr).await;
        let address = address.split(after).next().unwrap_or_default();
        let url = format!("http://{address}");
        let ask = async |path: &str, password: &str| {
            let asked = client().get(format!("{url}{path}")).basic_auth("alice", Some(password));
            asked.send().await.expect("it answers").text().await.expect("it is text")
        };
        let first = async || (!ask("/-/ready", PASSWORD).await.starts_with("not")).then_some(());
        wait_until("it is ready", first, || exporter.log()).await;
        add_runs(&api);
        let counted = async || {
            let metrics = ask("/metrics", PASSWORD).await;
            let sum = metrics.lines().filter(|line| {
                line.starts_with("cortex_workflow_runs_total") && line.contains("FAILED")
            });
            let sum: f64 =
                sum.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            (sum >= 3.0).then_some(())
        };
        wait_until("the runs are counted", counted, || exporter.log()).await;
        for fault in [
            Fault::Body {
                content_type: "application/json".into(),
                text: format!("[{{\"id\": {DATA}"),
            },
            Fault::Body { content_type: "text/html".into(), text: DATA.into() },
            Fault::Truncate,
            Fault::status(401),
        ] {
            api.simulator().take_requests();
            api.simulator().inject(Rule::new(fault).on(ApiEndpoint::Runs));
            let asked = async || (api.simulator().requests().len() > 3).then_some(());
            wait_until("the fault is met", asked, || exporter.log()).await;
            api.simulator().clear_faults();
        }
        let mut shown = String::new();
        for path in ["/metrics", "/", "/-/ready", "/-/healthy", "/nowhere", "/-/reload"]
            .into_iter()
            .chain(["/runs/run_whole", "/workflows/work_one/last-failed-run"])
        {
            shown += &ask(path, PASSWORD).await;
            shown += &ask(path, &format!("{PASSWORD} wrong")).await;
        }
        shown += &exporter.log();
        for secret in [DATA, KEY, PASSWORD, &hash] {
            assert!(!shown.contains(secret), "{secret} is shown: {shown}");
        }
        assert!(exporter.stderr().lines().count() > 5, "it tells something: {}", exporter.log());
        // That the data were there to be shown.
        let runs = format!("{}/apps/c/workflows/work_one/runs?take=10", api.url());
        let sent = client().get(runs).header("authorization", format!("Bearer {KEY}")).send().await;
        let sent = sent.expect("it answers").text().await.expect("it is text");
        assert!(sent.matches(DATA).count() > 20, "{sent}");
        assert_eq!(get(&format!("{url}/metrics")).await.0, 401);
    }
}
