//! Looking up single runs, and the run that failed last.

use super::*;
use crate::model::{RunFailure, RunVersion};

/// The runs with this id: in which workflow each is, and where it stands.
async fn found(book: &Book, id: &str) -> Option<Vec<(String, RunPhase)>> {
    let (_, found) = book.ledger.look_up(Some(&RunId::new(id).expect("a plain id"))).await?;
    let phase = |((_, workflow), record): ((_, WorkflowId), RunRecord)| {
        (workflow.as_str().to_owned(), record.phase)
    };
    Some(found.into_iter().map(phase).collect())
}

/// The id of the run that failed last, and when that was after the cold start.
fn last_failed(book: &Book) -> Option<(String, i64)> {
    let state = book.state();
    let failed = state.record.last_failed.as_ref()?;
    Some((failed.id.as_str().to_owned(), failed.ended_ms - COLD))
}

pub(super) async fn a_run_is_found_by_its_id_alone_in_every_workflow_that_has_it(place: Place) {
    let mut book = Book::open(settings(&place.url().await)).await;
    book.list(&[workflow("v"), workflow("w"), workflow("x")]).await;
    let failed = fresh("same", "FAILED", 20 * SECOND);
    book.read(&[run("same", "RUNNING"), fresh("a", "COMPLETED", SECOND)]).await;
    book.workflow = workflow("v").id;
    book.read(&[failed.clone(), run("gone", "PENDING")]).await;
    let gone = [RunId::new("gone").expect("a plain id")];
    let vanished = book.ledger.record_vanished(&app(), &book.workflow, &gone, book.at()).await;
    vanished.expect("it is recorded");

    let same = found(&book, "same").await.expect("the ledger can be asked");
    let [(v, RunPhase::Finished), (w, RunPhase::Open(open))] = &same[..] else {
        panic!("{same:?}")
    };
    assert_eq!((v.as_str(), w.as_str(), &open.status), ("v", "w", &Status::Running));
    let id = failed.id.clone();
    let (_, records) = book.ledger.look_up(Some(&id)).await.expect("the ledger can be asked");
    let ended = records[&(app(), book.workflow.clone())].ended_ms();
    assert_eq!(ended, failed.ended_at.map(Timestamp::latest));
    assert_eq!(found(&book, "gone").await, Some(vec![("v".into(), RunPhase::Vanished)]));
    assert_eq!(found(&book, "a").await, Some(vec![("w".into(), RunPhase::Finished)]));
    for unknown in ["b", "SAME", "sam", "same ", "%", "' OR '1'='1"] {
        assert_eq!(found(&book, unknown).await, Some(Vec::new()), "{unknown}");
    }
}

pub(super) async fn a_run_of_an_app_that_is_not_read_is_not_found(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", SECOND)]).await;
    book.settings.apps = vec![all_of(AppId::new("other").expect("a plain id"))];
    let book = book.reopened().await;
    assert_eq!(found(&book, "a").await, Some(Vec::new()));
}

/// Records more runs than there is room for.
async fn overfill(book: &mut Book) -> Result<Recorded> {
    let many: Vec<_> = (0..500).map(|n| fresh(&format!("b{n}"), "FAILED", SECOND)).collect();
    let (read_at, stop_when) = (book.at(), StopWhen::Always);
    let read = RunsRead { runs: &many, read_at, newest_first: true, stop_when, old_end: false };
    book.ledger.record_runs(&app(), &book.workflow, read).await
}

