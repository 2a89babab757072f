//! A ledger that is copied to another engine.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::*;

async fn copy_to(from: &str, to: &str) -> std::result::Result<(), String> {
    copy(from, to, |_, _| {}).await.map_err(|error| error.to_string())
}

/// A ledger with all kinds of rows, and increments that are not shown yet; its settings.
async fn filled(place: &Place) -> Settings {
    let settings = Settings { hold: true, ..settings(&place.lasting_url().await) };
    let mut book = Book::open(settings.clone()).await;
    book.list(&[workflow("w"), workflow("x")]).await;
    book.read(&[ended("before", "FAILED", -MINUTE)]).await;
    book.now_ms += MINUTE;
    let counted = with_step("ask", fresh("counted", "COMPLETED", 10 * SECOND));
    book.read(&[run("open", "RUNNING"), counted]).await;
    book.ledger.close().await.expect("it closes");
    settings
}

/// All columns of all rows of a SQLite ledger, exactly.
async fn dump(url: &str) -> Vec<String> {
    let mut connection = AnyConnection::connect(url).await.expect("it is there");
    let sql = "SELECT m.name, group_concat('quote(\"' || c.name || '\")', '||'',''||') \
               FROM sqlite_master m JOIN pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND m.name != '_sqlx_migrations' GROUP BY m.name";
    let tables = sqlx::query_as::<_, (String, String)>(sql).fetch_all(&mut connection).await;
    let mut rows = Vec::new();
    for (table, columns) in tables.expect("there are tables") {
        let sql = format!("SELECT '{table} ' || {columns} FROM {table} ORDER BY 1");
        let found = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&mut connection);
        rows.extend(found.await.expect("they can be read"));
    }
    rows
}

#[tokio::test]
async fn a_copy_of_a_copy_holds_what_the_first_ledger_holds() {
    let (first, server, last) = (Place::sqlite(), Place::postgres(), Place::sqlite());
    let from = filled(&first).await.url;
    let (between, to) = (server.lasting_url().await, last.lasting_url().await);
    copy_to(&from, &between).await.expect("it is copied");
    copy_to(&between, &to).await.expect("it is copied back");
    let rows = dump(&from).await;
    for table in ["app", "workflow", "series", "run"] {
        assert!(rows.iter().any(|row| row.starts_with(table)), "{table} has rows");
    }
    assert_eq!(dump(&to).await, rows);
}

#[tokio::test]
async fn counting_goes_on_in_a_copy() {
    for (from, to) in [
        (Place::sqlite(), Place::postgres()),
        (Place::postgres(), Place::sqlite()),
        (Place::sqlite(), Place::sqlite()),
    ] {
        let before = filled(&from).await;
        let url = to.lasting_url().await;
        copy_to(&before.url, &url).await.expect("it is copied");
        let mut pair = Vec::new();
        for settings in [before.clone(), Settings { url, ..before }] {
            let mut book = Book::open(settings).await;
            book.now_ms += 2 * MINUTE;
            let again = with_step("ask", fresh("counted", "COMPLETED", 10 * SECOND));
            let ended = ended("open", "FAILED", 20 * SECOND);
            book.read(&[fresh("new", "COMPLETED", 30 * SECOND), ended, again]).await;
            assert_eq!((book.counted("COMPLETED"), book.counted("FAILED")), (2.0, 1.0));
            assert!(book.open_runs().is_empty());
            let state = book.state();
            let series = state.series.iter().map(|(key, it)| {
                // The moment at which it is published first is that of this process.
                (key.clone(), it.value.clone(), it.shown.clone(), it.start_ms)
            });
            pair.push((series.collect::<Vec<_>>(), state.record.clone()));
        }
        assert_eq!(pair[0], pair[1]);
    }
}

#[tokio::test]
async fn of_a_ledger_and_its_copy_each_shows_its_own_shard_before_any_list_is_read() {
    for (from, to) in [(Place::sqlite(), Place::postgres()), (Place::postgres(), Place::sqlite())] {
        let before = filled(&from).await;
        let url = to.lasting_url().await;
        copy_to(&before.url, &url).await.expect("it is copied");
        let (mut shown, mut finished) = (Vec::new(), 0.0);
        for (number, url) in (1..).zip([&before.url, &url]) {
            let filter = WorkflowFilter { shard: Shard { number, of: 2 }, ..Default::default() };
            let apps = vec![(app(), filter)];
            let book = Book::open(Settings { apps, url: url.clone(), ..before.clone() }).await;
            // A scrape releases what was held.
            let version = book.ledger.state().version;
            book.ledger.confirm(version, book.now_ms).await.expect("it is written");
            for (id, workflow) in book.ledger.state().apps[&app()].published() {
                shown.push(id.to_string());
                let runs = workflow.series_of(Metric::Runs);
                finished += runs.map(|(_, series)| series.shown().amount()).sum::<f64>();
            }
        }
        shown.sort();
        assert_eq!((shown, finished), (vec!["w".to_owned(), "x".to_owned()], 1.0));
    }
}

