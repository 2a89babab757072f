//! All SQL. The same statements run on SQLite and PostgreSQL.

mod inspect;
mod location;
mod rows;
mod server;

use std::{collections::HashMap, fs::File, io::ErrorKind, time::Duration};

use futures::future::BoxFuture;
pub use inspect::{Site, inspect};
use location::{APPLICATION_ID, Location};
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Connection, Row, any::AnyArguments, error::DatabaseError,
    migrate::MigrateError, query::Query,
};
use tokio::task::JoinHandle;

use super::{
    LedgerError,
    observe::RunRecord,
    series::{Bounds, Series, SeriesKey},
    state::{AppRecord, State, WorkflowState},
};
use crate::model::{AppId, RunId, WorkflowId};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/ledger/migrations");

/// How many rows one statement writes or looks up. Few shapes, so that each is prepared once.
const ROWS: [usize; 3] = [64, 8, 1];

/// A database that holds a ledger.
pub(super) struct Store {
    location: Location,
    /// There is none while it could not be connected to anew.
    connection: Option<AnyConnection>,
    /// A connection to a file that was given up and has still to end.
    ending: Option<JoinHandle<()>>,
    /// Held as long as the store lives.
    _lock: Option<File>,
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) apps: Vec<(&'a AppId, &'a AppRecord)>,
    pub(super) workflows: Vec<(&'a AppId, &'a WorkflowId, &'a WorkflowState)>,
    pub(super) series: Vec<(i64, &'a SeriesKey, &'a Series)>,
    pub(super) runs: Vec<(i64, &'a RunId, &'a RunRecord)>,
    /// Forgets the runs of an app that are not followed and were created before.
    pub(super) prune: Option<(&'a AppId, i64)>,
}

/// What a database holds.
pub(super) struct Loaded {
    pub(super) state: State,
    /// The highest number that a workflow has.
    pub(super) highest_number: i64,
    /// Histograms whose bounds are no longer the configured ones; they start anew.
    pub(super) restarted: Vec<(i64, SeriesKey)>,
}

impl Store {
    /// Opens a ledger, making it if there is none. Refuses what is not one, without changing it.
    pub(super) async fn open(url: &str) -> Result<Self, LedgerError> {
        let location = Location::new(url);
        let lock = location.claim().await?;
        let connection = answered(&location, connect(&location)).await?;
        Ok(Self { location, connection: Some(connection), ending: None, _lock: lock })
    }

    /// Ends the connection in order; SQLite then moves its log into the file.
    pub(super) async fn close(&mut self) -> Result<(), LedgerError> {
        match self.connection.take() {
            None => Ok(()),
            Some(connection) => {
                connection.close().await.map_err(|cause| database(&self.location, cause))
            }
        }
    }

    /// Connects anew, after an error that left it unclear what was written.
    pub(super) async fn reconnect(&mut self) -> Result<(), LedgerError> {
        // With its only connection, a database in memory would be gone.
        if matches!(self.location, Location::Memory) {
            return Ok(());
        }
        // First, since a server's lock is this connection's. A server works on for it and lets go of
        // the lock afterwards; for a file, a thread of ours may still be at work, so that a commit
        // which nobody waits for any more would come after what is read now.
        let given_up = self.connection.take();
        if let (Location::File(_), Some(connection)) = (&self.location, given_up) {
            let end = async { drop(connection.close().await) };
            self.ending = Some(tokio::spawn(end));
        }
        // Kept, so that it is waited for also if the caller stops waiting.
        if let Some(ending) = &mut self.ending {
            let _ = ending.await;
            self.ending = None;
        }
        self.connection = Some(answered(&self.location, connect(&self.location)).await?);
        Ok(())
    }

    /// Reads everything but the identities of finished runs. `first_published` is the version of the state in
    /// which it is published.
    pub(super) async fn load(
        &mut self,
        bounds: &Bounds,
        first_published: u64,
        now_ms: i64,
    ) -> Result<Loaded, LedgerError> {
        let Self { location, connection, .. } = self;
        let connection = connected(location, connection)?;
        let load = async {
            let loaded = rows::load(connection, bounds, first_published, now_ms).await;
            loaded.map_err(|error| match error {
                rows::RowError::Database(source) => database(location, source),
                rows::RowError::Nonsense(row) => {
                    LedgerError::Nonsense { ledger: location.to_string(), row }
                }
            })
        };
        answered(location, load).await
    }

    /// From now on the database has no room for more, until it is connected to anew.
    #[cfg(test)]
    pub(super) async fn fill_up(&mut self) {
        let connection = connected(&self.location, &mut self.connection).expect("it is open");
        let full = sqlx::query("PRAGMA max_page_count = 1").fetch_one(connection).await;
        full.expect("it goes down to what is there");
    }

    /// What is remembered of these runs of a workflow.
    pub(super) async fn runs(
        &mut self,
        workflow: i64,
        ids: &[&RunId],
    ) -> Result<HashMap<RunId, RunRecord>, LedgerError> {
        let Self { location, connection, .. } = self;
        let connection = connected(location, connection)?;
        answered(location, lookup(location, connection, workflow, ids)).await
    }

    /// Writes a batch in one transaction. When this returns, the batch is durable.
    pub(super) async fn commit(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        let Self { location, connection, .. } = self;
        let connection = connected(location, connection)?;
        let write =
            async { write(connection, batch).await.map_err(|source| database(location, source)) };
        answered(location, write).await
    }
}

/// How long a server may take for one piece of work, so that one that went without a word doesn't
/// hold up everything for ever.
const PATIENCE: Duration = Duration::from_secs(60);

async fn answered<T>(
    location: &Location,
    work: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    if !matches!(location, Location::Server { .. }) {
        return work.await;
    }
    let silent = |_| Err(database(location, sqlx::Error::Io(ErrorKind::TimedOut.into())));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(silent)
}

fn connected<'a>(
    location: &Location,
    connection: &'a mut Option<AnyConnection>,
) -> Result<&'a mut AnyConnection, LedgerError> {
    let none = || database(location, sqlx::Error::Io(ErrorKind::NotConnected.into()));
    connection.as_mut().ok_or_else(none)
}

