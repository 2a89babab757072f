//! What a ledger would make of its place, without touching it.

use std::{fs::File, path::Path};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::{
    Location, MIGRATIONS, answered, database,
    location::{APPLICATION_ID, is_ours_or_new},
    server,
};
use crate::ledger::LedgerError;

/// What lies at a place that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Nothing yet; a ledger is made at the start.
    New,
    /// A ledger that nobody uses.
    Idle,
    /// A ledger that another process uses now.
    InUse,
    /// Nothing, ever: it is in memory, and forgotten at the end.
    Fleeting,
}

/// Looks whether a ledger can be opened at this URL. Nothing is made, changed or kept locked.
/// Returns also how the place is called, without a password.
pub async fn inspect(url: &str) -> Result<(String, Site), LedgerError> {
    let location = Location::new(url);
    let site = match &location {
        Location::Memory => Site::Fleeting,
        Location::File(path) => file(&location, path).await?,
        Location::Server { url, .. } => answered(&location, on_server(&location, url)).await?,
    };
    Ok((location.to_string(), site))
}

async fn file(location: &Location, path: &Path) -> Result<Site, LedgerError> {
    let unopenable = |cause| LedgerError::Unopenable { file: path.to_owned(), cause };
    if !path.exists() {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // A file without a name, which leaves no trace.
        tempfile::tempfile_in(directory.unwrap_or(Path::new("."))).map_err(unopenable)?;
        return Ok(Site::New);
    }
    if !is_ours_or_new(path).map_err(unopenable)? {
        return Err(LedgerError::Foreign { ledger: location.to_string() });
    }
    File::options().append(true).open(path).map_err(unopenable)?;
    let lock = File::open(path.with_added_extension("lock"));
    if lock.is_ok_and(|lock| lock.try_lock().is_err()) {
        return Ok(Site::InUse);
    }
    sqlx::any::install_default_drivers();
    // Immutable: the file is only read, not even locked.
    let url = location.url().replace("?mode=rwc", "?mode=ro&immutable=1");
    let connected = AnyConnection::connect(&url).await;
    let mut connection = connected.map_err(|cause| database(location, cause))?;
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    not_newer(location, &mut connection, tables).await?;
    Ok(Site::Idle)
}

async fn on_server(location: &Location, url: &str) -> Result<Site, LedgerError> {
    let failed = |cause| database(location, cause);
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.map_err(failed)?;
    if !server::is_ours_or_new(&mut connection).await.map_err(failed)? {
        return Err(LedgerError::Foreign { ledger: location.to_string() });
    }
    let tables = "SELECT count(*) FROM pg_catalog.pg_class c \
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname = current_schema() AND c.relname = '_sqlx_migrations'";
    if !not_newer(location, &mut connection, tables).await? {
        return Ok(Site::New);
    }
    // The lock goes with the connection.
    let sql = format!(
        "SELECT pg_try_advisory_lock({APPLICATION_ID}, hashtext(coalesce(current_schema(), '')))"
    );
    let locked = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
    let locked: bool = locked.and_then(|row| row.try_get(0)).map_err(failed)?;
    Ok(if locked { Site::Idle } else { Site::InUse })
}

/// Whether there is a ledger, which is then none of a newer version. `tables` counts the tables of
/// migrations.
async fn not_newer(
    location: &Location,
    connection: &mut AnyConnection,
    tables: &'static str,
) -> Result<bool, LedgerError> {
    let failed = |cause| database(location, cause);
    let there = sqlx::query(tables).fetch_one(&mut *connection).await;
    let there: i64 = there.and_then(|row| row.try_get(0)).map_err(failed)?;
    if there == 0 {
        return Ok(false);
    }
    let latest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let latest = sqlx::query(latest).fetch_one(connection).await;
    let found: i64 = latest.and_then(|row| row.try_get(0)).map_err(failed)?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(LedgerError::Newer { ledger: location.to_string(), found, known });
    }
    Ok(true)
}
