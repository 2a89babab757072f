mod hostile;

use serde_json::{Value, json};

use super::*;
use crate::model::{
    Anomaly, ErrorClasses, Label, Origin, Phase, Run, RunFailure, RunId, RunVersion, Status, Step,
    StepDuration, TestResults, Timestamp, Workflow, WorkflowId,
};

fn rules() -> DecodeRules<'static> {
    static CLASSES: std::sync::LazyLock<ErrorClasses> =
        std::sync::LazyLock::new(ErrorClasses::default);
    DecodeRules { latest_ms: LATEST_MS, error_classes: &CLASSES }
}

fn runs(bytes: impl AsRef<[u8]>) -> DecodedList<Run> {
    list(bytes.as_ref(), rules()).expect("a list")
}

fn run(value: &Value) -> Run {
    let mut list = runs(json!([value]).to_string());
    assert_eq!(list.undecodable, []);
    list.items.remove(0)
}

fn run_with(name: &str, value: Value) -> Run {
    let mut fields = json!({"id": "r", "status": "COMPLETED"});
    fields[name] = value;
    run(&fields)
}

fn step(key: &str, step_type: &str, status: Status, seconds: Option<f64>) -> Step {
    Step {
        key: Label::new(key),
        step_type: Label::new(step_type),
        status,
        duration: seconds.map_or(StepDuration::Unknown, StepDuration::Seconds),
        credits: None,
    }
}

fn failure(step: &str, step_type: &str, error_class: &str) -> RunFailure {
    let [step, step_type, error_class] = [step, step_type, error_class].map(Label::new);
    RunFailure { step, step_type, error_class }
}

fn durations(run: &Run) -> Vec<StepDuration> {
    run.steps.iter().map(|step| step.duration).collect()
}

/// 2023-12-26T12:00:00Z
const LATEST_MS: i64 = NOON + 86_400_000;

/// 2023-12-25T12:00:00Z
const NOON: i64 = 1_703_505_600_000;

#[test]
fn the_first_form_is_read_field_by_field() {
    let run = run(&json!({
        "id": "run_1", "input": {"id": "not this"}, "status": "FAILED", "origin": "RECORD",
        "output": [
            {"status": "COMPLETED", "key": "ask", "output": {"a": [1]}, "start": NOON},
            {"status": "FAILED", "key": "send", "output": null, "start": NOON + 2500},
        ],
        "created_at": "2023-12-25", "started_at": "2023-12-25T12:00:00Z",
        "ended_at": "2023-12-25T12:00:10.250Z", "updated_at": "2023-12-25T13:00:11+01:00",
        "workflow_id": "work_1",
        "workflow_version": {"id": "v", "steps": [{"type": "model", "key": "ask", "code": "x"}]},
        "workflow_version_draft": {"steps": [
            {"type": "code", "key": "ask"}, {"type": "http_request", "key": "send"},
        ]},
    }));
    assert_eq!(
        run,
        Run {
            id: RunId::new("run_1").expect("an id"),
            status: Status::Failed,
            origin: Origin::Record,
            created_at: Some(Timestamp::Date(NOON - 12 * 3_600_000)),
            started_at: Some(Timestamp::Instant(NOON)),
            ended_at: Some(Timestamp::Instant(NOON + 10_250)),
            updated_at: Some(Timestamp::Instant(NOON + 11_000)),
            steps: vec![
                step("ask", "model", Status::Completed, Some(2.5)),
                step("send", "http_request", Status::Failed, Some(7.75)),
            ],
            credits: None,
            version: RunVersion::Unknown,
            failure: Some(failure("send", "http_request", "none")),
            anomalies: vec![],
        }
    );
}