async fn lookup(
    location: &Location,
    connection: &mut AnyConnection,
    workflow: i64,
    ids: &[&RunId],
) -> Result<HashMap<RunId, RunRecord>, LedgerError> {
    let failed = |source| database(location, source);
    let mut found = HashMap::with_capacity(ids.len());
    for ids in chunks(ids) {
        let marks: Vec<_> = (2..ids.len() + 2).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT run_id, {} FROM run WHERE workflow = $1 AND run_id IN ({})",
            rows::RUN_COLUMNS,
            marks.join(", ")
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(workflow);
        let query = ids.iter().fold(query, |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(&mut *connection).await.map_err(failed)? {
            let run_id: String = row.try_get(0).map_err(failed)?;
            let record = rows::run(&row).ok_or_else(|| LedgerError::Nonsense {
                ledger: location.to_string(),
                row: format!("run {run_id}"),
            })?;
            found.extend(RunId::new(&run_id).map(|id| (id, record)));
        }
    }
    Ok(found)
}

async fn connect(location: &Location) -> Result<AnyConnection, LedgerError> {
    sqlx::any::install_default_drivers();
    let failed = |source| database(location, source);
    let mut connection = AnyConnection::connect(&location.url()).await.map_err(failed)?;
    if matches!(location, Location::Server { .. }) {
        server::claim(location, &mut connection).await?;
    } else {
        // The application id comes first, since it tells later that the file is ours. Setting it
        // again would change a file that may yet be refused.
        let id = sqlx::query("PRAGMA application_id").fetch_one(&mut connection);
        let id: i64 = id.await.and_then(|row| row.try_get(0)).map_err(failed)?;
        let mark = if id == i64::from(APPLICATION_ID) {
            String::new()
        } else {
            format!("PRAGMA application_id = {APPLICATION_ID};")
        };
        // FULL: a commit is on the disk before it returns, so that what was published survives a
        // power cut.
        let pragmas = format!(
            "{mark} PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA busy_timeout = 5000"
        );
        sqlx::raw_sql(AssertSqlSafe(pragmas)).execute(&mut connection).await.map_err(failed)?;
        let check = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut connection);
        let verdict: String = check.await.and_then(|row| row.try_get(0)).map_err(failed)?;
        if verdict != "ok" {
            let detail = verdict.lines().next().unwrap_or_default().into();
            return Err(LedgerError::Damaged { file: location.to_string(), detail });
        }
    }
    // `run` would do, but its future can't move between threads (rust-lang/rust#100013).
    match MIGRATIONS.run_direct(None, &mut connection, false).await {
        Ok(()) => Ok(connection),
        Err(MigrateError::VersionMissing(found)) => Err(LedgerError::Newer {
            ledger: location.to_string(),
            found,
            known: MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0),
        }),
        Err(error) => Err(failed(sqlx::Error::Migrate(Box::new(error)))),
    }
}

