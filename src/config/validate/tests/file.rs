use std::fs;

use crate::config::{ApiKey, CommandLine, Config, LoggedRuns, Shard, load};

/// A directory with a configuration file, and a key beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn with(text: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("there is room for temporary files"));
        fs::write(place.path("config.yml"), text).expect("the file can be written");
        fs::write(place.path("key"), "secret").expect("the file can be written");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn read(&self, flags: &[&str]) -> Result<Config, String> {
        let file = format!("--config.file={}", self.path("config.yml"));
        let words: Vec<_> =
            ["exporter", "serve", &file].into_iter().chain(flags.to_owned()).collect();
        let line = CommandLine::of(&words, None).expect("a right line");
        load(&line).map_err(|errors| errors.errors.join("\n"))
    }
}

fn valid(text: &str) -> Config {
    Place::with(text).read(&[]).expect("a valid configuration")
}

/// What is said to a file with this text, with the name of the file left out.
fn wrong(text: &str) -> String {
    let place = Place::with(text);
    let errors = place.read(&[]).expect_err(text);
    errors.replace(&place.path("config.yml"), "FILE")
}

const KEY: &str = "cortex: {api_key_file: key}\n";

#[test]
fn all_listed_apps_are_divided_into_the_same_shards() {
    let config = valid(
        "workflows: {shard: 2/3}\ncortex: {api_key_file: key}\n\
         apps:\n- app_id: app_1\n- app_id: app_2\n  workflows: {include: [live]}\n",
    );
    let shards = config.apps.iter().map(|app| app.workflows.shard);
    assert_eq!(shards.collect::<Vec<_>>(), [Shard { number: 2, of: 3 }; 2]);
}

#[test]
fn every_flag_of_serve_can_be_set_in_the_file() {
    let config = valid(
        "cortex:\n  api_url: https://cortex.test\n  api_key_file: key\n  app_id: app_1\n  \
         rate_limit: 7\n  timeout: 5s\n  page_size: 9\n  verbose: true\n  allow_http: false\n\
         poll: {interval: 1m, sweep_interval: 10m}\n\
         history: {lookback: 1h}\n\
         workflows:\n  include: ['prod-.*', live]\n  exclude: .*-old\n  shard: 2/3\n\
         metrics: {hold_timeout: 5m}\n\
         state: {url: 'sqlite::memory:', retention: 60d}\n\
         web: {listen_address: ['127.0.0.1:1', ':2'], telemetry_path: /m, max_requests: 3,\n  \
         external_url: 'https://h/'}\n\
         log: {level: debug, format: json, runs: all}\n\
         links: {run_url: 'https://h/{run_id}'}\n",
    );
    let app = &config.apps[0];
    assert_eq!(app.cortex.api_url.as_str(), "https://cortex.test/");
    assert_eq!((app.cortex.app_id.as_str(), app.cortex.page_size), ("app_1", 9));
    assert_eq!((config.rate_limit, app.cortex.timeout.as_secs()), (7, 5));
    assert!(app.cortex.verbose);
    assert_eq!((app.workflows.include.len(), app.workflows.exclude.len()), (2, 1));
    assert_eq!(app.workflows.shard, Shard { number: 2, of: 3 });
    assert_eq!(config.poll.interval.as_secs(), 60);
    assert_eq!(config.poll.sweep_interval.as_secs(), 600);
    assert_eq!(config.history_lookback.as_secs(), 3600);
    assert_eq!(config.state.retention.as_secs(), 60 * 86_400);
    assert_eq!(config.web.listen_addresses.len(), 2);
    assert_eq!((config.web.telemetry_path.as_str(), config.web.max_requests), ("/m", 3));
    assert_eq!(config.web.external_url.as_deref(), Some("https://h"));
    assert_eq!(config.metrics.hold_timeout.as_secs(), 300);
    assert_eq!((config.log.level, config.log.runs), (tracing::Level::DEBUG, LoggedRuns::All));
    assert!(config.run_url.is_some());
}

