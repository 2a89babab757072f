//! `state copy` is killed on the way, and repeated.

use cortex_workflow_exporter::model::Status;
use sqlx::{AnyConnection, Connection as _};

use crate::support::{Api, KEY, Postgres, Process, ledger_url, run, wait_until};

/// So many that copying them takes far longer than killing the process that does.
const RUNS: i64 = 150_000;

#[tokio::test]
async fn a_copy_that_is_killed_leaves_nothing_and_can_be_repeated() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("there is room"));
    let [from, file] = directories.each_ref().map(|directory| ledger_url(directory.path()));
    fill(&api, &from).await;
    let server = Postgres::start();
    for to in [file, server.url("public")] {
        let flags = [format!("--from={from}"), format!("--to={to}")];
        let copy = ["state", "copy", &flags[0], &flags[1]];
        let mut copying = Process::spawn(&copy, &[]);
        copying.word_after("series: ", Process::stdout).await;
        copying.signal("STOP");
        assert!(!copying.stdout().contains("Copied."), "{}", copying.log());
        // Both ledgers are locked.
        let (code, _, stderr) = run(&copy, &[]).await;
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("is in use by another process"), "{stderr}");
        let state = format!("--state.url={from}");
        let serve = ["serve", &state, "--web.listen-address=127.0.0.1:0"];
        let (code, _, stderr) = run(&serve, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("is in use by another process"), "{stderr}");
        copying.kill();
        assert_eq!(rows(&to).await, 0);
        let ended = async || {
            let (code, _, stderr) = run(&copy, &[]).await;
            // A server needs a moment to notice that the process is gone.
            assert!(code == 0 || stderr.contains("is in use by another process"), "{stderr}");
            (code == 0).then_some(())
        };
        wait_until("the copy is made", ended, String::new).await;
        assert_eq!(rows(&to).await, RUNS + 1);
        let mut exporter = Process::serve(&api, &to, &[]);
        let base = exporter.ready_url().await;
        exporter.shows_failures(&base, 1.0).await;
    }
}

/// Has an exporter count a run, and adds the identities of many that it might have counted.
async fn fill(api: &Api, url: &str) {
    let mut exporter = Process::serve(api, url, &["--metrics.hold-timeout=0s"]);
    let base = exporter.ready_url().await;
    api.finish_one("work_one", Status::Failed);
    exporter.shows_failures(&base, 1.0).await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
               INSERT INTO run (workflow, run_id, phase, age_ms, reading) \
               SELECT 1, 'run_' || i, 'finished', 9e12, 0 FROM n";
    let mut connection = connect(url).await;
    let inserted = sqlx::query(sql).bind(RUNS).execute(&mut connection).await;
    inserted.expect("SQLite does as it is told");
    connection.close().await.expect("SQLite closes its file");
}

/// How many runs a ledger remembers.
async fn rows(url: &str) -> i64 {
    let mut connection = connect(url).await;
    let count = sqlx::query_scalar("SELECT count(*) FROM run").fetch_one(&mut connection).await;
    count.expect("the table is there")
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.expect("the database is there")
}
