//! The rules and configurations for Prometheus and Alertmanager as shipped: valid, tested, and about
//! metrics that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use humantime::parse_duration;
use regex::Regex;
use serde::Deserialize;

use crate::support::{
    documents::{ROOT, anchors, document},
    newest_prometheus,
    promql::{Catalogue, Labels},
    report_missing, tool,
};

mod runbooks;

/// The document of the alerts.
const DOCUMENT: &str = "deploy/prometheus/README.md";

/// Where it is under the address that stands for wherever the project is published.
const RUNBOOKS: &str =
    "https://runbooks.example/cortex-workflow-exporter/deploy/prometheus/README.md";

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

/// An alert or a recording rule.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    group_eval_order: Option<Vec<String>>,
    tests: Vec<TestCase>,
}

#[derive(Deserialize)]
struct TestCase {
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
}

#[derive(Deserialize)]
struct AlertTest {
    alertname: String,
    eval_time: String,
    exp_alerts: Vec<Expected>,
}

/// An alert that is to fire; what is expected of it is promtool's business.
#[derive(Deserialize)]
struct Expected {}

fn deploy() -> PathBuf {
    Path::new(ROOT).join("deploy")
}

/// The YAML files of a folder, with their texts.
fn yaml_files(folder: &str) -> Vec<(PathBuf, String)> {
    let listed = fs::read_dir(deploy().join(folder)).expect("there is such a folder");
    let mut files: Vec<_> = listed.map(|entry| entry.expect("it can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("it can be read");
        (file, text)
    };
    files.into_iter().map(read).collect()
}

fn groups() -> Vec<Group> {
    let files = yaml_files("prometheus/rules").into_iter();
    let parsed = files.map(|(file, text)| {
        let parsed: Result<RuleFile, _> = serde_saphyr::from_str(&text);
        parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    });
    parsed.flat_map(|file| file.groups).collect()
}

fn rules() -> Vec<Rule> {
    groups().into_iter().flat_map(|group| group.rules).collect()
}

/// The alerts, by name.
fn alerts() -> BTreeMap<String, Rule> {
    let mut alerts = BTreeMap::new();
    for rule in rules() {
        if let Some(name) = rule.alert.clone() {
            assert!(alerts.insert(name.clone(), rule).is_none(), "{name} is there twice");
        }
    }
    alerts
}

/// promtool of each version of Prometheus that the rules support.
fn promtools() -> Vec<PathBuf> {
    let newest = newest_prometheus("promtool");
    if newest.is_none() {
        report_missing("Prometheus 3", "the rules under its promtool");
    }
    [Some(tool("promtool")), newest].into_iter().flatten().collect()
}

/// Runs a tool, which must succeed.
fn succeed(program: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let [output_text, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{} {arguments:?}:\n{output_text}{errors}", program.display());
}

fn name(path: &Path) -> &str {
    path.to_str().expect("paths here are text")
}

#[test]
fn prometheus_and_alertmanager_accept_their_configurations() {
    for promtool in promtools() {
        // This checks the rules, too.
        let configuration = deploy().join("prometheus/prometheus.yml");
        succeed(&promtool, &["check", "config", name(&configuration)]);
        for (file, _) in yaml_files("prometheus/rules") {
            succeed(&promtool, &["check", "rules", "--lint=all", "--lint-fatal", name(&file)]);
        }
    }
    let alertmanager = deploy().join("alertmanager/alertmanager.yml");
    succeed(&tool("amtool"), &["check-config", name(&alertmanager)]);
    // The receivers in its comments, too, once "# " is taken away as they say.
    let text = fs::read_to_string(alertmanager).expect("it can be read");
    let receivers = text.replace("\n    # ", "\n    ");
    assert!(receivers.matches("_configs:\n").count() > 2, "{receivers}");
    let file = tempfile::NamedTempFile::new().expect("there is room for temporary files");
    fs::write(file.path(), receivers).expect("likewise");
    succeed(&tool("amtool"), &["check-config", name(file.path())]);
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let (promtools, files) = (promtools(), yaml_files("prometheus/tests"));
    thread::scope(|scope| {
        for promtool in &promtools {
            for (file, _) in &files {
                scope.spawn(|| succeed(promtool, &["test", "rules", name(file)]));
            }
        }
    });
}

/// Groups are evaluated in any order unless a test says in which.
#[test]
fn tests_of_several_groups_say_in_which_order_they_come() {
    let groups: Vec<_> = groups().into_iter().map(|group| group.name).collect();
    for (file, text) in yaml_files("prometheus/tests") {
        let parsed: TestFile = serde_saphyr::from_str(&text).expect("promtool reads it, too");
        if let Some(order) = parsed.group_eval_order {
            assert!(order.iter().all(|name| groups.contains(name)), "{}", file.display());
        } else {
            assert!(text.contains("rule_files: [../rules/exporter.yml]\n"), "{}", file.display());
        }
    }
}

/// What the tests of rules leave untested of these alerts.
fn untested(alerts: &[String], files: &[TestFile]) -> Vec<String> {
    let mut missing = Vec::new();
    for alert in alerts {
        let (mut fired, mut stays_silent, mut recovers) = (false, false, false);
        for test in files.iter().flat_map(|file| &file.tests) {
            let cases = test.alert_rule_test.iter().filter(|case| case.alertname == *alert);
            let mut cases: Vec<_> = cases
                .map(|case| (parse_duration(&case.eval_time).ok(), case.exp_alerts.len()))
                .collect();
            cases.sort_unstable();
            fired |= cases.iter().any(|(_, firing)| *firing > 0);
            stays_silent |= cases.iter().any(|(_, firing)| *firing == 0);
            recovers |= cases.windows(2).any(|pair| pair[0].1 > pair[1].1);
        }
        let aspects = [(fired, "fires"), (stays_silent, "does not fire"), (recovers, "recovers")];
        let untested = aspects.iter().filter(|(tested, _)| !tested);
        missing.extend(untested.map(|(_, what)| format!("no test in which {alert} {what}")));
    }
    missing
}

#[test]
fn every_alert_is_tested_to_fire_not_to_fire_and_to_recover() {
    let parse = |(_, text): (PathBuf, String)| serde_saphyr::from_str(&text);
    let files: Result<Vec<TestFile>, _> =
        yaml_files("prometheus/tests").into_iter().map(parse).collect();
    let files = files.expect("promtool reads them, too");
    let alerts: Vec<_> = alerts().into_keys().collect();
    assert_eq!(untested(&alerts, &files), [""; 0]);
    let invented = ["CortexWorkflowInvented".to_owned()];
    assert_eq!(untested(&invented, &files).len(), 3, "the check itself can fail");
}

/// The catalogue with the recorded series, and the rules that use what is not in it.
fn catalogue(rules: &[Rule]) -> (Catalogue, Vec<String>) {
    let mut catalogue = Catalogue::new();
    let recorded = || rules.iter().filter_map(|rule| Some((rule.record.as_ref()?, &rule.expr)));
    // Rules use themselves and each other, so what they come to shows step by step.
    for (name, _) in recorded() {
        catalogue.add(name, Labels::from(["workflow_id".into()]));
    }
    let mut errors = Vec::new();
    for _ in 0..=rules.len() {
        errors.clear();
        let mut moved = false;
        for (name, expression) in recorded() {
            match catalogue.check(expression) {
                Ok(labels) => moved |= catalogue.add(name, labels),
                Err(wrong) => errors.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}"))),
            }
        }
        if !moved {
            break;
        }
    }
    (catalogue, errors)
}

/// What an alert uses that does not exist: in its expression, or in the templates of its texts.
fn unknown(alert: &Rule, catalogue: &Catalogue) -> Vec<String> {
    let mut labels = match catalogue.check(&alert.expr) {
        Ok(labels) => labels,
        Err(errors) => return errors,
    };
    labels.extend(alert.labels.keys().cloned());
    let mut errors = Vec::new();
    let label = Regex::new(r"\$labels\.(\w+)").expect("it is well-formed");
    let query = Regex::new(r#"(?:query|printf) "([^"]*cortex_[^"]*)""#).expect("likewise");
    for text in alert.annotations.values() {
        let used = label.captures_iter(text).map(|found| found[1].to_owned());
        errors.extend(used.filter(|label| !labels.contains(label)));
        for asked in query.captures_iter(text) {
            let asked = asked[1].replace("%q", "\"x\"");
            errors.extend(catalogue.check(&asked).err().into_iter().flatten());
        }
    }
    errors
}

#[test]
fn rules_use_only_metrics_and_labels_that_exist() {
    let rules = rules();
    let (catalogue, mut errors) = catalogue(&rules);
    for rule in rules.iter().filter(|rule| rule.alert.is_some()) {
        let name = rule.alert.as_deref().unwrap_or_default();
        errors.extend(unknown(rule, &catalogue).iter().map(|wrong| format!("{name}: {wrong}")));
    }
    assert_eq!(errors, [""; 0]);
}

#[test]
fn recording_rules_are_named_by_level_metric_and_operation() {
    let rules = rules();
    let (catalogue, _) = catalogue(&rules);
    let pattern =
        Regex::new("^(workflow(?:_version)?(?:_status)?):cortex_workflow_[a-z_]+:[a-z0-9_]+$");
    let pattern = pattern.expect("it is well-formed");
    for name in rules.iter().filter_map(|rule| rule.record.as_deref()) {
        let parts = pattern.captures(name).unwrap_or_else(|| panic!("{name}"));
        let level: &[&str] = match (&parts[1], name) {
            (_, "workflow:cortex_workflow_info:current") => {
                &["app", "enabled", "workflow", "workflow_id"]
            }
            ("workflow", _) => &["workflow_id"],
            ("workflow_version", _) => &["version", "workflow_id"],
            ("workflow_version_status", _) => &["status", "version", "workflow_id"],
            _ => &["status", "workflow_id"],
        };
        let labels = catalogue.check(name).expect("it was added");
        assert_eq!(labels.iter().map(String::as_str).collect::<Vec<_>>(), level, "{name}");
    }
}

/// What an alert does not tell the person that it pages.
fn omissions(name: &str, alert: &Rule, anchors: &BTreeSet<String>) -> Vec<String> {
    let mut errors = Vec::new();
    let mut demand = |is_there: bool, what: &str| {
        if !is_there {
            errors.push(format!("{name}: {what}"));
        }
    };
    let severity = alert.labels.get("severity").map(String::as_str);
    demand(severity.is_some_and(|it| ["critical", "warning", "info"].contains(&it)), "severity");
    let annotation = |name: &str| alert.annotations.get(name).map_or("", String::as_str);
    let [summary, description] = ["summary", "description"].map(annotation);
    let about = ["$labels.workflow ", "$labels.job ", "$labels.instance ", "$value"];
    demand(about.iter().any(|it| summary.contains(it)), "its summary names what it is about");
    let of_workflow = alert.expr.contains("cortex_workflow_info:current");
    let id = description.contains("$labels.workflow_id");
    demand(id || !of_workflow, "its description names the workflow");
    let window = ["minutes", "hour", "day", "humanizeDuration", "half an hour"];
    demand(window.iter().any(|it| description.contains(it)), "its description names the window");
    let runbook = annotation("runbook_url").strip_prefix(RUNBOOKS);
    let section = runbook.and_then(|rest| rest.strip_prefix('#'));
    demand(section.is_some_and(|it| anchors.contains(it)), "its runbook is in the document");
    demand(section.is_some_and(|it| it == name.to_lowercase()), "its runbook is its own");
    errors
}

#[test]
fn alerts_about_failures_all_lead_to_the_last_failed_run_by_the_same_link() {
    let link =
        Regex::new(r"\{\{-? with [^}]*external_url_info.*\{\{-? end \}\}").expect("well-formed");
    let (mut links, mut leading) = (BTreeSet::new(), 0);
    for alert in alerts().values() {
        for found in alert.annotations.values().filter_map(|text| link.find(text)) {
            links.insert(found.as_str().to_owned());
            leading += 1;
        }
    }
    assert_eq!((links.len(), leading), (1, 9), "{links:#?}");
}

#[test]
fn every_alert_states_its_severity_its_subject_and_its_runbook() {
    let anchors = anchors(&document(DOCUMENT));
    let alerts = alerts();
    let errors = alerts.iter().flat_map(|(name, alert)| omissions(name, alert, &anchors));
    assert_eq!(errors.collect::<Vec<_>>(), [""; 0]);
    let silent = omissions("Silent", &Rule::default(), &anchors);
    assert_eq!(silent.len(), 5, "the check itself can fail: {silent:?}");
}

mod the_checks_themselves {
    use super::*;

    #[test]
    fn a_metric_or_label_that_does_not_exist_is_reported_wherever_it_is_used() {
        let record = |name: &str, expression: &str| Rule {
            record: Some(name.into()),
            expr: expression.into(),
            ..Rule::default()
        };
        let (catalogue, errors) = catalogue(&[
            record("a:b:c", "sum by (workflow_id) (cortex_workflow_runs_total) or a:b:c"),
            record("a:b:d", "sum by (team) (a:b:c)"),
        ]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        let mut alert = Rule { expr: "a:b:c > 0".into(), ..Rule::default() };
        alert.annotations.insert("summary".into(), "{{ $labels.workflow_id }}".into());
        assert_eq!(unknown(&alert, &catalogue), [""; 0]);
        for text in ["{{ $labels.workflow }}", "{{ query \"cortex_x{y=%q}\" }}"] {
            alert.annotations.insert("summary".into(), text.into());
            assert_eq!(unknown(&alert, &catalogue).len(), 1, "{text}");
        }
        alert.expr = "cortex_workflow_run > 0".into();
        assert_eq!(unknown(&alert, &catalogue).len(), 1);
    }
}
