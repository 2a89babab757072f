//! The chart's values: each has its effect, and what cannot work is refused.

use super::*;

/// A value set otherwise, the place where that shows (a kind, then a path in it), and what is there
/// then: JSON, or nothing where there is no such resource or field.
type Effect = (&'static str, &'static str, &'static str, Option<&'static str>);

const POD: &str = "Deployment/spec/template/spec";
const CONTAINER: &str = "Deployment/spec/template/spec/containers/0";

/// For each value an effect, beside [`everything`].
const EFFECTS: &[Effect] = &[
    ("nameOverride", r#""cwe""#, "Service/metadata/name", Some(r#""prod-cwe""#)),
    ("fullnameOverride", r#""cwe""#, "Service/metadata/name", Some(r#""cwe""#)),
    ("commonLabels", r#"{"team": "a"}"#, "Service/metadata/labels/team", Some(r#""a""#)),
    ("image.repository", r#""r.test/x""#, "C/image", Some(r#""r.test/x:0.1.0""#)),
    ("image.tag", r#""2""#, "C/image", Some(r#""registry.test/exporter:2""#)),
    (
        "image.digest",
        r#""sha256:0123456789012345678901234567890123456789012345678901234567890123""#,
        "C/image",
        Some(
            r#""registry.test/exporter@sha256:0123456789012345678901234567890123456789012345678901234567890123""#,
        ),
    ),
    ("image.pullPolicy", r#""Always""#, "C/imagePullPolicy", Some(r#""Always""#)),
    ("imagePullSecrets", r#"[{"name": "p"}]"#, "P/imagePullSecrets/0/name", Some(r#""p""#)),
    ("replicaCount", "0", "Deployment/spec/replicas", Some("0")),
    ("apiKey", r#"{"existingSecret": "k"}"#, "P/volumes/1/secret/secretName", Some(r#""k""#)),
    ("apiKey", r#"{"existingSecret": "k"}"#, "Secret", None),
    ("apiKey", r#"{"value": "abc"}"#, "Secret/data/api-key", Some(r#""YWJj""#)),
    ("apiKey", r#"{"value": "abc", "secretKey": "k"}"#, "Secret/data/k", Some(r#""YWJj""#)),
    ("postgresql.existingSecret", r#""db""#, "PersistentVolumeClaim", None),
    (
        "postgresql",
        r#"{"existingSecret": "db", "secretKey": "dsn"}"#,
        "C/env/2/valueFrom/secretKeyRef",
        Some(r#"{"name": "db", "key": "dsn"}"#),
    ),
    (
        "postgresql",
        r#"{"existingSecret": "db", "port": 6432}"#,
        "NetworkPolicy/spec/egress/0/ports/3/port",
        Some("6432"),
    ),
    ("persistence.enabled", "false", "PersistentVolumeClaim", None),
    ("persistence.enabled", "false", "P/volumes/3/emptyDir", Some("{}")),
    ("persistence.existingClaim", r#""mine""#, "PersistentVolumeClaim", None),
    (
        "persistence.existingClaim",
        r#""mine""#,
        "P/volumes/3/persistentVolumeClaim/claimName",
        Some(r#""mine""#),
    ),
    (
        "persistence.size",
        r#""2Gi""#,
        "PersistentVolumeClaim/spec/resources/requests/storage",
        Some(r#""2Gi""#),
    ),
    (
        "persistence.storageClass",
        r#""fast""#,
        "PersistentVolumeClaim/spec/storageClassName",
        Some(r#""fast""#),
    ),
    (
        "persistence.accessMode",
        r#""ReadWriteOncePod""#,
        "PersistentVolumeClaim/spec/accessModes",
        Some(r#"["ReadWriteOncePod"]"#),
    ),
    (
        "persistence.annotations",
        r#"{"helm.sh/resource-policy": null, "a": "b"}"#,
        "PersistentVolumeClaim/metadata/annotations",
        Some(r#"{"a": "b"}"#),
    ),
    (
        "config",
        r#"{"log": {"level": "debug"}}"#,
        "ConfigMap/data/config.yml",
        Some(
            r#""cortex:\n  api_key_file: /run/secrets/cortex/api-key\nlog:\n  format: json\n  level: debug\n""#,
        ),
    ),
    (
        "config",
        r#"{"web": {"telemetry_path": "/m"}}"#,
        "PodMonitor/spec/podMetricsEndpoints/0/path",
        Some(r#""/m""#),
    ),
    ("webConfig", r#"{"existingSecret": "w"}"#, "P/volumes/2/secret/secretName", Some(r#""w""#)),
    (
        "webConfig",
        r#"{"existingSecret": "w"}"#,
        "PodMonitor/spec/podMetricsEndpoints/0/scheme",
        None,
    ),
    ("webConfig.tls", "false", "C/livenessProbe/httpGet/scheme", None),
    ("extraEnv", r#"[{"name": "A", "value": "b"}]"#, "C/env/2/name", Some(r#""A""#)),
    ("extraVolumes", r#"[{"name": "ca", "emptyDir": {}}]"#, "P/volumes/5/name", Some(r#""ca""#)),
    (
        "extraVolumeMounts",
        r#"[{"name": "ca", "mountPath": "/ca"}]"#,
        "C/volumeMounts/5/mountPath",
        Some(r#""/ca""#),
    ),
    ("service.type", r#""NodePort""#, "Service/spec/type", Some(r#""NodePort""#)),
    ("service.port", "80", "Service/spec/ports/0/port", Some("80")),
    ("service.annotations", r#"{"a": "b"}"#, "Service/metadata/annotations/a", Some(r#""b""#)),
    ("serviceAccount.create", "false", "ServiceAccount", None),
    ("serviceAccount.create", "false", "P/serviceAccountName", Some(r#""default""#)),
    ("serviceAccount.name", r#""sa""#, "P/serviceAccountName", Some(r#""sa""#)),
    (
        "serviceAccount.annotations",
        r#"{"a": "b"}"#,
        "ServiceAccount/metadata/annotations/a",
        Some(r#""b""#),
    ),
    (
        "podAnnotations",
        r#"{"a": "b"}"#,
        "Deployment/spec/template/metadata/annotations/a",
        Some(r#""b""#),
    ),
    ("podLabels", r#"{"a": "b"}"#, "Deployment/spec/template/metadata/labels/a", Some(r#""b""#)),
    ("podSecurityContext", r#"{"fsGroup": 1}"#, "P/securityContext/fsGroup", Some("1")),
    ("securityContext", r#"{"runAsUser": 1}"#, "C/securityContext/runAsUser", Some("1")),
    (
        "resources",
        r#"{"limits": {"memory": "1Gi"}}"#,
        "C/resources/limits/memory",
        Some(r#""1Gi""#),
    ),
    ("livenessProbe", r#"{"periodSeconds": 7}"#, "C/livenessProbe/periodSeconds", Some("7")),
    (
        "livenessProbe",
        r#"{"httpGet": null, "tcpSocket": {"port": "http"}}"#,
        "C/livenessProbe/httpGet",
        None,
    ),
    ("readinessProbe", r#"{"periodSeconds": 7}"#, "C/readinessProbe/periodSeconds", Some("7")),
    ("startupProbe", r#"{"periodSeconds": 7}"#, "C/startupProbe/periodSeconds", Some("7")),
    ("priorityClassName", r#""high""#, "P/priorityClassName", Some(r#""high""#)),
    ("nodeSelector", r#"{"a": "b"}"#, "P/nodeSelector/a", Some(r#""b""#)),
    ("tolerations", r#"[{"key": "a"}]"#, "P/tolerations/0/key", Some(r#""a""#)),
    ("affinity", r#"{"podAffinity": {}}"#, "P/affinity", Some(r#"{"podAffinity": {}}"#)),
    (
        "topologySpreadConstraints",
        r#"[{"maxSkew": 1}]"#,
        "P/topologySpreadConstraints/0/maxSkew",
        Some("1"),
    ),
    ("podMonitor.enabled", "false", "PodMonitor", None),
    ("prometheusRule.enabled", "false", "PrometheusRule", None),
    ("prometheusRule.namespace", r#""m""#, "PrometheusRule/metadata/namespace", Some(r#""m""#)),
    ("prometheusRule.labels", r#"{"a": "b"}"#, "PrometheusRule/metadata/labels/a", Some(r#""b""#)),
    (
        "prometheusRule.runbookUrl",
        r#""https://wiki.test/""#,
        "PrometheusRule/spec/groups/0/rules/0/annotations/runbook_url",
        Some(r#""https://wiki.test/deploy/prometheus/README.md#cortexworkflowexporterdown""#),
    ),
    ("dashboards.enabled", "false", "Dashboard", None),
    ("dashboards.namespace", r#""m""#, "Dashboard/metadata/namespace", Some(r#""m""#)),
    ("dashboards.labels", r#"{"a": "b"}"#, "Dashboard/metadata/labels/a", Some(r#""b""#)),
    ("dashboards.annotations", r#"{"a": "b"}"#, "Dashboard/metadata/annotations/a", Some(r#""b""#)),
    ("networkPolicy.enabled", "false", "NetworkPolicy", None),
    ("networkPolicy.from", "[]", "NetworkPolicy/spec/ingress/0/from", Some("[]")),
    (
        "networkPolicy.egressPorts",
        "[8443]",
        "NetworkPolicy/spec/egress/0/ports/2/port",
        Some("8443"),
    ),
];

/// The same beside [`pair`].
const EFFECTS_ON_A_PAIR: &[Effect] = &[
    ("replicaCount", "3", "Deployment/spec/replicas", Some("3")),
    ("replicaCount", "1", "PodDisruptionBudget", None),
    ("replicaCount", "1", "P/affinity", None),
    ("podDisruptionBudget.enabled", "false", "PodDisruptionBudget", None),
    ("affinity", r#"{"podAffinity": {}}"#, "P/affinity", Some(r#"{"podAffinity": {}}"#)),
];

/// The values that both monitors have, with a value that shows under the same name in the endpoint.
const OF_MONITORS: &[(&str, &str)] = &[
    ("interval", r#""30s""#),
    ("scrapeTimeout", r#""9s""#),
    ("basicAuth", r#"{"username": {"name": "a", "key": "b"}}"#),
    ("tlsConfig", r#"{"insecureSkipVerify": true}"#),
    ("relabelings", r#"[{"action": "drop"}]"#),
    ("metricRelabelings", r#"[{"action": "drop"}]"#),
];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What is at a place; nothing where there is no such resource or field.
fn at(place: &str, resources: &[Value]) -> Option<Value> {
    let place = match place.split_once('/') {
        Some(("C", rest)) => format!("{CONTAINER}/{rest}"),
        Some(("P", rest)) => format!("{POD}/{rest}"),
        _ => place.to_owned(),
    };
    let (kind, rest) = place.find('/').map_or((&place[..], ""), |slash| place.split_at(slash));
    let is_board =
        |it: &Value| it["metadata"]["name"].as_str().unwrap_or_default().ends_with("-fleet");
    let mut of_kind = resources.iter().filter(|it| match kind {
        "Dashboard" => it["kind"] == "ConfigMap" && is_board(it),
        "ConfigMap" => it["kind"] == "ConfigMap" && it["data"]["config.yml"].is_string(),
        _ => it["kind"] == kind,
    });
    of_kind.next().and_then(|it| it.pointer(rest)).cloned()
}

/// Values, and what they come to.
struct Base {
    values: Value,
    resources: Vec<Value>,
}

impl Base {
    fn new(values: Value) -> Self {
        Self { resources: rendered(&values), values }
    }

    /// What is wrong with the effect that a value has beside these.
    fn trouble(&self, changed: &str, value: &str, place: &str, expected: Option<&Value>) -> String {
        let resources = rendered(&with(self.values.clone(), &[(changed, json(value))]));
        let (before, after) = (at(place, &self.resources), at(place, &resources));
        if after.as_ref() == expected && before != after {
            return String::new();
        }
        format!("{changed}: {value} at {place}: before {before:?}, then {after:?}\n")
    }
}

#[test]
fn every_value_has_its_effect() {
    let base = Base::new(everything());
    let mut troubles = String::new();
    for (changed, value, place, expected) in EFFECTS {
        troubles += &base.trouble(changed, value, place, expected.map(json).as_ref());
    }
    let pair = Base::new(pair());
    for (changed, value, place, expected) in EFFECTS_ON_A_PAIR {
        troubles += &pair.trouble(changed, value, place, expected.map(json).as_ref());
    }
    let pod = ("podMonitor", base, "PodMonitor", "podMetricsEndpoints");
    let service = Base::new(on_postgresql());
    let service = ("serviceMonitor", service, "ServiceMonitor", "endpoints");
    for (name, base, kind, endpoints) in [pod, service] {
        let mut check = |key: &str, value: &str, place: &str, expected: Option<Value>| {
            let place = format!("{kind}{place}");
            troubles += &base.trouble(&format!("{name}.{key}"), value, &place, expected.as_ref());
        };
        check("enabled", "false", "", None);
        check("namespace", r#""m""#, "/metadata/namespace", Some(json!("m")));
        check("labels", r#"{"a": "b"}"#, "/metadata/labels/a", Some(json!("b")));
        for (key, value) in OF_MONITORS {
            check(key, value, &format!("/spec/{endpoints}/0/{key}"), Some(json(value)));
        }
    }
    assert!(troubles.is_empty(), "{troubles}");
}

/// Whether an effect of this value is asserted: set by itself, or with others of its section.
fn has_effect(value: &str) -> bool {
    let (section, key) = value.rsplit_once('.').unwrap_or(("", value));
    let of_monitors = ["enabled", "namespace", "labels"];
    let mut keys = OF_MONITORS.iter().map(|(key, _)| *key).chain(of_monitors);
    (section.ends_with("Monitor") && keys.any(|it| it == key))
        || EFFECTS.iter().chain(EFFECTS_ON_A_PAIR).any(|(changed, alternative, ..)| {
            *changed == value || *changed == section && json(alternative).get(key).is_some()
        })
}

#[test]
fn no_value_is_left_out() {
    let values = documents::values();
    assert!(values.len() > 60, "{values:?}");
    let without: Vec<_> = values.iter().filter(|value| !has_effect(&value.path)).collect();
    assert!(without.is_empty(), "no effect is asserted of {without:?}");
    assert!(!has_effect("image.tagg") && !has_effect("podMonitor.interva"));
}

/// Values that cannot work, and the words that say why and what to do.
fn refusals() -> Vec<(Value, &'static [&'static str])> {
    let set = |changes: &[(&str, Value)]| with(least(), changes);
    let one = |path: &str, value: Value| set(&[(path, value)]);
    let postgresql = ("postgresql.existingSecret", json!("db"));
    vec![
        (json!({}), &["image.repository is missing", "deploy/Dockerfile", "apiKey.existingSecret"]),
        (
            one("apiKey.value", json!(KEY)),
            &["apiKey.value and apiKey.existingSecret", "remove one"],
        ),
        (one("apiKey", json!({})), &["there is no API key", "apiKey.existingSecret"]),
        (
            one("replicaCount", json!(2)),
            &["replicaCount: 2", "set postgresql.existingSecret", "set replicaCount to 1"],
        ),
        (one("replicaCount", json!(-1)), &["/replicaCount", "minimum"]),
        (
            set(&[postgresql, ("persistence.existingClaim", json!("c"))]),
            &["persistence.existingClaim", "postgresql.existingSecret", "remove one"],
        ),
        (
            one("persistence", json!({"enabled": false, "existingClaim": "c"})),
            &["persistence.existingClaim", "persistence.enabled is false", "set it to true"],
        ),
        (one("persistence.accessMode", json!("ReadWriteMany")), &["accessMode", "'ReadWriteOnce'"]),
        (
            set(&[("podMonitor.enabled", json!(true)), ("serviceMonitor.enabled", json!(true))]),
            &["podMonitor.enabled and serviceMonitor.enabled", "twice", "set one to false"],
        ),
        (one("webConfig.tls", json!(true)), &["webConfig.tls", "set webConfig.existingSecret"]),
        (
            one("config", json!({"state": {"url": "postgres://u:secret@db"}})),
            &["config.state.url", "use postgresql.existingSecret"],
        ),
        (
            one("config", json!({"web": {"config": {"file": "web.yml"}}})),
            &["config.web.config", "use webConfig.existingSecret"],
        ),
        (
            one("config", json!({"web": {"listen_address": ":80"}})),
            &["config.web.listen_address", "use service.port"],
        ),
        (
            one("config", json!({"cortex": {"api_key_file": "/key"}})),
            &["config.cortex.api_key_file", "use apiKey"],
        ),
        (
            one("extraEnv", json!([{"name": "CORTEX_API_KEY", "value": "secret"}])),
            &["extraEnv: CORTEX_API_KEY is set by the chart", "use apiKey"],
        ),
        (
            one("extraEnv", json!([{"name": "CORTEX_EXPORTER_STATE_URL", "value": "x"}])),
            &["extraEnv: CORTEX_EXPORTER_STATE_URL", "use postgresql.existingSecret"],
        ),
        (one("image.tagg", json!("1")), &["/image", "'tagg' not allowed"]),
        (one("replicas", json!(1)), &["'replicas' not allowed"]),
        (one("image.tag", json!(1.0)), &["/image/tag", "want string"]),
        (one("image.digest", json!("0123")), &["/image/digest", "sha256"]),
        (one("podMonitor.interval", json!("soon")), &["/podMonitor/interval"]),
    ]
}

#[test]
fn what_cannot_work_is_refused_with_its_name_and_the_way_out() {
    for (values, words) in refusals() {
        let why = templated(&path(CHART), &values).expect_err(&values.to_string());
        for word in words {
            assert!(why.contains(word), "{values}: {word} is missing in: {why}");
        }
        assert!(!why.contains("secret@") && !why.contains(KEY), "{why}");
    }
}
