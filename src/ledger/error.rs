use std::io;

use sqlx::error::DatabaseError;

/// Why a ledger can't be opened, read or written. It names the file or server, without a password.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {ledger} {problem}")]
pub struct LedgerError {
    pub(super) ledger: String,
    pub(super) problem: Problem,
}

impl LedgerError {
    /// Whether nothing is wrong, but that another process leads.
    pub(super) fn stands_by(&self) -> bool {
        matches!(self.problem, Problem::StandingBy)
    }
}

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// The file or schema belongs to something else.
    #[error(
        "is not a ledger of this exporter, so it was left untouched; name another place with \
         --state.url"
    )]
    Foreign,
    /// The file is damaged.
    #[error(
        "is damaged ({0}), so it was left as it is; restore it from a backup, or move it away to \
         start counting anew (counters restart at zero)"
    )]
    Damaged(String),
    /// Something in it that only a newer version of the exporter can have written.
    #[error(
        "was written by a newer version of this exporter ({0}), so it was left as it is; run that \
         version, restore a backup made before the upgrade, or name another ledger with --state.url"
    )]
    Newer(String),
    /// No schema of a server has the name that the URL gives.
    #[error(
        "is to be in a schema that does not exist; create it, or name another one with \
         options[search_path] in the URL"
    )]
    NoSchema,
    /// Another process has it open.
    #[error(
        "is in use by another process; two exporters on one ledger would count everything twice: \
         stop the other one, or give each its own --state.url"
    )]
    InUse,
    /// Another process uses it, on a server; this one will when that ends.
    #[error("is used by another exporter, so this one stands by")]
    StandingBy,
    /// It isn't there, or was never used.
    #[error("holds no numbers that could be copied; name the one that does")]
    NothingToCopy,
    /// There is something where a copy should go.
    #[error("exists already, so it was left as it is; copy to a new file or an empty schema")]
    Occupied,
    /// It would be gone with this process.
    #[error("does not last; name a file or a server")]
    NotLasting,
    /// The file has a second name in the file system.
    #[error(
        "has another name, too (a hard link); SQLite keeps part of it in files beside the name, so \
         under two names it would be damaged: remove the other one"
    )]
    HardLinked,
    /// The file can't be opened.
    #[error("cannot be opened: {0}; check that its directory exists and is writable")]
    Unopenable(#[from] io::Error),
    /// A row that no version can have written.
    #[error("holds an invalid row ({0}); restore it from a backup")]
    InvalidRow(String),
    /// The database reported an error.
    #[error("could not be read or written: {}", without_line(&.0.to_string()))]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_CORRUPT and SQLITE_NOTADB, <https://www.sqlite.org/rescode.html>.
        match error.as_database_error().and_then(DatabaseError::code).as_deref() {
            Some("11" | "26") => Self::Damaged(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// What a database says, without the line of PostgreSQL's own source code that sqlx adds.
fn without_line(text: &str) -> &str {
    match text.rsplit_once(" at line ") {
        Some((said, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => said,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_server_s_source_code_is_not_told() {
        let said = "error returned from database: permission denied for schema public";
        assert_eq!(without_line(&format!("{said} at line 2934")), said);
        for whole in [said, "syntax error at line 3 of the script", " at line"] {
            assert_eq!(without_line(whole), whole);
        }
    }
}
