mod file;

use std::{net::Ipv6Addr, time::Duration};

use super::*;
use crate::config::{ApiKey, AppConfig, LogFormat, LoggedRuns, Shard};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads what a command line comes to; the errors one by one.
fn read(command: &str, flags: &[&str], key: Option<&str>) -> Result<Config, Vec<String>> {
    let words: Vec<_> = ["exporter", command].into_iter().chain(flags.iter().copied()).collect();
    let line = CommandLine::of(&words, key).expect("a right line");
    load(&line).map_err(|errors| errors.errors)
}

fn serve(flags: &[&str], key: Option<&str>) -> Result<Config, String> {
    read("serve", flags, key).map_err(|errors| errors.join("\n"))
}

fn valid(flags: &[&str]) -> Config {
    serve(flags, Some("secret")).expect("a valid configuration")
}

/// The only app of a valid configuration.
fn app(flags: &[&str]) -> AppConfig {
    let [app] = &valid(flags).apps[..] else { panic!("one app is read") };
    app.clone()
}

fn wrong(flags: &[&str]) -> String {
    serve(flags, Some("secret")).expect_err("a wrong configuration")
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = valid(&[]);
    let cortex = app(&[]).cortex;
    assert_eq!(cortex.api_url.as_str(), "https://api.withcortex.ai/");
    assert_eq!(cortex.app_id.as_str(), "c");
    assert_eq!((config.rate_limit, cortex.page_size), (400, 100));
    assert_eq!(cortex.timeout, 30 * SECOND);
    assert!(!cortex.verbose && !config.check_only && config.metrics.labels.is_empty());
    assert_eq!(config.poll.interval, 30 * SECOND);
    assert_eq!(config.poll.sweep_interval, 300 * SECOND);
    assert_eq!(config.history_lookback, Duration::ZERO);
    assert_eq!(config.state.url, "sqlite:cortex-workflow-exporter.db");
    assert_eq!(config.state.retention, 30 * DAY);
    assert_eq!(config.web.listen_addresses, [(Ipv6Addr::UNSPECIFIED, 10058).into()]);
    assert_eq!(config.web.telemetry_path, "/metrics");
    assert_eq!(config.web.max_requests, 40);
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(config.log.format, LogFormat::Logfmt);
    assert_eq!(config.log.runs, LoggedRuns::Failed);
    assert!(config.run_url.is_none() && config.web.external_url.is_none());
}

