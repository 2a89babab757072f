//! The document of the alerts: the table, the runbooks and their queries.

use std::{collections::BTreeMap, fs, process::Command};

use cortex_workflow_exporter::model::ERROR_CLASSES;

use super::{DOCUMENT, RUNBOOKS, Rule, alerts, catalogue, rules, yaml_files};
use crate::support::{
    documents::{ROOT, blocks, document, prose, quoted, rows, section},
    promql::Catalogue,
};

#[test]
fn the_alerts_table_lists_exactly_the_alerts_and_each_has_its_runbook() {
    let document = document(DOCUMENT);
    let table = rows(&document, &["alert", "severity", "means"]);
    let documented: BTreeMap<_, _> = table
        .iter()
        .map(|row| (quoted(row[0]).concat(), row[1].trim_matches('`').to_owned()))
        .collect();
    assert_eq!(documented.len(), table.len(), "none is listed twice");
    let alerts = alerts();
    let severity = |alert: &Rule| alert.labels.get("severity").cloned().unwrap_or_default();
    let real: BTreeMap<_, _> =
        alerts.iter().map(|(name, alert)| (name.clone(), severity(alert))).collect();
    assert_eq!(documented, real);
    for name in real.keys() {
        let text = section(&document, name);
        for part in ["**Means:**", "**Look at:**", "**Do:**"] {
            assert!(text.contains(part), "the runbook of {name} lacks {part}");
        }
    }
}

/// Runs the command that the document gives for it.
#[test]
fn one_command_replaces_the_address_of_the_runbooks() {
    let document = document(DOCUMENT);
    let command = document.lines().find(|line| line.starts_with("sed -i 's#https://runbooks"));
    let command = command.expect("the document gives one");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let rules = yaml_files("prometheus/rules").into_iter().map(|(file, _)| file);
    let mut copies = Vec::new();
    for file in rules {
        let copy = directory.path().join(file.strip_prefix(ROOT).expect("it is the project's"));
        fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("likewise");
        fs::copy(file, &copy).expect("likewise");
        copies.push(copy);
    }
    let command = command
        .replace("https://git.example.org/cortex-workflow-exporter/blob/main", "https://wiki.test");
    let done = Command::new("sh").args(["-c", &command]).current_dir(directory.path()).status();
    assert!(done.is_ok_and(|status| status.success()), "{command}");
    let mut replaced = 0;
    for text in copies.iter().map(|copy| fs::read_to_string(copy).expect("it can be read")) {
        replaced += text
            .matches("runbook_url: https://wiki.test/deploy/prometheus/README.md#cortex")
            .count();
        assert!(!text.contains(&format!("runbook_url: {RUNBOOKS}")), "{command}");
    }
    assert_eq!(replaced, alerts().len());
}

/// What is wrong with the queries of a document. `…` stands for what a reader puts in.
fn wrong_queries(text: &str, catalogue: &Catalogue) -> Vec<String> {
    let in_blocks = blocks(text, "promql").into_iter().flat_map(|block| {
        // A block holds one query, or one in each line.
        if catalogue.check(block).is_ok() { vec![block] } else { block.lines().collect() }
    });
    let lines: Vec<_> = prose(text).collect();
    let lines = lines.join("\n");
    let in_lines = quoted(&lines).into_iter().filter(|code| {
        // Neither the name of a family alone, nor a query about names.
        code.contains("cortex_workflow_") && code.contains(['(', '{']) && !code.contains("__name__")
    });
    let queries = in_blocks.chain(in_lines.collect::<Vec<_>>());
    let check = |query: &str| Some((query.to_owned(), catalogue.check(query).err()?));
    queries.filter_map(check).map(|(query, errors)| format!("{query}: {errors:?}")).collect()
}

#[test]
fn every_query_of_the_document_is_about_metrics_and_labels_that_exist() {
    let (catalogue, _) = catalogue(&rules());
    let text = document(DOCUMENT);
    assert_eq!(wrong_queries(&text, &catalogue), [""; 0]);
    let broken = text.replace("by (step, error_class)", "by (step, class)");
    assert_eq!(wrong_queries(&broken, &catalogue).len(), 2, "the check itself can fail");
}

#[test]
fn what_helps_is_told_for_every_class_of_error() {
    let text = document(DOCUMENT);
    let table = rows(&text, &["class", "often means", "first"]);
    let mut told: Vec<_> = table.iter().flat_map(|row| quoted(row[0])).collect();
    told.sort_unstable();
    let mut real = ERROR_CLASSES;
    real.sort_unstable();
    assert_eq!(told, real);
}
