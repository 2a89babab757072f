//! Connects to a database that is ours or new, after checking that it is.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, error::DatabaseError};

use super::location::{APPLICATION_ID, Location};
use crate::ledger::error::Problem;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/ledger/migrations");

/// `lock_not_available`, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Connects for writing, and brings the schema up to date. On a server this takes the lock.
pub(super) async fn connect(location: &Location) -> Result<AnyConnection, Problem> {
    let mut connection = connect_to(location, "mode=rwc").await?;
    match location {
        Location::Server { .. } => lock(&mut connection).await?,
        Location::File(_) | Location::Memory => set_up(&mut connection).await?,
    }
    has_schema(&mut connection).await?;
    // `run` would do, but its future can't move between threads (rust-lang/rust#100013).
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    migrated.map_err(|error| sqlx::Error::Migrate(Box::new(error)))?;
    Ok(connection)
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

/// Waits a little for the lock on a schema: a server needs a moment to notice that its holder is
/// gone. A host that vanished is noticed by the keep-alives, within a minute. The lock holds as
/// long as the connection, which is the one that writes: a process without the lock can't write.
async fn lock(connection: &mut AnyConnection) -> Result<(), Problem> {
    // Together these are one transaction, which is how long `LOCAL` holds; the lock outlives it.
    let sql = format!(
        "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
         SET tcp_keepalives_count = 3; SET LOCAL lock_timeout = '3s'; \
         SELECT pg_advisory_lock({APPLICATION_ID}, hashtext(coalesce(current_schema(), '')))"
    );
    let locked = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    locked.map(|_| ()).map_err(|error| {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if code.as_deref() == Some(LOCK_NOT_AVAILABLE) { Problem::InUse } else { error.into() }
    })
}

/// Whether the lock on a schema is free.
pub(super) async fn is_free(connection: &mut AnyConnection) -> Result<bool, Problem> {
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