#[test]
fn everything_wrong_is_reported_at_once_with_flag_and_variable() {
    let flags = [
        "--cortex.rate-limit=0",
        "--cortex.app-id=a\u{7}",
        "--poll.interval=soon",
        "--state.retention=1h",
        "--workflows.include=(",
        "--workflows.include=[",
        "--web.max-requests=-1",
        "--log.level=loud",
        "--log.runs=some",
        "--config.check=perhaps",
    ];
    let errors = read("serve", &flags, None).expect_err("nothing is right");
    assert_eq!(errors.len(), flags.len() + 1, "{errors:#?}");
    let text = errors.join("\n");
    for part in [
        "CORTEX_API_KEY",
        "--cortex.rate-limit (or CORTEX_EXPORTER_CORTEX_RATE_LIMIT): \"0\" is not a whole number from 1 to 1000000",
        "--cortex.app-id (or CORTEX_APP_ID)",
        "--poll.interval (or CORTEX_EXPORTER_POLL_INTERVAL): \"soon\" is not a duration",
        "--state.retention (or CORTEX_EXPORTER_STATE_RETENTION): \"1h\" is not between 1day and",
        "\"(\" is not a regular expression",
        "\"[\" is not a regular expression",
        "--web.max-requests",
        "\"loud\"",
        "\"some\" is not one of off, failed and all",
        "\"perhaps\"",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn exactly_one_source_of_the_key_is_wanted_and_it_is_tried() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&file, "secret\n").expect("writable");
    let path = file.path().to_str().expect("plain path");
    let flags = ["--cortex.api-key-file", path];
    let from_file = serve(&flags, None).expect("a valid configuration");
    assert!(matches!(from_file.apps[0].cortex.api_key, ApiKey::File(_)));

    for (flags, key, part) in [
        (&[][..], None, "there is no API key"),
        (&flags, Some("secret"), "both CORTEX_API_KEY and"),
        (&[], Some("a secret"), "other than printable ASCII"),
        (&["--cortex.api-key-file=/no/such"], None, "/no/such"),
    ] {
        let error = serve(flags, key).expect_err(part);
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn plain_http_is_for_loopback_unless_allowed() {
    for url in ["http://127.9.9.9:1/", "http://[::1]:1/", "http://localhost/", "https://h/base"] {
        assert_eq!(app(&["--cortex.api-url", url]).cortex.api_url.as_str(), url);
    }
    valid(&["--cortex.api-url=http://cortex.test", "--cortex.allow-http"]);
    for (url, part) in [
        ("http://cortex.test", "--cortex.allow-http"),
        ("http://localhost.test", "--cortex.allow-http"),
        ("https://h/?a=b", "remove"),
        ("https://h/#a", "remove"),
        ("ftp://h", "use https"),
        ("api.withcortex.ai", "not a URL"),
        ("https://me:hunter2@h/", "user or password"),
    ] {
        let error = wrong(&["--cortex.api-url", url]);
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn people_reach_the_exporter_at_an_address_that_paths_can_be_appended_to() {
    assert_eq!(valid(&[]).web.external_url, None);
    for (url, expected) in [
        ("https://h", "https://h"),
        ("http://H:10058/", "http://h:10058"),
        ("https://h/cortex/", "https://h/cortex"),
        ("https://h/a/b//", "https://h/a/b"),
        ("https://größe.test/ä", "https://xn--gre-6ka8i.test/%C3%A4"),
        ("http://[::1]:1", "http://[::1]:1"),
    ] {
        let external_url = valid(&["--web.external-url", url]).web.external_url;
        assert_eq!(external_url.as_deref(), Some(expected), "{url}");
    }
    for (url, part) in [
        ("exporter.example", "not a URL like https://exporter.example/cortex"),
        ("", "not a URL"),
        ("//h", "not a URL"),
        ("\"https://h\"", "not a URL"),
        ("https://", "not a URL"),
        ("ftp://h", "use https"),
        ("javascript:alert(1)", "use https"),
        ("https://h/?a=b", "remove"),
        ("https://h/#a", "remove"),
        ("https://me:hunter2@h/", "user or password"),
        ("https://me@h/", "user or password"),
    ] {
        let error = wrong(&["--web.external-url", url]);
        assert!(error.contains("--web.external-url"), "{error}");
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_password_of_the_database_is_shown_nowhere() {
    let config = valid(&["--state.url=postgres://me:hunter2@db/exporter"]);
    assert!(!format!("{config:?}").contains("hunter2"));
    for url in [
        "postgrs://me:hunter2@db/x",
        "postgres://me:hunter2@:x",
        "sqlite:",
        "sqlite://",
        // SQLite would open another file than the one of this name.
        "sqlite:file:a.db",
        "sqlite://file:/a.db?mode=ro",
        "sqlite:file::memory:",
    ] {
        let error = wrong(&["--state.url", url]);
        assert!(error.contains("use sqlite:FILE"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for url in ["sqlite::memory:", "sqlite:/a/b.db", "sqlite:///a/b.db", "postgresql://db/x"] {
        assert_eq!(valid(&["--state.url", url]).state.url, url);
    }
}

#[test]
fn patterns_match_whole_names_and_come_one_per_line() {
    let app = app(&["--workflows.include=prod-.*|a,b\nlive\n", "--workflows.exclude=.*-old"]);
    let id = crate::model::WorkflowId::new("work_1").expect("an id");
    for (name, admitted) in [
        ("prod-x", true),
        ("live", true),
        ("a,b", true),
        ("my-prod-x", false),
        ("lively", false),
        ("prod-old", false),
    ] {
        assert_eq!(app.workflows.admits(&id, name), admitted, "{name}");
    }
    assert!(wrong(&["--workflows.include=a)|(b"]).contains("regular expression"));
}

#[test]
fn addresses_may_be_many_and_bad_ones_are_refused() {
    let addresses = |flags: &[&str]| {
        let addresses = valid(flags).web.listen_addresses;
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        addresses(&[
            "--web.listen-address=127.0.0.1:1, [::1]:2\n:3",
            "--web.listen-address=0.0.0.0:4"
        ]),
        ["127.0.0.1:1", "[::1]:2", "[::]:3", "0.0.0.0:4"]
    );
    assert_eq!(addresses(&["--web.listen-address=localhost:5"]), ["127.0.0.1:5"]);
    for address in ["10058", "127.0.0.1", ":x", ":70000", ","] {
        assert!(wrong(&["--web.listen-address", address]).contains("like :10058"), "{address}");
    }
}

#[test]
fn the_metrics_may_not_hide_another_page() {
    for path in [
        "/",
        "/-/ready",
        "/livez",
        "/runs/x",
        "/workflows/x/last-failed-run",
        "metrics",
        "/a b",
        "/{x}",
        "//x",
        "",
    ] {
        assert!(wrong(&["--web.telemetry-path", path]).contains("--web.telemetry-path"), "{path}");
    }
    assert_eq!(valid(&["--web.telemetry-path=/a/b-c"]).web.telemetry_path, "/a/b-c");
}

#[test]
fn a_lookback_beyond_the_retention_is_refused() {
    assert!(wrong(&["--history.lookback=31d"]).contains("--state.retention"));
    valid(&["--history.lookback=31d", "--state.retention=60d"]);
}

#[test]
fn the_sweep_is_never_more_frequent_than_the_polls() {
    let poll = valid(&["--poll.interval=10m"]).poll;
    assert_eq!(poll.sweep_interval, poll.interval);
}

#[test]
fn the_simulator_stays_on_loopback() {
    for address in ["0.0.0.0:10059", ":10059", "192.0.2.1:1"] {
        let errors = read("simulate", &["--simulator.listen-address", address], None);
        assert!(errors.expect_err(address).concat().contains("loopback only"));
    }
    let simulator = read("simulate", &["--seed=7"], None).expect("valid").simulator;
    assert_eq!(simulator.seed, 7);
    assert_eq!(simulator.listen_address, ([127, 0, 0, 1], 10059).into());
}

#[test]
fn demo_needs_no_flag_and_once_only_a_key() {
    let demo = read("demo", &[], None).expect("valid");
    assert!(demo.simulator.listen_address.ip().is_loopback());
    let once = read("once", &["--cortex.verbose"], Some("secret")).expect("valid");
    assert!(once.apps[0].cortex.verbose && once.apps[0].workflows.include.is_empty());
}

#[test]
fn every_default_is_valid_and_what_a_reload_refuses_is_in_the_file() {
    for setting in SETTINGS {
        if !setting.default.is_empty() {
            let flag = format!("--{}={}", setting.name, setting.default);
            let command = if setting.key().is_some() || setting.name.starts_with("config.") {
                "serve"
            } else {
                "simulate"
            };
            let read = read(command, &[&flag], Some("secret"));
            assert!(read.is_ok(), "{flag}: {:?}", read.err());
        }
        assert!(setting.key().is_some() || !setting.needs_restart(), "{}", setting.name);
    }
    let (now, before) = (valid(&["--web.max-requests=3"]), valid(&["--poll.interval=1m"]));
    assert_eq!(crate::config::needing_restart(&now, &before), ["web.max_requests"]);
}

#[test]
fn a_shard_is_one_of_several() {
    for (text, number, of) in [("1/1", 1, 1), ("2/3", 2, 3), ("1000/1000", 1000, 1000)] {
        let app = app(&[&format!("--workflows.shard={text}")]);
        assert_eq!(app.workflows.shard, Shard { number, of });
    }
    for text in ["0/3", "4/3", "x", "2", "1/0", "-1/3", "1/1001", "1/2/3", "a/b"] {
        let error = wrong(&[&format!("--workflows.shard={text}")]);
        assert!(error.contains("--workflows.shard") && error.contains("write 1/3"), "{error}");
    }
}

#[test]
fn a_copy_needs_both_places_and_shows_no_password() {
    let copy = |flags: &[&str]| {
        let words: Vec<_> = ["exporter", "state", "copy"].iter().chain(flags).copied().collect();
        let line = CommandLine::of(&words, None).expect("a right line");
        load(&line).map_err(|errors| errors.errors.join("\n"))
    };
    let (from, to) = ("--from=sqlite:a.db", "--to=postgres://u:hunter2@h/d");
    let config = copy(&[from, to]).expect("valid");
    assert_eq!(config.copy.from, "sqlite:a.db");
    assert!(!format!("{config:?}").contains("hunter2"));
    let error = copy(&[]).expect_err("both are missing");
    assert!(error.contains("--from") && error.contains("--to"), "{error}");
    let error = copy(&[from, "--to=mysql://u:hunter2@h/d"]).expect_err("no such engine");
    assert!(error.contains("--to") && !error.contains("hunter2"), "{error}");
}
