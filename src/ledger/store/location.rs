//! Where a ledger lies: one path for all names of a file, which is locked, checked and opened.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::time::{Instant, sleep, timeout};

use crate::ledger::error::{LedgerError, Problem};

/// Marks a SQLite file as a ledger of this exporter (`CxWL`).
pub(super) const APPLICATION_ID: i32 = 0x4378_574C;

/// How long to wait for a lock: its holder may just be ending.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a server may take for one piece of work, so that one that went silent doesn't hold up
/// everything for ever.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Characters of a file name that have a meaning in a URL.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Where a ledger lies. `Display` doesn't show a password.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Location {
    /// In this process' memory.
    Memory,
    /// In a file, by its canonical path.
    File(PathBuf),
    /// On a PostgreSQL server; the URL may hold a password.
    Server { url: String, shown: String },
}

impl Location {
    /// Resolves `--state.url`.
    pub(super) fn resolve(url: &str) -> Result<Self, LedgerError> {
        let Some(path) = url.strip_prefix("sqlite:") else {
            let shown = reqwest::Url::parse(url).ok().map(|mut url| {
                // Which of the ledgers there it is; what else there may be can be a password.
                let schema = url.query_pairs().find(|(name, _)| name == "options[search_path]");
                let schema = schema.map(|(name, schema)| format!("{name}={schema}"));
                url.set_query(schema.as_deref());
                let _ = url.set_password(None);
                url.to_string()
            });
            let shown = shown.unwrap_or("postgres".into());
            return Ok(Self::Server { url: url.into(), shown });
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path == ":memory:" {
            return Ok(Self::Memory);
        }
        canonical(Path::new(path)).map(Self::File).map_err(|error| {
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.into());
            LedgerError { ledger: shown.display().to_string(), problem: error.into() }
        })
    }

    /// The URL for the database driver. The path is absolute, so that SQLite takes it for nothing
    /// but a path.
    pub(super) fn url(&self, parameters: &str) -> String {
        match self {
            Self::Memory => "sqlite::memory:".into(),
            Self::File(path) => {
                let path = percent_encode(path.as_os_str().as_encoded_bytes(), RESERVED);
                format!("sqlite:{path}?{parameters}")
            }
            Self::Server { url, .. } => url.clone(),
        }
    }

    /// Makes sure that no other process has the file open, and that it is ours or new, without
    /// changing it. The lock is held until the returned file is dropped.
    pub(super) async fn claim(&self) -> Result<Option<File>, Problem> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let lock = File::options().create(true).append(true).open(beside(path, ".lock"))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => return Err(Problem::InUse),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        check_file(path)?;
        Ok(Some(lock))
    }

    /// Does some work on the ledger here, within the time that a server may take.
    pub(super) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, LedgerError> {
        let done = match self {
            Self::Server { .. } => timeout(SERVER_TIMEOUT, work)
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into()).into())),
            _ => work.await,
        };
        done.map_err(|problem| LedgerError { ledger: self.to_string(), problem })
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

/// A file beside a ledger: `.lock` is locked while the ledger is open, `-wal` is SQLite's log.
pub(super) fn beside(ledger: &Path, ending: &str) -> PathBuf {
    let mut path = ledger.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Makes sure that a file can be a ledger, as far as that can be known without SQLite: opening a
/// foreign database would already change it. Returns whether there is a file.
pub(super) fn check_file(path: &Path) -> Result<bool, Problem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Problem::Foreign);
    }
    if metadata.nlink() > 1 {
        return Err(Problem::HardLinked);
    }
    // <https://www.sqlite.org/fileformat.html>
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header)?;
    let is_database = header.starts_with(b"SQLite format 3\0");
    let is_ours = header.get(68..72) == Some(APPLICATION_ID.to_be_bytes().as_slice());
    if header.is_empty() || is_database && is_ours { Ok(true) } else { Err(Problem::Foreign) }
}

/// The path of a file without links, also of one that doesn't exist yet. Its directory must exist.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        done => return done,
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
    let path = directory.join(path.file_name().ok_or(ErrorKind::NotFound)?);
    // Through a link that leads nowhere yet, SQLite would make the file at the link's end.
    match fs::read_link(&path) {
        Ok(target) => canonical(&directory.join(target)),
        Err(_) => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_password_is_never_shown_but_the_schema_is() {
        for (parameters, shown) in
            [("", ""), ("&options[search_path]=mine", "?options[search_path]=mine")]
        {
            let url = format!("postgres://ada:hunter2@db/ledger?password=hunter3{parameters}");
            let location = Location::resolve(&url).expect("a server needs no path");
            assert_eq!(location.to_string(), format!("postgres://ada@db/ledger{shown}"));
        }
    }

    #[test]
    fn all_names_of_a_file_come_to_one_path_whether_it_exists_or_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it exists");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("real")).expect("it can be made");
        for (link, target) in [
            ("link.db", "real/ledger.db".into()),
            ("absolute.db", path("real/ledger.db")),
            ("further.db", "link.db".into()),
            ("linked", "real".into()),
        ] {
            symlink(target, path(link)).expect("a link can be made");
        }
        for exists in [false, true] {
            if exists {
                File::create(path("real/ledger.db")).expect("it can be made");
            }
            for name in [
                "real/ledger.db",
                "real/./ledger.db",
                "real/../real//ledger.db",
                "link.db",
                "absolute.db",
                "further.db",
                "linked/ledger.db",
                "linked/../link.db",
            ] {
                for scheme in ["sqlite:", "sqlite://"] {
                    let url = format!("{scheme}{}/{name}", directory.path().display());
                    let location = Location::resolve(&url).expect("its directory exists");
                    assert_eq!(location, Location::File(real.join("real/ledger.db")), "{url}");
                }
            }
        }
        let here = Location::resolve("sqlite:ledger.db").expect("a directory of the process");
        let expected = std::env::current_dir().expect("there is one").join("ledger.db");
        assert_eq!(here, Location::File(expected));
    }

    #[test]
    fn in_memory_is_only_what_sqlite_takes_for_it() {
        for (url, in_memory) in [
            ("sqlite::memory:", true),
            ("sqlite://:memory:", true),
            ("sqlite::memory:.db", false),
            ("sqlite:./:memory:", false),
        ] {
            let location = Location::resolve(url).expect("a directory of the process");
            assert_eq!(location == Location::Memory, in_memory, "{url}");
        }
    }
}
