//! What a running exporter makes of another configuration.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use cortex_workflow_exporter::{
    config::{SETTINGS, Setting},
    model::Status,
    simulator::{Fault, Rule},
};

use crate::support::{Api, ConfigFile, KEY, Process, Samples, client, get, scrape, wait_until};

const SUCCESSFUL: &str = "cortex_workflow_exporter_config_last_reload_successful";
const LOADED_AT: &str = "cortex_workflow_exporter_config_last_reload_success_timestamp_seconds";

/// An exporter with a configuration file, on one API that stands for all apps.
struct Scene {
    api: Api,
    file: ConfigFile,
    exporter: Process,
    url: String,
}

impl Scene {
    /// One that has counted a failed run of `work_one`.
    async fn start(apps: &str) -> Self {
        let api = Api::start().await;
        for workflow in ["work_one", "work_two"] {
            api.add_workflow(workflow);
        }
        api.simulator().world(|world| world.app_id = "app_1".into());
        let file = ConfigFile::new("");
        file.write("key", KEY);
        file.write("config.yml", &text(&api, apps));
        let flag = file.flag();
        let mut exporter = Process::spawn(&["serve", &flag], &[]);
        let url = exporter.ready_url().await;
        let scene = Self { api, file, exporter, url };
        scene.api.finish_one("work_one", Status::Failed);
        scene.when("a run is counted", |samples| failed(samples, "work_one") == Some(1.0)).await;
        scene
    }

    /// Changes the file; `more` are further lines of it.
    fn change(&self, more: &str) {
        self.file.write("config.yml", &text(&self.api, more));
    }

    /// Reloads; the status and the answer.
    async fn reload(&self) -> (u16, String) {
        let answer = client().post(format!("{}/-/reload", self.url)).send().await;
        let answer = answer.expect("the exporter answers");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("an answer comes to its end"))
    }

    /// The samples, as soon as they are so.
    async fn when(&self, what: &str, so: impl Fn(&Samples) -> bool) -> Samples {
        let ask = async || Some(scrape(&self.url).await).filter(&so);
        wait_until(what, ask, || self.exporter.log()).await
    }

    /// The log tells this, so many times.
    async fn tells(&self, part: &str, times: usize) {
        let told = async || (self.exporter.stderr().matches(part).count() >= times).then_some(());
        wait_until(&format!("the log tells {part}"), told, || self.exporter.log()).await;
    }

    /// Two more polls of each of the apps that are read succeed.
    async fn polled_again(&self) -> Samples {
        let before = scrape(&self.url).await;
        let polls = |samples: &Samples, app: &str| {
            let labels = [("app_id", app), ("result", "success")];
            samples.sum("cortex_workflow_exporter_polls_total", &labels).unwrap_or(0.0)
        };
        let apps: Vec<_> = before
            .matching("cortex_workflow_exporter_up", &[])
            .map(|(series, _)| series.labels["app_id"].clone())
            .collect();
        let more = |samples: &Samples| {
            apps.iter().all(|app| polls(samples, app) >= polls(&before, app) + 2.0)
        };
        self.when("two more polls succeed", more).await
    }
}

fn text(api: &Api, more: &str) -> String {
    format!(
        "cortex: {{api_url: '{}', api_key_file: key, rate_limit: 100000}}\n\
         poll: {{interval: 1s}}\nstate: {{url: 'sqlite:ledger.db'}}\n\
         web: {{listen_address: '127.0.0.1:0'}}\n{more}\n",
        api.url()
    )
}

fn failed(samples: &Samples, workflow: &str) -> Option<f64> {
    let labels = [("workflow_id", workflow), ("status", "FAILED")];
    samples.sum("cortex_workflow_runs_total", &labels)
}

