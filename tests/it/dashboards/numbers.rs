//! What single queries come to, of samples that are written down.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use serde_json::Value;

use super::{
    filling::Filling,
    model::{Dashboard, Question, all, text},
};
use crate::support::tool;

/// The time range that is looked at.
const RANGE: Duration = Duration::from_secs(3600);

#[test]
fn queries_come_to_the_numbers_that_their_panels_promise() {
    let dashboards = all();
    let filled = |dashboard: &Dashboard| {
        let mut filling = Filling::built_in(RANGE, None);
        for variable in dashboard.variables() {
            let value = if variable["includeAll"] == true { ".*" } else { "w1" };
            filling.set(text(variable, "name"), value);
        }
        let fill = |it: Question<'_>| {
            let expression = filling.fill(text(it.target, "expr"));
            (it.place, expression.expect("all variables are known"))
        };
        dashboard.questions().into_iter().map(fill).collect::<Vec<_>>()
    };
    let expressions: BTreeMap<_, _> = dashboards.iter().flat_map(filled).collect();
    let mut file: Value = serde_saphyr::from_str(include_str!("numbers.yml")).expect("it is YAML");
    for case in file["tests"].as_array_mut().expect("there are tests") {
        for test in case["promql_expr_test"].as_array_mut().expect("each asks something") {
            let place = text(test, "expr");
            let expression = expressions.get(place).unwrap_or_else(|| panic!("no query {place}"));
            test["expr"] = expression.clone().into();
        }
    }
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let path = directory.path().join("numbers.yml");
    // What is JSON is YAML.
    fs::write(&path, file.to_string()).expect("there is room for temporary files");
    let output = Command::new(tool("promtool")).args(["test", "rules"]).arg(path).output();
    let output = output.expect("promtool runs");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}
