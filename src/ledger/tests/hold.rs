//! What may be shown, and when.

use super::*;

/// A ledger that holds, with one workflow whose zeros nobody has scraped yet.
pub(super) async fn holding(url: &str) -> Book {
    let mut book = Book::open(Settings { hold: true, ..settings(url) }).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    book.now_ms += MINUTE;
    book
}

impl Book {
    pub(super) fn shown(&self, metric: Metric, labels: &[&str]) -> f64 {
        self.series(metric, labels).map_or(0.0, |series| series.shown().amount())
    }

    /// Shown failures, and shown durations of failures.
    pub(super) fn shown_failures(&self) -> (f64, f64) {
        let labels = ["FAILED", "WORKFLOW"];
        (self.shown(Metric::Runs, &labels), self.shown(Metric::RunDuration, &labels))
    }

    pub(super) async fn scraped(&self) {
        let version = self.ledger.state().version;
        self.ledger.confirm(version, self.now_ms).await.expect("released");
    }
}

pub(super) async fn what_one_run_moves_is_shown_together_once_all_of_its_series_were_scraped(
    place: Place,
) {
    let mut book = holding(&place.url().await).await;
    book.scraped().await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (1.0, (0.0, 0.0)));
    assert_eq!(book.state().held_runs(), 1);
    book.scraped().await;
    assert_eq!((book.shown_failures(), book.state().held_runs()), ((1.0, 1.0), 0));
}

pub(super) async fn what_series_that_were_scraped_gain_is_shown_by_the_next_scrape(place: Place) {
    let mut book = holding(&place.url().await).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    let seen = book.ledger.state().version;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    assert_eq!(book.shown_failures(), (1.0, 1.0), "nobody has scraped since");
    book.ledger.confirm(seen, book.now_ms).await.expect("released");
    assert_eq!(book.shown_failures(), (2.0, 2.0));
}

pub(super) async fn what_nobody_scraped_is_no_base_after_a_restart(place: Place) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    book = book.reopened().await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (2.0, (1.0, 1.0)));
    book.scraped().await;
    assert_eq!(book.shown_failures(), (2.0, 2.0));
}

pub(super) async fn what_nobody_scrapes_does_not_pile_up(place: Place) {
    let mut book = holding(&place.url().await).await;
    for run in 0..20 {
        book.read(&[fresh(&format!("run {run}"), "FAILED", 20 * SECOND)]).await;
    }
    let state = book.state();
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (20.0, (0.0, 0.0)));
    let held = state.pending.shares();
    assert!(held <= state.series.len(), "{held} amounts of {} series", state.series.len());
    book.scraped().await;
    assert_eq!((book.shown_failures(), book.state().pending.shares()), ((20.0, 20.0), 0));
}

pub(super) async fn a_sum_that_was_added_up_in_another_order_never_steps_back(place: Place) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    let run =
        |id: &str, credits| Run { credits: Some(credits), ..fresh(id, "FAILED", 20 * SECOND) };
    let shown = |book: &Book| book.shown(Metric::RunCredits, &["FAILED", "WORKFLOW"]);
    book.read(&[run("a", 33.2)]).await;
    book.scraped().await;
    // 33.2 + (37.9 + 63.0) is not (33.2 + 37.9) + 63.0.
    book.read(&[run("b", 37.9), run("c", 63.0)]).await;
    for step in ["first", "second"] {
        let seen = book.ledger.state().version;
        book.read(&[with_step(step, run(step, 0.0))]).await;
        let before = shown(&book);
        book.ledger.confirm(seen, book.now_ms).await.expect("released");
        assert!(shown(&book) >= before, "from {before} back to {}", shown(&book));
        let before = shown(&book);
        book = book.reopened().await;
        assert_eq!(shown(&book), before);
    }
}

pub(super) async fn what_is_held_of_ever_new_series_is_held_together(place: Place) {
    let mut book = holding(&place.url().await).await;
    for n in 0..100 {
        let name = format!("run{n}");
        book.read(&[with_step(&name, fresh(&name, "FAILED", 20 * SECOND))]).await;
    }
    let state = book.state();
    let shares = state.pending.shares();
    assert!(shares <= 2 * state.series.len(), "{shares} of {} series", state.series.len());
    assert_eq!(state.held_runs(), 100);
    book.scraped().await;
    assert_eq!((book.shown_failures(), book.state().held_runs()), ((100.0, 100.0), 0));
}

pub(super) async fn a_run_that_is_not_held_passes_one_that_is(place: Place) {
    let mut book = holding(&place.url().await).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    let seen = book.ledger.state().version;
    book.read(&[with_step("new", fresh("b", "FAILED", 30 * SECOND))]).await;
    book.read(&[fresh("c", "FAILED", 40 * SECOND)]).await;
    book.ledger.confirm(seen, book.now_ms).await.expect("released");
    assert_eq!(
        (book.shown_failures(), book.counted("FAILED")),
        ((2.0, 2.0), 3.0),
        "a step's series is new"
    );
    book.scraped().await;
    assert_eq!(book.shown_failures(), (3.0, 3.0));
}

