//! What a PostgreSQL server is asked before it is used as a ledger.

use futures::future::BoxFuture;
use sqlx::{AnyConnection, AssertSqlSafe, Row, error::DatabaseError};

use super::{Location, MIGRATIONS, database, location::APPLICATION_ID};
use crate::ledger::LedgerError;

/// `lock_not_available`, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const LOCK_TIMEOUT: &str = "55P03";

/// Makes sure that the schema is ours or new, and that nobody else counts in it, without changing
/// it. The lock holds as long as the connection, which is the one that writes: who has lost the
/// lock can't write either.
///
/// Boxed, or else the compiler can't see that it can move between threads.
pub(super) fn claim<'a>(
    location: &'a Location,
    connection: &'a mut AnyConnection,
) -> BoxFuture<'a, Result<(), LedgerError>> {
    Box::pin(async move {
        lock(connection).await.map_err(|error| {
            let code = error.as_database_error().and_then(DatabaseError::code);
            match code.as_deref() {
                Some(LOCK_TIMEOUT) => LedgerError::InUse { ledger: location.to_string() },
                _ => database(location, error),
            }
        })?;
        match is_ours_or_new(connection).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LedgerError::Foreign { ledger: location.to_string() }),
            Err(error) => Err(database(location, error)),
        }
    })
}

/// Waits a little for the lock: the server needs a moment to notice that whoever held it is gone.
/// A host that went without a word is noticed by the keep-alives, within a minute.
async fn lock(connection: &mut AnyConnection) -> sqlx::Result<()> {
    // Together these are one transaction, which is how long `LOCAL` holds; the lock outlives it.
    let sql = format!(
        "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
         SET tcp_keepalives_count = 3; SET LOCAL lock_timeout = '3s'; \
         SELECT pg_advisory_lock({APPLICATION_ID}, hashtext(coalesce(current_schema(), '')))"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// A new schema has no tables of our names; in ours the first migration is ours.
pub(super) async fn is_ours_or_new(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    let sql = "SELECT c.relname::TEXT FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = current_schema() \
               AND c.relname IN ('_sqlx_migrations', 'app', 'workflow', 'series', 'run')";
    let mut is_migrated = false;
    let mut is_new = true;
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let name: String = row.try_get(0)?;
        is_migrated |= name == "_sqlx_migrations";
        is_new &= name == "_sqlx_migrations";
    }
    if !is_migrated {
        return Ok(is_new);
    }
    let sql = "SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1";
    let first = sqlx::query(sql).fetch_optional(connection).await?;
    let Some(first) = first else { return Ok(is_new) };
    let checksum: Vec<u8> = first.try_get(0)?;
    Ok(MIGRATIONS.iter().next().is_some_and(|migration| *migration.checksum == checksum))
}
