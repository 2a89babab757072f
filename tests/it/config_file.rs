//! What the real binary makes of a configuration file.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use cortex_workflow_exporter::{
    config::{TAKEN_LABELS, file_keys},
    metrics::FAMILIES,
    model::Status,
    simulator::{Fault, Rule},
};

use crate::support::{Api, ConfigFile, KEY, Process, Samples, run, scrape, wait_until};

/// The run counts of a workflow, as soon as there are so many.
async fn counted(url: &str, exporter: &Process, workflow: &str, runs: f64) -> Samples {
    let labels = [("workflow_id", workflow), ("status", "FAILED")];
    let ask = async || {
        let samples = scrape(url).await;
        let sum = samples.sum("cortex_workflow_runs_total", &labels);
        (sum == Some(runs)).then_some(samples)
    };
    wait_until(&format!("{runs} runs of {workflow} are counted"), ask, || exporter.log()).await
}

#[tokio::test]
async fn two_apps_are_read_each_at_its_address_with_its_key_and_filter() {
    let (first, second) = (Api::start().await, Api::start_with_key("the-second-key").await);
    for (api, ids) in
        [(&first, ["work_one", "work_skipped"]), (&second, ["work_two", "work_three"])]
    {
        for id in ids {
            api.add_workflow(id);
        }
    }
    let file = ConfigFile::new(&format!(
        "apps:\n- app_id: app_1\n  api_url: {}\n  api_key_file: first\n  \
         workflows: {{exclude: [work_skipped]}}\n\
         - app_id: app_2\n  api_url: {}\n  api_key_file: second\n\
         poll: {{interval: 1s}}\ncortex: {{rate_limit: 100000}}\n\
         state: {{url: 'sqlite:ledger.db'}}\nmetrics: {{labels: {{team: ops}}}}\n\
         web: {{listen_address: '127.0.0.1:0'}}\n",
        first.url(),
        second.url()
    ));
    file.write("first", KEY);
    file.write("second", "the-second-key\n");
    first.simulator().world(|world| world.app_id = "app_1".into());
    second.simulator().world(|world| world.app_id = "app_2".into());
    // The second app is known, too, before it is said that all is ready.
    first.simulator().inject(Rule::new(Fault::Delay(Duration::from_millis(300))).times(1));
    let mut exporter = Process::spawn(&["serve", &file.flag()], &[]);
    let url = exporter.ready_url().await;
    first.finish_one("work_one", Status::Failed);
    second.finish_one("work_two", Status::Failed);
    counted(&url, &exporter, "work_one", 1.0).await;
    let samples = counted(&url, &exporter, "work_two", 1.0).await;
    let info = |app: &str| {
        let labels = [("app_id", app)];
        let series = samples.matching("cortex_workflow_info", &labels);
        series.map(|(series, _)| series.labels["workflow_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(info("app_1"), ["work_one"]);
    assert_eq!(info("app_2"), ["work_three", "work_two"]);
    for app in ["app_1", "app_2"] {
        assert_eq!(samples.sum("cortex_workflow_exporter_up", &[("app_id", app)]), Some(1.0));
    }
    assert!(!exporter.log().contains(KEY) && !exporter.log().contains("the-second-key"));
    let unlabelled = samples.values.keys().find(|series| !series.labels.contains_key("team"));
    assert_eq!(unlabelled, None, "every series has the configured label");
    assert!(file.path("ledger.db").exists(), "a relative path starts at the file");
}

/// An exporter that reads two apps which list the same workflow, and the file that says so.
fn sharing(api: &Api) -> (Process, ConfigFile) {
    api.add_workflow("work_shared");
    api.simulator().world(|world| world.app_id = "app_1".into());
    let file = ConfigFile::new("apps: [{app_id: c}, {app_id: app_1}]\n");
    (Process::serve(api, "sqlite::memory:", &[&file.flag()]), file)
}

/// How many workflows are told of which several apps list.
fn shared(samples: &Samples) -> Option<f64> {
    let reason = [("reason", "shared_workflow")];
    samples.sum("cortex_workflow_exporter_anomalies_total", &reason)
}

/// The apps that show the workflow.
fn shown_by(samples: &Samples) -> Vec<&str> {
    let labels = [("workflow_id", "work_shared")];
    let infos = samples.matching("cortex_workflow_info", &labels);
    infos.map(|(series, _)| series.labels["app_id"].as_str()).collect()
}

#[tokio::test]
async fn a_workflow_that_two_apps_list_is_shown_once_by_the_first_and_told_once() {
    let api = Api::start().await;
    let late = Fault::Delay(Duration::from_millis(300));
    api.simulator().inject(Rule::new(late).containing("/apps/c/").times(1));
    let (mut exporter, _file) = sharing(&api);
    let url = exporter.ready_url().await;
    api.finish_one("work_shared", Status::Failed);
    // Reading the exposition fails where a series comes twice.
    counted(&url, &exporter, "work_shared", 1.0).await;
    let polls = async |more: f64| {
        let samples = scrape(&url).await;
        let polls = samples.sum("cortex_workflow_exporter_polls_total", &[("result", "success")]);
        (polls >= Some(more)).then_some(samples)
    };
    let what = "each app was polled several times";
    let samples = wait_until(what, async || polls(8.0).await, || exporter.log()).await;
    assert_eq!(shown_by(&samples), ["c"]);
    assert_eq!(shared(&samples), Some(1.0));
    let told = exporter.stderr().matches("Two apps list this workflow").count();
    assert_eq!(told, 1, "{}", exporter.log());
}

#[tokio::test]
async fn an_app_that_cannot_be_read_leaves_what_is_shared_to_the_next() {
    let api = Api::start().await;
    api.simulator().inject(Rule::new(Fault::status(500)).containing("/apps/c/"));
    let (mut exporter, _file) = sharing(&api);
    let url = exporter.url().await;
    let shown = async || Some(scrape(&url).await).filter(|samples| !shown_by(samples).is_empty());
    let what = "the second app shows its workflow";
    let samples = wait_until(what, shown, || exporter.log()).await;
    assert_eq!(shown_by(&samples), ["app_1"]);
    // It goes on when the first can be read.
    api.simulator().clear_faults();
    let told = async || Some(scrape(&url).await).filter(|samples| shared(samples) == Some(1.0));
    let samples = wait_until("the first app has read it too", told, || exporter.log()).await;
    assert_eq!(shown_by(&samples), ["app_1"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_with_its_place_and_ends_the_start_with_1() {
    let file = ConfigFile::new("poll:\n  interval: soon\nwebb: {}\n");
    let flag = file.flag();
    for command in [&["serve"][..], &["once"], &["--config.check"]] {
        let arguments: Vec<_> = command.iter().copied().chain([flag.as_str()]).collect();
        let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{command:?}: {stderr}");
        assert!(stderr.contains("config.yml:3:1: there is no key \"webb\""), "{stderr}");
    }
    let file = ConfigFile::new("poll:\n  interval: soon\nlog:\n  level: loud\n");
    let (code, _, stderr) =
        run(&["--config.check", &file.flag()], &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("config.yml:2:13: poll.interval: \"soon\""), "{stderr}");
    assert!(stderr.contains("config.yml:4:10: log.level: \"loud\""), "{stderr}");
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let file = ConfigFile::new("web: {listen_address: nowhere_1}\nlog: {level: loud_1}\n");
    let flag = file.flag();
    let arguments = ["--config.check", &flag, "--log.level=loud_3"];
    let variables = [
        ("CORTEX_API_KEY", KEY),
        ("CORTEX_EXPORTER_LOG_LEVEL", "loud_2"),
        ("CORTEX_EXPORTER_WEB_LISTEN_ADDRESS", "nowhere_2"),
    ];
    let (code, _, stderr) = run(&arguments, &variables).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("loud_3") && stderr.contains("nowhere_2"), "{stderr}");
    assert!(!stderr.contains("_1") && !stderr.contains("loud_2"), "{stderr}");
}

#[tokio::test]
async fn the_example_has_every_key_and_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/config.yml");
    let text = fs::read_to_string(example).expect("there is an example");
    let file = ConfigFile::new(&text);
    for key in ["keys/common", "keys/support"] {
        file.write(key, KEY);
    }
    let variables = [("CORTEX_SALES_KEY", KEY)];
    let (code, stdout, stderr) = run(&["--config.check", &file.flag()], &variables).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let words: BTreeSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for (key, _) in file_keys() {
        let last = key.rsplit('.').next().unwrap_or_default();
        assert!(words.contains(last), "{key} is missing");
    }
}

#[test]
fn no_family_has_a_label_that_an_operator_may_use() {
    for family in FAMILIES.iter() {
        for label in family.labels() {
            assert!(TAKEN_LABELS.contains(&label), "{label} of {}", family.name);
        }
    }
}
