//! What a real Prometheus makes of the formats beyond text.

use std::process::Command;

use cortex_workflow_exporter::model::{Origin, Status};

use crate::support::{Api, Prometheus, newest_prometheus, report_missing, wait_until};

use super::{HOSTILE, counted};

/// All that Prometheus 3 can make of the formats.
const FEATURES: &str =
    "--enable-feature=native-histograms,exemplar-storage,created-timestamp-zero-ingestion";

/// Without which Prometheus drops the classic buckets where there are native ones.
const CLASSIC: &str = "  always_scrape_classic_histograms: true\n";

/// The scrape configuration with which Prometheus takes native histograms: up to 3.7 the feature
/// does, and the setting is unknown.
fn taking_native() -> String {
    let program = newest_prometheus("prometheus");
    let version = program.and_then(|program| Command::new(program).arg("--version").output().ok());
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let number =
        version.as_deref().and_then(|text| text.split("version 3.").nth(1)?.split('.').next());
    let minor = number.and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    let setting = if minor >= 8 { "  scrape_native_histograms: true\n" } else { "" };
    format!("{setting}{CLASSIC}")
}

/// A Prometheus that reads all there is. Without one, says what stays untested.
async fn newest(target: &str) -> Option<Prometheus> {
    scraping(target, &[FEATURES], &taking_native()).await
}

async fn scraping(target: &str, flags: &[&str], scrape: &str) -> Option<Prometheus> {
    let newest = Prometheus::start_newest(target, flags, scrape).await;
    if newest.is_none() {
        let untested = "native histograms, exemplars and start times with a real Prometheus; only \
                        that an older one can scrape";
        report_missing("Prometheus 3", untested);
        let older = Prometheus::start(target).await;
        older.wait_for("up == 1").await;
        older.wait_for("cortex_workflow_runs_total > 0").await;
    }
    newest
}

#[tokio::test]
async fn prometheus_3_computes_quantiles_of_native_histograms() {
    let (_api, _exporter, base) = counted(&["--metrics.native-histograms"]).await;
    let Some(prometheus) = newest(&base).await else { return };
    let series = "cortex_workflow_run_duration_seconds{workflow_id=\"work_new\",status=\"FAILED\"}";
    let number = async |query: &str| prometheus.wait_for(query).await.parse::<f64>();
    let count = number(&format!("histogram_count({series})")).await.expect("a number");
    let classic = series.replacen("_seconds{", "_seconds_count{", 1);
    assert_eq!(Ok(count), number(&classic).await, "both forms are there");
    // Of three runs the slowest took 400 seconds: its bucket is a twelfth of that wide.
    let slowest = number(&format!("histogram_quantile(1, {series})")).await.expect("a number");
    assert!((400.0..400.0 * 1.091).contains(&slowest), "{slowest}");
    let median = number(&format!("histogram_quantile(0.5, {series})")).await.expect("a number");
    assert!((7.25 / 1.091..7.25 * 1.091).contains(&median), "{median}");
}

/// A way to scrape that the documentation recommends.
struct Recommended {
    /// Whether the exporter has `--metrics.native-histograms`.
    native: bool,
    features: &'static str,
    scrape: String,
}

#[tokio::test]
async fn prometheus_3_has_classic_histograms_however_it_is_recommended_to_scrape() {
    let created = "created-timestamp-zero-ingestion";
    let classic = || CLASSIC.to_owned();
    let recommended = [
        ("", false, String::new()),
        ("exemplar-storage", false, String::new()),
        (created, false, String::new()),
        (created, false, classic()),
        ("exemplar-storage,created-timestamp-zero-ingestion", false, String::new()),
        // Somebody who asks for native ones, but not this exporter.
        ("native-histograms", false, String::new()),
        ("native-histograms,created-timestamp-zero-ingestion", false, classic()),
        ("", true, String::new()),
        ("native-histograms", true, taking_native()),
        ("native-histograms,created-timestamp-zero-ingestion", true, taking_native()),
        (
            "native-histograms,exemplar-storage,created-timestamp-zero-ingestion",
            true,
            taking_native(),
        ),
    ];
    let recommended =
        recommended.map(|(features, native, scrape)| Recommended { native, features, scrape });
    let (_api, _exporter, without) = counted(&[]).await;
    let (_api, _exporter, with) = counted(&["--metrics.native-histograms"]).await;
    let tried = recommended.iter().map(|recommended| recommended.try_on(&without, &with));
    futures::future::join_all(tried).await;
}

impl Recommended {
    async fn try_on(&self, without: &str, with: &str) {
        let Self { native, features, scrape } = self;
        let flag = format!("--enable-feature={features}");
        let flags = if features.is_empty() { vec![] } else { vec![flag.as_str()] };
        let target = if *native { with } else { without };
        let Some(prometheus) = scraping(target, &flags, scrape).await else { return };
        for family in ["run_duration", "run_queue_duration", "step_duration"] {
            let name = format!("cortex_workflow_{family}_seconds");
            for suffix in ["_bucket", "_count", "_sum"] {
                prometheus.wait_for(&format!("count({name}{suffix})")).await;
            }
            let natives = format!("count(histogram_count({name})) or vector(0)");
            let number = prometheus.wait_for(&natives).await;
            let takes_native = *native && features.contains("native");
            assert_eq!(number != "0", takes_native, "{features} {native} {scrape}: {name}");
        }
    }
}

