//! What others say to the chart's resources: Kubernetes and the Prometheus operator, by their own
//! definitions.

use std::process::Stdio;

use super::*;
use crate::support::python;

/// The oldest and the newest Kubernetes whose definitions these must fit.
const VERSIONS: [&str; 2] = ["1.27.0", "1.37.0"];

fn of_the_operator(resource: &Value) -> bool {
    text(&resource["apiVersion"]).starts_with("monitoring.coreos.com/")
}

/// What Kubernetes has against resources, by its own definitions, unknown fields included.
fn judged(version: &str, resources: &[&Value]) -> (bool, String) {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut judge = Command::new(tool("kubernetes-validate"));
    judge.args(["--strict", "--kubernetes-version", version]);
    for (number, resource) in resources.iter().enumerate() {
        let file = directory.path().join(format!("{number}.json"));
        fs::write(&file, resource.to_string()).expect("there is room");
        judge.arg(file);
    }
    verdict(&mut judge)
}

#[test]
fn kubernetes_understands_all_of_it() {
    let all = [(least(), 5), (everything(), 11), (on_postgresql(), 10), (pair(), 11)];
    for (values, kinds) in all {
        let resources = rendered(&values);
        let own: Vec<_> = resources.iter().filter(|resource| !of_the_operator(resource)).collect();
        assert_eq!(own.len(), kinds, "{own:?}");
        for version in VERSIONS {
            let (content, why) = judged(version, &own);
            assert!(content, "{why}");
        }
    }
    let mut odd = the("Deployment", &rendered(&least())).clone();
    odd["spec"]["replica"] = 1.into();
    assert!(!judged(VERSIONS[1], &[&odd]).0, "a field that does not exist is reported");
}

/// What the operator has against resources.
fn operator_says(resources: &[&Value]) -> (bool, String) {
    let judge = Command::new(python())
        .arg(path("tests/it/deploy/operator_models.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut judge = judge.expect("python runs");
    let list = serde_json::to_vec(resources).expect("values are JSON");
    // Dropped at the end of the line, so that it sees the end.
    judge.stdin.take().expect("it is piped").write_all(&list).expect("it reads");
    let output = judge.wait_with_output().expect("it ends");
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), text.concat())
}

#[test]
fn the_prometheus_operator_understands_its_part() {
    for values in [everything(), on_postgresql()] {
        let resources = rendered(&values);
        let its: Vec<_> = resources.iter().filter(|resource| of_the_operator(resource)).collect();
        assert_eq!(its.len(), 2, "{its:?}");
        assert_eq!(operator_says(&its), (true, "\n".into()));
    }
    let resources = rendered(&everything());
    let monitor = the("PodMonitor", &resources);
    let (mut unknown, mut wrong) = (monitor.clone(), monitor.clone());
    unknown["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s".into();
    wrong["spec"]["podMetricsEndpoints"][0]["interval"] = "often".into();
    let (content, why) = operator_says(&[&unknown, &wrong]);
    assert!(!content && why.contains("intervall is not known"), "{why}");
    assert!(why.contains("interval\n") && why.contains("often"), "{why}");
}
