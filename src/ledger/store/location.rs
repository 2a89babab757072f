//! Where a ledger lies, and what can be told of a file before a database touches it.

use std::{
    fmt,
    fs::{File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::Instant;

use crate::ledger::LedgerError;

/// Marks a SQLite file as a ledger of this exporter (`CxWL`).
pub(super) const APPLICATION_ID: i32 = 0x4378_574C;

/// How long to wait for a lock: whoever holds it may just be ending.
const PATIENCE: Duration = Duration::from_secs(3);

/// Characters of a file name that mean something else in a URL.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Where a ledger lies. `Display` doesn't show a password.
#[derive(Clone, Debug)]
pub(super) enum Location {
    /// In this process' memory.
    Memory,
    /// In a file.
    File(PathBuf),
    /// On a PostgreSQL server; the URL may hold a password.
    Server { url: String, shown: String },
}

impl Location {
    /// Reads `--state.url`.
    pub(super) fn new(url: &str) -> Self {
        match url.strip_prefix("sqlite:") {
            Some(":memory:") => Self::Memory,
            Some(path) => Self::File(path.strip_prefix("//").unwrap_or(path).into()),
            None => {
                let shown = reqwest::Url::parse(url).ok().map(|mut url| {
                    url.set_query(None);
                    let _ = url.set_password(None);
                    url.to_string()
                });
                Self::Server { url: url.into(), shown: shown.unwrap_or("postgres".into()) }
            }
        }
    }

    /// The URL for the database driver.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Memory => "sqlite::memory:".into(),
            Self::File(path) => {
                let path = path.to_string_lossy();
                format!("sqlite:{}?mode=rwc", utf8_percent_encode(&path, RESERVED))
            }
            Self::Server { url, .. } => url.clone(),
        }
    }

    /// Makes sure that the file is ours or new, and that nobody else has it open, without
    /// changing it. The lock holds as long as the returned file lives.
    pub(super) async fn claim(&self) -> Result<Option<File>, LedgerError> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let unopenable = |cause| LedgerError::Unopenable { file: path.clone(), cause };
        let lock_path = path.with_added_extension("lock");
        let lock =
            File::options().create(true).append(true).open(&lock_path).map_err(unopenable)?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::InUse { ledger: self.to_string() });
                }
                Err(TryLockError::Error(error)) => return Err(unopenable(error)),
            }
        }
        if is_ours_or_new(path).map_err(unopenable)? {
            Ok(Some(lock))
        } else {
            Err(LedgerError::Foreign { ledger: self.to_string() })
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::File(path) => path.display().fmt(f),
            Self::Server { shown, .. } => f.write_str(shown),
        }
    }
}

/// Looks at the file's header only (<https://www.sqlite.org/fileformat.html>): opening a foreign
/// database would already change it.
pub(super) fn is_ours_or_new(path: &Path) -> std::io::Result<bool> {
    let mut header = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let application_id = header.get(68..72);
    Ok(header.is_empty()
        || header.starts_with(b"SQLite format 3\0")
            && application_id == Some(APPLICATION_ID.to_be_bytes().as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgres://ada:hunter2@db/ledger?password=hunter3";
        let shown = Location::new(url).to_string();
        assert_eq!(shown, "postgres://ada@db/ledger");
    }

    #[test]
    fn odd_file_names_survive_the_url() {
        let url = Location::new("sqlite:/tmp/what?/100%.db").url();
        assert_eq!(url, "sqlite:/tmp/what%3F/100%25.db?mode=rwc");
    }
}