/// Boxed, or else the compiler can't see that it can move between threads.
fn write<'a>(
    connection: &'a mut AnyConnection,
    batch: &'a Batch<'_>,
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        write_rows(&mut transaction, batch).await?;
        transaction.commit().await
    })
}

async fn write_rows(transaction: &mut AnyConnection, batch: &Batch<'_>) -> sqlx::Result<()> {
    for rows in chunks(&batch.apps) {
        let sql = upsert("app", &["app_id"], &["state"], rows.len());
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), rows::bind_app);
        query.execute(&mut *transaction).await?;
    }
    for rows in chunks(&batch.workflows) {
        let values = ["app_id", "workflow_id", "state"];
        let sql = upsert("workflow", &["workflow"], &values, rows.len());
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), rows::bind_workflow);
        query.execute(&mut *transaction).await?;
    }
    for rows in chunks(&batch.series) {
        let keys = ["workflow", "total", "labels"];
        let sql = upsert("series", &keys, &rows::SERIES_VALUES, rows.len());
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), rows::bind_series);
        query.execute(&mut *transaction).await?;
    }
    for rows in chunks(&batch.runs) {
        let sql = upsert("run", &["workflow", "run_id"], &rows::RUN_VALUES, rows.len());
        let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), rows::bind_run);
        query.execute(&mut *transaction).await?;
    }
    if let Some((app, before_ms)) = batch.prune {
        let sql = "DELETE FROM run WHERE age_ms < $1 AND phase IN ('finished', 'vanished') \
                   AND workflow IN (SELECT workflow FROM workflow WHERE app_id = $2)";
        sqlx::query(sql).bind(before_ms).bind(app.as_str()).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// An `INSERT … ON CONFLICT … DO UPDATE` of so many rows.
fn upsert(table: &str, keys: &[&str], values: &[&str], rows: usize) -> String {
    let width = keys.len() + values.len();
    let row = |row| {
        let marks: Vec<_> = (1..=width).map(|n| format!("${}", row * width + n)).collect();
        format!("({})", marks.join(", "))
    };
    let marks: Vec<_> = (0..rows).map(row).collect();
    let updates: Vec<_> = values.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {table} ({}, {}) VALUES {} ON CONFLICT ({}) DO UPDATE SET {}",
        keys.join(", "),
        values.join(", "),
        marks.join(", "),
        keys.join(", "),
        updates.join(", ")
    )
}

/// Cuts a slice into pieces of the lengths in [`ROWS`].
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

fn database(location: &Location, cause: sqlx::Error) -> LedgerError {
    // SQLITE_CORRUPT and SQLITE_NOTADB, <https://www.sqlite.org/rescode.html>.
    let code = cause.as_database_error().and_then(DatabaseError::code);
    match code.as_deref() {
        Some("11" | "26") => {
            LedgerError::Damaged { file: location.to_string(), detail: cause.to_string() }
        }
        _ => LedgerError::Database { ledger: location.to_string(), cause },
    }
}

/// A statement with some of its values.
type Statement<'q> = Query<'q, Any, AnyArguments>;

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_still_written_to_a_file_comes_before_a_new_connection() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let mut store = Store::open(&url).await.expect("it opens");
        let connection = store.connection.as_mut().expect("it is open");
        // Begun and given up, as by a reload.
        let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
                    INSERT INTO run (workflow, run_id, phase, age_ms, reading) \
                    SELECT 1, i, 'finished', 0, 0 FROM n";
        let writing = sqlx::query(long).execute(&mut *connection);
        assert!(writing.now_or_never().is_none(), "it takes a while");
        store.reconnect().await.expect("it connects");
        let connection = store.connection.as_mut().expect("it is open");
        let rows = sqlx::query("SELECT count(*) FROM run").fetch_one(connection).await;
        let rows: i64 = rows.and_then(|row| row.try_get(0)).expect("a number");
        assert_eq!(rows, 300_000);
    }

    #[test]
    fn every_row_is_in_exactly_one_chunk() {
        let rows: Vec<_> = (0..77).collect();
        let sizes: Vec<_> = chunks(&rows).map(<[_]>::len).collect();
        assert_eq!(sizes, [64, 8, 1, 1, 1, 1, 1]);
        assert_eq!(chunks(&rows).flatten().copied().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn an_upsert_numbers_its_values_row_by_row() {
        let sql = upsert("t", &["a"], &["b", "c"], 2);
        let expected = "INSERT INTO t (a, b, c) VALUES ($1, $2, $3), ($4, $5, $6) \
                        ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c";
        assert_eq!(sql, expected);
    }
}