#[tokio::test]
async fn prometheus_3_leads_from_a_series_to_a_run() {
    for (flags, names) in [
        (&[][..], &["runs_total", "run_duration_seconds_bucket"][..]),
        (
            &["--metrics.native-histograms"],
            &["runs_total", "run_duration_seconds", "run_duration_seconds_bucket"],
        ),
    ] {
        let (_api, _exporter, base) = counted(flags).await;
        let Some(prometheus) = newest(&base).await else { return };
        exemplars_name_a_run(&prometheus, names).await;
    }
}

async fn exemplars_name_a_run(prometheus: &Prometheus, names: &[&str]) {
    prometheus.wait_for("cortex_workflow_runs_total > 0").await;
    for name in names {
        let query = format!("cortex_workflow_{name}{{workflow_id=\"work_new\",status=\"FAILED\"}}");
        // Runs may end a little ahead of the clock here.
        let parameters = [("query", query.as_str()), ("start", "0"), ("end", "4102444800")];
        let ids = async || {
            let answer = prometheus.ask("query_exemplars", &parameters).await;
            let series = answer["data"].as_array()?.iter();
            let exemplars = series.filter_map(|series| series["exemplars"].as_array()).flatten();
            let found = exemplars.clone().find(|it| it["labels"]["run_id"] == HOSTILE)?;
            Some(found["timestamp"].as_f64().expect("a number of seconds"))
        };
        let what = format!("an exemplar of {name} names the run");
        let seconds = wait_until(&what, ids, || prometheus.log()).await;
        assert!(seconds > 1.6e9, "{seconds} is when it ended");
    }
}

#[tokio::test]
async fn prometheus_3_sees_the_first_failure_of_a_new_series_without_any_hold() {
    let (api, _exporter, base) = counted(&[]).await;
    let Some(prometheus) = newest(&base).await else { return };
    first_failure_is_seen(&api, &prometheus).await;
}

#[tokio::test]
async fn prometheus_3_reads_start_times_off_the_lines_of_openmetrics_too() {
    let (api, _exporter, base) = counted(&["--metrics.created-lines"]).await;
    let openmetrics = "  scrape_protocols: [OpenMetricsText1.0.0]\n";
    let Some(prometheus) = scraping(&base, &[FEATURES], openmetrics).await else { return };
    first_failure_is_seen(&api, &prometheus).await;
    let stray = "count({__name__=~\"cortex_.*_created\"}) or vector(0)";
    assert_eq!(prometheus.wait_for(stray).await, "0", "no start time became a series");
}

async fn first_failure_is_seen(api: &Api, prometheus: &Prometheus) {
    // Prometheus knows the exporter and has never seen the series.
    prometheus.wait_for("count_over_time(up[1h]) >= 2").await;
    api.simulator().world(|world| {
        let run = world.create_run("work_known", Origin::Webhook).expect("there is a workflow");
        assert!(world.start_run(&run) && world.finish_run(&run, Status::Failed));
    });
    let series = "cortex_workflow_runs_total{origin=\"WEBHOOK\"}";
    prometheus.wait_for(&format!("count_over_time({series}[1h]) >= 3")).await;
    let history = prometheus.samples(series, None).await;
    let samples = history.values().next().expect("it is there");
    let values: Vec<_> = samples.iter().map(|(_, value)| *value).take(3).collect();
    assert_eq!(values, [0.0, 1.0, 1.0], "it began at its start time");
    let last_ms = samples.last().expect("there are three").0;
    let increase = prometheus.at(&format!("increase({series}[5m])"), last_ms).await;
    let increase = *increase.values().next().expect("it is there");
    // A series that began at 0 isn't extrapolated backwards, and forwards at most by 1.1 of its
    // mean interval.
    let most = 1.0 + 1.1 / (samples.len() - 1) as f64;
    assert!((1.0..=most).contains(&increase), "{increase}");
}

#[tokio::test]
async fn prometheus_3_takes_every_sample_of_what_it_asks_for_by_default() {
    let (_api, exporter, base) = counted(&[]).await;
    let Some(prometheus) = scraping(&base, &[], "").await else { return };
    let told = "cortex_workflow_exporter_series - on (instance) scrape_samples_scraped == 0";
    prometheus.wait_for("up == 1").await;
    let log = || format!("{}\n{}", prometheus.log(), exporter.log());
    let asked = async || {
        let answer = prometheus.ask("query", &[("query", told)]).await;
        (!answer["data"]["result"].as_array()?.is_empty()).then_some(())
    };
    wait_until("all series are scraped", asked, log).await;
}
