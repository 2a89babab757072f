//! Which workflows there are, and what of their history is news.

use super::*;

pub(super) async fn a_workflow_created_after_the_cold_start_counts_in_full(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let young = Workflow { created_at: Some(Timestamp::Instant(COLD + SECOND)), ..workflow("x") };
    book.list(&[workflow("w"), young]).await;
    book.workflow = workflow("x").id;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!((book.counted("FAILED"), book.submitted()), (1.0, 1.0));
}

/// The `Date` of the API is a minute ahead of its timestamps; the local clock is right, or also ahead.
/// Of what ends at these seconds after the cold start, what counts: 20 and 40 are before and after
/// the first reading, 120 is in a workflow that was created when the minute was over.
pub(super) async fn where_the_date_is_ahead_of_the_timestamps_a_new_workflow_begins_with_history(
    place: Place,
) {
    for (local_ahead_ms, counts) in [(0, [0.0, 1.0, 1.0]), (MINUTE, [0.0, 0.0, 1.0])] {
        let mut book = Book::open(settings(&place.url().await)).await;
        book.ahead_ms = (MINUTE, local_ahead_ms);
        book.list(&[workflow("w")]).await;
        let mut counted = Vec::new();
        for (id, created, ended) in [("x", 5, &[20, 40][..]), ("y", 62, &[120])] {
            let created_at = Some(Timestamp::Instant(COLD + created * SECOND));
            book.now_ms = COLD + (created + 5) * SECOND;
            book.list(&[workflow("w"), Workflow { created_at, ..workflow(id) }]).await;
            book.workflow = workflow(id).id;
            for ended in ended {
                let before = book.counted("FAILED");
                book.now_ms = COLD + (ended + 5) * SECOND;
                book.read(&[fresh(&ended.to_string(), "FAILED", ended * SECOND)]).await;
                counted.push(book.counted("FAILED") - before);
            }
        }
        assert_eq!(counted, counts, "{local_ahead_ms}");
    }
}

/// Listed ten minutes after the cold start, and not five minutes after it. How long after the cold
/// start a run ended, and whether it counts, for each way in which the workflow may state its age.
const APPEARING: [(i64, [bool; 4]); 5] = [
    // Created later, without an age, created earlier, later by a bare date.
    (-DAY_MS, [false, false, false, false]),
    (-MINUTE, [false, false, false, false]),
    (MINUTE, [true, false, false, true]),
    (7 * MINUTE, [true, true, false, true]),
    (12 * MINUTE, [true, true, true, true]),
];

pub(super) async fn what_counts_of_a_workflow_that_appears_later_depends_on_when_it_was_created(
    place: Place,
) {
    let created = [
        Some(Timestamp::Instant(COLD + 6 * MINUTE)),
        None,
        Some(Timestamp::Instant(COLD - MINUTE)),
        Some(Timestamp::Date(20_000 * DAY_MS)),
    ];
    for (at, created_at) in created.into_iter().enumerate() {
        for (ended_after, counts) in APPEARING {
            let mut book = Book::met(&place, &[]).await;
            book.now_ms = COLD + 5 * MINUTE;
            book.list(&[workflow("w")]).await;
            book.now_ms = COLD + 10 * MINUTE;
            book.list(&[workflow("w"), Workflow { created_at, ..workflow("x") }]).await;
            book.workflow = workflow("x").id;
            let first = fresh("a", "FAILED", ended_after);
            book.read(if ended_after < 10 * MINUTE { std::slice::from_ref(&first) } else { &[] })
                .await;
            book.now_ms = COLD + 15 * MINUTE;
            book.read(&[first]).await;
            let expected = if counts[at] { 1.0 } else { 0.0 };
            assert_eq!(book.counted("FAILED"), expected, "{created_at:?}, {ended_after}");
        }
        // Without any time, a run is news where nothing is history.
        let mut book = Book::met(&place, &[]).await;
        book.now_ms = COLD + 10 * MINUTE;
        book.list(&[Workflow { created_at, ..workflow("x") }]).await;
        book.workflow = workflow("x").id;
        book.read(&[Run { created_at: None, started_at: None, ..run("a", "FAILED") }]).await;
        let expected = if [0, 3].contains(&at) { 1.0 } else { 0.0 };
        assert_eq!(book.counted("FAILED"), expected, "{created_at:?}, without any time");
    }
}

