//! What the chapter on operations in deploy/README.md says to do, done. Each message that it quotes
//! has to be logged.

use std::fs;

use cortex_workflow_exporter::{
    model::Status,
    simulator::{Fault, Rule, RunsCount, SimulatedWorkflow},
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::support::{
    Api, ConfigFile, KEY, Process, Samples, client,
    documents::{document, unwrapped},
    run, scrape, wait_until,
};

/// The chapter, its lines joined.
fn chapter() -> String {
    let document = document("deploy/README.md");
    let (_, rest) = document.split_once("\n## Operations\n").expect("there is such a chapter");
    let chapter = rest.split_once("\n## ").map_or(rest, |(chapter, _)| chapter);
    unwrapped(chapter)
}

/// An exporter whose configuration and key lie in files.
struct Scene {
    api: Api,
    file: ConfigFile,
    exporter: Process,
}

impl Scene {
    async fn start(key: &str) -> Self {
        let api = Api::start().await;
        api.add_workflow("work_one");
        let file = ConfigFile::new(&configuration(&api, 100_000));
        file.write("key", key);
        let exporter = Process::spawn(&["serve", &file.flag()], &[]);
        Self { api, file, exporter }
    }

    async fn restart(&mut self) {
        self.exporter.ready_url().await;
        self.exporter.terminate();
        assert_eq!(self.exporter.exit_code().await, 0, "{}", self.exporter.log());
        self.exporter = Process::spawn(&["serve", &self.file.flag()], &[]);
    }

    /// Waits until the log contains what the chapter quotes, at least that many times.
    async fn logs(&self, message: &str, times: usize) {
        assert!(chapter().contains(&format!("`{message}")), "the chapter doesn't quote: {message}");
        let logged = async || {
            let log = self.exporter.stderr();
            (log.matches(message).count() >= times).then_some(())
        };
        wait_until(&format!("it logs: {message}"), logged, || self.exporter.log()).await;
    }

    async fn when(&mut self, what: &str, so: impl Fn(&Samples) -> bool) -> Samples {
        let url = self.exporter.ready_url().await;
        let ask = async || Some(scrape(&url).await).filter(&so);
        wait_until(what, ask, || self.exporter.log()).await
    }

    async fn counts(&mut self, runs: f64) {
        self.when(&format!("{runs} runs are counted"), |samples| failed(samples) == runs).await;
    }
}

fn configuration(api: &Api, rate_limit: u32) -> String {
    format!(
        "cortex: {{api_url: '{}', api_key_file: key, rate_limit: {rate_limit}}}\n\
         poll: {{interval: 1s}}\nstate: {{url: 'sqlite:ledger.db'}}\n\
         web: {{listen_address: '127.0.0.1:0'}}\n",
        api.url()
    )
}

fn failed(samples: &Samples) -> f64 {
    samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]).unwrap_or(-1.0)
}

fn up(samples: &Samples) -> Option<f64> {
    samples.sum("cortex_workflow_exporter_up", &[])
}

