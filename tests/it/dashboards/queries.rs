//! A real Prometheus answers every query of every panel and of every variable. It scrapes two real
//! exporters that read a simulated fleet, in which runs fail and a workflow is renamed meanwhile.

use std::{cell::RefCell, time::Duration};

use cortex_workflow_exporter::{
    model::{Clock as _, Origin, Status, SystemClock},
    simulator::{Fault, Rule},
};
use regex::Regex;
use serde_json::Value;

use super::{
    filling::{Filling, step},
    model::{Dashboard, Question, VariableQuery, all, list, text, variable_query},
};
use crate::support::{Api, Process, Prometheus, ledger_url, wait_until};

/// Queries that may have no answer, and why.
const MAY_BE_EMPTY: [(&str, &str); 1] =
    [("workflow.json: Duration of completed runs: D", "it looks a week back, where nothing is")];

/// The time range that the dashboards are looked at with; much longer than the test runs.
const RANGE: Duration = Duration::from_secs(1800);

/// The workflow that is shown where only one can be. It fails, is replayed, and has
/// credits and tests.
const SUBJECT: &str = "Answer support ticket";

/// The workflow that is renamed.
const RENAMED: &str = "Enrich lead";

/// A simulated fleet, exporters and a Prometheus.
struct Scene {
    prometheus: Prometheus,
    exporters: Vec<Process>,
    _api: Api,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let api = Api::busy().await;
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        // The second one leaves out the workflow that is looked at, whose numbers would double.
        let leave_out = format!("--workflows.exclude={SUBJECT}");
        let mut exporters = Vec::new();
        let mut targets = Vec::new();
        for (place, more) in [("one", None), ("two", Some(leave_out.as_str()))] {
            let place = directory.path().join(place);
            std::fs::create_dir(&place).expect("there is room for temporary files");
            // Small pages, since this only has to be much enough.
            let mut flags = vec!["--cortex.page-size=20"];
            flags.extend(more);
            let mut exporter = Process::serve(&api, &ledger_url(&place), &flags);
            targets.push(exporter.ready_url().await);
            exporters.push(exporter);
        }
        let prometheus = Prometheus::start_for(&targets, "").await;
        prometheus.wait_for("count(up == 1) == 2").await;
        prometheus.wait_for("sum(cortex_workflow_runs_total)").await;
        stir(&api);
        Self { prometheus, exporters, _api: api, _directory: directory }
    }

    /// What a query of a panel comes to: the samples of each series.
    async fn answers(&self, question: &Question<'_>, filling: &Filling) -> Vec<Answer> {
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

    /// The values that a variable can have, each with the text that people see.
    async fn options(&self, variable: &Value, filling: &Filling) -> Vec<(String, String)> {
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
    async fn filled(&self, dashboard: &Dashboard, all: bool) -> Filling {
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
fn stir(api: &Api) {
    let spikes = api.simulator().spike(None, Duration::from_secs(3600), 0.5);
    assert!(spikes, "runs are generated");
    api.simulator().world(|world| {
        // Skipped before it started: it lacks an instant.
        let id = world.create_run("Screen application", Origin::Webhook).expect("it is there");
        assert!(world.finish_run(&id, Status::Skipped), "it is open");
        let id = world.workflow(RENAMED).expect("it is there").id.clone();
        assert!(world.rename_workflow(&id, "Enrich leads"), "it is there");
    });
    api.simulator().inject(Rule::new(Fault::status(503)).times(2));
}

/// A series of an answer.
struct Answer {
    labels: Value,
    values: Vec<f64>,
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

/// What is wrong with an answer, wherever it comes from.
fn anomalies(question: &Question<'_>, answers: &[Answer]) -> Vec<String> {
    let mut odd = Vec::new();
    if answers.iter().flat_map(|it| &it.values).any(|value| !value.is_finite()) {
        odd.push("something was divided by zero");
    }
    let one = text(question.panel, "type") == "stat"
        && !text(question.target, "legendFormat").contains("{{");
    if one && answers.len() > 1 {
        odd.push("there are several answers where one can be shown");
    }
    let transformations = list(question.panel, "transformations").iter();
    let mut joins = transformations.filter(|it| text(it, "id") == "joinByField");
    if let Some(join) = joins.next() {
        let field = text(&join["options"], "byField");
        let mut keys: Vec<_> = answers.iter().map(|it| text(&it.labels, field)).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() != answers.len() {
            odd.push("two answers would share a line");
        }
    }
    odd.into_iter().map(|odd| format!("{}: {odd}", question.place)).collect()
}

#[tokio::test]
async fn every_query_has_an_answer_from_a_real_prometheus() {
    let scene = Scene::start().await;
    let dashboards = all();
    for dashboard in &dashboards {
        let filling = scene.filled(dashboard, true).await;
        let questions = dashboard.questions();
        let may_be_empty =
            |it: &&Question<'_>| MAY_BE_EMPTY.iter().any(|(place, _)| *place == it.place);
        for question in questions.iter().filter(may_be_empty) {
            scene.answers(question, &filling).await;
        }
        let open: Vec<_> = questions.iter().filter(|it| !may_be_empty(it)).collect();
        assert!(open.len() > 10, "{} asks much", dashboard.file);
        let open = RefCell::new(open);
        let answered = async || {
            let mut left = Vec::new();
            for question in open.take() {
                if scene.answers(question, &filling).await.is_empty() {
                    left.push(question);
                }
            }
            let done = left.is_empty();
            open.replace(left);
            done.then_some(())
        };
        let evidence = || {
            let open: Vec<_> = open.borrow().iter().map(|it| it.place.clone()).collect();
            let logs: Vec<_> = scene.exporters.iter().map(Process::log).collect();
            format!("without an answer: {open:#?}\n{}", logs.join("\n"))
        };
        wait_until("each query has an answer", answered, evidence).await;
    }
    for (dashboard, all) in dashboards.iter().flat_map(|it| [(it, true), (it, false)]) {
        let filling = scene.filled(dashboard, all).await;
        for question in dashboard.questions() {
            let answers = scene.answers(&question, &filling).await;
            assert_eq!(anomalies(&question, &answers), [""; 0]);
        }
    }
    renamed_is_one(&scene, &dashboards).await;
    causes_and_versions_add_up(&scene, &dashboards).await;
}

/// The renamed workflow is one workflow with its new name, and what it did before counts on.
async fn renamed_is_one(scene: &Scene, dashboards: &[Dashboard]) {
    let fleet = dashboards.iter().find(|it| it.file == "fleet.json").expect("there is one");
    let workflows = scene.options(&fleet.variables()[1], &Filling::default()).await;
    let names: Vec<_> = workflows.iter().map(|(_, name)| name.as_str()).collect();
    assert!(names.contains(&"Enrich leads") && !names.contains(&RENAMED), "{names:?}");
    let both = "count(count by (workflow) (last_over_time(cortex_workflow_info[1h])\
                and on (workflow_id) cortex_workflow_info{workflow=\"Enrich leads\"}))";
    assert_eq!(scene.prometheus.wait_for(both).await, "2", "Prometheus has both names");
}

/// The shares of the causes are those of all failures, and no version fails more than it runs.
async fn causes_and_versions_add_up(scene: &Scene, dashboards: &[Dashboard]) {
    let workflow = dashboards.iter().find(|it| it.file == "workflow.json").expect("there is one");
    let filling = scene.filled(workflow, true).await;
    let values = async |place: &str| {
        let questions = workflow.questions();
        let question = questions.iter().find(|it| it.place == place).expect(place);
        let answers = scene.answers(question, &filling).await;
        answers.into_iter().flat_map(|it| it.values).collect::<Vec<_>>()
    };
    let shares = values("workflow.json: Causes of failures: B").await;
    let together: f64 = shares.iter().sum();
    assert!((together - 1.0).abs() < 1e-9, "{shares:?}");
    let ratios = values("workflow.json: Versions: C").await;
    assert!(ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)), "{ratios:?}");
    assert!(ratios.iter().any(|ratio| *ratio > 0.0), "{ratios:?}");
}

#[test]
fn what_may_be_empty_is_there() {
    let dashboards = all();
    let questions: Vec<_> = dashboards.iter().flat_map(Dashboard::questions).collect();
    for (place, reason) in MAY_BE_EMPTY {
        let found = questions.iter().any(|question| question.place == place);
        assert!(found && !reason.is_empty(), "{place}");
    }
}
