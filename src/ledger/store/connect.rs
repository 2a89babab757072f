//! Connects to a database that is ours or new, after checking that it is.

use std::{io::ErrorKind, time::Duration};

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tokio::time::timeout;

use super::location::{APPLICATION_ID, Location};
use crate::ledger::{error::Problem, leadership::LEASE};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/ledger/migrations");

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects for writing, and brings the schema up to date. On a server this takes the lock; if
/// another process has it, nothing is changed, and the connection is one that `waits` for it.
/// Returns whether the lock is ours.
pub(super) async fn connect(
    location: &Location,
    waits: Option<AnyConnection>,
) -> Result<(AnyConnection, bool), Problem> {
    let is_new = waits.is_none();
    let mut connection = match (location, waits) {
        (_, Some(connection)) => connection,
        (Location::Server { .. }, None) => {
            let connecting = timeout(CONNECT_TIMEOUT, connect_to(location, "")).await;
            let timed_out = |_| sqlx::Error::Io(ErrorKind::TimedOut.into());
            let mut connection = connecting.map_err(timed_out)??;
            limit_silence(&mut connection).await?;
            connection
        }
        (Location::File(_) | Location::Memory, None) => connect_to(location, "mode=rwc").await?,
    };
    match location {
        Location::Server { .. } => {
            if !take_lock(&mut connection).await? {
                if is_new {
                    // Better refused now than when it is needed.
                    has_schema(&mut connection).await?;
                }
                return Ok((connection, false));
            }
        }
        Location::File(_) | Location::Memory => set_up(&mut connection).await?,
    }
    has_schema(&mut connection).await?;
    // `run` would do, but its future can't move between threads (rust-lang/rust#100013).
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    migrated.map_err(|error| sqlx::Error::Migrate(Box::new(error)))?;
    Ok((connection, true))
}

/// Connects without checking anything.
pub(super) async fn connect_to(
    location: &Location,
    parameters: &str,
) -> Result<AnyConnection, Problem> {
    sqlx::any::install_default_drivers();
    Ok(AnyConnection::connect(&location.url(parameters)).await?)
}

/// Prepares a SQLite file, and makes sure that it is whole.
async fn set_up(connection: &mut AnyConnection) -> Result<(), Problem> {
    // The application id comes first, since it marks the file as ours from now on. Setting it again
    // would change a file that may yet be refused.
    let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    if id != i64::from(APPLICATION_ID) {
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
        sqlx::raw_sql(AssertSqlSafe(mark)).execute(&mut *connection).await?;
    }
    // FULL: a commit is on the disk before it returns, so that what was published survives a power
    // cut.
    let pragmas =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000";
    sqlx::raw_sql(pragmas).execute(&mut *connection).await?;
    let verdict = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection);
    let verdict: String = verdict.await?;
    match verdict.lines().next() {
        Some("ok") => Ok(()),
        detail => Err(Problem::Damaged(detail.unwrap_or_default().into())),
    }
}

/// Has the server end this session, and with it the lock, when it hears nothing from this process
/// for as long as that may lead without proof, or can't send it anything. Before version 14 it
/// doesn't know these settings but for the last; then the keep-alives notice a host that vanished,
/// within a minute.
async fn limit_silence(connection: &mut AnyConnection) -> Result<(), Problem> {
    let sql = format!(
        "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
         SET tcp_keepalives_count = 3; \
         SELECT set_config(name, '{}', false) FROM pg_catalog.pg_settings WHERE name IN \
         ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'tcp_user_timeout')",
        LEASE.as_millis()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Takes the lock on a schema, if it is free. It holds as long as the connection, which is the one
/// that writes: a process without the lock can't write. Waiting for it within the server would keep
/// a snapshot, and so `VACUUM` from its work.
pub(super) async fn take_lock(connection: &mut AnyConnection) -> Result<bool, Problem> {
    let sql = format!(
        "SELECT pg_try_advisory_lock({APPLICATION_ID}, hashtext(coalesce(current_schema(), '')))"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

/// Whether the database holds a ledger, which is then ours and not newer than this version; if not,
/// it has no tables of our names.
pub(super) async fn has_schema(connection: &mut AnyConnection) -> Result<bool, Problem> {
    let sql = if connection.backend_name() == "SQLite" {
        "SELECT name FROM sqlite_master \
         WHERE name IN ('_sqlx_migrations', 'app', 'workflow', 'series', 'run')"
    } else {
        "SELECT c.relname::TEXT FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = current_schema() \
         AND c.relname IN ('_sqlx_migrations', 'app', 'workflow', 'series', 'run')"
    };
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *connection).await?;
    if tables.is_empty() && connection.backend_name() != "SQLite" {
        let schema =
            sqlx::query_scalar("SELECT current_schema()::TEXT").fetch_one(&mut *connection);
        let schema: Option<String> = schema.await?;
        schema.ok_or(Problem::NoSchema)?;
    }
    let mut applied = Vec::new();
    if tables.iter().any(|table| table == "_sqlx_migrations") {
        let sql = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
        applied = sqlx::query_as::<_, (i64, Vec<u8>)>(sql).fetch_all(connection).await?;
    }
    let (Some((_, first)), Some((newest, _))) = (applied.first(), applied.last()) else {
        let is_new = tables.iter().all(|table| table == "_sqlx_migrations");
        return if is_new { Ok(false) } else { Err(Problem::Foreign) };
    };
    if MIGRATIONS.iter().next().is_none_or(|ours| *ours.checksum != *first) {
        return Err(Problem::Foreign);
    }
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if *newest > known {
        let detail = format!("schema {newest}; this version knows up to {known}");
        return Err(Problem::Newer(detail));
    }
    Ok(true)
}