#[test]
fn the_newest_form_is_read_field_by_field() {
    let run = run(&json!({
        "id": "run_2", "status": "CANCELLED", "origin": "TRIGGER", "input": null, "error": {"a": 1},
        "output": {
            "first": {"status": "COMPLETED", "type": "branch", "key": "other",
                      "start": NOON as f64 + 0.5, "end": NOON + 1},
            "second": {"status": "RUNNING", "type": "browser", "start": NOON, "end": NOON + 1},
            "third": {"status": "CANCELLED", "start": NOON},
        },
        "created_at": NOON, "started_at": NOON / 1000, "ended_at": null,
        "workflow_version": null, "workflow_version_draft": null,
        "usage": {"total": 3.25, "steps": {"first": {"total": 3}, "second": {"total": 0.25}}},
    }));
    let first = step("first", "branch", Status::Completed, Some(0.0005));
    let second = step("second", "browser", Status::Running, None);
    assert_eq!(
        run,
        Run {
            id: RunId::new("run_2").expect("an id"),
            status: Status::Cancelled,
            origin: Origin::Trigger,
            created_at: Some(Timestamp::Instant(NOON)),
            started_at: Some(Timestamp::Instant(NOON)),
            ended_at: None,
            updated_at: None,
            steps: vec![
                Step { credits: Some(3.0), ..first },
                Step { credits: Some(0.25), ..second },
                step("third", "unknown", Status::Cancelled, None),
            ],
            credits: Some(3.25),
            version: RunVersion::Unknown,
            failure: None,
            anomalies: vec![],
        }
    );
}

#[test]
fn a_list_may_mix_the_forms_and_leave_out_what_it_likes() {
    let list = runs(
        r#" [ {"id":"a","status":"PENDING","output":[]}, {"id":"b","status":"PENDING","output":{}},
              {"id":"c","status":"\u0050ENDING","output":"text","usage":7,"workflow_version":[1]} ] "#,
    );
    assert_eq!((list.keys.len(), list.items.len()), (3, 3));
    for run in list.items {
        assert_eq!((run.status, run.origin.as_str()), (Status::Pending, "OTHER"));
        assert_eq!((run.steps, run.anomalies), (vec![], vec![]));
    }
}

#[test]
fn a_failed_run_names_the_step_that_ended_it_and_the_class_of_its_error() {
    let step = |status: &str, start: i64, end: i64, error: Value| json!({"status": status, "type": "code", "start": NOON + start, "end": NOON + end, "error": error});
    let failed = |end: i64, error: &str| step("FAILED", 0, end, error.into());
    for (output, error, (key, step_type, class)) in [
        (json!({"a": failed(1, "ECONNRESET")}), json!("402"), ("a", "code", "network")),
        // Of two, the first was tolerated.
        (
            json!({"b": failed(9, "timed out"), "a": failed(1, "ECONNRESET")}),
            json!(null),
            ("b", "code", "timeout"),
        ),
        (
            json!({"a": failed(1, "ECONNRESET"), "b": step("COMPLETED", 2, 3, "x".into())}),
            json!(null),
            ("a", "code", "network"),
        ),
        // The run's text where the step has none, and what isn't a text.
        (json!({"a": failed(1, " ")}), json!("429"), ("a", "code", "rate_limited")),
        (
            json!({"a": step("FAILED", 0, 1, json!({"message": "invalid x-api-key"}))}),
            json!("429"),
            ("a", "code", "unauthorized"),
        ),
        (
            json!({"a": step("FAILED", 0, 1, json!([]))}),
            json!({"code": 504}),
            ("a", "code", "timeout"),
        ),
        (
            json!({"a": step("COMPLETED", 0, 1, json!(null))}),
            json!("quota"),
            ("none", "none", "quota"),
        ),
        (json!(null), json!(null), ("none", "none", "none")),
        (json!("nonsense"), json!(true), ("none", "none", "none")),
        // The first form has no end.
        (
            json!([
                {"key": "a", "status": "FAILED", "start": NOON, "error": "x"},
                {"key": "b", "status": "FAILED", "start": NOON + 5, "error": "502 Bad Gateway"},
            ]),
            json!(null),
            ("b", "unknown", "upstream"),
        ),
        (
            json!([{"key": "a", "status": "FAILED"}, {"key": "b", "status": "FAILED"}]),
            json!(null),
            ("b", "unknown", "none"),
        ),
    ] {
        for status in ["FAILED", "COMPLETED"] {
            let value = json!({"id": "r", "status": status, "output": output, "error": error});
            let expected = (status == "FAILED").then(|| failure(key, step_type, class));
            assert_eq!(run(&value).failure, expected, "{value}");
        }
    }
}

