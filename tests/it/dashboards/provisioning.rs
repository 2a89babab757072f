//! The files with which Grafana finds the data source and the dashboards by itself.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use super::model::{all, list, text};
use crate::support::documents::{ROOT, document, quoted, rows};

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(ROOT).join(path)).expect("the file is there");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_data_source_is_a_prometheus_that_the_dashboards_can_choose() {
    let file = read("grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(file["apiVersion"], 1);
    let [source] = list(&file, "datasources") else { panic!("there is one data source: {file}") };
    assert_eq!(text(source, "type"), "prometheus");
    assert_eq!(text(source, "access"), "proxy");
    assert!(text(source, "url").starts_with("http://"), "{source}");
    let interval = text(&source["jsonData"], "timeInterval");
    assert!(humantime::parse_duration(interval).is_ok(), "{interval}");
    let destinations = list(&source["jsonData"], "exemplarTraceIdDestinations");
    let [to_runs] = destinations else { panic!("there is one destination: {source}") };
    assert_eq!(text(to_runs, "name"), "run_id", "the label of the exporter's exemplars");
    let url = text(to_runs, "url").strip_suffix("/runs/$${__value.raw:percentencode}");
    let compose = read("deploy/compose.yaml");
    let there = &compose["services"]["exporter"]["environment"]["CORTEX_EXPORTER_WEB_EXTERNAL_URL"];
    assert!(url.is_some() && url == there.as_str(), "{to_runs}, {there}");
    for dashboard in all() {
        let variable = &dashboard.variables()[0];
        assert_eq!(text(variable, "query"), text(source, "type"), "{}", dashboard.file);
    }
}

#[test]
fn the_provider_reads_the_directory_that_the_document_names() {
    let file = read("grafana/provisioning/dashboards/cortex-workflows.yml");
    assert_eq!(file["apiVersion"], 1);
    let [provider] = list(&file, "providers") else { panic!("there is one provider: {file}") };
    assert_eq!(text(provider, "type"), "file");
    let path = text(&provider["options"], "path");
    assert!(path.starts_with('/'), "{path}");
    let document = document("grafana/README.md");
    assert!(document.contains(&format!("`{path}`")), "the document names {path}");
}

#[test]
fn the_document_lists_every_dashboard() {
    let document = document("grafana/README.md");
    let files: BTreeSet<_> = all().into_iter().map(|dashboard| dashboard.file).collect();
    let rows = rows(&document, &["dashboard", "shows"]);
    let listed = rows.iter().flat_map(|row| quoted(row[0]));
    let listed: BTreeSet<_> = listed.map(str::to_owned).collect();
    assert_eq!(listed, files);
}