#[test]
fn a_flag_wins_over_the_file() {
    let place = Place::with(
        "cortex: {api_key_file: key, rate_limit: 7, api_url: 'https://a.test'}\n\
         workflows: {include: [a, b]}\napps: [{app_id: app_1, api_url: 'https://b.test'}]\n",
    );
    let flags =
        ["--cortex.rate-limit=8", "--workflows.include=c", "--cortex.api-url=https://c.test"];
    let config = place.read(&flags).expect("a valid configuration");
    assert_eq!((config.rate_limit, config.apps[0].workflows.include.len()), (8, 1));
    assert_eq!(config.apps[0].cortex.api_url.as_str(), "https://c.test/");
    let config = place.read(&[]).expect("a valid configuration");
    assert_eq!((config.rate_limit, config.apps[0].workflows.include.len()), (7, 2));
    assert_eq!(config.apps[0].cortex.api_url.as_str(), "https://b.test/");
}

#[test]
fn apps_have_ids_addresses_keys_and_filters_of_their_own() {
    let config = valid(
        "cortex: {api_key_file: key, page_size: 9}\nworkflows: {include: [common]}\napps:\n\
         - app_id: app_1\n  workflows: {include: [own], exclude: [x]}\n\
         - app_id: app_2\n  api_url: https://cn.test\n  api_key_file: key\n\
         - app_id: app_3\n  api_key_env: PATH\n  workflows: {include: []}\n",
    );
    let include = |app: usize| {
        let patterns = config.apps[app].workflows.include.iter();
        patterns.map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(config.apps.len(), 3);
    assert_eq!((include(0), include(1)), (vec!["^(?:own)$".into()], vec!["^(?:common)$".into()]));
    assert_eq!(include(2), [""; 0]);
    assert!(config.apps.iter().all(|app| app.cortex.page_size == 9));
    assert_eq!(config.apps[1].cortex.api_url.as_str(), "https://cn.test/");
    let key = &config.apps[2].cortex.api_key;
    assert!(matches!(key, ApiKey::Variable { name, .. } if name == "PATH"));
}

#[test]
fn relative_paths_start_at_the_file() {
    let place = Place::with("cortex: {api_key_file: key}\nstate: {url: 'sqlite:sub/x.db'}\n");
    let config = place.read(&[]).expect("a valid configuration");
    assert_eq!(config.state.url, format!("sqlite:{}", place.path("sub/x.db")));
    assert!(matches!(&config.apps[0].cortex.api_key,
        ApiKey::File(path) if path.display().to_string() == place.path("key")));
}

#[test]
fn buckets_and_labels_come_from_the_file() {
    let config = valid(
        "cortex: {api_key_file: key}\nmetrics:\n  buckets:\n    run_duration: [1, 2.5]\n    \
         step_duration: [0.5]\n  labels: {team: ops, region: 'eu 1'}\n",
    );
    assert_eq!(
        (config.metrics.buckets.runs, config.metrics.buckets.steps),
        (vec![1.0, 2.5], vec![0.5])
    );
    assert_eq!(config.metrics.buckets.queues.len(), 14);
    let labels: Vec<_> = config.metrics.labels.iter().collect();
    assert_eq!(labels, [(&"region".into(), &"eu 1".into()), (&"team".into(), &"ops".into())]);
}

#[test]
fn everything_wrong_in_the_file_is_reported_at_once_with_its_place() {
    let errors = wrong(
        "cortex: {api_key_file: key}\n\
         poll: {intervall: 1s}\n\
         poll: {interval: 1s}\n\
         web: {max_requests: many, listen-address: ':1'}\n\
         log: [debug]\n\
         state: {url: 7, retention: 30}\n\
         cortex.timeout: 1s\n\
         metrics: {buckets: {run_duration: [1, x]}, labels: {a: 1}}\n\
         apps: [{app_id: 7}, 8, {app_id: x, app_id: y}]\n\
         7: x\n",
    );
    for part in [
        "FILE:2:8: poll: there is no key \"intervall\"; known here: interval, sweep_interval",
        "FILE:3:1: the key \"poll\" is there since line 2",
        "FILE:4:21: web.max_requests: a whole number is expected, and this is a string",
        "FILE:4:27: web: there is no key \"listen-address\"; write listen_address",
        "FILE:5:6: log: a section of keys with values is expected, and this is a list",
        "FILE:6:14: state.url: a string is expected, and this is a number",
        "FILE:6:28: state.retention: a string is expected, and this is a number; a duration needs its unit",
        "FILE:7:1: there is no key \"cortex.timeout\"",
        "FILE:8:39: metrics.buckets.run_duration: a list of numbers is expected, and this is a string",
        "FILE:8:56: metrics.labels: a string is expected, and this is a number",
        "FILE:9:17: apps[0].app_id: a string is expected",
        "FILE:9:21: apps[1]: a section of keys with values is expected, and this is a number",
        "FILE:9:36: apps[2]: the key \"app_id\" is there since line 9",
        "FILE:10:1: the name of a key is expected, and this is a number",
    ] {
        assert!(errors.contains(part), "{part} is not in:\n{errors}");
    }
    assert_eq!(errors.lines().count(), 14, "{errors}");
}

#[test]
fn values_that_make_no_sense_are_reported_with_the_place_and_not_the_flag() {
    let errors = wrong(
        "cortex: {api_key_file: none, rate_limit: 0}\npoll: {interval: soon}\n\
         workflows:\n  include:\n  - fine\n  - '('\n\
         web: {listen_address: nowhere}\nhistory: {lookback: 31d}\n\
         metrics:\n  buckets: {run_duration: [2, 1], queue_duration: [], step_duration: [0]}\n  \
         labels: {workflow: x, __a: x, a-b: x, c: ''}\n",
    );
    for part in [
        "FILE:1:42: cortex.rate_limit: \"0\" is not a whole number",
        "FILE:1:24: cortex.api_key_file: cannot read the API key from",
        "FILE:2:18: poll.interval: \"soon\" is not a duration",
        "FILE:6:5: workflows.include: \"(\" is not a regular expression",
        "FILE:7:23: web.listen_address: \"nowhere\"",
        "FILE:8:21: history.lookback: it reaches further back",
        "FILE:10:27: metrics.buckets.run_duration: upper bounds",
        "FILE:10:51: metrics.buckets.queue_duration: 0 upper bounds",
        "FILE:10:70: metrics.buckets.step_duration: upper bounds",
        "FILE:11:12: metrics.labels: \"workflow\" is taken",
        "FILE:11:25: metrics.labels: \"__a\" is Prometheus' own",
        "FILE:11:33: metrics.labels: \"a-b\" is no label",
        "FILE:11:41: metrics.labels: \"c\" is empty",
    ] {
        assert!(errors.contains(part), "{part} is not in:\n{errors}");
    }
    assert!(!errors.contains("CORTEX_"), "{errors}");
}

#[test]
fn apps_that_make_no_sense_are_reported_with_their_place() {
    let errors = wrong(
        "cortex: {app_id: app_0}\napps:\n- app_id: app_1\n- app_id: app_1\n  api_key_file: key\n\
         - app_id: app_2\n  api_key_file: key\n  api_key_env: X\n- api_key_env: NO_SUCH_VARIABLE_17\n\
         - app_id: app_4\n  api_key_file: none\n  api_url: http://cortex.test\n  \
         workflows: {exclude: ['(']}\n",
    );
    for part in [
        "FILE:1:18: cortex.app_id: the configuration file lists apps",
        "FILE:3:3: apps[0].api_key_file: it has no API key",
        "FILE:8:16: apps[2].api_key_env: api_key_file and api_key_env are both there",
        "FILE:9:3: apps[3].app_id: it is missing",
        "FILE:9:16: apps[3].api_key_env: the variable NO_SUCH_VARIABLE_17 is not set",
        "apps[4].api_key_file: cannot read the API key",
        "FILE:12:12: apps[4].api_url: plain http would show the key",
        "FILE:13:25: apps[4].workflows.exclude: \"(\" is not a regular expression",
    ] {
        assert!(errors.contains(part), "{part} is not in:\n{errors}");
    }
    let twice = format!("{KEY}apps: [{{app_id: c}}, {{app_id: c}}]\n");
    let errors = wrong(&twice);
    assert!(errors.contains("FILE:2:30: apps[1].app_id: \"c\" is an app already"), "{errors}");
    assert!(wrong(&format!("{KEY}apps: []\n")).contains("apps: no app is listed"));
}

#[test]
fn an_id_or_key_for_one_app_cannot_be_given_beside_a_list_of_apps() {
    let place = Place::with("apps: [{app_id: c, api_key_file: key}]\n");
    let key = format!("--cortex.api-key-file={}", place.path("key"));
    let errors = place.read(&["--cortex.app-id=x", &key]).expect_err("they contradict the list");
    for flag in ["--cortex.app-id (or CORTEX_APP_ID)", "--cortex.api-key-file"] {
        assert!(errors.contains(flag), "{errors}");
    }
    Place::with("apps: [{app_id: c}]\n").read(&[&key]).expect("the app has no key of its own");
}

#[test]
fn variables_are_not_expanded_and_keys_not_written_here() {
    let errors = wrong("cortex: {api_url: 'https://${HOST}/', api_key: hunter2}\n");
    assert!(errors.contains("FILE:1:19: cortex.api_url: variables are not expanded"), "{errors}");
    assert!(
        errors.contains("FILE:1:39: cortex: there is no key \"api_key\": the API key is never")
    );
    assert!(!errors.contains("HOST") && !errors.contains("hunter2"), "{errors}");
    // A regular expression may end at a dollar sign, and a label hold one.
    valid(&format!(
        "{KEY}workflows: {{include: ['a$', '^b{{2}}$']}}\nmetrics: {{labels: {{a: $5}}}}\n"
    ));
}

#[test]
fn an_empty_file_sets_nothing_and_a_missing_one_is_named() {
    let place = Place::with("# nothing yet\n");
    let key = format!("--cortex.api-key-file={}", place.path("key"));
    let config = place.read(&[&key]).expect("a valid configuration");
    assert_eq!(config.rate_limit, 400);
    fs::remove_file(place.path("config.yml")).expect("it is there");
    let error = place.read(&[&key]).expect_err("it is gone");
    assert!(error.contains(&place.path("config.yml")) && error.contains("cannot read"), "{error}");
}

#[test]
fn a_team_names_classes_of_errors_of_its_own() {
    let classes = "failures: {classes: [{name: crm, pattern: 'Sales[Ff]orce'}]}\n";
    let config = valid(&format!("{KEY}{classes}"));
    let class = config.apps[0].cortex.error_classes.classify("503 from salesforce");
    assert_eq!(class.as_str(), "crm");
    let many: String = (0..17).map(|_| "{name: a, pattern: b}, ").collect();
    for (text, errors) in [
        (
            "{classes: crm}",
            vec!["FILE:2:21: failures.classes: a list of names and patterns is expected"],
        ),
        (
            "{classes: [{name: CRM, pattern: '('}, {name: '', pattern: 1}]}",
            vec![
                "failures.classes[0].name: \"CRM\" is not a name of 1 to 32 characters from a-z and _",
                "failures.classes[0].pattern: \"(\" is not a regular expression",
                "failures.classes[1].name: \"\" is not a name",
                "failures.classes[1].pattern: a string is expected",
            ],
        ),
        (
            "{classes: [{name: crm}, {pattern: x, text: y}]}",
            vec![
                "[0]: its pattern is missing",
                "[1]: there is no key \"text\"",
                "[1]: its name is missing",
            ],
        ),
        (&format!("{{classes: [{many}]}}"), vec!["failures.classes[16]: more than 16 classes"]),
    ] {
        let said = wrong(&format!("{KEY}failures: {text}\n"));
        for error in errors {
            assert!(said.contains(error), "{text}: {error} is missing in\n{said}");
        }
    }
}
