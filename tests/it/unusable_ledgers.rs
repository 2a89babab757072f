//! Ledgers that can't be used are refused by name and left as they are.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cortex_workflow_exporter::model::Status;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{Api, KEY, Process, ledger_url, run};

/// A directory with a place for a ledger, and an API to start an exporter for.
struct Place {
    api: Api,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let api = Api::start().await;
        api.add_workflow("work_one");
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        Self { api, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    /// Has an exporter make a ledger here, and end.
    async fn make_ledger(&self) {
        let mut exporter = self.serve();
        exporter.ready_url().await;
        exporter.terminate();
        assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
        // Whatever still lies in the log beside the file would repair it.
        change(&self.file(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
    }

    fn serve(&self) -> Process {
        Process::serve(&self.api, &ledger_url(self.directory.path()), &[])
    }

    /// A start with what lies here ends with 1 and one line that names the file and holds this;
    /// the file stays as it was, byte for byte.
    async fn is_refused(&self, why: &str) {
        let before = fs::read(self.file()).expect("the file is there");
        let state = format!("--state.url={}", ledger_url(self.directory.path()));
        let url = format!("--cortex.api-url={}", self.api.url());
        let arguments = ["serve", &url, &state, "--web.listen-address=127.0.0.1:0"];
        let (code, _, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!(code, 1, "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.contains(why), "{stderr}");
        assert!(last.contains(&*self.file().to_string_lossy()), "{stderr}");
        let after = fs::read(self.file()).expect("the file is there");
        assert!(after == before, "the file was changed");
    }
}

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let connection = options.connect().await;
    connection.expect("SQLite opens a file of its own")
}

async fn change(file: &Path, statement: &'static str) {
    let mut connection = open(file).await;
    let done = sqlx::raw_sql(statement).execute(&mut connection).await;
    done.expect("SQLite does as it is told");
    connection.close().await.expect("SQLite closes its file");
}

#[tokio::test]
async fn two_exporters_do_not_share_a_ledger() {
    let place = Place::new().await;
    let mut first = place.serve();
    first.ready_url().await;
    let arguments = [
        "serve",
        &format!("--cortex.api-url={}", place.api.url()),
        &format!("--state.url={}", ledger_url(place.directory.path())),
        "--web.listen-address=127.0.0.1:0",
    ];
    let (code, _, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("in use by another process"), "{stderr}");
    assert!(stderr.contains("ledger.db"), "{stderr}");
    // Once the first has gone, even by force, the second may.
    first.kill();
    place.serve().ready_url().await;
}

#[tokio::test]
async fn a_ledger_is_in_use_under_all_its_names() {
    let place = Place::new().await;
    let path = |name: &str| place.directory.path().join(name);
    symlink("ledger.db", path("link.db")).expect("a link can be made");
    symlink(".", path("here")).expect("a link can be made");
    // Through a link that leads nowhere yet, the first makes the file.
    let linked = format!("sqlite:{}", path("link.db").display());
    let mut first = Process::serve(&place.api, &linked, &[]);
    let base = first.ready_url().await;
    fs::hard_link(path("ledger.db"), path("other.db")).expect("a link can be made");
    let refused = async |(state, why): (&str, &str)| {
        let mut command = Process::command(&[
            "serve",
            &format!("--cortex.api-url={}", place.api.url()),
            &format!("--state.url={state}"),
            "--web.listen-address=127.0.0.1:0",
        ]);
        command.current_dir(place.directory.path()).env("CORTEX_API_KEY", KEY);
        let mut second = Process::start(command);
        assert_eq!(second.exit_code().await, 1, "{state}: {}", second.log());
        assert!(second.stderr().contains(why), "{state}: {}", second.log());
    };
    let absolute = format!("sqlite://{}", path("ledger.db").display());
    let names = [
        (absolute.as_str(), "in use by another process"),
        ("sqlite:ledger.db", "in use by another process"),
        ("sqlite://./ledger.db", "in use by another process"),
        ("sqlite:link.db", "in use by another process"),
        ("sqlite:here/here/link.db", "in use by another process"),
        ("sqlite:other.db", "a hard link"),
        ("sqlite:file:ledger.db", "without file:"),
    ];
    futures::future::join_all(names.map(refused)).await;
    fs::remove_file(path("other.db")).expect("it is there");
    place.api.finish_one("work_one", Status::Failed);
    first.shows_failures(&base, 1.0).await;
}

#[tokio::test]
async fn a_database_of_something_else_is_left_untouched() {
    let place = Place::new().await;
    change(&place.file(), "CREATE TABLE app (name TEXT)").await;
    place.is_refused("not a ledger of this exporter").await;
    let (link, file) = (place.directory.path().join("link.db"), place.file());
    symlink(&file, &link).expect("a link can be made");
    let before = fs::read(&file).expect("it is there");
    let state = format!("--state.url=sqlite:{}", link.display());
    let (code, _, stderr) = run(&["serve", &state], &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("not a ledger of this exporter"), "{stderr}");
    assert!(fs::read(&file).expect("it is there") == before, "the file was changed");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_untouched() {
    let place = Place::new().await;
    fs::write(place.file(), "dear diary, ".repeat(1000)).expect("the file can be written");
    place.is_refused("not a ledger of this exporter").await;
}

#[tokio::test]
async fn a_ledger_that_was_cut_off_is_left_as_it_is() {
    let place = Place::new().await;
    place.make_ledger().await;
    let whole = fs::read(place.file()).expect("the ledger is there");
    fs::write(place.file(), &whole[..whole.len() / 2]).expect("the file can be written");
    place.is_refused("is damaged").await;
}

#[tokio::test]
async fn a_ledger_with_a_hole_is_left_as_it_is() {
    let place = Place::new().await;
    place.make_ledger().await;
    let mut bytes = fs::read(place.file()).expect("the ledger is there");
    // Its first page says what it is; the tables come after it.
    bytes[4096..].fill(0xA5);
    fs::write(place.file(), bytes).expect("the file can be written");
    place.is_refused("is damaged").await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_left_as_it_is() {
    let place = Place::new().await;
    place.make_ledger().await;
    let newer = "INSERT INTO _sqlx_migrations \
                 (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', TRUE, x'00', 0)";
    change(&place.file(), newer).await;
    place.is_refused("newer version").await;
}

#[tokio::test]
async fn rows_of_a_newer_version_are_not_taken_for_damage() {
    let rows = [
        "INSERT INTO series (workflow, total, labels, value, start_ms) \
         VALUES (1, 'from_the_future', '[]', 0, 0)",
        "UPDATE series SET labels = '{\"status\": \"FAILED\"}' WHERE rowid = 1",
        "UPDATE workflow SET state = '{\"news_since\": \"whenever\"}'",
    ];
    for row in rows {
        let place = Place::new().await;
        place.make_ledger().await;
        change(&place.file(), row).await;
        place.is_refused("newer version").await;
    }
    let place = Place::new().await;
    place.make_ledger().await;
    change(&place.file(), "UPDATE workflow SET state = substr(state, 1, 20)").await;
    place.is_refused("invalid row").await;
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_named() {
    let api = Api::start().await;
    let arguments = [
        "serve",
        &format!("--cortex.api-url={}", api.url()),
        "--state.url=sqlite:/no/such/directory/ledger.db",
        "--web.listen-address=127.0.0.1:0",
    ];
    let (code, _, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("/no/such/directory/ledger.db"), "{stderr}");
}