#[tokio::test]
async fn a_valid_configuration_takes_effect_whole_and_no_counter_steps_back() {
    let scene = Scene::start("apps: [{app_id: c, workflows: {exclude: [work_two]}}]").await;
    let before = scene.polled_again().await;
    assert_eq!((failed(&before, "work_two"), before.sum(SUCCESSFUL, &[])), (None, Some(1.0)));
    // The other app lists the same workflows, and follows the one that the first leaves out.
    scene.change(
        "apps: [{app_id: c, workflows: {exclude: [work_two]}}, {app_id: app_1}]\n\
         log: {level: debug}\nmetrics: {buckets: {queue_duration: [1, 2]}}",
    );
    assert_eq!(scene.reload().await, (200, "reloaded\n".into()), "{}", scene.exporter.log());
    let ready = get(&format!("{}/-/ready", scene.url)).await;
    assert_eq!(ready.0, 200, "a reload does not make it unready");
    let both = |samples: &Samples| failed(samples, "work_two") == Some(0.0);
    let samples = scene.when("the other app's workflow is shown", both).await;
    for (series, value) in before.growing() {
        if series.name.contains("queue_duration") {
            continue;
        }
        let now = samples.values.get(series).copied();
        assert!(now.is_some_and(|now| now >= value), "{series} was {value} and is {now:?}");
    }
    assert!(samples.sum(LOADED_AT, &[]) > before.sum(LOADED_AT, &[]));
    scene.tells("level=debug", 1).await;
    for workflow in ["work_one", "work_two"] {
        scene.api.finish_one(workflow, Status::Failed);
    }
    let counted = |samples: &Samples| {
        (failed(samples, "work_one"), failed(samples, "work_two")) == (Some(2.0), Some(1.0))
    };
    let samples = scene.when("both apps are polled on", counted).await;
    let bucket = "cortex_workflow_run_queue_duration_seconds_bucket";
    let labels = [("workflow_id", "work_two")];
    let bounds = samples.matching(bucket, &labels).map(|(series, _)| series.labels["le"].clone());
    assert_eq!(bounds.collect::<Vec<_>>(), ["+Inf", "1", "2"]);
}