#[test]
fn a_run_is_of_the_version_that_it_names() {
    let number = |number, created_ms| RunVersion::Number { number, created_ms };
    let deployed = json!({"version": 7, "created_at": "2023-12-25T12:00:00Z"});
    for (version, deployed, draft, expected) in [
        (json!(7), json!(null), json!(null), number(7, None)),
        (json!("7"), json!(null), json!(null), number(7, None)),
        (json!("v7"), json!({}), json!({}), number(7, None)),
        (json!(null), deployed.clone(), json!(null), number(7, Some(NOON))),
        (json!(8), deployed.clone(), json!({"steps": []}), number(8, Some(NOON))),
        (json!("latest"), deployed.clone(), json!(null), number(7, Some(NOON))),
        (json!(null), json!(null), json!({"steps": []}), RunVersion::Draft),
        (json!(null), json!({}), json!({}), RunVersion::Unknown),
        (json!(null), json!(null), json!(null), RunVersion::Unknown),
        (json!(-1), json!(null), json!(null), RunVersion::Unknown),
        (json!(1.5), json!(7), json!("draft"), RunVersion::Unknown),
        (json!(1e300), json!([7]), json!(null), RunVersion::Unknown),
        (json!(u64::MAX), json!(null), json!(null), RunVersion::Unknown),
    ] {
        let value = json!({
            "id": "r", "status": "COMPLETED", "version": version,
            "workflow_version": deployed, "workflow_version_draft": draft,
        });
        assert_eq!(run(&value).version, expected, "{value}");
    }
}

#[test]
fn a_workflow_is_read_field_by_field() {
    let listed: DecodedList<Workflow> = list(
        json!([{
            "id": "work_1", "name": "Näme", "description": "", "app": {"id": "a", "name": "App"},
            "version": {"version": 12, "steps": []}, "tags": [], "enabled": false, "deleted": true,
            "tests_stats": {"total_count": 5, "running_count": 0, "cancelled_count": null,
                            "passing_count": 4, "failing_count": -1},
            "runs_count": 12345, "created_at": "2023-12-25", "key": "the-key",
        }, {"id": "work_2", "version": {"version": "1.2"}, "runs_count": 1.5}])
        .to_string()
        .as_bytes(),
        rules(),
    )
    .expect("a list");
    let second = Workflow {
        id: WorkflowId::new("work_2").expect("an id"),
        name: String::new(),
        app: String::new(),
        key: String::new(),
        version: Some("1.2".into()),
        enabled: true,
        deleted: false,
        created_at: None,
        runs_count: None,
        tests: None,
    };
    let first = Workflow {
        id: WorkflowId::new("work_1").expect("an id"),
        name: "Näme".into(),
        app: "App".into(),
        key: "the-key".into(),
        version: Some("12".into()),
        enabled: false,
        deleted: true,
        created_at: Some(Timestamp::Date(NOON - 12 * 3_600_000)),
        runs_count: Some(12345),
        tests: Some(TestResults {
            running: Some(0),
            cancelled: None,
            passing: Some(4),
            failing: None,
        }),
    };
    assert_eq!(listed.items, [first, second]);
}

#[test]
fn the_end_of_a_step_is_the_start_of_the_next_whatever_their_order() {
    let mut fields = json!({
        "id": "r", "status": "COMPLETED", "ended_at": "2023-12-25T12:00:09Z",
        "output": [
            {"status": "COMPLETED", "key": "last", "start": NOON + 5000},
            {"status": "SKIPPED", "key": "never"},
            {"status": "COMPLETED", "key": "first", "start": NOON},
        ],
    });
    let (unknown, seconds) = (StepDuration::Unknown, StepDuration::Seconds);
    assert_eq!(durations(&run(&fields)), [seconds(4.0), unknown, seconds(5.0)]);
    fields["ended_at"] = json!("2023-12-25");
    assert_eq!(durations(&run(&fields)), [unknown, unknown, seconds(5.0)]);
    fields["output"][1]["status"] = json!("FAILED");
    assert_eq!(durations(&run(&fields)), [unknown; 3], "a start is missing");
    fields["output"][1] = json!(null);
    assert_eq!(durations(&run(&fields)), [unknown; 2], "a whole step is missing");
}

#[test]
fn a_step_that_ends_before_it_starts_is_negative() {
    let output =
        json!({"a": {"status": "FAILED", "start": "2023-12-25T12:00:00Z", "end": NOON - 1}});
    assert_eq!(durations(&run_with("output", output)), [StepDuration::Negative]);
}