pub(super) async fn a_workflow_without_an_age_that_appeared_during_a_downtime_loses_nothing(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book = book.reopened().await;
    book.now_ms += 2 * DAY_MS;
    book.list(&[workflow("w"), Workflow { created_at: None, ..workflow("x") }]).await;
    book.workflow = workflow("x").id;
    book.read(&[fresh("b", "FAILED", DAY_MS), fresh("a", "FAILED", -DAY_MS)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

pub(super) async fn an_older_workflow_that_is_met_later_starts_with_its_history_uncounted(
    place: Place,
) {
    let mut book = Book::met(&place, &[]).await;
    book.list(&[workflow("w"), workflow("x")]).await;
    book.workflow = workflow("x").id;
    book.read(&[fresh("b", "FAILED", 20 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 0.0);
    book.now_ms += MINUTE;
    book.read(&[fresh("c", "FAILED", 90 * SECOND), fresh("b", "FAILED", 20 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

pub(super) async fn widening_a_filter_makes_no_news_of_history(place: Place) {
    let all = settings(&place.url().await);
    let none =
        WorkflowFilter { exclude: vec!["^w$".parse().expect("valid")], ..Default::default() };
    let mut book = Book::open(Settings { apps: vec![(app(), none)], ..all.clone() }).await;
    let young = Workflow { created_at: Some(Timestamp::Instant(COLD + MINUTE)), ..workflow("w") };
    book.list(&[]).await;
    book.now_ms += 2 * MINUTE;
    book.list(std::slice::from_ref(&young)).await;
    book.now_ms += 8 * MINUTE;
    book.ledger.reconfigure(all, book.now_ms).await.expect("the ledger is there");
    book.list(&[young]).await;
    book.read(&[fresh("a", "FAILED", 5 * MINUTE)]).await;
    assert_eq!(book.counted("FAILED"), 0.0);
    book.read(&[fresh("b", "FAILED", 11 * MINUTE)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

pub(super) async fn a_workflow_that_is_listed_twice_is_as_it_was_listed_last(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let named = |name: &str| Workflow { name: name.into(), ..workflow("w") };
    let others = (0..8).map(|n| workflow(&format!("other{n}")));
    let listed: Vec<_> = [named("before")].into_iter().chain(others).collect();
    book.list(&[&listed[..], &[named("after")]].concat()).await;
    assert_eq!(book.state().record.listed.name, "after");
    assert_eq!(book.ledger.state().apps[&app()].published().count(), 9);
}

pub(super) async fn an_idle_workflow_is_shown_at_once_by_a_process_that_starts_after_days(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    // Often enough that no two lists are half an hour apart.
    for _ in 0..300 {
        book.list(&[workflow("w")]).await;
        let ended = book.ledger.end_cycle(&app(), true, book.now_ms).await;
        ended.expect("the cycle ends");
        book.now_ms += 10 * MINUTE;
    }
    book = book.reopened().await;
    assert_eq!(book.ledger.state().apps[&app()].published().count(), 1);
}

pub(super) async fn a_workflow_is_shown_at_once_by_a_process_that_starts_after_the_clock_was_set(
    place: Place,
) {
    let steps_ms = [-300, -40, -25, -1, 1, 300].map(|minutes| minutes * MINUTE);
    for (step_ms, lists) in steps_ms.into_iter().flat_map(|ms| [0, 4, 7, 20].map(|n| (ms, n))) {
        let mut book = Book::open(settings(&place.lasting_url().await)).await;
        let listed = [workflow("w"), workflow("x")];
        book.list(&listed).await;
        let ended = book.ledger.end_cycle(&app(), true, book.now_ms).await;
        ended.expect("the cycle ends");
        book.ahead_ms = (0, step_ms);
        book.list(&listed).await;
        // Only one of them is written.
        book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
        for _ in 0..lists {
            book.now_ms += 10 * MINUTE;
            book.list(&listed).await;
            let ended = book.ledger.end_cycle(&app(), true, book.now_ms).await;
            ended.expect("the cycle ends");
        }
        book = book.reopened().await;
        let published = book.ledger.state().apps[&app()].published().count();
        assert_eq!(published, 2, "{step_ms} {lists}");
    }
}

pub(super) async fn a_deleted_workflows_series_end_an_hour_after_it_was_last_listed(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let published = |book: &Book| book.ledger.state().apps[&app()].published().count();
    book.list(&[Workflow { deleted: true, ..workflow("w") }]).await;
    assert_eq!(published(&book), 1);
    book.now_ms += 2 * 60 * MINUTE;
    assert_eq!(published(&book), 1, "a list that can't be read ends nothing");
    book.list(&[workflow("x")]).await;
    assert_eq!(published(&book), 1);
    book.list(&[workflow("w"), workflow("x")]).await;
    assert_eq!(published(&book), 2, "it came back with its counters");
}

pub(super) async fn another_apps_numbers_are_kept_and_not_shown(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.settings.apps = vec![all_of(AppId::new("app_other").expect("a plain id"))];
    book = book.reopened().await;
    assert!(book.ledger.state().apps.is_empty());
    book.settings.apps = vec![all_of(app())];
    book = book.reopened().await;
    assert_eq!(book.counted("FAILED"), 1.0);
}
