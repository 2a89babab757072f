//! A simulated fleet in which runs fail, versions are deployed and a workflow is renamed, two real
//! exporters that read it, and a real Prometheus that answers the dashboards' queries about it.

use std::{ops::RangeInclusive, time::Duration};

use cortex_workflow_exporter::{
    model::{Clock as _, Origin, Status, SystemClock},
    simulator::{Fault, Rule},
};
use regex::Regex;
use serde_json::Value;

use super::{
    filling::{Filling, step},
    model::{Dashboard, Question, VariableQuery, list, text, variable_query},
};
use crate::support::{Api, Process, Prometheus, ledger_url, wait_until};

/// The time range that the dashboards are looked at with; much longer than the test runs.
pub(super) const RANGE: Duration = Duration::from_secs(1800);

/// The workflow that is shown where only one can be. It fails, is replayed, and has
/// credits and tests.
const SUBJECT: &str = "Answer support ticket";

/// The workflow that is renamed.
pub(super) const RENAMED: &str = "Enrich lead";

/// Its new name.
pub(super) const RENAMED_TO: &str = "Enrich leads";

/// The id of a workflow of which a run failed. All that it holds means something in a URL.
pub(super) const ODD_ID: &str = "work/odd?a=b&c#d%20e+\u{fc}";

/// Where people reach the exporters, as far as these know.
pub(super) const EXTERNAL_URL: &str = "https://exporter.example/cortex";

/// A version that was deployed while the exporters were at work.
pub(super) struct Deployment {
    /// The name that its workflow has now.
    pub(super) workflow: &'static str,
    /// Its number.
    pub(super) version: String,
    /// When, in epoch milliseconds.
    pub(super) between_ms: RangeInclusive<i64>,
}

/// A simulated fleet, exporters and a Prometheus.
pub(super) struct Scene {
    pub(super) prometheus: Prometheus,
    pub(super) exporters: Vec<Process>,
    /// Where the exporter is that has an external URL.
    pub(super) exporter: String,
    pub(super) deployments: Vec<Deployment>,
    _api: Api,
    _directory: tempfile::TempDir,
}

impl Scene {
    pub(super) async fn start() -> Self {
        let api = Api::busy().await;
        api.add_workflow(ODD_ID);
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        // The second one leaves out the workflow that is looked at, whose numbers would double.
        let leave_out = format!("--workflows.exclude={SUBJECT}");
        let mut exporters = Vec::new();
        let mut targets = Vec::new();
        let external_url = format!("--web.external-url={EXTERNAL_URL}");
        for (place, more) in [("one", &external_url), ("two", &leave_out)] {
            let place = directory.path().join(place);
            std::fs::create_dir(&place).expect("there is room for temporary files");
            // Small pages, since this only has to be much enough.
            let flags = ["--cortex.page-size=20", more];
            let mut exporter = Process::serve(&api, &ledger_url(&place), &flags);
            targets.push(exporter.ready_url().await);
            exporters.push(exporter);
        }
        let prometheus = Prometheus::start_for(&targets, "").await;
        prometheus.wait_for("count(up == 1) == 2").await;
        prometheus.wait_for("sum(cortex_workflow_runs_total)").await;
        let deployments = stir(&api);
        let exporter = targets.swap_remove(0);
        Self { prometheus, exporters, exporter, deployments, _api: api, _directory: directory }
    }

    /// What a query of a panel comes to: the samples of each series.
    pub(super) async fn answers(&self, question: &Question<'_>, filling: &Filling) -> Vec<Answer> {
        let least = question.panel["interval"].as_str();
        let least = least.map(|it| humantime::parse_duration(it).expect("a duration"));
        let filling = Filling::built_in(RANGE, least).with(filling);
        let expression = filling.fill(text(question.target, "expr"));
        let expression = expression.unwrap_or_else(|error| panic!("{}: {error}", question.place));
        let now = SystemClock.now_ms() as f64 / 1000.0;
        let (start, end) = ((now - RANGE.as_secs_f64()).to_string(), now.to_string());
        let step = step(least).as_secs().to_string();
        let query = ("query", expression.as_str());
        let answer = if question.target["instant"] == true {
            self.prometheus.ask("query", &[query, ("time", &end)]).await
        } else {
            let times = [query, ("start", &start), ("end", &end), ("step", &step)];
            self.prometheus.ask("query_range", &times).await
        };
        list(&answer["data"], "result").iter().map(Answer::read).collect()
    }