#[test]
fn unusable_steps_are_left_out_and_reported() {
    let run = run_with(
        "output",
        json!([1, null, "x", [], {}, {"key": "a"}, {"status": "FAILED"}, {"key": [1], "status": "FAILED"},
               {"key": "", "status": "FAILED"}, {"key": "fine", "status": "FAILED", "type": "Ärger"}]),
    );
    assert_eq!(run.steps, [step("fine", "other", Status::Failed, None)]);
    assert_eq!(run.anomalies, [Anomaly::UndecodableStep; 9]);
}

#[test]
fn odd_timestamps_are_missing_ones_and_reported() {
    for odd in [json!("yesterday"), json!("1 Jan"), json!(true), json!({}), json!([]), json!(1e300)]
    {
        let run = run_with("ended_at", odd.clone());
        let missing = (None, vec![Anomaly::UnreadableTimestamp]);
        assert_eq!((run.ended_at, run.anomalies), missing, "{odd}");
    }
}

/// What APIs, languages and databases write where there is no time.
fn no_times() -> Vec<Value> {
    let numbers = [0, 1, -1, 86_399, 86_400_000, -62_135_596_800, 2_147_483_647, 4_294_967_295];
    let large = [-62_135_596_800_000, -2_208_988_800_000, 253_402_300_799_999, i64::MIN, i64::MAX];
    let fractions = [0.0, -0.0, 0.5, -1.5, 1.8e19].map(Value::from);
    let dates = [
        "",
        " ",
        "-",
        "--",
        "0",
        "-1",
        "0.0",
        "null",
        "NULL",
        "None",
        "nil",
        "N/A",
        "never",
        "NaN",
        "undefined",
        "Invalid Date",
        "infinity",
        "-infinity",
        "unknown",
        "0000-00-00",
        "0000-00-00 00:00:00",
        "0000-00-00T00:00:00.000Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "0001-01-01",
        "0001-01-01T00:00:00+02:00",
        "1601-01-01T00:00:00Z",
        "1753-01-01",
        "1899-12-30T00:00:00Z",
        "1900-01-01T00:00:00",
        "1969-12-31T23:59:59Z",
        "1969-12-31T16:00:00-08:00",
        "1970-01-01T00:00:00Z",
        "1970-01-01",
        "1970-01-01T09:00:00+09:00",
        "1970-01-01 23:59:59",
        "1980-01-01T00:00:00Z",
        "2038-01-19T03:14:07Z",
        "2099-12-31T23:59:59Z",
        "2262-04-11T23:47:16Z",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31",
        "+275760-09-13T00:00:00.000Z",
        "-271821-04-20T00:00:00.000Z",
        "+292278994-08-17T07:12:55.807Z",
        "9223372036854775807",
    ];
    let numbers = numbers.into_iter().chain(large).map(Value::from).chain(fractions);
    numbers.chain(dates.map(Value::from)).chain([json!(null), json!(false)]).collect()
}

#[test]
fn a_time_that_stands_for_none_is_missing_in_every_field_that_holds_a_time() {
    for none in no_times() {
        for field in ["created_at", "started_at", "ended_at", "updated_at"] {
            let run = run_with(field, none.clone());
            let times = [run.created_at, run.started_at, run.ended_at, run.updated_at];
            assert_eq!((times, run.anomalies), ([None; 4], vec![]), "{field} {none}");
        }
        for (start, end) in [(&none, &json!(NOON)), (&json!(NOON), &none)] {
            let run =
                run_with("output", json!({"a": {"status": "FAILED", "start": start, "end": end}}));
            assert_eq!(durations(&run), [StepDuration::Unknown], "step, {none}");
            assert_eq!(run.anomalies, [], "step, {none}");
        }
        let text = json!([{"id": "w", "created_at": none}]).to_string();
        let workflows: DecodedList<Workflow> = list(text.as_bytes(), rules()).expect("a list");
        assert_eq!(workflows.items[0].created_at, None, "workflow, {none}");
    }
    // An unknown status has ended when there is an end.
    let waiting = json!({"id": "r", "status": "PAUSED", "ended_at": "0001-01-01T00:00:00Z"});
    assert_eq!(run(&waiting).phase(), Phase::Open);
}

