//! Grafana's own types of a dashboard know everything that stands in these.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use super::model::all;
use crate::support::documents::ROOT;

/// The oldest Grafana that the dashboards are for, and the newest that there are types of.
const VERSIONS: [&str; 2] = ["11.0.0", "next"];

/// What the data source Prometheus adds to annotations. Grafana leaves it to each data source what else
/// an annotation holds, so its types don't list this.
const OF_PROMETHEUS: [&str; 2] = ["titleFormat", "useValueForTime"];

/// What this version of Grafana's types makes of a dashboard otherwise than it stands there.
fn unknown(version: &str, dashboard: &str) -> String {
    let types = Path::new(ROOT).join("target/tools/grafana-foundation-sdk").join(version);
    assert!(types.is_dir(), "{} is missing; tests/run installs it", types.display());
    let mut reader = Command::new("python3")
        .args(["-c", include_str!("schema.py")])
        .env("PYTHONPATH", types)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python runs");
    // It may end early, which its exit code shows.
    let _ = reader.stdin.take().map(|mut stdin| stdin.write_all(dashboard.as_bytes()));
    let output = reader.wait_with_output().expect("Python ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).expect("its output is text");
    let of_prometheus = |line: &&str| {
        let key =
            line.strip_prefix("/annotations/list/").and_then(|it| it.split(['/', ' ']).nth(1));
        key.is_some_and(|key| OF_PROMETHEUS.contains(&key))
    };
    told.lines().filter(|line| !of_prometheus(line)).collect()
}

#[test]
fn grafana_knows_all_that_stands_in_the_dashboards() {
    for version in VERSIONS {
        for dashboard in all() {
            let unknown = unknown(version, &dashboard.json.to_string());
            assert!(unknown.is_empty(), "Grafana {version}: {}: {unknown}", dashboard.file);
        }
    }
}

#[test]
fn what_grafana_does_not_know_is_told() {
    let dashboards = all();
    let fleet = dashboards.iter().find(|it| it.file == "fleet.json").expect("there is one");
    let text = fleet.json.to_string();
    for (from, to) in [
        ("\"graphTooltip\"", "\"graphTooltips\""),
        ("\"showHeader\"", "\"headers\""),
        ("\"titleFormat\"", "\"titelFormat\""),
    ] {
        assert!(text.contains(from), "{from}");
        for version in VERSIONS {
            let unknown = unknown(version, &text.replacen(from, to, 1));
            assert!(unknown.contains(&to[1..to.len() - 1]), "{version}: {to}: {unknown}");
        }
    }
}
