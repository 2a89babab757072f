//! The Helm chart: what the real Helm makes of it, whether Kubernetes and the Prometheus operator
//! understand that, and whether the exporter can live with it.

mod documents;
mod judges;
mod values;

use std::{collections::BTreeSet, env, fs, io::Write as _, path::Path, process::Command};

use serde_json::{Value, json};

use super::{items, output, path, read, text, verdict, yaml};
use crate::support::{KEY, run, tool};

const CHART: &str = "deploy/helm/cortex-workflow-exporter";
const RULES: &str = "deploy/prometheus/rules";
const DASHBOARDS: &str = "grafana/dashboards";

/// The least that has to be set.
fn least() -> Value {
    json!({
        "image": {"repository": "registry.test/exporter"},
        "apiKey": {"existingSecret": "cortex"},
    })
}

/// Everything that can be enabled, with a ledger in SQLite.
fn everything() -> Value {
    with(
        least(),
        &[
            ("apiKey", json!({"value": KEY})),
            ("webConfig", json!({"existingSecret": "web", "tls": true})),
            ("podMonitor.enabled", json!(true)),
            ("prometheusRule.enabled", json!(true)),
            ("dashboards.enabled", json!(true)),
            ("networkPolicy.enabled", json!(true)),
        ],
    )
}

/// Everything, with a ledger in PostgreSQL and a `ServiceMonitor`.
fn on_postgresql() -> Value {
    with(
        everything(),
        &[
            ("postgresql.existingSecret", json!("ledger")),
            ("podMonitor.enabled", json!(false)),
            ("serviceMonitor.enabled", json!(true)),
        ],
    )
}

/// Two exporters.
fn pair() -> Value {
    with(on_postgresql(), &[("replicaCount", json!(2))])
}

/// Values with some set otherwise, each by its path.
fn with(mut values: Value, changes: &[(&str, Value)]) -> Value {
    for (path, value) in changes {
        let place = path.split('.').fold(&mut values, |place, key| &mut place[key]);
        *place = value.clone();
    }
    values
}

/// Helm at work on a chart with these values.
fn helm(arguments: &[&str], chart: &Path, values: &Value) -> std::process::Output {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for temporary files");
    file.write_all(values.to_string().as_bytes()).expect("there is room");
    let mut command = Command::new(tool("helm"));
    command.args(arguments).arg(chart).arg("--values").arg(file.path());
    command.env_remove("KUBECONFIG").args(["--namespace", "cortex"]);
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// The resources of a release with these values, or why there are none.
fn templated(chart: &Path, values: &Value) -> Result<Vec<Value>, String> {
    let output = helm(&["template", "prod"], chart, values);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    let resources = text(output.stdout);
    if output.status.success() {
        serde_saphyr::from_multiple(&resources).map_err(|error| format!("{resources}: {error}"))
    } else {
        Err(text(output.stderr))
    }
}

/// The resources of a release that must be possible.
fn rendered(values: &Value) -> Vec<Value> {
    templated(&path(CHART), values).unwrap_or_else(|why| panic!("{values}: {why}"))
}

/// The one resource of this kind.
fn the<'r>(kind: &str, resources: &'r [Value]) -> &'r Value {
    let mut found = resources.iter().filter(|resource| resource["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several of kind {kind}");
    first
}