#[tokio::test]
async fn a_wrong_key_is_mended_by_writing_the_right_one() {
    let mut scene = Scene::start("not-the-key").await;
    scene.when("it is down", |samples| up(samples) == Some(0.0)).await;
    let message = "A poll cycle could not read everything; what was published stays, and it is \
                   tried again.";
    scene.logs(message, 1).await;
    scene.logs("the Cortex API rejected the key with 401", 1).await;
    let (code, _, _) = run(&["check", &scene.file.flag()], &[]).await;
    assert_eq!(code, 4);
    scene.file.write("key", KEY);
    scene.logs("The API key was changed; the new one is used from now on.", 1).await;
    scene.when("it is up", |samples| up(samples) == Some(1.0)).await;
    scene.logs("Poll cycles succeed again.", 1).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_read_leaves_the_former_one_in_use() {
    let mut scene = Scene::start(KEY).await;
    scene.when("it is up", |samples| up(samples) == Some(1.0)).await;
    fs::remove_file(scene.file.path("key")).expect("it is there");
    scene.logs("There is no usable API key; the former one stays in use.", 1).await;
    scene.api.finish_one("work_one", Status::Failed);
    scene.counts(1.0).await;
}

#[tokio::test]
async fn throttling_is_waited_out_and_the_limit_lowered_without_a_restart() {
    let mut scene = Scene::start(KEY).await;
    scene.when("it is up", |samples| up(samples) == Some(1.0)).await;
    scene.api.simulator().inject(Rule::new(Fault::throttled("1")).times(1));
    scene.api.finish_one("work_one", Status::Failed);
    scene.logs("The Cortex API asks to wait: all requests pause.", 1).await;
    scene.counts(1.0).await;
    scene.file.write("config.yml", &configuration(&scene.api, 1234));
    let url = scene.exporter.url().await;
    let answer = client().post(format!("{url}/-/reload")).send().await;
    assert!(answer.expect("it answers").status().is_success(), "{}", scene.exporter.log());
    scene.logs("Reloaded the configuration.", 1).await;
    let limit = "cortex_workflow_exporter_api_rate_limit_requests_per_minute";
    let samples = scene.when("the limit holds", |it| it.sum(limit, &[]) == Some(1234.0)).await;
    let throttled = [("code", "429")];
    assert!(samples.sum("cortex_workflow_exporter_api_requests_total", &throttled) >= Some(1.0));
}

#[tokio::test]
async fn an_exporter_that_lags_catches_up_once_less_is_to_be_read() {
    let mut scene = Scene::start(KEY).await;
    scene.api.simulator().world(|world| {
        for number in 0..40 {
            let mut workflow = SimulatedWorkflow::new(&format!("Idle {number}"));
            // Without a number of runs, each is read in every interval.
            workflow.runs_count = RunsCount::Absent;
            world.add_workflow(workflow);
        }
    });
    let text = configuration(&scene.api, 600);
    scene.file.write("config.yml", &text);
    scene.restart().await;
    scene.logs("More requests are needed than --cortex.rate-limit allows", 1).await;
    let lag = "cortex_workflow_exporter_poll_lag_seconds";
    scene.when("the lag shows", |samples| samples.sum(lag, &[]) > Some(1.0)).await;
    scene.file.write("config.yml", &format!("{text}workflows: {{exclude: ['Idle .*']}}\n"));
    scene.exporter.signal("HUP");
    scene.logs("Reloaded the configuration.", 1).await;
    let settled = |samples: &Samples| samples.sum(lag, &[]).is_some_and(|lag| lag < 2.0);
    scene.when("the lag is gone", settled).await;
}

#[tokio::test]
async fn a_lost_ledger_is_a_first_start_and_a_restored_one_goes_on() {
    let mut scene = Scene::start(KEY).await;
    scene.when("it is up", |samples| up(samples) == Some(1.0)).await;
    scene.api.finish_one("work_one", Status::Failed);
    scene.counts(1.0).await;
    scene.exporter.terminate();
    assert_eq!(scene.exporter.exit_code().await, 0, "{}", scene.exporter.log());
    let (ledger, backup) = (scene.file.path("ledger.db"), scene.file.path("backup.db"));
    fs::rename(&ledger, &backup).expect("it is there");
    scene.exporter = Process::spawn(&["serve", &scene.file.flag()], &[]);
    scene.when("history is not news", |it| failed(it) == 0.0 && up(it) == Some(1.0)).await;
    scene.api.finish_one("work_one", Status::Failed);
    scene.counts(1.0).await;
    scene.exporter.terminate();
    assert_eq!(scene.exporter.exit_code().await, 0, "{}", scene.exporter.log());
    fs::rename(&backup, &ledger).expect("it is there");
    scene.exporter = Process::spawn(&["serve", &scene.file.flag()], &[]);
    scene.counts(2.0).await;
}

#[tokio::test]
async fn an_upgrade_goes_on_where_the_version_before_ended() {
    let mut scene = Scene::start(KEY).await;
    scene.logs("Starting cortex-workflow-exporter.", 1).await;
    scene.logs("The first poll cycle succeeded.", 1).await;
    scene.api.finish_one("work_one", Status::Failed);
    scene.counts(1.0).await;
    scene.restart().await;
    scene.api.finish_one("work_one", Status::Failed);
    scene.counts(2.0).await;
}

#[tokio::test]
async fn check_reports_a_ledger_that_this_version_is_too_old_for() {
    let mut scene = Scene::start(KEY).await;
    scene.when("it is up", |samples| up(samples) == Some(1.0)).await;
    scene.exporter.terminate();
    assert_eq!(scene.exporter.exit_code().await, 0, "{}", scene.exporter.log());
    let ledger = scene.file.path("ledger.db");
    let opened = SqliteConnectOptions::new().filename(&ledger).connect().await;
    let mut connection = opened.expect("SQLite opens the ledger");
    let newer = "INSERT INTO _sqlx_migrations \
                 (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', TRUE, x'00', 0); \
                 PRAGMA wal_checkpoint(TRUNCATE)";
    sqlx::raw_sql(newer).execute(&mut connection).await.expect("SQLite executes it");
    connection.close().await.expect("SQLite closes its file");
    let message = "was written by a newer version of this exporter";
    assert!(chapter().contains(message));
    let before = fs::read(&ledger).expect("it is there");
    for command in ["check", "serve"] {
        let (code, _, stderr) = run(&[command, &scene.file.flag()], &[]).await;
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
        assert!(fs::read(&ledger).expect("it is there") == before, "{command} changed it");
    }
}
