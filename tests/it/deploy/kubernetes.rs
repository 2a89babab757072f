//! What kustomize makes: whether Kubernetes and the Prometheus operator understand it, and whether the
//! exporter can live with it.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

use super::{items, output, path, read, text, verdict, yaml};
use crate::support::{KEY, python, run, tool};

const KUBERNETES: &str = "deploy/kubernetes";
const RULES: &str = "deploy/prometheus/rules";
const PROMETHEUS_RULE: &str =
    "deploy/kubernetes/components/prometheus-operator/prometheusrule.yaml";
/// The oldest and the newest Kubernetes whose definitions these must fit.
const VERSIONS: [&str; 2] = ["1.27.0", "1.37.0"];

/// All resources of the example.
static RESOURCES: LazyLock<Vec<Value>> = LazyLock::new(made);

/// Makes them, with a key beside the example as an operator would put it.
fn made() -> Vec<Value> {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    copy(&path(KUBERNETES), directory.path());
    let example = directory.path().join("overlays/example");
    fs::write(example.join("api-key"), KEY).expect("there is room");
    let text = output(Command::new(tool("kubectl")).arg("kustomize").arg(example));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("it is a directory") {
        let entry = entry.expect("it can be listed").path();
        let target = to.join(entry.file_name().expect("it has a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(entry, target).expect("there is room");
        }
    }
}

fn of_the_operator(resource: &Value) -> bool {
    text(&resource["apiVersion"]).starts_with("monitoring.coreos.com/")
}

/// The one resource of this kind.
fn the(kind: &str) -> &'static Value {
    let mut found = RESOURCES.iter().filter(|resource| resource["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several of kind {kind}");
    first
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
    let own: Vec<_> = RESOURCES.iter().filter(|resource| !of_the_operator(resource)).collect();
    assert_eq!(own.len(), 7, "{own:?}");
    for version in VERSIONS {
        let (content, why) = judged(version, &own);
        assert!(content, "{why}");
    }
    let mut odd = the("Deployment").clone();
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
    let its: Vec<_> = RESOURCES.iter().filter(|resource| of_the_operator(resource)).collect();
    assert_eq!(its.len(), 2, "{its:?}");
    assert_eq!(operator_says(&its), (true, "\n".into()));
    let monitor = the("PodMonitor");
    let (mut unknown, mut wrong) = (monitor.clone(), monitor.clone());
    unknown["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s".into();
    wrong["spec"]["podMetricsEndpoints"][0]["interval"] = "often".into();
    let (content, why) = operator_says(&[&unknown, &wrong]);
    assert!(!content && why.contains("intervall is not known"), "{why}");
    assert!(why.contains("interval\n") && why.contains("often"), "{why}");
}

/// The `PrometheusRule` that the rules for Prometheus come to.
fn prometheus_rule() -> (String, Value) {
    let mut files: Vec<_> = fs::read_dir(path(RULES))
        .expect("there are rules")
        .map(|file| file.expect("it can be listed").file_name().into_string().expect("text"))
        .collect();
    files.sort();
    let mut made = format!(
        "# Made from {RULES}: change those, not this. See tests/it/deploy/kubernetes.rs.\n\
         apiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\n\
         metadata:\n  name: cortex-workflow-exporter\n\
         spec:\n  groups:\n"
    );
    let mut groups = Vec::new();
    for file in files {
        let file = format!("{RULES}/{file}");
        groups.extend(items(&yaml(&file)["groups"]).to_vec());
        let text = read(&file);
        let (_, list) = text.split_once("\ngroups:\n").expect("nothing but groups is in it");
        for line in list.lines() {
            made += if line.is_empty() { "" } else { "  " };
            made += line;
            made += "\n";
        }
    }
    (made, Value::Array(groups))
}

#[test]
fn the_rules_for_the_operator_are_those_for_prometheus() {
    let (made, groups) = prometheus_rule();
    if env::var_os("UPDATE").is_some() {
        fs::write(path(PROMETHEUS_RULE), &made).expect("the project can be written to");
    }
    assert!(
        read(PROMETHEUS_RULE) == made,
        "{PROMETHEUS_RULE} is not what {RULES} comes to; write it anew with: \
         UPDATE=1 cargo test --test it the_rules_for_the_operator"
    );
    assert!(groups.as_array().is_some_and(|groups| groups.len() > 2), "{groups}");
    assert_eq!(the("PrometheusRule")["spec"]["groups"], groups);
}

/// The exporter's container.
fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn there_is_one_exporter_at_a_time_and_it_may_do_next_to_nothing() {
    let deployment = the("Deployment");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let may = &container(deployment)["securityContext"];
    assert_eq!(may["allowPrivilegeEscalation"], false);
    assert_eq!(may["readOnlyRootFilesystem"], true);
    assert_eq!(may["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let namespace = the("Namespace");
    let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");
}

#[test]
fn its_parts_find_each_other() {
    let deployment = the("Deployment");
    let pod = &deployment["spec"]["template"];
    let labels = pod["metadata"]["labels"].as_object().expect("the pod has labels");
    let [port] = items(&container(deployment)["ports"]) else { panic!("{deployment}") };
    for (kind, selector) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("PodMonitor", "/spec/selector/matchLabels"),
    ] {
        let resource = the(kind);
        let selector = resource.pointer(selector).and_then(Value::as_object);
        let selector = selector.unwrap_or_else(|| panic!("{kind} selects nothing: {resource}"));
        assert!(!selector.is_empty(), "{kind} selects everything");
        let found = selector.iter().all(|(name, value)| labels.get(name) == Some(value));
        assert!(found, "{kind} does not find the pod");
    }
    for (kind, place) in [
        ("Service", "/spec/ports/0/targetPort"),
        ("NetworkPolicy", "/spec/ingress/0/ports/0/port"),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/port"),
    ] {
        assert_eq!(the(kind).pointer(place), Some(&port["name"]), "{kind}");
    }
    let volumes = items(&pod["spec"]["volumes"]);
    let volume = |name: &str| volumes.iter().find(|volume| volume["name"] == name);
    let claim = &the("PersistentVolumeClaim")["metadata"]["name"];
    assert_eq!(volume("ledger").map(|it| &it["persistentVolumeClaim"]["claimName"]), Some(claim));
    let secret = the("Secret");
    let name = volume("api-key").map(|it| &it["secret"]["secretName"]);
    assert_eq!(name, Some(&secret["metadata"]["name"]));
    let account = &the("ServiceAccount")["metadata"]["name"];
    assert_eq!(&pod["spec"]["serviceAccountName"], account);
    let namespaces: BTreeSet<_> = RESOURCES
        .iter()
        .filter_map(|resource| resource["metadata"]["namespace"].as_str())
        .collect();
    let namespace = text(&the("Namespace")["metadata"]["name"]);
    assert_eq!(namespaces, BTreeSet::from([namespace]));
}

#[tokio::test]
async fn the_exporter_takes_what_the_deployment_tells_it() {
    let deployment = the("Deployment");
    let container = container(deployment);
    let mounts = items(&container["volumeMounts"]);
    let mounted = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name);
        text(&mount.unwrap_or_else(|| panic!("{name} is mounted"))["mountPath"]).to_owned()
    };
    let secret = the("Secret")["data"].as_object().expect("it holds the key");
    let file = secret.keys().next().expect("it holds the key");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    fs::write(directory.path().join(file), KEY).expect("there is room");
    let here = directory.path().to_str().expect("its name is text");
    let variables = items(&container["env"]).iter().map(|variable| {
        let value = text(&variable["value"]).replace(&mounted("api-key"), here);
        (text(&variable["name"]), value)
    });
    let variables: Vec<_> = variables.collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &value[..])).collect();
    let mut command: Vec<_> = items(&container["args"]).iter().map(text).collect();
    command.push("--config.check");
    let (code, stdout, stderr) = run(&command, &variables).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let ledger = format!("CORTEX_EXPORTER_STATE_URL=sqlite:{}/", mounted("ledger"));
    assert!(read("deploy/Dockerfile").contains(&ledger), "{ledger} is not in the Dockerfile");
    let image = text(&container["image"]);
    assert!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
    // Its user is the image's, so it may write there.
    let user = &deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"];
    assert!(read("deploy/Dockerfile").contains(&format!("USER {user}:")), "{user}");
    let ports = items(&container["ports"]);
    assert_eq!(ports[0]["containerPort"], 10058);
    for (probe, page) in [
        ("livenessProbe", "/-/healthy"),
        ("startupProbe", "/-/healthy"),
        ("readinessProbe", "/-/ready"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], page, "{probe}");
    }
}