/// What Helm's linter says.
fn linted(values: &Value) -> (bool, String) {
    let output = helm(&["lint", "--strict"], &path(CHART), values);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_linter_has_nothing_against_the_chart() {
    for values in [least(), everything(), on_postgresql(), pair()] {
        let (content, why) = linted(&values);
        assert!(content && why.contains("0 chart(s) failed"), "{why}");
    }
    let (content, why) = linted(&with(least(), &[("image.tagg", json!("1"))]));
    assert!(!content && why.contains("tagg"), "{why}");
}

/// The names of the files in a directory, in order.
fn files(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(path(directory)).expect("it is a directory");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn its_rules_and_dashboards_are_the_files_that_prometheus_and_grafana_take() {
    let resources = rendered(&everything());
    let files_of_rules = files(RULES).into_iter().map(|file| yaml(&format!("{RULES}/{file}")));
    let groups = files_of_rules.flat_map(|file| items(&file["groups"]).to_vec());
    let groups: Vec<_> = groups.collect();
    assert!(groups.len() > 2, "{groups:?}");
    assert_eq!(the("PrometheusRule", &resources)["spec"]["groups"], Value::Array(groups));
    let label = "/metadata/labels/grafana_dashboard";
    let maps = resources.iter().filter(|resource| resource.pointer(label) == Some(&json!("1")));
    let mut boards: BTreeSet<String> = files(DASHBOARDS).into_iter().collect();
    for map in maps {
        for (name, board) in map["data"].as_object().expect("it has data") {
            let file = name.strip_prefix("cortex-workflows-").expect("a name of its own");
            assert_eq!(text(board).trim(), read(&format!("{DASHBOARDS}/{file}")).trim(), "{name}");
            assert!(boards.remove(file), "{file} is there twice");
        }
    }
    assert_eq!(boards, BTreeSet::new(), "are missing");
}

#[test]
fn a_packaged_chart_holds_the_linked_files_themselves_and_makes_the_same() {
    for link in ["rules", "dashboards"] {
        let link = path(CHART).join("files").join(link);
        assert!(link.is_symlink(), "{} is a copy", link.display());
    }
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let packaged = Command::new(tool("helm"))
        .args(["package", "--destination"])
        .args([directory.path(), &path(CHART)])
        .output();
    let packaged = packaged.expect("helm runs");
    assert!(packaged.status.success(), "{packaged:?}");
    let name = format!("cortex-workflow-exporter-{}.tgz", text(&chart()["version"]));
    let package = directory.path().join(name);
    let from_package = templated(&package, &everything());
    assert_eq!(from_package, Ok(rendered(&everything())));
    let list = output(Command::new("tar").args(["--list", "--verbose", "--file"]).arg(package));
    assert!(!list.contains(" -> "), "links lead nowhere elsewhere: {list}");
}

fn chart() -> Value {
    yaml(&format!("{CHART}/Chart.yaml"))
}

#[test]
fn the_chart_is_for_this_version() {
    assert_eq!(chart()["appVersion"], env!("CARGO_PKG_VERSION"));
    let image = "/spec/template/spec/containers/0/image";
    let image = the("Deployment", &rendered(&least())).pointer(image).cloned();
    let expected = concat!("registry.test/exporter:", env!("CARGO_PKG_VERSION"));
    assert_eq!(image, Some(json!(expected)));
}

/// The exporter's container.
fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn a_ledger_in_sqlite_has_one_exporter_at_a_time_and_one_in_postgresql_never_none() {
    for (values, replicas, strategy) in [
        (least(), 1, "Recreate"),
        (on_postgresql(), 1, "RollingUpdate"),
        (pair(), 2, "RollingUpdate"),
    ] {
        let resources = rendered(&values);
        let deployment = &the("Deployment", &resources)["spec"];
        assert_eq!(deployment["replicas"], replicas);
        assert_eq!(deployment["strategy"]["type"], strategy);
        if strategy == "RollingUpdate" {
            assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        }
    }
    let resources = rendered(&pair());
    let prefers = "/spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm";
    let deployment = the("Deployment", &resources);
    let term = deployment.pointer(prefers).expect("they prefer different nodes");
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    let own = &deployment["spec"]["selector"];
    assert_eq!(&term["labelSelector"], own);
    let budget = &the("PodDisruptionBudget", &resources)["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["selector"]), (&json!(1), own));
}

#[test]
fn a_pod_may_do_next_to_nothing() {
    let resources = rendered(&least());
    let deployment = the("Deployment", &resources);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let may = &container(deployment)["securityContext"];
    assert_eq!(may["allowPrivilegeEscalation"], false);
    assert_eq!(may["readOnlyRootFilesystem"], true);
    assert_eq!(may["capabilities"]["drop"], json!(["ALL"]));
}

#[test]
fn its_parts_find_each_other() {
    let mut resources = rendered(&everything());
    resources
        .extend(rendered(&on_postgresql()).into_iter().filter(|it| it["kind"] == "ServiceMonitor"));
    let deployment = the("Deployment", &resources);
    let pod = &deployment["spec"]["template"];
    let labels = pod["metadata"]["labels"].as_object().expect("the pod has labels");
    let [port] = items(&container(deployment)["ports"]) else { panic!("{deployment}") };
    for (kind, selector) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("PodMonitor", "/spec/selector/matchLabels"),
    ] {
        let resource = the(kind, &resources);
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
        assert_eq!(the(kind, &resources).pointer(place), Some(&port["name"]), "{kind}");
    }
    let (service, monitor) = (the("Service", &resources), the("ServiceMonitor", &resources));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let selector = monitor["spec"]["selector"]["matchLabels"].as_object().expect("it selects");
    assert!(selector.iter().all(|(name, value)| service["metadata"]["labels"][name] == *value));
    let volumes = items(&pod["spec"]["volumes"]);
    let volume = |name: &str| volumes.iter().find(|volume| volume["name"] == name);
    let claim = &the("PersistentVolumeClaim", &resources)["metadata"]["name"];
    assert_eq!(volume("ledger").map(|it| &it["persistentVolumeClaim"]["claimName"]), Some(claim));
    let secret = &the("Secret", &resources)["metadata"]["name"];
    assert_eq!(volume("api-key").map(|it| &it["secret"]["secretName"]), Some(secret));
    let account = &the("ServiceAccount", &resources)["metadata"]["name"];
    assert_eq!(&pod["spec"]["serviceAccountName"], account);
    let elsewhere = resources.iter().find(|it| it["metadata"]["namespace"] != "cortex");
    assert_eq!(elsewhere, None, "kubectl would put it elsewhere than Helm");
}

#[test]
fn series_of_the_leader_go_on_in_any_pod() {
    let scraping = yaml("deploy/compose.pair.prometheus.yml");
    let rule = &scraping["scrape_configs"][0]["metric_relabel_configs"][0];
    let expected = ["instance", "pod"].map(|label| {
        json!({
            "sourceLabels": rule["source_labels"],
            "regex": rule["regex"],
            "targetLabel": label,
            "replacement": rule["replacement"],
        })
    });
    let resources = rendered(&on_postgresql());
    let endpoint = &the("ServiceMonitor", &resources)["spec"]["endpoints"][0];
    assert_eq!(endpoint["metricRelabelings"], json!(expected));
    let resources = rendered(&everything());
    let endpoint = &the("PodMonitor", &resources)["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["metricRelabelings"], Value::Null, "only one can ever lead");
}

/// What the exporter says to the pod of a release, with what is mounted there in a directory here.
async fn check_config(values: &Value, url: Option<&str>) -> (i32, String) {
    let resources = rendered(values);
    let container = container(the("Deployment", &resources));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let here = directory.path().to_str().expect("its name is text");
    for key in ["api-key", "support"] {
        fs::write(directory.path().join(key), KEY).expect("there is room");
    }
    let is_config = |it: &&Value| it["data"]["config.yml"].is_string();
    let config = resources.iter().find(is_config).expect("there is a configuration file");
    let config = text(&config["data"]["config.yml"]).replace("/run/secrets/cortex", here);
    fs::write(directory.path().join("config.yml"), config).expect("there is room");
    let variables = items(&container["env"]).iter().map(|variable| {
        let value = variable["value"].as_str().or(url).expect("the only secret is the URL");
        let value = value.replace("/etc/cortex-workflow-exporter/", &format!("{here}/"));
        (text(&variable["name"]), value)
    });
    let variables: Vec<_> = variables.collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &value[..])).collect();
    let mut command: Vec<_> = items(&container["args"]).iter().map(text).collect();
    command.push("--config.check");
    let (code, stdout, stderr) = run(&command, &variables).await;
    (code, stdout + &stderr)
}

/// The values that the document on deployment shows.
fn documented() -> Value {
    let document = read("deploy/README.md");
    let (_, chapter) = document.split_once("\n## Kubernetes\n").expect("there is such a chapter");
    let (_, rest) = chapter.split_once("```yaml\n").expect("it shows values");
    let (values, _) = rest.split_once("```").expect("they have an end");
    serde_saphyr::from_str(values).unwrap_or_else(|error| panic!("{values}: {error}"))
}

#[tokio::test]
async fn the_documented_values_are_complete() {
    let (code, why) = check_config(&documented(), None).await;
    assert_eq!(code, 0, "{why}");
    let resources = rendered(&documented());
    for kind in ["PodMonitor", "PrometheusRule", "NetworkPolicy"] {
        assert!(resources.iter().any(|resource| resource["kind"] == kind), "{kind} is not made");
    }
}

#[tokio::test]
async fn the_exporter_takes_what_the_deployment_tells_it() {
    let (code, why) = check_config(&least(), None).await;
    assert_eq!(code, 0, "{why}");
    let app = json!([{"app_id": "app_1", "api_key_file": "/run/secrets/cortex/support"}, {"app_id": "app_2"}]);
    let several = with(
        least(),
        &[
            ("config.apps", app),
            ("config.metrics.max_series", json!(2_000_000)),
            ("postgresql.existingSecret", json!("ledger")),
        ],
    );
    let (code, why) = check_config(&several, Some("postgres://exporter@db.test/exporter")).await;
    assert_eq!(code, 0, "{why}");
    let (code, why) = check_config(&several, Some("mysql://exporter@db.test/exporter")).await;
    assert!(code == 1 && why.contains("state.url"), "{code}: {why}");
    let odd = with(least(), &[("config.poll.interval", json!("soon"))]);
    let (code, why) = check_config(&odd, None).await;
    assert!(code == 1 && why.contains("poll.interval"), "{code}: {why}");
}

#[test]
fn the_pod_is_made_for_the_image() {
    let resources = rendered(&least());
    let deployment = the("Deployment", &resources);
    let container = container(deployment);
    let mounts = items(&container["volumeMounts"]);
    let ledger = mounts.iter().find(|mount| mount["name"] == "ledger").expect("it is mounted");
    let ledger = format!("CORTEX_EXPORTER_STATE_URL=sqlite:{}/", text(&ledger["mountPath"]));
    assert!(read("deploy/Dockerfile").contains(&ledger), "{ledger} is not in the Dockerfile");
    // Its user is the image's, so it may write there.
    let user = &deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"];
    assert!(read("deploy/Dockerfile").contains(&format!("USER {user}:")), "{user}");
    assert_eq!(container["ports"][0]["containerPort"], 10058);
    for (probe, page) in [
        ("livenessProbe", "/-/healthy"),
        ("startupProbe", "/-/healthy"),
        ("readinessProbe", "/-/ready"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], page, "{probe}");
    }
}