#[test]
fn every_form_of_a_time_is_read_in_every_field_that_holds_one() {
    for noon in [
        json!(NOON),
        json!(NOON / 1000),
        json!(NOON * 1000),
        json!(NOON as f64 / 1000.0),
        json!(NOON.to_string()),
        json!((NOON / 1000).to_string()),
        json!("2023-12-25T12:00:00Z"),
        json!("2023-12-25t12:00:00z"),
        json!(" 2023-12-25 12:00:00 "),
        json!("2023-12-25T12:00:00.000000000Z"),
        json!("2023-12-25T05:00:00-0700"),
    ] {
        for field in ["created_at", "started_at", "ended_at", "updated_at"] {
            let run = run_with(field, noon.clone());
            let times = [run.created_at, run.started_at, run.ended_at, run.updated_at];
            let read: Vec<_> = times.into_iter().flatten().collect();
            assert_eq!((read, run.anomalies), (vec![Timestamp::Instant(NOON)], vec![]), "{noon}");
        }
        let steps = json!({"a": {"status": "FAILED", "start": noon, "end": NOON + 1000}});
        let seconds = StepDuration::Seconds(1.0);
        assert_eq!(durations(&run_with("output", steps)), [seconds], "{noon}");
    }
    // A clock may be ahead of ours, but not by more than a day.
    let run = |ms: i64| run_with("ended_at", json!(ms)).ended_at;
    assert_eq!((run(LATEST_MS), run(LATEST_MS + 1)), (Some(Timestamp::Instant(LATEST_MS)), None));
}

#[test]
fn the_last_of_two_fields_with_one_name_counts() {
    let list = runs(
        r#"[{"id":"x","status":"RUNNING","id":"a","status":"FAILED","\u0073tatus":"COMPLETED",
            "output":{"s":{"status":"FAILED"}},
            "output":{"s":{"status":"RUNNING"},"t":{"status":"FAILED","status":"COMPLETED"},
                      "s":{"status":"SKIPPED"}},
            "usage":{"total":1,"steps":{"s":{"total":1},"s":{"total":2}},"total":3}}]"#,
    );
    let run = &list.items[0];
    assert_eq!((run.id.as_str(), &run.status, run.credits), ("a", &Status::Completed, Some(3.0)));
    let skipped = Step { credits: Some(2.0), ..step("s", "unknown", Status::Skipped, None) };
    assert_eq!(run.steps, [step("t", "unknown", Status::Completed, None), skipped]);
    assert_eq!((run.anomalies.len(), list.keys.len()), (0, 1));
}

#[test]
fn an_id_or_a_key_may_be_a_number() {
    let list = runs(
        r#"[{"id":7,"status":"FAILED","output":[{"key":1,"status":"FAILED"}],
             "workflow_version":{"steps":[{"key":1,"type":"code"}]}}, {"id":-7.50,"status":"FAILED"}]"#,
    );
    let ids: Vec<_> = list.items.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, ["7", "-7.50"]);
    assert_eq!(list.items[0].steps, [step("1", "code", Status::Failed, None)]);
    let text = br#"[{"id":12,"name":34,"key":56}]"#;
    let workflows: DecodedList<Workflow> = self::list(text, rules()).expect("a list");
    let Workflow { id, name, key, .. } = &workflows.items[0];
    assert_eq!((id.as_str(), name.as_str(), key.as_str()), ("12", "34", "56"));
}

#[test]
fn null_is_an_empty_list_wherever_a_list_may_be() {
    assert!(runs("null").keys.is_empty() && runs(" null\n").keys.is_empty());
    for field in ["output", "usage", "workflow_version", "workflow_version_draft", "input"] {
        let run = run_with(field, json!(null));
        assert_eq!((run.steps, run.credits, run.anomalies), (vec![], None, vec![]), "{field}");
    }
}

#[test]
fn odd_credits_are_missing_ones_and_reported() {
    for odd in ["-1", "1e999", "1.7e308", "9007199254740992", "\"7\"", "[]"] {
        let text = format!(
            r#"[{{"id":"r","status":"FAILED","output":{{"a":{{"status":"FAILED"}}}},
                "usage":{{"total":{odd},"steps":{{"a":{{"total":{odd}}}}}}}}}]"#
        );
        let run = runs(text).items.remove(0);
        assert_eq!((run.credits, run.steps[0].credits), (None, None), "{odd}");
        assert_eq!(run.anomalies, [Anomaly::InvalidCredits; 2], "{odd}");
    }
}
