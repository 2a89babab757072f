//! What must never be seen, in no log, metric, page or file, however much is told.

use std::{fs, path::Path};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{ApiEndpoint, Fault, Rule, SimulatedWorkflow, Tamper},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{Api, KEY, Process, client, ledger_url, parse, run, wait_until};

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
        "name": DATA,
        "record": { "id": DATA, "name": DATA },
        "retention": DATA,
        "unheard_of": DATA,
        "usage": { "credits": DATA },
        "output": {
            "answer": {
                "status": "FAILED", "type": DATA, "output": DATA, "error": { "message": DATA },
                "name": DATA, "input": DATA, "logs": DATA, "start": DATA, "end": [DATA],
                "usage": { DATA: DATA },
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

/// A step that failed with this error.
fn failed(error: &Value) -> Value {
    json!({ "answer": { "status": "FAILED", "type": "model", "output": DATA, "error": error } })
}

/// The runs that FAILED: those of malformed data, and those whose errors are read for certain, with
/// the class that shows it.
fn failures() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let long = format!("TypeError: {}", format!("{DATA} ").repeat(5000));
    vec![
        ("run_whole", json!({}), None),
        ("run_odd_times", json!({ "started_at": DATA, "ended_at": [DATA] }), None),
        ("run_odd_words", json!({ "origin": { DATA: DATA } }), None),
        (
            "run_odd_version",
            json!({ "version": DATA, "workflow_version": { "version": DATA } }),
            None,
        ),
        ("run_of_text", json!({ "output": failed(&json!(long)) }), Some("code")),
        (
            "run_of_object",
            json!({ "output": failed(&json!({ "message": "Rate limit reached", "for": DATA })) }),
            Some("rate_limited"),
        ),
        (
            "run_of_own_error",
            json!({ "output": {}, "error": format!("401 Unauthorized: {DATA}") }),
            Some("unauthorized"),
        ),
    ]
}

/// A workflow, of which everything but its name is data.
fn add_workflow(api: &Api) {
    let mut workflow =
        SimulatedWorkflow::new("Answer mail").with_id("work_one").with_step("answer", "model");
    let Value::Object(fields) =
        json!({ "description": DATA, "tests": DATA, "tags": [DATA], "input": { DATA: DATA } })
    else {
        unreachable!("it is an object")
    };
    workflow.tamper = Tamper::Fields(fields);
    api.simulator().world(|world| world.add_workflow(workflow));
}

/// Its runs. The last one is in no way a run.
fn add_runs(api: &Api) {
    api.simulator().world(|world| {
        let mut add = |tamper| {
            let run = world.create_run("work_one", Origin::Workflow).expect("there it is");
            world.start_run(&run);
            world.finish_run(&run, Status::Failed);
            world.run_mut(&run).expect("it was just made").tamper = tamper;
        };
        for (id, more, _) in failures() {
            add(tampered(id, more));
        }
        add(tampered("run_completed", json!({ "status": "COMPLETED" })));
        add(tampered("run_unheard_of", json!({ "status": DATA })));
        add(tampered("run_open", json!({ "status": "RUNNING", "ended_at": null })));
        add(Tamper::Whole(json!({ "id": { "of": DATA }, "status": [DATA], "input": DATA })));
    });
}

/// Has the API answer in ways that are reported, each with data in it.
async fn meet_faults(api: &Api, exporter: &Process) {
    let broken = format!("[{{\"id\": {DATA}");
    let body = |content_type: &str, text: &str| Fault::Body {
        content_type: content_type.into(),
        text: text.into(),
    };
    for fault in [
        body("application/json", &broken),
        body("text/html", DATA),
        Fault::Truncate,
        Fault::status(401),
    ] {
        api.simulator().take_requests();
        api.simulator().inject(Rule::new(fault).on(ApiEndpoint::Runs));
        let asked = async || (api.simulator().requests().len() > 3).then_some(());
        wait_until("the fault is met", asked, || exporter.log()).await;
        api.simulator().clear_faults();
    }
}

/// An answer as it comes over the wire: its status, headers and body.
async fn received(request: RequestBuilder) -> String {
    let answer = request.send().await.expect("it answers");
    let head = format!("{} {:?}\n", answer.status(), answer.headers());
    head + &String::from_utf8_lossy(&answer.bytes().await.expect("it is complete"))
}

/// A request of somebody with this password.
fn request(url: &str, path: &str, password: &str) -> RequestBuilder {
    client().get(format!("{url}{path}")).basic_auth("alice", Some(password))
}

/// Waits until all that failed are counted, each in the class that its error belongs to.
async fn errors_are_read(url: &str, exporter: &Process) {
    const FAILURES: &str = "cortex_workflow_run_failures_total";
    let metrics = async || {
        let answer = request(url, "/metrics", PASSWORD).send().await.expect("it answers");
        parse(&answer.text().await.expect("it is text"))
    };
    let counted = async || {
        let metrics = metrics().await;
        let all = metrics.sum(FAILURES, &[]) >= Some(failures().len() as f64);
        all.then_some(metrics)
    };
    let metrics = wait_until("the runs are counted", counted, || exporter.log()).await;
    for class in failures().into_iter().filter_map(|(.., class)| class) {
        assert_eq!(metrics.sum(FAILURES, &[("error_class", class)]), Some(1.0), "{class}");
    }
}

/// All that is answered: to those who may look and to others, in all formats.
async fn answers(url: &str) -> String {
    let others = ["run_completed", "run_unheard_of", "run_open"].into_iter();
    let runs = others.chain(failures().into_iter().map(|(id, ..)| id));
    let runs = runs.map(|id| format!("/runs/{id}"));
    let paths = ["/metrics", "/", "/-/ready", "/-/healthy", "/nowhere", "/-/reload"].into_iter();
    let paths = paths.chain(["/workflows/work_one/last-failed-run"]).map(str::to_owned);
    let mut answers = String::new();
    for path in paths.chain(runs) {
        answers += &received(request(url, &path, PASSWORD)).await;
        answers += &received(request(url, &path, &format!("{PASSWORD} wrong"))).await;
    }
    for (format, parameters) in [
        ("application/openmetrics-text", ";version=1.0.0"),
        (
            "application/vnd.google.protobuf",
            ";proto=io.prometheus.client.MetricFamily;encoding=delimited",
        ),
    ] {
        let accepted = format!("{format}{parameters}");
        let body = received(request(url, "/metrics", PASSWORD).header("accept", accepted)).await;
        assert!(body.contains(format), "{body}");
        answers += &body;
    }
    answers
}

/// All files below a directory, as one text.
fn files(directory: &Path) -> String {
    let listed = fs::read_dir(directory).expect("it can be listed");
    let contents = listed.map(|entry| {
        let content = fs::read(entry.expect("it can be listed").path());
        String::from_utf8_lossy(&content.expect("it can be read")).into_owned()
    });
    contents.collect()
}

#[tokio::test]
async fn neither_keys_nor_passwords_nor_the_data_of_runs_are_ever_shown() {
    // With and without an address of runs: what is known of one is on a page, or a redirect.
    for (format, before, after, run_url) in [
        ("logfmt", "address=", " ", None),
        ("json", "\"address\":\"", "\"", Some("--links.run-url=https://cortex.test/{run_id}")),
    ] {
        let api = Api::start().await;
        add_workflow(&api);
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let file = tempfile::NamedTempFile::new().expect("likewise");
        let hash = bcrypt::hash(PASSWORD, 4).expect("the cost is right");
        fs::write(&file, format!("basic_auth_users: {{alice: {hash}}}"))
            .expect("it can be written");
        let flags = [
            &*format!("--web.config.file={}", file.path().display()),
            &*format!("--log.format={format}"),
            "--log.level=trace",
            "--log.runs=all",
            "--cortex.verbose",
            "--metrics.hold-timeout=0s",
            "--metrics.native-histograms",
        ];
        let flags: Vec<_> = flags.into_iter().chain(run_url).collect();
        let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &flags);
        let address = exporter.word_after(before, Process::stderr).await;
        let url = format!("http://{}", address.split(after).next().unwrap_or_default());
        let ready = async || {
            let answer = received(request(&url, "/-/ready", PASSWORD)).await;
            answer.starts_with("200").then_some(())
        };
        wait_until("it is ready", ready, || exporter.log()).await;
        add_runs(&api);
        errors_are_read(&url, &exporter).await;
        meet_faults(&api, &exporter).await;
        let mut shown = answers(&url).await;
        shown += &files(directory.path());
        exporter.terminate();
        assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
        shown += &files(directory.path());
        shown += &exporter.log();
        for secret in [DATA, KEY, PASSWORD, &hash] {
            assert!(!shown.contains(secret), "{secret} is shown: {shown}");
        }
        // That all of it was looked at.
        for (id, ..) in failures() {
            assert!(exporter.stderr().contains(id), "{id} has a line: {}", exporter.log());
            assert!(files(directory.path()).contains(id), "{id} is in the ledger");
        }
        let sent = format!("{}/apps/c/workflows/work_one/runs?take=20", api.url());
        let sent = client().get(sent).header("authorization", format!("Bearer {KEY}")).send().await;
        let sent = sent.expect("it answers").text().await.expect("it is text");
        assert!(sent.matches(DATA).count() > 100, "{sent}");
    }
}

#[tokio::test]
async fn nor_do_commands_show_keys_or_the_data_of_runs() {
    let api = Api::start().await;
    add_workflow(&api);
    add_runs(&api);
    let url = format!("--cortex.api-url={}", api.url());
    for (command, looked_at) in [("once", "rate_limited"), ("check", "Answer mail")] {
        let flags = [command, &url, "--log.level=trace"];
        let (_, output, errors) = run(&flags, &[("CORTEX_API_KEY", KEY)]).await;
        assert!(output.contains(looked_at), "{output}{errors}");
        for secret in [DATA, KEY] {
            assert!(!format!("{output}{errors}").contains(secret), "{secret}: {output}{errors}");
        }
    }
}
