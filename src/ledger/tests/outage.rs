//! A database that doesn't take what is written.

use super::{postgres::Postgres, *};
use crate::{
    metrics::{Exposition, FAMILIES, MetricType},
    model::{RunVersion, TestResults},
};

/// A clock that stands a while after what is recorded.
struct Later;

impl Clock for Later {
    fn now_ms(&self) -> i64 {
        COLD + 60 * MINUTE
    }
}

/// All samples of gauges.
fn gauges(book: &Book) -> Vec<String> {
    let text = Exposition::new(&book.ledger, Registry::new(), Arc::new(Later)).text();
    let gauges = FAMILIES.iter().filter(|family| family.kind() == MetricType::Gauge);
    let samples = gauges.flat_map(|family| {
        let of_family: Vec<_> = text.lines().filter(|line| line.starts_with(family.name)).collect();
        assert!(!of_family.is_empty(), "{} has no sample", family.name);
        of_family
    });
    samples.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_gauge_is_after_a_commit_that_failed_as_it_was_before() {
    let place = Place::sqlite();
    let url = place.lasting_url().await;
    let mut book = Book::open(Settings { hold: true, ..settings(&url) }).await;
    let tests = Some(TestResults { passing: Some(3), ..TestResults::default() });
    let listed = [Workflow { tests, ..workflow("w") }];
    book.list(&listed).await;
    book.read(&[run("p", "PENDING"), run("r", "RUNNING"), ended("old", "FAILED", -MINUTE)]).await;
    let version = RunVersion::Number { number: 7, created_ms: Some(COLD) };
    book.read(&[Run { version, ..fresh("a", "FAILED", 20 * SECOND) }]).await;
    book.ledger.end_cycle(&app(), true, book.now_ms).await.expect("recorded");
    // None of what follows is worth a write.
    book.now_ms += MINUTE;
    book.list(&listed).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    let due = BTreeMap::from([(book.workflow.clone(), book.now_ms + MINUTE)]);
    book.ledger.record_due(&app(), due).await;
    let before = gauges(&book);
    assert!(!before.contains(&"cortex_workflow_exporter_poll_lag_seconds 0".to_owned()));
    book.ledger.writer.lock().await.store.fill_up().await;
    let many: Vec<_> = (0..500).map(|n| fresh(&format!("b{n}"), "FAILED", 30 * SECOND)).collect();
    let (read_at, stop_when) = (book.at(), StopWhen::Always);
    let read = RunsRead { runs: &many, read_at, newest_first: true, stop_when, old_end: false };
    let full = book.ledger.record_runs(&app(), &book.workflow, read).await;
    full.expect_err("the disk is full");
    assert_eq!(gauges(&book), before);
    // The next change is made to what the database holds.
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!(gauges(&book), before);
}

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
    let file = url.trim_start_matches("sqlite:");
    assert!(error.contains(file) && error.contains("full"), "{error}");
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
