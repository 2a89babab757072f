//! What a ledger would find at its place, without touching it.

use std::{fs, fs::File, path::Path};

use sqlx::AnyConnection;

use super::{
    connect::{connect_to, has_schema, take_lock},
    location::{Location, beside, check_file},
};
use crate::ledger::{LedgerError, error::Problem};

/// What is at a place that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerStatus {
    /// Nothing yet; a ledger is made at the start.
    New,
    /// A ledger that is not in use.
    Idle,
    /// A ledger that another process uses now.
    InUse,
    /// Nothing, ever: it is in memory, and forgotten at the end.
    InMemory,
}

/// Finds out whether a ledger can be opened at this URL. Nothing is made, changed or kept locked.
/// Returns also the name of the place, without a password.
pub async fn inspect(url: &str) -> Result<(String, LedgerStatus), LedgerError> {
    let location = Location::resolve(url)?;
    let status = async {
        match &location {
            Location::Memory => Ok(LedgerStatus::InMemory),
            Location::File(path) => file(&location, path).await,
            Location::Server { .. } => server(&location).await,
        }
    };
    let status = location.run(status).await?;
    Ok((location.to_string(), status))
}

async fn file(location: &Location, path: &Path) -> Result<LedgerStatus, Problem> {
    if !check_file(path)? {
        // A file without a name, which leaves no trace.
        tempfile::tempfile_in(path.parent().unwrap_or(path))?;
        return Ok(LedgerStatus::New);
    }
    File::options().append(true).open(path)?;
    let lock = File::open(beside(path, ".lock"));
    if lock.is_ok_and(|lock| lock.try_lock().is_err()) {
        return Ok(LedgerStatus::InUse);
    }
    has_schema(&mut connect_to_look(location).await?).await?;
    Ok(LedgerStatus::Idle)
}

/// Connects to what is there, without changing it.
pub(super) async fn connect_to_look(location: &Location) -> Result<AnyConnection, Problem> {
    let parameters = match location {
        Location::Memory | Location::Server { .. } => "",
        // After a crash, the latest of it is still in the log beside it. Without one, the file is
        // only read, and not even locked.
        Location::File(path) => match fs::metadata(beside(path, "-wal")) {
            Ok(log) if log.len() > 0 => "mode=ro",
            _ => "mode=ro&immutable=1",
        },
    };
    connect_to(location, parameters).await
}

async fn server(location: &Location) -> Result<LedgerStatus, Problem> {
    let mut connection = connect_to_look(location).await?;
    if !has_schema(&mut connection).await? {
        return Ok(LedgerStatus::New);
    }
    // The lock goes with the connection.
    Ok(if take_lock(&mut connection).await? { LedgerStatus::Idle } else { LedgerStatus::InUse })
}
