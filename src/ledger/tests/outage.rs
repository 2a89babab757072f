//! A database that doesn't take what is written.

use super::{postgres::Postgres, *};

#[tokio::test]
async fn a_commit_that_fails_changes_nothing_that_is_shown_and_is_made_up_for() {
    let place = Place::sqlite();
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.ledger.writer.lock().await.store.fill_up().await;
    let many: Vec<_> = (0..500).map(|n| fresh(&format!("b{n}"), "FAILED", 30 * SECOND)).collect();
    let stop_when = StopWhen::Always;
    let read =
        RunsRead { runs: &many, read_at: book.at(), newest_first: true, stop_when, old_end: false };
    let full = book.ledger.record_runs(&app(), &book.workflow, read).await;
    let error = full.expect_err("there is no room").to_string();
    assert!(error.contains("ledger.db") && error.contains("full"), "{error}");
    assert_eq!(book.counted("FAILED"), 1.0);
    book.read(&many).await;
    assert_eq!(book.counted("FAILED"), 501.0, "there is room again");
    book = book.reopened().await;
    assert_eq!(book.counted("FAILED"), 501.0);
}

#[tokio::test]
async fn a_server_that_goes_away_changes_nothing_that_is_shown_and_is_made_up_for() {
    let mut server = Postgres::start();
    let mut book = holding(&server.url("public")).await;
    book.scraped().await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (1.0, (0.0, 0.0)));
    server.crash();
    let version = book.ledger.state().version;
    let released = book.ledger.confirm(version, book.now_ms).await;
    let error = released.expect_err("there is no server").to_string();
    assert!(error.contains("postgres://postgres@localhost/postgres"), "{error}");
    let runs = [fresh("b", "FAILED", 30 * SECOND)];
    for _ in 0..2 {
        let (read_at, stop_when) = (book.at(), StopWhen::Always);
        let read = RunsRead { runs: &runs, read_at, newest_first: true, stop_when, old_end: false };
        let recorded = book.ledger.record_runs(&app(), &book.workflow, read).await;
        assert!(recorded.is_err(), "there is no server");
    }
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (1.0, (0.0, 0.0)));
    server.come_back();
    book.read(&runs).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (2.0, (0.0, 0.0)));
    book.scraped().await;
    assert_eq!(book.shown_failures(), (2.0, 2.0));
    book = book.reopened().await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (2.0, (2.0, 2.0)));
}

#[tokio::test]
async fn a_connection_that_broke_while_it_was_read_is_replaced() {
    let mut server = Postgres::start();
    let mut book = Book::open(settings(&server.url("public"))).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    server.crash();
    server.come_back();
    let runs = [fresh("a", "FAILED", 20 * SECOND)];
    let (read_at, stop_when) = (book.at(), StopWhen::Always);
    let read = RunsRead { runs: &runs, read_at, newest_first: true, stop_when, old_end: false };
    let recorded = book.ledger.record_runs(&app(), &book.workflow, read).await;
    assert!(recorded.is_err(), "that connection is gone");
    book.read(&runs).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}