/// What may be where a ledger is copied from, or to.
#[derive(Clone, Copy, Debug)]
enum Found {
    Nothing,
    /// A ledger that was never used.
    Unused,
    /// Tables of another program.
    Foreign,
    /// A ledger that a newer version has used.
    Newer,
    Filled,
    /// The same, and an exporter uses it.
    InUse,
}

/// Puts that there. Returns the URL, and what keeps it in use.
async fn put(place: &Place, found: Found) -> (String, Option<Book>) {
    let url = match found {
        Found::Nothing | Found::Unused | Found::Foreign => place.lasting_url().await,
        Found::Newer | Found::Filled | Found::InUse => filled(place).await.url,
    };
    let newer = "INSERT INTO _sqlx_migrations \
                 (version, description, success, checksum, execution_time) \
                 SELECT 9999, description, success, checksum, execution_time \
                 FROM _sqlx_migrations WHERE version = 1";
    match found {
        Found::Nothing | Found::Filled => {}
        Found::Unused => {
            let book = Book::open(settings(&url)).await;
            book.ledger.close().await.expect("it closes");
        }
        Found::Foreign => execute(&url, "CREATE TABLE app (name TEXT)").await,
        Found::Newer => execute(&url, newer).await,
        Found::InUse => {
            let book = Some(Book::open(settings(&url)).await);
            return (url, book);
        }
    }
    (url, None)
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let parameters = if url.starts_with("sqlite") { "?mode=rwc" } else { "" };
    AnyConnection::connect(&format!("{url}{parameters}")).await.expect("it can be made")
}

async fn execute(url: &str, sql: &'static str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is valid");
    connection.close().await.expect("it closes");
}

/// All that is at a place: the bytes of a file, or the tables of a schema with their rows.
async fn contents(url: &str) -> Option<Vec<u8>> {
    if let Some(file) = url.strip_prefix("sqlite:") {
        return std::fs::read(file).ok();
    }
    let sql = "SELECT schema_to_xml(current_schema(), true, false, '')::TEXT";
    let xml = sqlx::query_scalar(sql).fetch_one(&mut connect(url).await).await;
    let xml: String = xml.expect("PostgreSQL answers");
    Some(xml.into_bytes())
}

