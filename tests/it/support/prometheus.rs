//! A real Prometheus.

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path, process::Command};

use regex::Regex;
use serde_json::Value;

use super::{Process, Series, client, free_address, newest_prometheus, tool, wait_until};

/// A Prometheus that scrapes its targets every second.
pub(crate) struct Prometheus {
    process: Process,
    url: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one for this exporter and waits until it answers.
    pub(crate) async fn start(target: &str) -> Self {
        Self::start_for(&[target.to_owned()], "").await
    }

    /// Starts one for these exporters, with more lines in the scrape configuration, and waits until
    /// it answers.
    pub(crate) async fn start_for(targets: &[String], scrape: &str) -> Self {
        Self::start_in(configured(targets, scrape)).await
    }

    /// Starts Prometheus 3 with these flags and lines for its scrape configuration. `None` if there
    /// is only an older one.
    pub(crate) async fn start_newest(target: &str, flags: &[&str], scrape: &str) -> Option<Self> {
        let program = newest_prometheus("prometheus")?;
        let directory = configured(&[target.to_owned()], scrape);
        Some(Self::start_program(&program, flags, directory).await)
    }

    /// Starts one with the `prometheus.yml` in this directory and waits until it answers.
    pub(crate) async fn start_in(directory: tempfile::TempDir) -> Self {
        Self::start_program(&tool("prometheus"), &[], directory).await
    }

    /// The same with Prometheus 3. `None` if there is only an older one.
    pub(crate) async fn start_newest_in(directory: tempfile::TempDir) -> Option<Self> {
        let program = newest_prometheus("prometheus")?;
        Some(Self::start_program(&program, &[], directory).await)
    }

    async fn start_program(program: &Path, flags: &[&str], directory: tempfile::TempDir) -> Self {
        let address = free_address();
        let config = directory.path().join("prometheus.yml");
        let mut command = Command::new(program);
        command
            .args(flags)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path());
        let prometheus = Self {
            process: Process::start(command),
            url: format!("http://{address}"),
            _directory: directory,
        };
        let ready = format!("{}/-/ready", prometheus.url);
        let is_ready = async || {
            let answer = client().get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        };
        let evidence = || prometheus.process.log();
        wait_until("Prometheus is ready", is_ready, evidence).await;
        prometheus
    }

    /// Asks its API.
    pub(crate) async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/v1/{endpoint}", self.url);
        let answer = client().get(&url).query(parameters).send().await;
        let answer = answer.expect("Prometheus answers").text().await;
        let text = answer.expect("an answer is complete");
        let answer: Value = serde_json::from_str(&text).expect("Prometheus speaks JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {text}");
        answer
    }

    /// Waits until a query has a result; the value of the first sample.
    pub(crate) async fn wait_for(&self, query: &str) -> String {
        let what = format!("Prometheus has samples of {query}");
        let first = async || {
            let answer = self.ask("query", &[("query", query)]).await;
            let value = answer["data"]["result"][0]["value"][1].as_str();
            value.map(str::to_owned)
        };
        wait_until(&what, first, || self.process.log()).await
    }

    /// All samples of what a selector finds, by series and oldest first, in milliseconds. Those up
    /// to an instant, if given.
    pub(crate) async fn samples(&self, selector: &str, until_ms: Option<i64>) -> History {
        let query = format!("{selector}[1h]");
        let until = until_ms.map(seconds);
        let mut parameters = vec![("query", query.as_str())];
        parameters.extend(until.as_deref().map(|until| ("time", until)));
        let answer = self.ask("query", &parameters).await;
        let found: Vec<Found> =
            serde_json::from_value(answer["data"]["result"].clone()).expect("a range vector");
        let sample = |(seconds, value): (f64, String)| {
            let value = value.parse().expect("a sample is a number");
            ((seconds * 1000.0).round() as i64, value)
        };
        let series = |found: Found| {
            let mut labels = found.metric;
            let name = labels.remove("__name__").unwrap_or_default();
            (Series { name, labels }, found.values.into_iter().map(sample).collect())
        };
        found.into_iter().map(series).collect()
    }

    /// The values of an expression at an instant, by series.
    pub(crate) async fn at(&self, query: &str, ms: i64) -> BTreeMap<Series, f64> {
        let answer = self.ask("query", &[("query", query), ("time", &seconds(ms))]).await;
        let found: Vec<Now> =
            serde_json::from_value(answer["data"]["result"].clone()).expect("an instant vector");
        let value = |now: Now| {
            let value = now.value.1.parse().expect("a sample is a number");
            (Series { name: String::new(), labels: now.metric }, value)
        };
        found.into_iter().map(value).collect()
    }

    /// Waits until an alert with these labels fires whose description is so; the description.
    pub(crate) async fn wait_for_alert(&self, labels: &[(&str, &str)], says: &Regex) -> String {
        let what = format!("an alert {labels:?} says {says}");
        let latest = RefCell::new(String::new());
        let description = async || {
            let alerts = self.alerts(labels).await;
            let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
            let mut texts = firing.filter_map(|it| it["annotations"]["description"].as_str());
            let seen = texts.find(|description| {
                (*description).clone_into(&mut latest.borrow_mut());
                says.is_match(description)
            });
            seen.map(str::to_owned)
        };
        let evidence = || format!("it said: {}\n{}", latest.borrow(), self.process.log());
        wait_until(&what, description, evidence).await
    }

    /// Waits until no alert with these labels is pending or firing.
    pub(crate) async fn wait_until_resolved(&self, labels: &[(&str, &str)]) {
        let resolved = async || self.alerts(labels).await.is_empty().then_some(());
        let what = format!("no alert has {labels:?}");
        wait_until(&what, resolved, || self.process.log()).await;
    }

    /// The alerts with these labels that are pending or firing.
    async fn alerts(&self, labels: &[(&str, &str)]) -> Vec<Value> {
        let mut answer = self.ask("alerts", &[]).await;
        let Value::Array(mut alerts) = answer["data"]["alerts"].take() else {
            panic!("no list of alerts: {answer}")
        };
        alerts.retain(|alert| labels.iter().all(|(name, value)| alert["labels"][name] == **value));
        alerts
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// A directory with the configuration of a Prometheus.
fn configured(targets: &[String], scrape: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let targets = targets.iter().map(|target| target.trim_start_matches("http://"));
    let targets = targets.collect::<Vec<_>>().join("', '");
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
         # When it scrapes within the second depends on this.\n  \
         external_labels: {{replica: '{}'}}\n\
         scrape_configs:\n\
         - job_name: cortex\n{scrape}  \
           static_configs: [{{targets: ['{targets}']}}]\n",
        free_address(),
    );
    let config = directory.path().join("prometheus.yml");
    fs::write(config, text).expect("there is room for temporary files");
    directory
}

/// Samples by series: milliseconds and values.
pub(crate) type History = BTreeMap<Series, Vec<(i64, f64)>>;

#[derive(serde::Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

#[derive(serde::Deserialize)]
struct Now {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
