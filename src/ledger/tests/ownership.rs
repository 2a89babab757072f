use super::*;

on_each_database! {
    of_two_apps_that_list_a_workflow_the_one_met_first_shows_it
    apps_that_were_read_one_at_a_time_and_now_together_share_without_showing_twice
    a_workflow_that_its_app_lists_no_more_is_shown_by_the_other
}

fn second() -> AppId {
    AppId::new("app_2").expect("a plain id")
}

/// The workflows that an app shows.
fn shown(ledger: &Ledger, app: &AppId) -> Vec<String> {
    let state = ledger.state();
    let app = state.apps.get(app);
    app.into_iter().flat_map(AppState::published).map(|(id, _)| id.to_string()).collect()
}

async fn close(book: Book) {
    book.ledger.close().await.expect("it closes");
}

async fn list(book: &Book, app: &AppId, ids: &[&str]) {
    let workflows: Vec<_> = ids.iter().map(|id| workflow(id)).collect();
    let listed = book.ledger.record_workflows(app, &workflows, book.at()).await;
    listed.expect("the list is recorded");
}

async fn of_two_apps_that_list_a_workflow_the_one_met_first_shows_it(place: Place) {
    let url = place.lasting_url().await;
    let both = Settings { apps: [second(), app()].map(all_of).into(), ..settings(&url) };
    let book = Book::open(both).await;
    for _ in 0..2 {
        list(&book, &second(), &["both", "own2"]).await;
        list(&book, &app(), &["both", "own1"]).await;
    }
    assert_eq!(shown(&book.ledger, &second()), ["both", "own2"]);
    assert_eq!(shown(&book.ledger, &app()), ["own1"]);
    assert_eq!(book.anomalies(Anomaly::SharedWorkflow), 1.0, "it is reported once");
    close(book).await;
    // It stays so, whichever is configured first.
    let turned = Settings { apps: [app(), second()].map(all_of).into(), ..settings(&url) };
    let book = Book::open(turned).await;
    assert_eq!(shown(&book.ledger, &second()), ["both", "own2"]);
    assert_eq!(shown(&book.ledger, &app()), ["own1"]);
}

async fn apps_that_were_read_one_at_a_time_and_now_together_share_without_showing_twice(
    place: Place,
) {
    let url = place.lasting_url().await;
    for one in [app(), second()] {
        let alone = Settings { apps: vec![all_of(one.clone())], ..settings(&url) };
        let book = Book::open(alone).await;
        list(&book, &one, &["both"]).await;
        assert_eq!(shown(&book.ledger, &one), ["both"]);
        close(book).await;
    }
    for order in [[second(), app()], [app(), second()]] {
        let book = Book::open(Settings { apps: order.map(all_of).into(), ..settings(&url) }).await;
        assert_eq!(shown(&book.ledger, &second()), ["both"]);
        assert_eq!(shown(&book.ledger, &app()), [""; 0]);
        list(&book, &app(), &["both"]).await;
        assert_eq!(shown(&book.ledger, &app()), [""; 0]);
        close(book).await;
    }
}

async fn a_workflow_that_its_app_lists_no_more_is_shown_by_the_other(place: Place) {
    let url = place.lasting_url().await;
    let both = Settings { apps: [app(), second()].map(all_of).into(), ..settings(&url) };
    let mut book = Book::open(both).await;
    list(&book, &app(), &["both", "own1"]).await;
    list(&book, &second(), &["both"]).await;
    assert_eq!(shown(&book.ledger, &second()), [""; 0]);
    for _ in 0..2 {
        book.now_ms += 61 * MINUTE;
        list(&book, &app(), &["own1"]).await;
        list(&book, &second(), &["both"]).await;
    }
    assert_eq!(shown(&book.ledger, &app()), ["own1"]);
    assert_eq!(shown(&book.ledger, &second()), ["both"]);
}
