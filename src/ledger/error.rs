use std::path::PathBuf;

/// Why the ledger can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file or schema is of something else.
    #[error(
        "{ledger} is not a ledger of this exporter, so it was left untouched; \
         name another place with --state.url"
    )]
    Foreign {
        /// The file or server.
        ledger: String,
    },
    /// The file is damaged.
    #[error(
        "the ledger {file} is damaged ({detail}), so it was left as it is; restore it from a \
         backup, or move it away to start counting anew (counters restart at zero)"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A newer version of the exporter wrote it.
    #[error(
        "the ledger {ledger} was written by a newer version of this exporter (schema {found}, \
         this version knows up to {known}), so it was left as it is; run that version, restore a \
         backup made before the upgrade, or name another ledger with --state.url"
    )]
    Newer {
        /// The file or server.
        ledger: String,
        /// Its schema.
        found: i64,
        /// The latest schema that this version knows.
        known: i64,
    },
    /// Another process has it open.
    #[error(
        "the ledger {ledger} is in use by another process; two exporters on one ledger would count \
         everything twice: stop the other one, or give each its own --state.url"
    )]
    InUse {
        /// The file or server.
        ledger: String,
    },
    /// The file can't be opened.
    #[error(
        "cannot open the ledger {file}: {cause}; check that its directory exists and is writable"
    )]
    Unopenable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A row that this version can't have written.
    #[error(
        "the ledger {ledger} holds a row that makes no sense ({row}); restore it from a backup"
    )]
    Nonsense {
        /// The file or server.
        ledger: String,
        /// Where.
        row: String,
    },
    /// The database said no.
    #[error("the ledger {ledger} did not do as asked: {cause}")]
    Database {
        /// The file or server.
        ledger: String,
        /// What the database said.
        cause: sqlx::Error,
    },
}
