//! Runs by what ended them, and by the version that ran.

use super::*;
use crate::model::{RunFailure, RunVersion};

fn of_version(number: u32, run: Run) -> Run {
    let version = RunVersion::Number { number, created_ms: Some(COLD + i64::from(number)) };
    Run { version, ..run }
}

/// What is counted by versions and by statuses.
fn by_version(book: &Book) -> Vec<(String, f64)> {
    let state = book.state();
    let series = state.series_of(Metric::VersionRuns);
    series.map(|(key, series)| (key.texts().join(" "), series.value.amount())).collect()
}

async fn a_failure_is_counted_by_step_and_class_and_survives_a_restart(place: Place) {
    let mut book = book_of(&place, false).await;
    let [step, step_type, error_class] = ["ask", "model", "timeout"].map(Label::new);
    let failure = Some(RunFailure { step, step_type, error_class });
    book.read(&[Run { failure, ..fresh("a", "FAILED", 20 * SECOND) }]).await;
    book = book.reopened().await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND), fresh("c", "COMPLETED", 30 * SECOND)]).await;
    assert_eq!(book.total(Metric::RunFailures, &["ask", "model", "timeout"]), 1.0);
    assert_eq!(book.total(Metric::RunFailures, &["none", "none", "none"]), 1.0);
}

async fn a_version_that_is_not_among_the_newest_three_ends_and_moves_nowhere(place: Place) {
    let mut book = book_of(&place, false).await;
    let run = |number: u32| {
        let id = format!("run{number}");
        of_version(number, fresh(&id, "COMPLETED", i64::from(number) * SECOND))
    };
    book.read(&[run(1), run(2), run(3)]).await;
    book.read(&[run(4), Run { version: RunVersion::Draft, ..fresh("d", "FAILED", SECOND) }]).await;
    // A run of the one that ended.
    book.read(&[of_version(1, fresh("late", "FAILED", 9 * SECOND))]).await;
    let expected = ["2 COMPLETED", "3 COMPLETED", "4 COMPLETED", "draft FAILED", "older FAILED"];
    let expected = expected.map(|labels| (labels.to_owned(), 1.0));
    assert_eq!(by_version(&book), expected);
    book = book.reopened().await;
    assert_eq!(by_version(&book), expected, "it was deleted");
    let created: Vec<_> = book.state().record.versions.created().collect();
    assert_eq!(created, [(2, COLD + 2), (3, COLD + 3), (4, COLD + 4)]);
}

async fn what_is_held_of_a_version_that_ends_is_not_shown_later(place: Place) {
    let mut book = book_of(&place, true).await;
    for number in 1..=4 {
        let id = format!("run{number}");
        book.read(&[of_version(number, fresh(&id, "COMPLETED", 20 * SECOND))]).await;
    }
    book.scraped().await;
    book.scraped().await;
    assert_eq!(book.shown(Metric::Runs, &["COMPLETED", "WORKFLOW"]), 4.0);
    let labels: Vec<_> = by_version(&book).into_iter().map(|(labels, _)| labels).collect();
    assert_eq!(labels, ["2 COMPLETED", "3 COMPLETED", "4 COMPLETED"]);
}

async fn book_of(place: &Place, hold: bool) -> Book {
    let url = place.lasting_url().await;
    let mut book = Book::open(Settings { hold, ..settings(&url) }).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    book.now_ms += MINUTE;
    book
}

on_each_database! {
    a_failure_is_counted_by_step_and_class_and_survives_a_restart
    a_version_that_is_not_among_the_newest_three_ends_and_moves_nowhere
    what_is_held_of_a_version_that_ends_is_not_shown_later
}
