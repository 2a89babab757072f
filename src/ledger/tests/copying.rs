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
async fn what_cannot_be_copied_is_left_as_it_is() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let (from, occupied) = (filled(&place).await.url, filled(&other).await.url);
    let directory = tempfile::tempdir().expect("a directory");
    let url = |name: &str| format!("sqlite:{}/{name}", directory.path().display());
    std::fs::write(directory.path().join("foreign"), "dear diary").expect("it can be written");
    std::fs::write(directory.path().join("empty"), "").expect("it can be written");
    let (rows, others) = (dump(&from).await, dump(&occupied).await);
    for (from, to, why) in [
        (&url("missing"), &url("new"), "missing does not exist"),
        (&url("empty"), &url("new"), "empty does not exist"),
        (&url("foreign"), &url("new"), "foreign is not a ledger"),
        (&from, &url("foreign"), "foreign is not a ledger"),
        (&from, &occupied, "exists already"),
        (&from, &from, "exists already"),
        (&from, &"sqlite::memory:".into(), "does not last"),
        (&"sqlite::memory:".into(), &url("new"), "does not last"),
    ] {
        let error = copy_to(from, to).await.expect_err("it is refused");
        assert!(error.contains(why), "{error}");
        assert!(!directory.path().join("new").exists(), "{why}: nothing was made");
    }
    assert_eq!((dump(&from).await, dump(&occupied).await), (rows, others));
    let book = Book::open(settings(&from)).await;
    let error = copy_to(&from, &url("new")).await.expect_err("it is in use");
    assert!(error.contains("is in use by another process"), "{error}");
    drop(book);
}
