//! The services of Docker Compose: whether they fit each other, the files that they mount, and the program.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{is_ignored, items, output, path, read, text, verdict, yaml};
use crate::support::{KEY, run, tool};

const DEMO: &str = "deploy/compose.yaml";
const CORTEX: &str = "deploy/compose.cortex.yaml";
const PAIR: &str = "deploy/compose.pair.yaml";
const PROMETHEUS: &str = "deploy/compose.prometheus.yml";
const PROMETHEUS_OF_PAIR: &str = "deploy/compose.pair.prometheus.yml";

/// What is combined: the demonstration, one's own workflows, and these with two exporters.
const COMBINATIONS: [&[&str]; 3] = [&[DEMO], &[DEMO, CORTEX], &[DEMO, CORTEX, PAIR]];

fn compose(files: &[&Path]) -> Command {
    let mut command = Command::new(tool("docker-compose"));
    command.env_remove("GIT_REVISION").env_remove("GRAFANA_ADMIN_PASSWORD");
    command.env("POSTGRES_PASSWORD", "of the database");
    for file in files {
        command.arg("-f").arg(file);
    }
    command.args(["config", "--format", "json"]);
    command
}

/// The whole of these files as Compose understands them.
fn composed(files: &[&str]) -> Value {
    let files: Vec<_> = files.iter().map(|file| path(file)).collect();
    let files: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    let text = output(&mut compose(&files));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn services(composed: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = composed["services"].as_object().expect("there are services");
    services.iter().map(|(name, service)| (name.as_str(), service))
}

#[test]
fn compose_understands_the_files_and_would_tell_if_it_did_not() {
    for (files, count) in COMBINATIONS.into_iter().zip([4, 4, 6]) {
        assert_eq!(services(&composed(files)).count(), count);
    }
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let broken = directory.path().join("compose.yaml");
    let text = read(DEMO).replace("depends_on:", "depends_onn:");
    fs::write(&broken, text).expect("there is room");
    // Its wrapper for Python has no exit code, so only JSON counts as a success.
    let (_, why) = verdict(&mut compose(&[&broken]));
    assert!(why.contains("depends_onn is not allowed"), "{why}");
}

#[test]
fn the_database_has_no_password_that_everybody_knows() {
    let files = COMBINATIONS[2].iter().map(|file| path(file)).collect::<Vec<_>>();
    let files: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    let (_, why) = verdict(compose(&files).env_remove("POSTGRES_PASSWORD"));
    assert!(why.contains("POSTGRES_PASSWORD is missing a value: choose a password"), "{why}");
}

#[test]
fn no_two_services_publish_one_port() {
    let all = composed(COMBINATIONS[2]);
    let ports = services(&all).flat_map(|(_, service)| items(&service["ports"]));
    let mut ports: Vec<_> = ports.map(|port| text(&port["published"])).collect();
    let count = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert!(count == 5 && ports.len() == count, "{count}: {ports:?}");
}

#[test]
fn images_of_others_have_a_version() {
    let all = composed(COMBINATIONS[2]);
    for (name, service) in services(&all).filter(|(_, service)| service["build"].is_null()) {
        let (_, tag) = text(&service["image"]).rsplit_once(':').unwrap_or_default();
        assert!(tag.contains('.'), "{name} takes whatever is newest: {}", service["image"]);
    }
}

#[test]
fn every_file_that_is_mounted_is_there() {
    let all = composed(COMBINATIONS[2]);
    let mut mounted = 0;
    for (name, service) in services(&all) {
        for mount in items(&service["volumes"]) {
            let source = text(&mount["source"]);
            if mount["type"] == "bind" {
                assert!(Path::new(source).exists(), "{name} mounts {source}");
                assert_eq!(mount["read_only"], true, "{name} could change {source}");
                mounted += 1;
            } else {
                assert!(all["volumes"][source].is_object(), "{name} mounts {source}");
            }
        }
    }
    assert!(mounted >= 5, "{all}");
}

/// Whether a service listens there: these publish the ports on which they do.
fn reachable(all: &Value, address: &str) -> bool {
    let (name, port) = address.split_once(':').unwrap_or((address, "80"));
    let port = port.parse::<u16>().unwrap_or_else(|error| panic!("{address}: {error}"));
    let ports = items(&all["services"][name]["ports"]);
    ports.iter().any(|mapping| mapping["target"] == port)
}

#[test]
fn every_service_is_called_by_its_name_and_port() {
    for (files, prometheus, count) in
        [(COMBINATIONS[0], PROMETHEUS, 3), (COMBINATIONS[2], PROMETHEUS_OF_PAIR, 4)]
    {
        assert_reachable(&composed(files), &yaml(prometheus), count);
    }
}

/// Asserts that somebody listens where Prometheus and Grafana look for it.
fn assert_reachable(all: &Value, prometheus: &Value, count: usize) {
    let groups = items(&prometheus["scrape_configs"])
        .iter()
        .chain(items(&prometheus["alerting"]["alertmanagers"]))
        .flat_map(|section| items(&section["static_configs"]));
    let mut targets: Vec<_> = groups.flat_map(|group| items(&group["targets"])).map(text).collect();
    let sources = yaml("grafana/provisioning/datasources/prometheus.yml");
    let urls = items(&sources["datasources"]).iter().map(|source| text(&source["url"]));
    targets.extend(urls.map(|url| url.trim_start_matches("http://")));
    assert_eq!(targets.len(), count, "{targets:?}");
    for target in targets {
        assert!(reachable(all, target), "nobody listens at {target}");
    }
}

#[test]
fn its_prometheus_differs_from_the_one_that_is_shipped_in_names_and_as_documented_for_a_pair() {
    let shipped = read("deploy/prometheus/prometheus.yml")
        .replace("localhost:9093", "alertmanager:9093")
        .replace("localhost:10058", "exporter:10058");
    let shipped: Value = serde_saphyr::from_str(&shipped).expect("it was YAML before");
    assert_eq!(yaml(PROMETHEUS), shipped);
    let mut pair = shipped;
    let targets = &mut pair["scrape_configs"][0]["static_configs"][0]["targets"];
    *targets = serde_json::json!(["exporter:10058", "exporter-2:10058"]);
    let document = read("deploy/README.md");
    let mut examples = document.split("```").filter_map(|part| part.strip_prefix("yaml\n"));
    let example = examples.find(|it| it.contains("relabel_configs")).expect("it is documented");
    let example: Value = serde_saphyr::from_str(example).expect("it is YAML");
    let relabelling = &example["scrape_configs"][0]["metric_relabel_configs"];
    pair["scrape_configs"][0]["metric_relabel_configs"] = relabelling.clone();
    assert_eq!(yaml(PROMETHEUS_OF_PAIR), pair);
}

#[test]
fn prometheus_and_alertmanager_take_what_is_mounted() {
    for files in [COMBINATIONS[0], COMBINATIONS[2]] {
        assert_taken(&composed(files));
    }
}

/// Asserts that the tools find nothing wrong in what these services are given.
fn assert_taken(all: &Value) {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    for (service, tool_name, arguments) in [
        ("prometheus", "promtool", &["check", "config"][..]),
        ("alertmanager", "amtool", &["check-config"]),
    ] {
        let root = directory.path().join(service);
        let service = &all["services"][service];
        for mount in items(&service["volumes"]) {
            let target = root.join(text(&mount["target"]).trim_start_matches('/'));
            fs::create_dir_all(target.parent().expect("it has one")).expect("there is room");
            if mount["type"] == "bind" {
                std::os::unix::fs::symlink(text(&mount["source"]), target).expect("there is room");
            }
        }
        let flags = items(&service["command"]).iter().map(text);
        let mut files = flags.filter_map(|flag| flag.strip_prefix("--config.file=/"));
        let file = root.join(files.next().expect("it is given its configuration"));
        let verdict = output(Command::new(tool(tool_name)).args(arguments).arg(file));
        assert!(verdict.contains("SUCCESS"), "{verdict}");
    }
}

#[test]
fn grafana_finds_its_dashboards_where_they_are_mounted() {
    let all = composed(COMBINATIONS[0]);
    let mounts = items(&all["services"]["grafana"]["volumes"]);
    let file = yaml("grafana/provisioning/dashboards/cortex-workflows.yml");
    let [provider] = items(&file["providers"]) else { panic!("{file}") };
    let mounted = |mount: &&Value| mount["target"] == provider["options"]["path"];
    let mount = mounts.iter().find(mounted).unwrap_or_else(|| panic!("{provider}: {mounts:?}"));
    assert_eq!(Path::new(text(&mount["source"])), path("grafana/dashboards"));
}

/// What the exporter says to a service: its exit code, and all that it wrote.
async fn check_config(exporter: &Value) -> (i32, String) {
    // Compose mounts a secret by its name there.
    let [secret] = items(&exporter["secrets"]) else { panic!("{exporter}") };
    let mounted = format!("/run/secrets/{}", text(&secret["source"]));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let key = directory.path().join("key");
    fs::write(&key, KEY).expect("there is room");
    let environment = exporter["environment"].as_object().expect("it has variables");
    let variables = environment.iter().map(|(name, value)| {
        let here = key.to_str().expect("its name is text");
        (name.as_str(), text(value).replace(&mounted, here))
    });
    let variables: Vec<_> = variables.collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &value[..])).collect();
    let mut command: Vec<_> = items(&exporter["command"]).iter().map(text).collect();
    command.push("--config.check");
    let (code, stdout, stderr) = run(&command, &variables).await;
    (code, stdout + &stderr)
}

