//! All SQL. The same statements run on SQLite and PostgreSQL.

mod connect;
mod copy;
mod inspect;
mod location;
mod rows;
mod statements;

use std::{collections::HashMap, fs::File, io::ErrorKind, time::Duration};

use sqlx::{AnyConnection, Connection as _};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

pub use inspect::{LedgerStatus, inspect};
pub(super) use statements::{Batch, Loaded};

use super::{
    LedgerError, error::Problem, identity::RunRecord, leadership::LEASE, series::Bounds,
    state::State,
};
use crate::model::RunId;
use connect::connect;
use location::{LOCK_TIMEOUT, Location};

/// A database that holds a ledger.
pub(super) struct Store {
    location: Location,
    /// With the lock. `None` after reconnecting failed, and while another process has the lock.
    connection: Option<AnyConnection>,
    /// A connection to a server without the lock.
    waiting: Option<AnyConnection>,
    /// A connection to a file that was given up and has still to end.
    ending: Option<JoinHandle<()>>,
    /// Held until the store is dropped.
    _lock: Option<File>,
}

impl Store {
    /// Opens a ledger, making it if there is none. Refuses what is not one, without changing it.
    /// One that another process uses is refused if it is a file, and not read if it is on a server.
    pub(super) async fn open(url: &str) -> Result<Self, LedgerError> {
        let location = Location::resolve(url)?;
        let lock = location.run(location.claim()).await?;
        let (connection, waiting, ending) = (None, None, None);
        let mut store = Self { location, connection, waiting, ending, _lock: lock };
        store.connect().await?;
        // A server needs a moment to notice that the process before is gone.
        let deadline = Instant::now() + LOCK_TIMEOUT;
        while store.waits() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            store.connect().await?;
        }
        Ok(store)
    }

    /// Whether other processes can wait for this one's end.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.location, Location::Server { .. })
    }

    /// Whether another process has the lock.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whatever is wrong with this ledger.
    pub(super) fn error(&self, problem: Problem) -> LedgerError {
        LedgerError { ledger: self.location.to_string(), problem }
    }

    /// Ends the connection in order; SQLite then moves its log into the file.
    pub(super) async fn close(&mut self) -> Result<(), LedgerError> {
        match self.connection.take() {
            None => Ok(()),
            Some(connection) => self.location.run(async { Ok(connection.close().await?) }).await,
        }
    }

    /// Connects anew, after an error that left it unclear what was written, or looks whether the
    /// process that has the lock is gone. Returns whether the lock is ours.
    pub(super) async fn reconnect(&mut self) -> Result<bool, LedgerError> {
        // With its only connection, a database in memory would be gone.
        if matches!(self.location, Location::Memory) {
            return Ok(true);
        }
        // First, since a server's lock belongs to this connection. A server finishes its work and
        // then releases the lock; for a file, a thread of ours may still be at work, and its
        // abandoned commit would come after what is read now.
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
        self.connect().await?;
        Ok(!self.waits())
    }

    async fn connect(&mut self) -> Result<(), LedgerError> {
        let waiting = self.waiting.take();
        let (connection, has_lock) = self.location.run(connect(&self.location, waiting)).await?;
        *if has_lock { &mut self.connection } else { &mut self.waiting } = Some(connection);
        Ok(())
    }

    /// Makes sure that the server still has this session, and so the lock.
    pub(super) async fn ping(&mut self) -> Result<(), LedgerError> {
        let Self { location, connection, .. } = self;
        let ping = async { Ok(connected(connection)?.ping().await?) };
        let ping = timeout(LEASE, location.run(ping)).await;
        ping.unwrap_or_else(|_| Err(self.error(sqlx::Error::Io(ErrorKind::TimedOut.into()).into())))
    }

    /// Reads everything but the identities of finished runs. `first_published` is the version of
    /// the state in which it is published.
    pub(super) async fn load(
        &mut self,
        bounds: &Bounds,
        first_published: u64,
        now_ms: i64,
    ) -> Result<Loaded, LedgerError> {
        let Self { location, connection, .. } = self;
        let load = async {
            statements::load(connected(connection)?, bounds, first_published, now_ms).await
        };
        location.run(load).await
    }

    /// What is remembered of these runs of a workflow.
    pub(super) async fn runs(
        &mut self,
        workflow: i64,
        ids: &[&RunId],
    ) -> Result<HashMap<RunId, RunRecord>, LedgerError> {
        let Self { location, connection, .. } = self;
        let look_up = async { statements::look_up(connected(connection)?, workflow, ids).await };
        location.run(look_up).await
    }

    /// What is remembered of the runs with this id, and the number of the workflow of each.
    pub(super) async fn find(&mut self, id: &RunId) -> Result<Vec<(i64, RunRecord)>, LedgerError> {
        let Self { location, connection, .. } = self;
        location.run(async { statements::find(connected(connection)?, id).await }).await
    }

    /// The apps and workflows, without totals and open runs, and what is remembered of the runs with
    /// this id. Needs no lock.
    pub(super) async fn peek(
        &mut self,
        id: Option<&RunId>,
    ) -> Result<(State, Vec<(i64, RunRecord)>), LedgerError> {
        let Self { location, connection, waiting, .. } = self;
        let place = if waiting.is_some() { waiting } else { connection };
        // One that breaks, or is left amid an answer, is not put back.
        let mut taken = place.take();
        let peek = async {
            let connection = connected(&mut taken)?;
            let state = statements::load_without_totals(connection).await?;
            let runs = match id {
                Some(id) => statements::find(connection, id).await?,
                None => Vec::new(),
            };
            Ok((state, runs))
        };
        let found = location.run(peek).await?;
        *place = taken;
        Ok(found)
    }

    /// Writes a batch in one transaction. When this returns, the batch is durable.
    pub(super) async fn commit(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        let Self { location, connection, .. } = self;
        location.run(async { statements::write(connected(connection)?, batch).await }).await
    }

    /// From now on the database has no room for more, until it is connected to anew.
    #[cfg(test)]
    pub(super) async fn fill_up(&mut self) {
        let connection = connected(&mut self.connection).expect("it is open");
        let full = sqlx::query("PRAGMA max_page_count = 1").fetch_one(connection).await;
        full.expect("it goes down to what is there");
    }
}