    /// What an annotation's query comes to. Grafana aligns both ends of the range to the step.
    pub(super) async fn annotated(&self, annotation: &Value, filling: &Filling) -> Vec<Answer> {
        let filling = Filling::built_in(RANGE, None).with(filling);
        let expression = filling.fill(text(annotation, "expr")).expect("all variables are known");
        let (step, range) = (step(None).as_secs() as i64, RANGE.as_secs() as i64);
        let end = SystemClock.now_ms() / 1000;
        let [start, end] = [end - range, end].map(|at| (at - at % step).to_string());
        let step = step.to_string();
        let times = [("query", expression.as_str()), ("start", &start), ("end", &end)];
        let parameters = [&times[..], &[("step", &step)]].concat();
        let answer = self.prometheus.ask("query_range", &parameters).await;
        list(&answer["data"], "result").iter().map(Answer::read).collect()
    }

    /// The values that a variable can have, each with the text that people see.
    pub(super) async fn options(
        &self,
        variable: &Value,
        filling: &Filling,
    ) -> Vec<(String, String)> {
        let query = variable_query(variable).expect("the structure was looked at before");
        match query {
            VariableQuery::LabelValues { series, label } => {
                let series = filling.fill(series).expect("what comes before is filled");
                let endpoint = format!("label/{label}/values");
                let answer = self.prometheus.ask(&endpoint, &[("match[]", &series)]).await;
                let values = list(&answer, "data").iter().filter_map(Value::as_str);
                values.map(|value| (value.to_owned(), value.to_owned())).collect()
            }
            VariableQuery::Result(expression) => {
                let expression = filling.fill(expression).expect("what comes before is filled");
                let answer = self.prometheus.ask("query", &[("query", &expression)]).await;
                let pattern = text(variable, "regex").trim_matches('/');
                let pattern = Regex::new(pattern).expect("it is one for Grafana too");
                let found = list(&answer["data"], "result").iter().map(as_text);
                let read = |found: String| {
                    let groups = pattern.captures(&found)?;
                    let group = |name| Some(groups.name(name)?.as_str().to_owned());
                    Some((group("value")?, group("text")?))
                };
                found.filter_map(read).collect()
            }
        }
    }

    /// Fills the variables of a dashboard, each with all values, or with one or two of them.
    pub(super) async fn filled(&self, dashboard: &Dashboard, all: bool) -> Filling {
        let mut filling = Filling::built_in(RANGE, None);
        for variable in dashboard.variables().iter().skip(1) {
            let name = text(variable, "name");
            let some =
                async || Some(self.options(variable, &filling).await).filter(|it| !it.is_empty());
            let what = format!("{}: {name} has values", dashboard.file);
            let mut options = wait_until(&what, some, || self.prometheus.log()).await;
            // The one that has everything comes first.
            options.sort_by_key(|(_, text)| text != SUBJECT);
            let several = variable["includeAll"] == true;
            let many = 1 + usize::from(several);
            let chosen: Vec<_> = options.into_iter().map(|(value, _)| value).take(many).collect();
            if all && several {
                filling.set(name, text(variable, "allValue"));
            } else {
                filling.choose(name, &chosen);
            }
        }
        filling
    }
}

/// Lets happen what panels are there to show.
fn stir(api: &Api) -> Vec<Deployment> {
    let spikes = api.simulator().spike(None, Duration::from_secs(3600), 0.5);
    assert!(spikes, "runs are generated");
    api.finish_one(ODD_ID, Status::Failed);
    let deployments = [(SUBJECT, SUBJECT), (RENAMED, RENAMED_TO)].map(|(name, workflow)| {
        let before = SystemClock.now_ms();
        let version = api.simulator().deploy(name, 0.0).expect("it is there").to_string();
        Deployment { workflow, version, between_ms: before..=SystemClock.now_ms() }
    });
    api.simulator().world(|world| {
        // Skipped before it started: it lacks an instant.
        let id = world.create_run("Screen application", Origin::Webhook).expect("it is there");
        assert!(world.finish_run(&id, Status::Skipped), "it is open");
        let id = world.workflow(RENAMED).expect("it is there").id.clone();
        assert!(world.rename_workflow(&id, RENAMED_TO), "it is there");
    });
    api.simulator().inject(Rule::new(Fault::status(503)).times(2));
    deployments.into()
}

/// A series of an answer.
pub(super) struct Answer {
    pub(super) labels: Value,
    pub(super) values: Vec<f64>,
}

impl Answer {
    fn read(result: &Value) -> Self {
        let pairs = list(result, "values").iter().chain(result.get("value"));
        let value = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok());
        let values = pairs.map(|pair| value(pair).expect("a sample is a number")).collect();
        Self { labels: result["metric"].clone(), values }
    }
}

/// A result as Grafana writes it for a variable's regular expression.
fn as_text(result: &Value) -> String {
    let labels = result["metric"].as_object().into_iter().flatten();
    let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", value.as_str().unwrap_or("")));
    let labels: Vec<_> = labels.collect();
    format!("{{{}}} 1 1700000000000", labels.join(","))
}