#[tokio::test]
async fn nobody_waits_for_a_ledger_that_is_busy_or_has_just_failed() {
    let place = Place::sqlite();
    let mut book = Book::open(settings(&place.lasting_url().await)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", SECOND)]).await;
    let writer = Arc::clone(&book.ledger.writer).lock_owned().await;
    tokio::time::pause();
    assert_eq!(found(&book, "a").await, None, "a commit is under way");
    tokio::time::resume();
    drop(writer);
    assert!(found(&book, "a").await.is_some());
    book.ledger.writer.lock().await.store.fill_up().await;
    overfill(&mut book).await.expect_err("there is no room");
    assert_eq!(found(&book, "a").await, None, "the connection is to be replaced");
    book.read(&[fresh("b", "FAILED", 2 * SECOND)]).await;
    assert!(found(&book, "a").await.is_some());
}

#[tokio::test]
async fn who_asks_and_leaves_does_not_have_the_connection_replaced() {
    let place = Place::sqlite();
    let mut book = Book::open(settings(&place.lasting_url().await)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", SECOND)]).await;
    // Another connection would have room again.
    book.ledger.writer.lock().await.store.fill_up().await;
    for _ in 0..20 {
        let answer = found(&book, "a").now_or_never();
        assert!(answer.is_none(), "it has been asked, and can't have answered yet");
    }
    assert_eq!(found(&book, "a").await, Some(vec![("w".into(), RunPhase::Finished)]));
    overfill(&mut book).await.expect_err("there is no room");
}

pub(super) async fn the_run_that_failed_last_is_remembered_history_included(place: Place) {
    let mut book = Book::open(settings(&place.lasting_url().await)).await;
    book.list(&[workflow("w")]).await;
    assert_eq!(last_failed(&book), None);
    book.read(&[
        ended("c", "COMPLETED", -SECOND),
        ended("b", "FAILED", -MINUTE),
        ended("a", "FAILED", -DAY_MS),
    ])
    .await;
    assert_eq!(last_failed(&book), Some(("b".into(), -MINUTE)));
    book.now_ms += MINUTE;
    book.read(&[
        fresh("f", "CANCELLED", 30 * SECOND),
        fresh("e", "FAILED", 20 * SECOND),
        fresh("d", "FAILED", 10 * SECOND),
        ended("b", "FAILED", -MINUTE),
    ])
    .await;
    assert_eq!(last_failed(&book), Some(("e".into(), 20 * SECOND)));
    // A later attempt at an earlier run.
    book.read(&[fresh("d", "FAILED", 40 * SECOND)]).await;
    assert_eq!(last_failed(&book), Some(("d".into(), 40 * SECOND)));
    // A stale answer.
    book.read(&[fresh("d", "FAILED", 10 * SECOND)]).await;
    let book = book.reopened().await;
    assert_eq!(last_failed(&book), Some(("d".into(), 40 * SECOND)));
}

pub(super) async fn the_last_failure_is_ordered_by_whatever_says_when_it_ended(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let at = |after_ms| Some(Timestamp::Instant(COLD + after_ms));
    let updated = Run { ended_at: None, updated_at: at(20 * SECOND), ..run("updated", "FAILED") };
    book.read(&[fresh("a", "FAILED", 10 * SECOND), updated]).await;
    assert_eq!(last_failed(&book), Some(("updated".into(), 20 * SECOND)));
    // Nothing says when it ended: it is met now.
    let nothing = Run { created_at: None, started_at: None, ..run("nothing", "FAILED") };
    book.read(std::slice::from_ref(&nothing)).await;
    assert_eq!(last_failed(&book), Some(("nothing".into(), MINUTE)));
    book.now_ms += MINUTE;
    book.read(&[nothing]).await;
    assert_eq!(last_failed(&book), Some(("nothing".into(), MINUTE)), "it was met before");
}

pub(super) async fn a_ledger_of_a_former_version_learns_the_last_failure_from_the_list(
    place: Place,
) {
    let mut book = Book::open(settings(&place.lasting_url().await)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", SECOND)]).await;
    let forget = if book.settings.url.starts_with("sqlite") {
        "UPDATE workflow SET state = json_remove(state, '$.last_failed')"
    } else {
        "UPDATE workflow SET state = (state::jsonb - 'last_failed')::text"
    };
    let mut book = book.altered(forget).await;
    assert_eq!(last_failed(&book), None);
    book.read(&[fresh("a", "FAILED", SECOND)]).await;
    assert_eq!(last_failed(&book), Some(("a".into(), SECOND)));
    assert_eq!(book.counted("FAILED"), 1.0);
}

pub(super) async fn the_last_failure_has_its_version_step_and_class_also_after_a_restart(
    place: Place,
) {
    let mut book = Book::open(settings(&place.lasting_url().await)).await;
    book.list(&[workflow("w")]).await;
    let failure = RunFailure {
        step: Label::new("ask"),
        step_type: Label::new("model"),
        error_class: Label::new("timeout"),
    };
    let version = RunVersion::Number { number: 3, created_ms: Some(COLD - DAY_MS) };
    let failed = Run { failure: Some(failure.clone()), version, ..fresh("a", "FAILED", SECOND) };
    book.read(&[failed]).await;
    let book = book.reopened().await;
    let last = book.state().record.last_failed.clone().expect("it is remembered");
    assert_eq!((last.failure, last.version), (failure, version));
    // As the first version with it wrote it.
    let early =
        "UPDATE workflow SET state = replace(state, ',\"version\":{\"Number\"', ',\"x\":{\"y\"')";
    let book = book.altered(early).await;
    let last = book.state().record.last_failed.clone().expect("it is remembered");
    assert_eq!((last.id.as_str(), last.version), ("a", RunVersion::Unknown));
}

#[tokio::test]
async fn runs_that_were_read_before_are_known_without_looking_into_the_database() {
    let place = Place::sqlite();
    let page = [fresh("b", "COMPLETED", 20 * SECOND), ended("history", "FAILED", -MINUTE)];
    let mut book = Book::met(&place, &page[1..]).await;
    book.read(&page).await;
    book.ledger.close().await.expect("it closes");
    book.read(&page).await;
    assert_eq!(book.counted("COMPLETED"), 1.0);
    let others = [fresh("c", "COMPLETED", 20 * SECOND)];
    let (read_at, stop_when) = (book.at(), StopWhen::Always);
    let read = RunsRead { runs: &others, read_at, newest_first: true, stop_when, old_end: false };
    let unknown = book.ledger.record_runs(&app(), &book.workflow, read).await;
    unknown.expect_err("this one must be looked up");
}