pub(super) async fn an_old_scrape_releases_nothing_that_is_younger(place: Place) {
    let mut book = holding(&place.url().await).await;
    let before = book.ledger.state().version;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.ledger.confirm(before, book.now_ms).await.expect("released");
    assert_eq!(book.shown_failures(), (0.0, 0.0));
}

pub(super) async fn nothing_is_released_of_a_workflow_that_is_not_published(place: Place) {
    let mut book = holding(&place.url().await).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.now_ms += 120 * MINUTE;
    book.list(&[]).await;
    book.scraped().await;
    assert_eq!(book.ledger.state().published().count(), 0);
    book.list(&[workflow("w")]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (1.0, (0.0, 0.0)));
    book.scraped().await;
    assert_eq!(book.shown_failures(), (1.0, 1.0));
}

pub(super) async fn a_scrape_that_releases_nothing_waits_for_no_writer(place: Place) {
    let book = holding(&place.url().await).await;
    let _busy = book.ledger.writer.lock().await;
    let confirmed = book.ledger.confirm(book.ledger.state().version, book.now_ms).now_or_never();
    assert!(matches!(confirmed, Some(Ok(()))));
}

pub(super) async fn a_restart_shows_what_was_shown_last_and_releases_the_rest_once_that_was_scraped(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    book.read(&[Run { origin: Origin::Test, ..fresh("b", "FAILED", 30 * SECOND) }]).await;
    book = book.reopened().await;
    assert_eq!(book.shown_failures(), (1.0, 1.0));
    assert_eq!(book.shown(Metric::Runs, &["FAILED", "TEST"]), 0.0);
    assert_eq!(book.state().held_runs(), 1);
    book.read(&[fresh("c", "FAILED", 40 * SECOND)]).await;
    assert_eq!(book.shown_failures(), (1.0, 1.0), "a restored series shows its base first");
    book.scraped().await;
    assert_eq!(book.shown_failures(), (2.0, 2.0));
    assert_eq!(book.shown(Metric::Runs, &["FAILED", "TEST"]), 1.0);
    let series = book.state().series.clone();
    book = book.reopened().await;
    for (key, series) in series.iter() {
        assert_eq!(book.state().series[key].value, series.value, "{key:?}");
        assert_eq!(book.state().series[key].shown(), series.shown(), "{key:?}");
    }
}

pub(super) async fn a_renamed_workflow_begins_at_zero_and_what_was_not_shown_moves_along(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (2.0, (1.0, 1.0)));
    let before = book.ledger.state().version;
    book.now_ms += MINUTE;
    book.list(&[named("New name")]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (1.0, (0.0, 0.0)));
    for (key, series) in book.state().series.iter() {
        assert_eq!(series.start_ms, book.now_ms, "{key:?}");
    }
    assert_eq!(book.examples(), [], "they are of what the old name showed");
    book.read(&[fresh("c", "FAILED", 40 * SECOND)]).await;
    book.ledger.confirm(before, book.now_ms).await.expect("released");
    assert_eq!(book.shown_failures(), (0.0, 0.0), "nobody has seen the new name");
    book = book.reopened().await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (2.0, (0.0, 0.0)));
    book.scraped().await;
    assert_eq!(book.shown_failures(), (2.0, 2.0));
    // A name that comes back is an ordinary reset.
    book.list(&[workflow("w")]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (0.0, (0.0, 0.0)));
    book = book.reopened().await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (0.0, (0.0, 0.0)));
    assert_eq!(book.state().record.failures.len(), 3, "gauges are not held");
}

pub(super) async fn a_new_name_that_looks_the_same_changes_nothing(place: Place) {
    let mut book = holding(&place.url().await).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    let long = "n".repeat(200);
    for (name, counted) in [(" Workflow w\t", 1.0), (&long, 0.0), (&format!("{long}!"), 0.0)] {
        book.list(&[named(name)]).await;
        assert_eq!(book.counted("FAILED"), counted, "{name:?}");
    }
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    book.list(&[named(&format!("{long}?"))]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
    book.list(&[named("")]).await;
    book.read(&[fresh("c", "FAILED", 40 * SECOND)]).await;
    book.scraped().await;
    book.list(&[named("w")]).await;
    assert_eq!(book.shown_failures().0, 2.0, "an empty name is shown as the id");
}

pub(super) async fn a_renamed_workflow_without_a_hold_begins_at_zero(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.list(&[named("New name")]).await;
    assert_eq!((book.counted("FAILED"), book.shown_failures()), (0.0, (0.0, 0.0)));
    book.read(&[fresh("a", "FAILED", 20 * SECOND), fresh("b", "FAILED", 30 * SECOND)]).await;
    assert_eq!(book.shown_failures(), (1.0, 1.0), "a run that was counted stays counted");
}

fn named(name: &str) -> Workflow {
    Workflow { name: name.into(), ..workflow("w") }
}