/// What a message calls a place.
fn name_of(url: &str) -> String {
    match url.rsplit_once("options") {
        None => url.replacen("sqlite:", "", 1),
        Some((_, schema)) => format!("postgres://postgres@localhost/postgres?options{schema}"),
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_named_and_both_places_stay_as_they_are() {
    use Found::*;
    for (at_source, at_target, source_is_named, why) in [
        (Unused, Nothing, true, "holds no numbers that could be copied"),
        (Nothing, Nothing, true, "holds no numbers that could be copied"),
        (Foreign, Nothing, true, "is not a ledger of this exporter"),
        (Newer, Nothing, true, "was written by a newer version of this exporter"),
        (InUse, Nothing, true, "is in use by another process"),
        (Filled, Foreign, false, "is not a ledger of this exporter"),
        (Filled, Newer, false, "was written by a newer version of this exporter"),
        (Filled, Filled, false, "exists already"),
        (Filled, InUse, false, "is in use by another process"),
    ] {
        for (from, to) in
            [(Place::sqlite(), Place::postgres()), (Place::postgres(), Place::sqlite())]
        {
            let (source, target) = (put(&from, at_source).await, put(&to, at_target).await);
            let before = (contents(&source.0).await, contents(&target.0).await);
            let error = copy_to(&source.0, &target.0).await.expect_err("it is refused");
            let named = if source_is_named { &source.0 } else { &target.0 };
            let expected = format!("the ledger {} {why}", name_of(named));
            let case = format!("{at_source:?} from {} to {at_target:?}", source.0);
            assert!(error.starts_with(&expected), "{case}: {error}");
            let after = (contents(&source.0).await, contents(&target.0).await);
            assert!(before == after, "{case}: something was changed");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_lasting_ledger_is_neither_copied_nor_copied_to() {
    let place = Place::sqlite();
    let from = filled(&place).await.url;
    let directory = tempfile::tempdir().expect("a directory");
    let url = |name: &str| format!("sqlite:{}/{name}", directory.path().display());
    std::fs::write(directory.path().join("foreign"), "dear diary").expect("it can be written");
    std::fs::write(directory.path().join("empty"), "").expect("it can be written");
    std::fs::create_dir(directory.path().join("folder")).expect("it can be made");
    let rows = dump(&from).await;
    let files = || std::fs::read_dir(directory.path()).expect("it can be listed").count();
    let before = files();
    for (from, to, why) in [
        (&url("empty"), &url("new"), "empty holds no numbers"),
        (&url("folder"), &url("new"), "folder is not a ledger"),
        (&from, &url("folder"), "folder is not a ledger"),
        (&url("foreign"), &url("new"), "foreign is not a ledger"),
        (&url("nowhere/ledger"), &url("new"), "nowhere/ledger cannot be opened"),
        (&from, &url("nowhere/ledger"), "nowhere/ledger cannot be opened"),
        (&from, &url("foreign"), "foreign is not a ledger"),
        (&from, &from, "exists already"),
        (&from, &"sqlite::memory:".into(), "does not last"),
        (&"sqlite::memory:".into(), &url("new"), "does not last"),
    ] {
        let error = copy_to(from, to).await.expect_err("it is refused");
        assert!(error.contains(why), "{error}");
        assert_eq!(files(), before, "{why}: nothing was made");
    }
    assert_eq!(dump(&from).await, rows);
}

/// Applies the first migrations only, as a copy does that is killed after them.
async fn migrate(connection: &mut AnyConnection, count: usize) {
    let all = sqlx::migrate!("src/ledger/migrations");
    let first = sqlx::migrate::Migrator::with_migrations(all.iter().take(count).cloned().collect());
    first.run(connection).await.expect("they apply");
}

#[tokio::test]
async fn a_copy_that_was_broken_off_can_be_made_again() {
    let source = Place::sqlite();
    let from = filled(&source).await.url;
    let rows = dump(&from).await;
    // `None` is a file without anything in it.
    for migrations in [None, Some(0), Some(1), Some(3)] {
        for place in [Place::sqlite(), Place::postgres()] {
            let to = place.lasting_url().await;
            let mut connection = connect(&to).await;
            if to.starts_with("sqlite") && migrations.is_some() {
                let mark = "PRAGMA application_id = 0x4378574C; PRAGMA journal_mode = WAL";
                sqlx::raw_sql(mark).execute(&mut connection).await.expect("it is valid");
            }
            if let Some(count) = migrations {
                migrate(&mut connection, count).await;
            }
            // The transaction was open when the process was killed.
            drop(connection);
            copy_to(&from, &to).await.unwrap_or_else(|error| panic!("{migrations:?}: {error}"));
            let last = Place::sqlite();
            let again = last.lasting_url().await;
            copy_to(&to, &again).await.expect("it is whole");
            assert_eq!(dump(&again).await, rows, "{migrations:?}");
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_copied_is_told_of_the_source() {
    let (source, target) = (Place::sqlite(), Place::postgres());
    let from = filled(&source).await.url;
    execute(&from, "UPDATE run SET age_ms = 'long ago'").await;
    let to = target.lasting_url().await;
    let error = copy_to(&from, &to).await.expect_err("it is no number");
    let expected = format!("the ledger {} holds an invalid row (run: ", name_of(&from));
    assert!(error.starts_with(&expected), "{error}");
    execute(&from, "UPDATE run SET age_ms = 0").await;
    copy_to(&from, &to).await.expect("nothing of it was left");
}

#[tokio::test]
async fn a_schema_that_does_not_exist_is_refused_with_the_way_out() {
    let (source, server) = (Place::sqlite(), Place::postgres());
    let from = filled(&source).await.url;
    let to = server.lasting_url().await + "_missing";
    for error in [
        copy_to(&from, &to).await.expect_err("it cannot go there"),
        copy_to(&to, &from).await.expect_err("it cannot come from there"),
        inspect(&to).await.expect_err("no start can make it").to_string(),
    ] {
        let expected = format!("the ledger {} is to be in a schema that does", name_of(&to));
        assert!(error.starts_with(&expected), "{error}");
    }
}
