//! What there is no room for.

use super::*;
use crate::metrics::{Exposition, gauges_of};

on_each_database! {
    past_the_budget_a_new_workflow_is_counted_in_the_group
    the_group_survives_a_restart_and_a_workflow_that_gets_room_begins_at_zero
    what_is_new_in_a_known_workflow_is_counted_in_the_group_too
    what_one_run_moves_here_and_in_the_group_is_shown_together
    a_workflow_that_is_called_like_the_group_is_not_followed
    as_many_series_are_reserved_for_gauges_as_a_workflow_shows_or_usually_has
}

/// Room for one workflow as it is first listed, and for nothing else.
const ONE: usize = 37;

async fn book(place: &Place, max_series: usize, hold: bool) -> Book {
    let url = place.lasting_url().await;
    Book::open(Settings { max_series, hold, ..settings(&url) }).await
}

impl Book {
    fn in_group(&self, metric: Metric, labels: &[&str]) -> Option<Series> {
        let state = self.ledger.state();
        let group = state.apps.get(&AppId::new(OTHER)?)?.workflows.get(&WorkflowId::new(OTHER)?)?;
        group.series.get(&SeriesKey::new(metric, labels)).cloned()
    }

    fn failures_in_group(&self) -> f64 {
        let series = self.in_group(Metric::Runs, &["FAILED", "WORKFLOW"]);
        series.map_or(0.0, |series| series.value.amount())
    }

    fn overflowed(&self) -> f64 {
        let families = self.registry.gather();
        let name = "cortex_workflow_exporter_folded_workflows";
        let family = families.iter().find(|family| family.name() == name).expect("registered");
        family.get_metric()[0].get_gauge().get_value()
    }
}

fn stepping(id: &str, step: &str) -> Run {
    with_step(step, fresh(id, "FAILED", 20 * SECOND))
}

async fn past_the_budget_a_new_workflow_is_counted_in_the_group(place: Place) {
    let mut book = book(&place, ONE, false).await;
    book.list(&[workflow("first"), workflow("w")]).await;
    assert_eq!((book.overflowed(), book.state().series.len()), (1.0, 0));
    book.read(&[]).await;
    book.now_ms += MINUTE;
    for _ in 0..2 {
        book.read(&[fresh("a", "FAILED", 20 * SECOND), fresh("b", "MADE_UP", 30 * SECOND)]).await;
    }
    assert_eq!((book.failures_in_group(), book.state().series.len()), (1.0, 0));
    let durations = book.in_group(Metric::RunDuration, &["FAILED", "WORKFLOW"]);
    assert_eq!(durations.expect("counted").value.amount(), 1.0);
    let made_up = book.in_group(Metric::Runs, &["OTHER", "WORKFLOW"]);
    assert_eq!(made_up.expect("counted").value.amount(), 1.0, "the group has few words");
}

async fn the_group_survives_a_restart_and_a_workflow_that_gets_room_begins_at_zero(place: Place) {
    let mut book = book(&place, ONE, false).await;
    book.list(&[workflow("first"), workflow("w")]).await;
    book.read(&[]).await;
    book.now_ms += MINUTE;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.settings.max_series = 10 * ONE;
    book = book.reopened().await;
    assert_eq!(book.failures_in_group(), 1.0);
    book.list(&[workflow("first"), workflow("w")]).await;
    assert_eq!((book.overflowed(), book.counted("FAILED")), (0.0, 0.0));
    book.read(&[fresh("a", "FAILED", 20 * SECOND), fresh("b", "FAILED", 30 * SECOND)]).await;
    assert_eq!((book.failures_in_group(), book.counted("FAILED")), (1.0, 1.0));
}

async fn what_is_new_in_a_known_workflow_is_counted_in_the_group_too(place: Place) {
    // Beside the workflow, room for its version, its failures, durations and waits and for one step.
    let mut book = book(&place, ONE + 1 + 1 + 17 + 17 + 1 + 17, false).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    book.now_ms += MINUTE;
    book.read(&[stepping("a", "known")]).await;
    book.read(&[stepping("b", "one more"), stepping("c", "known"), stepping("d", "and more")])
        .await;
    assert_eq!((book.counted("FAILED"), book.overflowed()), (4.0, 0.0));
    assert_eq!(book.total(Metric::Steps, &["known", "model", "COMPLETED"]), 2.0);
    for metric in [Metric::Steps, Metric::StepDuration] {
        let others = book.in_group(metric, &[OTHER, OTHER, "COMPLETED"]);
        assert_eq!(others.expect("counted").value.amount(), 2.0, "{metric:?}");
    }
}

async fn what_one_run_moves_here_and_in_the_group_is_shown_together(place: Place) {
    let mut book = book(&place, ONE, true).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    book.scraped().await;
    book.now_ms += MINUTE;
    let seen = book.ledger.state().version;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.ledger.confirm(seen, book.now_ms).await.expect("released");
    let durations = |book: &Book| {
        let series = book.in_group(Metric::RunDuration, &["FAILED", "WORKFLOW"]);
        series.expect("counted").shown().amount()
    };
    assert_eq!((book.shown(Metric::Runs, &["FAILED", "WORKFLOW"]), durations(&book)), (0.0, 0.0));
    book.scraped().await;
    assert_eq!((book.shown(Metric::Runs, &["FAILED", "WORKFLOW"]), durations(&book)), (1.0, 1.0));
}

async fn a_workflow_that_is_called_like_the_group_is_not_followed(place: Place) {
    let mut book = book(&place, 10 * ONE, false).await;
    book.list(&[workflow(OTHER), workflow("w")]).await;
    let state = book.ledger.state();
    let followed: Vec<_> = state.apps[&app()].published().map(|(id, _)| id.as_str()).collect();
    assert_eq!(followed, ["w"]);
}

async fn as_many_series_are_reserved_for_gauges_as_a_workflow_shows_or_usually_has(place: Place) {
    let mut book = book(&place, usize::MAX, false).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    assert_eq!(gauges_of(&book.state()), GAUGES);
    let word = |n: usize| "A".repeat(n + 1);
    let open = (0..31).flat_map(|n| {
        let origins = [Origin::Workflow, Origin::Test, Origin::Record];
        origins.map(move |origin| {
            let id = format!("{n}{}", origin.as_str());
            Run { origin, ..run(&id, &word(n)) }
        })
    });
    let ended = (0..31).map(|n| fresh(&format!("ended{n}"), &word(n), 20 * SECOND));
    book.read(&open.chain(ended).collect::<Vec<_>>()).await;
    let clock = Arc::new(crate::model::SystemClock);
    let text = Exposition::new(&book.ledger, Registry::new(), clock).text();
    let counted = text.lines().filter(|line| line.contains("workflow_id=\"w\""));
    let is_gauge = |line: &&str| {
        !["_total{", "_bucket{", "_sum{", "_count{"].iter().any(|it| line.contains(it))
    };
    let shown = counted.filter(is_gauge).count();
    assert!(shown > 100, "{shown} gauges are shown");
    assert!((shown..shown + GAUGES).contains(&gauges_of(&book.state())), "{shown} are shown");
}