#[tokio::test]
async fn the_series_of_an_app_that_is_no_longer_read_end() {
    let scene =
        Scene::start("apps: [{app_id: c, workflows: {include: [work_one]}}, {app_id: app_1}]");
    let scene = scene.await;
    scene.when("both are shown", |samples| failed(samples, "work_two") == Some(0.0)).await;
    scene.change("apps: [{app_id: c, workflows: {include: [work_one]}}]");
    scene.exporter.signal("HUP");
    let ended = |samples: &Samples| {
        let mut ids = samples.values.keys().filter_map(|series| series.labels.get("app_id"));
        failed(samples, "work_two").is_none() && ids.all(|id| id == "c")
    };
    scene.when("the app's series end", ended).await;
    let samples = scene.polled_again().await;
    assert_eq!(failed(&samples, "work_one"), Some(1.0));
    assert!(failed(&samples, "work_two").is_none(), "{}", scene.exporter.log());
    // When it comes back, so do its numbers.
    scene.change("apps: [{app_id: c, workflows: {include: [work_one]}}, {app_id: app_1}]");
    assert_eq!(scene.reload().await.0, 200, "{}", scene.exporter.log());
    scene.when("both are shown", |samples| failed(samples, "work_two") == Some(0.0)).await;
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing_and_is_told_in_three_places() {
    let scene = Scene::start("").await;
    let before = scene.polled_again().await;
    for (more, part) in [
        ("log: {level: loud}", "config.yml:5:14: log.level"),
        ("nonsense: 1", "config.yml:5:1: there is no key"),
        (
            "workflows: {include: ['work_two'], exclude: ['(']}",
            "config.yml:5:46: workflows.exclude",
        ),
        ("log: [", "config.yml:"),
        ("apps: [{app_id: c, api_key_file: none}]", "none"),
    ] {
        scene.change(more);
        let (status, answer) = scene.reload().await;
        assert_eq!(status, 500, "{answer}");
        assert!(answer.contains(part), "{part} is not in: {answer}");
        scene.tells(part, 1).await;
        let samples = scrape(&scene.url).await;
        assert_eq!(samples.sum(SUCCESSFUL, &[]), Some(0.0));
        assert_eq!(samples.sum(LOADED_AT, &[]), before.sum(LOADED_AT, &[]));
    }
    scene.api.finish_one("work_one", Status::Failed);
    let samples = scene.polled_again().await;
    assert_eq!(failed(&samples, "work_one"), Some(2.0), "it is polled by the former one");
    scene.change("log: {level: warn}");
    scene.exporter.signal("HUP");
    let mended = |samples: &Samples| samples.sum(SUCCESSFUL, &[]) == Some(1.0);
    let samples = scene.when("a valid one is taken over", mended).await;
    assert!(samples.sum(LOADED_AT, &[]) > before.sum(LOADED_AT, &[]));
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_refused_by_name() {
    let scene = Scene::start("").await;
    let more = "metrics: {labels: {a: b}, hold_timeout: 1m, created_lines: true, \
                native_histograms: true}\n\
                log: {format: json}";
    let changed = text(&scene.api, more)
        .replace("ledger.db", "other.db")
        .replace("listen_address: '127.0.0.1:0'", "listen_address: '127.0.0.1:1'")
        .replace("web: {", "web: {telemetry_path: /m, max_requests: 3, ");
    scene.file.write("config.yml", &changed);
    let (status, answer) = scene.reload().await;
    assert_eq!(status, 500, "{answer}");
    let (_, named) = answer.split_once("only a restart can change ").expect("it says why");
    let (named, _) = named.split_once(';').expect("and what to do");
    let named: BTreeSet<_> = named.split(", ").collect();
    let expected = [
        "state.url",
        "metrics.labels",
        "metrics.created_lines",
        "metrics.native_histograms",
        "metrics.hold_timeout",
        "web.listen_address",
        "web.telemetry_path",
        "web.max_requests",
        "log.format",
    ];
    assert_eq!(named, BTreeSet::from(expected));
    let fixed = SETTINGS.iter().filter(|setting| setting.needs_restart());
    let fixed: Vec<_> = fixed.filter_map(Setting::key).collect();
    assert_eq!(fixed.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
    assert!(!scene.file.path("other.db").exists());
    let samples = scene.polled_again().await;
    assert_eq!(
        (failed(&samples, "work_one"), samples.sum(SUCCESSFUL, &[])),
        (Some(1.0), Some(0.0))
    );
}

#[tokio::test]
async fn a_reload_during_a_poll_loses_nothing() {
    let scene = Scene::start("").await;
    scene.api.simulator().inject(Rule::new(Fault::Hang));
    scene.api.finish_one("work_one", Status::Failed);
    scene.api.simulator().take_requests();
    let hangs = async || (!scene.api.simulator().requests().is_empty()).then_some(());
    wait_until("a request hangs", hangs, || scene.exporter.log()).await;
    scene.change("workflows: {exclude: [work_two]}");
    assert_eq!(scene.reload().await.0, 200, "{}", scene.exporter.log());
    scene.api.simulator().clear_faults();
    let counted = |samples: &Samples| failed(samples, "work_one") == Some(2.0);
    let samples = scene.when("the run is counted", counted).await;
    assert!(failed(&samples, "work_two").is_none());
}

/// Kubernetes keeps a secret's files in a directory that is exchanged whole, behind a link.
#[tokio::test]
async fn a_new_key_behind_an_exchanged_link_is_noticed_for_each_app_without_a_reload() {
    let scene = Scene::start("").await;
    for version in ["old", "new"] {
        let key = if version == "old" { "a-key-that-is-no-longer-good" } else { KEY };
        for app in ["first", "second"] {
            scene.file.write(&format!("{version}/{app}"), key);
        }
    }
    let link = scene.file.path("secrets");
    symlink("old", &link).expect("a link can be made");
    scene.change(
        "apps: [{app_id: c, api_key_file: secrets/first}, {app_id: app_1, api_key_file: secrets/second}]",
    );
    assert_eq!(scene.reload().await.0, 200, "{}", scene.exporter.log());
    let up = |samples: &Samples, is: f64| {
        let mut apps = samples.matching("cortex_workflow_exporter_up", &[]);
        apps.by_ref().all(|(_, up)| up == is)
    };
    scene.when("both keys are rejected", |samples| up(samples, 0.0)).await;
    symlink("new", scene.file.path("draft")).expect("a link can be made");
    fs::rename(scene.file.path("draft"), link).expect("it takes the other's place");
    scene.when("both keys are taken", |samples| up(samples, 1.0)).await;
    scene.tells("The API key was changed", 2).await;
    let log = scene.exporter.log();
    assert!(!log.contains(KEY) && !log.contains("no-longer-good"), "{log}");
}

#[tokio::test]
async fn the_address_for_people_is_a_series_while_it_is_configured() {
    let scene = Scene::start("").await;
    let urls = |samples: &Samples| {
        let found = samples.matching("cortex_workflow_exporter_external_url_info", &[]);
        let found = found.map(|(series, value)| (series.labels["url"].clone(), value));
        found.collect::<Vec<_>>()
    };
    assert_eq!(urls(&scrape(&scene.url).await), []);
    for (external_url, expected) in [
        ("external_url: 'https://one.test/'", vec![("https://one.test".to_owned(), 1.0)]),
        ("external_url: 'https://two.test/x'", vec![("https://two.test/x".to_owned(), 1.0)]),
        ("max_requests: 40", vec![]),
    ] {
        let text = text(&scene.api, "").replace("web: {", &format!("web: {{{external_url}, "));
        scene.file.write("config.yml", &text);
        assert_eq!(scene.reload().await.0, 200, "{}", scene.exporter.log());
        assert_eq!(urls(&scrape(&scene.url).await), expected);
    }
}
