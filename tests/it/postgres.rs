//! A ledger on a PostgreSQL server: shared by mistake, foreign, newer, and gone for a while.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use cortex_workflow_exporter::model::Status;

use crate::support::{Api, KEY, Postgres, Process, client, ledger_url, run, scrape, wait_until};

/// An exporter's world on a server of its own.
struct Place {
    api: Api,
    server: Postgres,
    url: String,
}

impl Place {
    async fn new() -> Self {
        let api = Api::start().await;
        api.add_workflow("work_one");
        let server = Postgres::start();
        let url = server.url("public");
        Self { api, server, url }
    }

    fn serve(&self) -> Process {
        Process::serve(&self.api, &self.url, &["--metrics.hold-timeout=0s"])
    }

    async fn sql(&self, statements: &str) {
        let mut connection = PgConnection::connect(&self.url).await.expect("the server is there");
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        done.expect("PostgreSQL does as it is told");
    }

    /// All tables and columns, and how many rows each table has.
    async fn contents(&self) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.url).await.expect("the server is there");
        let sql = "SELECT format('%s %s %s', table_name, column_name, (xpath('/row/n/text()', \
                   query_to_xml(format('SELECT count(*) AS n FROM %I', table_name), \
                   false, true, '')))[1]) FROM information_schema.columns \
                   WHERE table_schema = 'public' ORDER BY 1";
        let rows = sqlx::query(sql).fetch_all(&mut connection).await;
        rows.expect("PostgreSQL answers").iter().map(|row| row.get(0)).collect()
    }

    /// A start ends with 1 and a line that names the server, without its password, and holds this;
    /// what is there stays as it was.
    async fn is_refused(&self, why: &str) {
        let before = self.contents().await;
        let url = self.url.replace("postgres@", "postgres:hunter2@");
        let arguments = [
            "serve",
            &format!("--cortex.api-url={}", self.api.url()),
            &format!("--state.url={url}"),
            "--web.listen-address=127.0.0.1:0",
        ];
        let (code, _, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!(code, 1, "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.contains(why), "{stderr}");
        assert!(last.contains("postgres://postgres@localhost/postgres"), "{stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains(" at line "), "{stderr}");
        assert_eq!(self.contents().await, before);
    }
}

#[tokio::test]
async fn a_restart_on_postgres_goes_on_with_what_was_counted() {
    let place = Place::new().await;
    let mut exporter = place.serve();
    let base = exporter.ready_url().await;
    place.api.finish_one("work_one", Status::Failed);
    exporter.shows_failures(&base, 1.0).await;
    exporter.kill();
    place.api.finish_one("work_one", Status::Failed);
    let mut exporter = place.serve();
    let base = exporter.ready_url().await;
    exporter.shows_failures(&base, 2.0).await;
}

#[tokio::test]
async fn a_ledger_that_moves_to_postgres_goes_on_with_what_was_counted() {
    let place = Place::new().await;
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let file = ledger_url(directory.path());
    let mut exporter = Process::serve(&place.api, &file, &["--metrics.hold-timeout=0s"]);
    let base = exporter.ready_url().await;
    place.api.finish_one("work_one", Status::Failed);
    exporter.shows_failures(&base, 1.0).await;
    let url = place.url.replace("postgres@", "postgres:hunter2@");
    let (from, to) = (format!("--from={file}"), format!("--to={url}"));
    let (code, _, stderr) = run(&["state", "copy", &from, &to], &[]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("is in use by another process"), "{stderr}");
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    place.api.finish_one("work_one", Status::Failed);
    let (code, stdout, stderr) = run(&["state", "copy", &from, &to], &[]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("workflow: 1 rows") && stdout.contains("Copied."), "{stdout}");
    assert_eq!(stdout.matches("series: ").count(), 1, "{stdout}");
    let mut exporter = place.serve();
    let base = exporter.ready_url().await;
    exporter.shows_failures(&base, 2.0).await;
    let (code, again, stderr) = run(&["state", "copy", &from, &to], &[]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(!format!("{stdout}{again}{stderr}").contains("hunter2"), "{stderr}");
}

#[tokio::test]
async fn each_schema_has_a_ledger_of_its_own_with_an_exporter_that_leads() {
    let place = Place::new().await;
    place.sql("CREATE SCHEMA other").await;
    let other = place.server.url("other");
    let mut both = [place.serve(), Process::serve(&place.api, &other, &[])];
    for exporter in &mut both {
        let base = exporter.ready_url().await;
        let leader = scrape(&base).await.sum("cortex_workflow_exporter_leader", &[]);
        assert_eq!(leader, Some(1.0), "{}", exporter.log());
    }
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    let mut place = Place::new().await;
    let mut exporter = place.serve();
    let base = exporter.ready_url().await;
    place.api.finish_one("work_one", Status::Failed);
    exporter.shows_failures(&base, 1.0).await;
    place.server.crash();
    place.api.finish_one("work_one", Status::Failed);
    let failed = async || {
        let samples = scrape(&base).await;
        let shown = samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]);
        assert!(matches!(shown, None | Some(1.0)), "what is shown is durable: {shown:?}");
        (samples.sum("cortex_workflow_exporter_leader", &[]) == Some(0.0)).then_some(())
    };
    let what = "an exporter that can't know whether another one took over hides its workflows";
    wait_until(what, failed, || exporter.log()).await;
    place.server.come_back();
    exporter.shows_failures(&base, 2.0).await;
    let ready = format!("{base}/-/ready");
    assert!(client().get(ready).send().await.is_ok_and(|answer| answer.status() == 200));
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_no_scrape_waiting() {
    let place = Place::new().await;
    let mut exporter = place.serve();
    let base = exporter.ready_url().await;
    let mut other = PgConnection::connect(&place.url).await.expect("the server is there");
    let mut locking = other.begin().await.expect("PostgreSQL does as it is told");
    let locked = sqlx::raw_sql("LOCK TABLE run").execute(&mut *locking).await;
    locked.expect("PostgreSQL does as it is told");
    place.api.finish_one("work_one", Status::Failed);
    let mut observer = PgConnection::connect(&place.url).await.expect("the server is there");
    let mut waits = async || {
        let sql = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'run'::regclass";
        let row = sqlx::query(sql).fetch_optional(&mut observer).await;
        row.expect("PostgreSQL answers").map(drop)
    };
    wait_until("the exporter waits for the table", &mut waits, || exporter.log()).await;
    scrape(&base).await;
    assert!(waits().await.is_some(), "the scrape was answered meanwhile");
    locking.rollback().await.expect("PostgreSQL does as it is told");
    exporter.shows_failures(&base, 1.0).await;
}

#[tokio::test]
async fn a_replica_that_only_reads_is_refused() {
    let place = Place::new().await;
    let mut exporter = place.serve();
    exporter.ready_url().await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    place.sql("ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    place.is_refused("read-only transaction").await;
}

#[tokio::test]
async fn tables_of_something_else_are_left_untouched() {
    let place = Place::new().await;
    place.sql("CREATE TABLE app (name TEXT); INSERT INTO app VALUES ('mine')").await;
    place.is_refused("not a ledger of this exporter").await;
}

#[tokio::test]
async fn the_migrations_of_something_else_are_left_untouched() {
    let place = Place::new().await;
    place
        .sql(
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT, \
             installed_on TIMESTAMPTZ DEFAULT now(), success BOOLEAN, checksum BYTEA, \
             execution_time BIGINT); \
             INSERT INTO _sqlx_migrations (version, description, success, checksum, \
             execution_time) VALUES (1, 'theirs', TRUE, '\\x00', 0)",
        )
        .await;
    place.is_refused("not a ledger of this exporter").await;
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_as_it_is() {
    let place = Place::new().await;
    let mut exporter = place.serve();
    exporter.ready_url().await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    place
        .sql(
            "INSERT INTO _sqlx_migrations \
             (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, '\\x00', 0)",
        )
        .await;
    place.is_refused("newer version").await;
}
