use super::*;

on_each_database! {
    other_apps_come_and_go_and_nothing_that_is_shown_steps_back
    what_is_said_of_an_app_that_is_no_longer_read_changes_nothing
    other_buckets_start_their_histograms_anew_and_nothing_else
    what_another_filter_leaves_out_ends_at_once_and_comes_back_with_its_numbers
}

fn second() -> AppId {
    AppId::new("app_2").expect("a plain id")
}

async fn reconfigure(book: &Book, change: impl FnOnce(&mut Settings)) {
    let mut settings = book.settings.clone();
    change(&mut settings);
    book.ledger.reconfigure(settings, book.now_ms).await.expect("the ledger is there");
}

async fn list_second(book: &Book) {
    let listed = book.ledger.record_workflows(&second(), &[workflow("x")], book.at()).await;
    listed.expect("the list is recorded");
}

async fn other_apps_come_and_go_and_nothing_that_is_shown_steps_back(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("r1", "FAILED", MINUTE)]).await;
    let polled =
        |book: &Book| book.ledger.state().apps[&app()].workflows[&book.workflow].record.polled_ms;
    book.now_ms += MINUTE;
    book.read(&[fresh("r1", "FAILED", MINUTE)]).await;
    let before = polled(&book);
    let version = book.ledger.state().version;
    reconfigure(&book, |settings| settings.apps.push(all_of(second()))).await;
    assert!(
        book.ledger.state().version > version,
        "a scrape can distinguish it from the state before"
    );
    assert_eq!(polled(&book), before);
    list_second(&book).await;
    assert_eq!(book.total(Metric::Runs, &["FAILED", "WORKFLOW"]), 1.0);
    assert_eq!(book.ledger.state().apps.len(), 2);
    book.read(&[fresh("r1", "FAILED", MINUTE), fresh("r2", "FAILED", 2 * MINUTE)]).await;
    reconfigure(&book, |_| ()).await;
    assert_eq!(book.ledger.state().apps.len(), 1, "its series end");
    assert_eq!(book.total(Metric::Runs, &["FAILED", "WORKFLOW"]), 2.0);
    book.read(&[fresh("r2", "FAILED", 2 * MINUTE), fresh("r3", "FAILED", 2 * MINUTE)]).await;
    assert_eq!(book.total(Metric::Runs, &["FAILED", "WORKFLOW"]), 3.0);
}

async fn what_is_said_of_an_app_that_is_no_longer_read_changes_nothing(place: Place) {
    let book = Book::met(&place, &[]).await;
    list_second(&book).await;
    let ended = book.ledger.end_cycle(&second(), true, book.now_ms).await;
    ended.expect("nothing is wrong");
    assert!(!book.ledger.state().apps.contains_key(&second()));
    // When it is read after all, that is its first time.
    reconfigure(&book, |settings| settings.apps.push(all_of(second()))).await;
    assert!(!book.ledger.state().apps.contains_key(&second()));
}

async fn what_another_filter_leaves_out_ends_at_once_and_comes_back_with_its_numbers(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("r1", "FAILED", MINUTE)]).await;
    let published = |book: &Book| book.ledger.state().published().count();
    let exclude = vec!["^w$".parse().expect("valid")];
    let without = WorkflowFilter { exclude, ..WorkflowFilter::default() };
    reconfigure(&book, |settings| settings.apps = vec![(app(), without)]).await;
    assert_eq!(published(&book), 0, "before any list was read");
    reconfigure(&book, |_| ()).await;
    assert_eq!(published(&book), 0, "a list shows what else it has become");
    book.now_ms += MINUTE;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("r2", "FAILED", 90 * SECOND), fresh("r1", "FAILED", MINUTE)]).await;
    assert_eq!(book.counted("FAILED"), 1.0, "what ended meanwhile is history");
    book.read(&[fresh("r3", "FAILED", 3 * MINUTE), fresh("r2", "FAILED", 90 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 2.0);
}

async fn other_buckets_start_their_histograms_anew_and_nothing_else(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("r1", "COMPLETED", MINUTE)]).await;
    reconfigure(&book, |settings| settings.buckets.queues = vec![1.0]).await;
    assert_eq!(book.total(Metric::Runs, &["COMPLETED", "WORKFLOW"]), 1.0);
    assert_eq!(book.total(Metric::RunDuration, &["COMPLETED", "WORKFLOW"]), 1.0);
    assert_eq!(book.total(Metric::QueueDuration, &["WORKFLOW"]), 0.0);
    book.read(&[fresh("r1", "COMPLETED", MINUTE), fresh("r2", "COMPLETED", MINUTE)]).await;
    assert_eq!(book.total(Metric::QueueDuration, &["WORKFLOW"]), 1.0);
    let series = book.series(Metric::QueueDuration, &["WORKFLOW"]).expect("it is there");
    let Value::Histogram(histogram) = &series.value else { panic!("it is a histogram") };
    assert_eq!(*histogram.bounds, [1.0]);
}