/// Copies a whole ledger, at the newest schema, to a place where there is none, in one transaction.
/// Both are locked meanwhile, and the source keeps what it holds. Reports each table with its
/// number of rows so far.
pub async fn copy(
    from: &str,
    to: &str,
    mut report: impl FnMut(&'static str, u64),
) -> Result<(), LedgerError> {
    copy::check_source(from).await?;
    copy::check_target(to).await?;
    let mut source = Store::open(from).await?;
    let Some(reader) = &mut source.connection else { return Err(source.error(Problem::InUse)) };
    let mut target = Store::open(to).await?;
    let Some(writer) = &mut target.connection else { return Err(target.error(Problem::InUse)) };
    let (reader, writer) = ((&source.location, reader), (&target.location, writer));
    copy::copy_rows(reader, writer, &mut report).await?;
    target.close().await?;
    // A server may have ended a session that was idle while the other ledger was written.
    let _ = source.close().await;
    Ok(())
}

fn connected(connection: &mut Option<AnyConnection>) -> Result<&mut AnyConnection, Problem> {
    Ok(connection.as_mut().ok_or(sqlx::Error::Io(ErrorKind::NotConnected.into()))?)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use sqlx::{AssertSqlSafe, Row as _};

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
        let rows = sqlx::query_scalar("SELECT count(*) FROM run").fetch_one(connection).await;
        let rows: i64 = rows.expect("a number");
        assert_eq!(rows, 300_000);
    }

    #[tokio::test]
    async fn a_run_is_looked_up_by_the_key_and_not_by_reading_all_runs() {
        let mut store = Store::open("sqlite::memory:").await.expect("it opens");
        let connection = store.connection.as_mut().expect("it is open");
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statements::FIND));
        let steps = sqlx::query(explain).bind("run").fetch_all(connection).await.expect("a plan");
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        let [workflows, runs] = &steps[..] else { panic!("{steps:?}") };
        assert!(workflows.starts_with("SCAN workflow USING COVERING INDEX"), "{steps:?}");
        assert!(runs.starts_with("SEARCH run USING INDEX"), "{steps:?}");
        assert!(runs.ends_with("(workflow=? AND run_id=?)"), "{steps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_that_is_named_is_the_one_that_is_opened_and_locked() {
        for name in [
            "plain.db",
            "a b.db",
            "what?.db",
            "what.db?mode=ro",
            "100%.db",
            "%41.db",
            "a#b.db",
            "file:x.db",
            ":memory:",
            "vfs=unix.db",
            "größe.db",
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            let url = format!("sqlite:{}/{name}", directory.path().display());
            let mut store = Store::open(&url).await.expect("it opens");
            let again = Store::open(&url).await.err().expect("it is open").to_string();
            assert!(again.contains("in use by another process"), "{again}");
            store.close().await.expect("it closes");
            drop(store);
            let files = std::fs::read_dir(directory.path()).expect("it can be listed");
            let mut files: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
            files.sort();
            let expected = [name.to_owned(), format!("{name}.lock")];
            assert_eq!(files, expected.map(std::ffi::OsString::from));
            // A process that another test has just forked may hold the lock until it runs its program.
            tokio::time::resume();
            Store::open(&url).await.expect("it opens again");
            tokio::time::pause();
        }
    }
}