#[tokio::test]
async fn the_demo_needs_no_key_and_the_real_thing_starts_with_one() {
    let demo = composed(COMBINATIONS[0]);
    assert_eq!(demo["services"]["exporter"]["command"], serde_json::json!(["demo"]));
    assert!(demo["secrets"].is_null() && !read(DEMO).contains("API_KEY"), "{demo}");
    let real = composed(COMBINATIONS[1]);
    let exporter = &real["services"]["exporter"];
    let (code, why) = check_config(exporter).await;
    assert_eq!(code, 0, "{why}");
    // Its ledger outlives the container.
    let state = read("deploy/Dockerfile");
    let [mount] = items(&exporter["volumes"]) else { panic!("{exporter}") };
    let ledger = format!("CORTEX_EXPORTER_STATE_URL=sqlite:{}/", text(&mount["target"]));
    assert!(state.contains(&ledger), "{ledger} is not in the Dockerfile");
}

#[tokio::test]
async fn both_of_a_pair_are_the_same_with_one_database() {
    let pair = composed(COMBINATIONS[2]);
    let [first, second] = ["exporter", "exporter-2"].map(|name| &pair["services"][name]);
    let first_object = first.as_object().expect("it has settings");
    for (key, value) in
        first_object.iter().filter(|(key, _)| !["ports", "volumes"].contains(&key.as_str()))
    {
        assert_eq!(second[key], *value, "{key}");
    }
    let (code, why) = check_config(second).await;
    assert_eq!(code, 0, "{why}");
    let database = &pair["services"]["postgres"]["environment"];
    let environment = &first["environment"];
    assert_eq!(environment["PGPASSWORD"], database["POSTGRES_PASSWORD"]);
    let url = format!("postgres://{0}@postgres/{0}", text(&database["POSTGRES_USER"]));
    assert_eq!(environment["CORTEX_EXPORTER_STATE_URL"], url);
}

#[test]
fn the_key_is_neither_committed_nor_sent_to_the_builder() {
    let real = composed(COMBINATIONS[1]);
    let secrets = real["secrets"].as_object().expect("there are secrets");
    let files = secrets.values().map(|secret| text(&secret["file"]).to_owned());
    for file in files {
        assert!(is_ignored(&file), "{file} could be committed");
    }
    assert!(!is_ignored("deploy/compose.yaml"), "what is no secret is committed");
}
