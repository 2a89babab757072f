//! One ledger in three formats: what parsers that others wrote read from each is the same.

mod prometheus;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use cortex_workflow_exporter::{
    model::{Clock as _, Origin, Status, SystemClock},
    simulator::SimulatedRun,
};
use flate2::bufread::GzDecoder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};

use crate::support::{Api, Process, client, ledger_url, python, scrape, wait_until};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// What Prometheus 3 asks for; with native histograms, protobuf comes first.
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
    escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// What an exposition says, read by `read.py`. Series are lists of a name and labels, as JSON.
#[derive(Debug, serde::Deserialize)]
struct Told {
    /// Type and help by name.
    families: BTreeMap<String, (String, String)>,
    samples: BTreeMap<String, String>,
    /// Labels, value and milliseconds.
    exemplars: BTreeMap<String, (BTreeMap<String, String>, f64, i64)>,
    /// Milliseconds, by the name without an ending.
    created: BTreeMap<String, i64>,
    native: BTreeMap<String, Native>,
}

#[derive(Debug, serde::Deserialize)]
struct Native {
    schema: i32,
    spans: usize,
    zero: u64,
    buckets: BTreeMap<String, u64>,
}

/// A run's id that only escaping keeps from breaking a line.
const HOSTILE: &str = r#"run "quoted" \ {le="1"} # é"#;

/// An exporter that has counted runs of a new workflow, one after the other.
async fn counted(more: &[&str]) -> (Api, Process, String) {
    let api = Api::start().await;
    api.add_workflow("work_known");
    let directory = tempfile::tempdir().expect("there is room for temporary files").keep();
    let mut flags = vec!["--metrics.hold-timeout=0s"];
    flags.extend(more);
    let mut exporter = Process::serve(&api, &ledger_url(&directory), &flags);
    let base = exporter.ready_url().await;
    api.add_workflow("work_new");
    let now_ms = SystemClock.now_ms();
    let long = "x".repeat(123);
    let runs = [
        ("run_short", 0, "COMPLETED"),
        (HOSTILE, 7_250, "FAILED"),
        (long.as_str(), 400_000, "FAILED"),
        ("run_instant", -400, "COMPLETED"),
    ];
    api.simulator().world(|world| {
        for (id, ms, status) in runs {
            let run = SimulatedRun::new(Status::new(status), Origin::Workflow)
                .with_id(id)
                .with_times(now_ms + 1_000, Some(now_ms + 1_400), Some(now_ms + 1_400 + ms.max(0)));
            world.add_run("work_new", run);
        }
    });
    api.finish_one("work_new", Status::Failed);
    let all = async || {
        let samples = scrape(&base).await;
        let count = samples.sum("cortex_workflow_runs_total", &[("workflow_id", "work_new")]);
        (count == Some(5.0)).then_some(())
    };
    wait_until("all runs are counted", all, || exporter.log()).await;
    (api, exporter, base)
}

/// One scrape as asked for: its content type and its body.
async fn answer(base: &str, accept: &str, gzip: bool) -> (String, Vec<u8>) {
    let mut request = client().get(format!("{base}/metrics")).header(ACCEPT, accept);
    if gzip {
        request = request.header(ACCEPT_ENCODING, "gzip");
    }
    let answer = request.send().await.expect("the exporter answers");
    assert_eq!(answer.status(), 200);
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header(VARY), Some("Accept, Accept-Encoding"));
    assert_eq!(header(CONTENT_ENCODING), gzip.then_some("gzip"));
    let kind = header(CONTENT_TYPE).expect("it has a type").to_owned();
    let body = answer.bytes().await.expect("it comes to its end").to_vec();
    if !gzip {
        return (kind, body);
    }
    let mut decoder = GzDecoder::new(&body[..]);
    let mut unzipped = Vec::new();
    decoder.read_to_end(&mut unzipped).expect("it is gzip");
    assert!(decoder.into_inner().is_empty(), "curl reads one member only");
    (kind, unzipped)
}

