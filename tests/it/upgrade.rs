//! Ledgers that earlier versions wrote go on exactly where they were, on SQLite and PostgreSQL. What
//! they hold is described beside them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{SimulatedRun, SimulatedWorkflow, Tamper},
};
use futures::future::join_all;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::support::{
    Api, Postgres, Process, Samples, Series, ledger_url, parse, run, scrape, wait_until,
};

const RUNS: &str = "cortex_workflow_runs_total";

fn path(schema: &str, ending: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ledgers");
    PathBuf::from(format!("{fixtures}/schema{schema}.{ending}"))
}

fn read(schema: &str, ending: &str) -> String {
    fs::read_to_string(path(schema, ending)).expect("each schema has its files")
}

/// A directory with a ledger of this schema.
fn ledger_of(schema: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let ledger = directory.path().join("ledger.db");
    fs::copy(path(schema, "db"), ledger).expect("each schema has its files");
    directory
}

/// The schemas so far.
fn schemas() -> Vec<String> {
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ledger/migrations");
    let migrations = fs::read_dir(migrations).expect("it can be listed").count();
    (1..=migrations).map(|schema| schema.to_string()).collect()
}

#[tokio::test]
async fn a_ledger_of_each_schema_goes_on_in_a_file() {
    let goes_on_in_a_file = async |schema: String| {
        let directory = ledger_of(&schema);
        goes_on(&schema, &ledger_url(directory.path())).await;
    };
    join_all(schemas().into_iter().map(goes_on_in_a_file)).await;
}

#[tokio::test]
async fn a_ledger_of_each_schema_goes_on_on_postgres() {
    let goes_on_on_a_server = async |schema: String| {
        let server = Postgres::start();
        let url = server.url("public");
        let mut connection = PgConnection::connect(&url).await.expect("the server is there");
        let dump = read(&schema, "sql");
        let loaded = sqlx::raw_sql(AssertSqlSafe(dump)).execute(&mut connection).await;
        loaded.expect("PostgreSQL takes a dump of its own");
        connection.close().await.expect("it ends");
        goes_on(&schema, &url).await;
    };
    join_all(schemas().into_iter().map(goes_on_on_a_server)).await;
}

#[tokio::test]
async fn a_ledger_of_each_schema_goes_on_in_a_copy_on_postgres() {
    let goes_on_in_a_copy = async |schema: String| {
        let directory = ledger_of(&schema);
        let server = Postgres::start();
        let url = server.url("public");
        let flags = [format!("--from={}", ledger_url(directory.path())), format!("--to={url}")];
        let (code, _, stderr) = run(&["state", "copy", &flags[0], &flags[1]], &[]).await;
        assert_eq!(code, 0, "{stderr}");
        goes_on(&schema, &url).await;
    };
    join_all(schemas().into_iter().map(goes_on_in_a_copy)).await;
}