#[test]
fn a_release_can_be_part_of_another_chart() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let charts = directory.path().join("charts");
    fs::create_dir(&charts).expect("there is room");
    std::os::unix::fs::symlink(path(CHART), charts.join("exporter")).expect("there is room");
    let parent = "{apiVersion: v2, name: umbrella, version: 1.0.0}";
    fs::write(directory.path().join("Chart.yaml"), parent).expect("there is room");
    let values = json!({"cortex-workflow-exporter": least(), "global": {"region": "eu"}});
    let resources = templated(directory.path(), &values);
    assert_eq!(resources, Ok(rendered(&least())));
}

/// What an operator reads after an installation.
fn notes(values: &Value) -> String {
    let output = helm(&["install", "prod", "--dry-run=client"], &path(CHART), values);
    let text = String::from_utf8(output.stdout).expect("it writes text");
    let (_, notes) = text.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("{text}"));
    notes.to_owned()
}

#[test]
fn the_notes_say_what_to_do_next() {
    let missing = "No Prometheus is told to scrape it.";
    let nowhere = "set prometheusRule.runbookUrl";
    let forgets = "WARNING: persistence.enabled is false.";
    let of_least = notes(&least());
    assert!(
        of_least.contains("rollout status deployment/prod-cortex-workflow-exporter"),
        "{of_least}"
    );
    assert!(
        of_least.contains("http://localhost:10058/") && of_least.contains(missing),
        "{of_least}"
    );
    assert!(!of_least.contains(nowhere) && !of_least.contains(forgets), "{of_least}");
    let of_all = notes(&with(everything(), &[("persistence.enabled", json!(false))]));
    assert!(of_all.contains("https://localhost:10058/") && !of_all.contains(missing), "{of_all}");
    let of_pair = with(pair(), &[("serviceMonitor.enabled", json!(false))]);
    let of_pair = notes(&of_pair);
    assert!(of_pair.contains(missing) && of_pair.contains("discover the pods"), "{of_pair}");
    assert!(!of_pair.contains(forgets), "{of_pair}");
    assert!(of_all.contains(nowhere) && of_all.contains(forgets), "{of_all}");
}