/// What other people's parsers read.
fn read(format: &str, exposition: &[u8]) -> Told {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/formats/read.py");
    let mut reader = Command::new(python())
        .args([script, format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = reader.stdin.take().expect("it was asked for");
    stdin.write_all(exposition).expect("the script reads all before it answers");
    drop(stdin);
    let output = reader.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

impl Told {
    /// Only what is the same from one scrape to the next: the numbers of workflows.
    fn steady(mut self) -> Self {
        let steady = |key: &str| !key.contains("process_") && !key.contains("workflow_exporter_");
        self.samples.retain(|key, _| steady(key));
        self.created.retain(|key, _| steady(key));
        self
    }
}

#[tokio::test]
async fn three_formats_say_the_same_of_one_ledger() {
    let (_api, _exporter, base) = counted(&["--metrics.created-lines"]).await;
    let mut told = Vec::new();
    for (format, accept, kind) in [
        ("text", "*/*", TEXT),
        ("openmetrics", PROMETHEUS_3, OPENMETRICS),
        ("protobuf", PROTOBUF, PROTOBUF),
    ] {
        for gzip in [false, true] {
            let (is, body) = answer(&base, accept, gzip).await;
            assert_eq!(is, kind);
            told.push(read(format, &body).steady());
        }
    }
    let [text, _, openmetrics, _, protobuf, _] = &told[..] else { unreachable!("three pairs") };
    assert!(text.samples.len() > 50, "{:?}", text.samples);
    for other in &told {
        assert_eq!(other.samples, text.samples);
        let names: Vec<_> = other.families.keys().collect();
        assert_eq!(names, text.families.keys().collect::<Vec<_>>());
    }
    assert_eq!(openmetrics.families, text.families);
    assert_eq!(protobuf.families, text.families);
    assert_eq!(openmetrics.exemplars, protobuf.exemplars);
    assert!(text.exemplars.is_empty());
    assert_eq!(openmetrics.created, protobuf.created, "the start times are the same");
    assert!(openmetrics.created.len() > 20);
    assert!(protobuf.native.is_empty(), "native histograms are off unless asked for");
}

#[tokio::test]
async fn exemplars_name_the_latest_run_of_each_bucket_and_none_whose_id_is_too_long() {
    let (_api, _exporter, base) = counted(&[]).await;
    let told = read("openmetrics", &answer(&base, OPENMETRICS, false).await.1);
    assert!(told.created.is_empty(), "start times are told only if wished for");
    let run = |series: &str| {
        let found = told.exemplars.iter().find(|(key, _)| key.contains(series));
        let (labels, value, ms) = found.map(|(_, exemplar)| exemplar.clone()).unwrap_or_default();
        assert!(labels.keys().all(|name| name == "run_id"), "{labels:?}");
        (labels.get("run_id").cloned().unwrap_or_default(), value, ms)
    };
    let bucket = |status: &str, le: &str| {
        let labels = format!(
            r#"["cortex_workflow_run_duration_seconds_bucket", [["le", "{le}"], ["origin", "WORKFLOW"], ["status", "{status}"]"#
        );
        run(&labels)
    };
    let (id, value, ms) = bucket("FAILED", "10.0");
    assert_eq!((id.as_str(), value), (HOSTILE, 7.25));
    assert!((SystemClock.now_ms() - ms).abs() < 60_000, "{ms} is when it ended");
    assert_eq!(bucket("FAILED", "600.0").0, "", "its id is too long");
    assert_eq!(bucket("COMPLETED", "1.0").1, 0.0);
    let (id, value, _) =
        run(r#"["cortex_workflow_runs_total", [["origin", "WORKFLOW"], ["status", "FAILED"]"#);
    assert_eq!((id.as_str(), value), (HOSTILE, 1.0));
    assert_eq!(run("steps_total").0, "");
}

#[tokio::test]
async fn native_histograms_hold_what_the_classic_ones_hold() {
    let (_api, _exporter, base) = counted(&["--metrics.native-histograms"]).await;
    let told = read("protobuf", &answer(&base, PROTOBUF, true).await.1);
    assert!(told.native.len() > 3);
    for (key, native) in &told.native {
        let count = native.zero + native.buckets.values().sum::<u64>();
        let classic = key.replacen(r#"_seconds", "#, r#"_seconds_count", "#, 1);
        assert_eq!(count.to_string() + ".0", told.samples[&classic], "{key}");
        assert_eq!(native.schema, 3);
        assert!(native.spans > 0);
    }
    let of = |status: &str| {
        let series = format!(
            r#"["cortex_workflow_run_duration_seconds", [["origin", "WORKFLOW"], ["status", "{status}"]"#
        );
        let found = told.native.iter().find(|(key, _)| key.starts_with(&series));
        found.map(|(_, native)| native).expect("there is such a series")
    };
    assert_eq!(of("COMPLETED").zero, 2, "these took no time");
    // 2^(22/8) < 7.25 ≤ 2^(23/8), and 2^(69/8) < 400 ≤ 2^(70/8); the third ended at once.
    let buckets = &of("FAILED").buckets;
    assert_eq!((buckets.get("23"), buckets.get("70")), (Some(&1), Some(&1)), "{buckets:?}");
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_histograms_and_start_times() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let url = ledger_url(directory.path());
    let api = Api::start().await;
    api.add_workflow("work_known");
    let mut before = None;
    for _ in 0..2 {
        let mut exporter = Process::serve(
            &api,
            &url,
            &["--metrics.hold-timeout=0s", "--metrics.native-histograms"],
        );
        let base = exporter.ready_url().await;
        if before.is_none() {
            api.finish_one("work_known", Status::Failed);
        }
        let counted = async || {
            let samples = scrape(&base).await;
            let sum = samples.sum("cortex_workflow_run_duration_seconds_count", &[]);
            (sum == Some(1.0)).then_some(())
        };
        wait_until("the run is counted", counted, || exporter.log()).await;
        let told = read("protobuf", &answer(&base, PROTOBUF, false).await.1);
        let buckets = |told: &Told| {
            let natives = told.native.iter();
            natives.map(|(key, it)| (key.clone(), it.zero, it.buckets.clone())).collect::<Vec<_>>()
        };
        let now = (buckets(&told), told.steady().created);
        assert!(!now.0.is_empty() && !now.1.is_empty());
        if let Some(before) = &before {
            assert_eq!(&now, before);
        }
        before = Some(now);
        exporter.kill();
    }
}