async fn goes_on(schema: &str, state_url: &str) {
    let [shown, counted] = ["shown.prom", "counted.prom"].map(|file| {
        // It has another name now.
        let [old, new] = ["runs_created_total", "runs_submitted_total"];
        parse(&read(schema, file).replace(old, new))
    });
    assert!(shown != counted, "something is held");

    // What was shown last is shown first, and then what was held.
    let mut exporter = Process::serve_without_api(state_url, &[]);
    let base = exporter.url().await;
    assert_eq!(differences(&shown, &scrape(&base).await), [""; 0]);
    shows(&exporter, &base, &counted).await;
    exporter.kill();

    // The API lists what it listed then, whose runs are known.
    let api = Api::start().await;
    let open = fill(&api, &serde_json::from_str(&read(schema, "world.json")).expect("JSON"));
    let more = ["--metrics.hold-timeout=0s", "--poll.sweep-interval=1s", "--state.retention=3650d"];
    let mut exporter = Process::serve(&api, state_url, &more);
    let base = exporter.ready_url().await;
    assert_eq!(differences(&counted, &scrape(&base).await), [""; 0]);

    // Each open run ends, and is counted once.
    let mut ended: BTreeMap<Series, f64> = BTreeMap::new();
    for (workflow, run, origin) in &open {
        api.simulator().world(|world| {
            world.run_mut(run).expect("it is listed").tamper = Tamper::Not;
            assert!(world.finish_run(run, Status::Skipped), "{run} is open");
        });
        let labels = [("workflow_id", &**workflow), ("status", "SKIPPED"), ("origin", &**origin)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let series = Series { name: RUNS.into(), labels: labels.into() };
        *ended.entry(series).or_default() += 1.0;
    }
    let all = counted.sum(RUNS, &[]).expect("there are runs") + open.len() as f64;
    let counts = async || {
        let samples = scrape(&base).await;
        let sum = samples.sum(RUNS, &[]);
        assert!(sum <= Some(all), "{sum:?} runs are counted, {all} have ended");
        (sum == Some(all)).then_some(samples)
    };
    let samples = wait_until("all have ended", counts, || exporter.log()).await;
    for (series, count) in &ended {
        let labels: Vec<_> =
            series.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(samples.sum(RUNS, &labels), Some(*count), "{series}");
    }
    assert_eq!(samples.sum("cortex_workflow_runs_active", &[]), Some(0.0));
}

/// Waits until this is shown, and never anything that is less than what was shown before.
async fn shows(exporter: &Process, base: &str, expected: &Samples) {
    let shown = async || differences(expected, &scrape(base).await).is_empty().then_some(());
    wait_until("what was held is shown", shown, || exporter.log()).await;
}

/// Where what is shown differs from what a fixture says, which leaves out zeros and most buckets.
fn differences(fixture: &Samples, shown: &Samples) -> Vec<String> {
    let told =
        fixture.values.iter().filter(|(series, value)| shown.values.get(series) != Some(value));
    let told = told.map(|(series, value)| {
        format!("{series} was {value} and is {:?}", shown.values.get(series))
    });
    let untold = shown.values.iter().filter(|(series, value)| {
        let family = shown.family_of(&series.name);
        let known = family.is_some_and(|family| fixture.families.contains_key(family));
        known
            && **value != 0.0
            && !series.name.ends_with("_bucket")
            && !fixture.values.contains_key(series)
    });
    told.chain(untold.map(|(series, value)| format!("{series} was nothing and is {value}")))
        .collect()
}

/// Makes the API list what it listed then; returns the open runs with their workflow and origin.
fn fill(api: &Api, listed: &Value) -> Vec<(String, String, String)> {
    let text = |item: &Value, name: &str| item[name].as_str().map(str::to_owned);
    let mut open = Vec::new();
    for item in listed["workflows"].as_array().expect("a list") {
        let id = text(item, "id").expect("an id");
        let mut workflow =
            SimulatedWorkflow::new(&text(item, "name").expect("a name")).with_id(&id);
        workflow.tamper = Tamper::Whole(item.clone());
        api.simulator().world(|world| world.add_workflow(workflow));
        // The youngest comes first; those that the world adds later are younger.
        for item in listed["runs"][&id].as_array().expect("a list").iter().rev() {
            let [status, origin] =
                ["status", "origin"].map(|name| text(item, name).expect("a word"));
            let [created, started, ended] = ["created_at", "started_at", "ended_at"].map(|name| {
                let at: jiff::Timestamp = text(item, name)?.parse().expect("a timestamp");
                Some(at.as_millisecond())
            });
            let run = text(item, "id").expect("an id");
            if ended.is_none() {
                open.push((id.clone(), run.clone(), origin.clone()));
            }
            let mut simulated = SimulatedRun::new(Status::new(&status), Origin::new(&origin))
                .with_id(&run)
                .with_times(created.expect("a time"), started, ended);
            simulated.tamper = Tamper::Whole(item.clone());
            api.simulator().world(|world| world.add_run(&id, simulated));
        }
    }
    assert!(open.len() > 3, "{open:?}");
    open
}
