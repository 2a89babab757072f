//! The rules of counting, on real databases.

#![expect(clippy::float_cmp, reason = "counts are whole, and sums here are exact")]

mod attempts;
mod book;
mod budget;
mod causes;
mod copying;
mod division;
mod find;
mod histograms;
mod hold;
mod outage;
mod ownership;
mod place;
#[path = "../../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "some of it is for other tests")]
mod postgres;
mod reconfigure;
mod run_log;
mod succession;
mod workflows;

use std::time::Duration;

use prometheus::Registry;

use book::*;
use find::*;
use futures::FutureExt as _;
use histograms::*;
use hold::*;
use place::{Place, on_each_database};
use workflows::*;

use super::*;
use crate::{
    config::{Buckets, LoggedRuns, Shard, WorkflowFilter},
    model::{Anomaly, Clock, DAY_MS, Label, Origin, Run, Status, Step, StepDuration, Timestamp},
};

/// The cold start of most tests: an hour past midnight.
const COLD: i64 = 20_000 * DAY_MS + 3_600_000;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

async fn every_foreseeable_series_exists_at_zero_from_the_first_list_on(place: Place) {
    let mut book = Book::open(settings(&place.url().await)).await;
    book.list(&[workflow("w")]).await;
    for origin in ["WORKFLOW", "RECORD", "TEST"] {
        for status in ["COMPLETED", "FAILED", "SKIPPED", "CANCELLED"] {
            let series = book.series(Metric::Runs, &[status, origin]).expect("it exists");
            assert_eq!(series, Series::zero(Value::Counter(0.0), 2, COLD));
        }
        assert!(book.series(Metric::RunsSubmitted, &[origin]).is_some());
    }
}

async fn what_ended_before_the_cold_start_moves_gauges_but_no_counter(place: Place) {
    let book =
        Book::met(&place, &[ended("b", "FAILED", -MINUTE), ended("a", "COMPLETED", -DAY_MS)]).await;
    assert_eq!(
        (book.counted("FAILED"), book.counted("COMPLETED"), book.submitted()),
        (0.0, 0.0, 0.0)
    );
    let state = book.state();
    assert_eq!(state.record.last_run_ms[&Status::Failed], COLD - MINUTE);
    assert_eq!(state.record.failures.len(), 1);
}

async fn the_lookback_makes_news_of_what_ended_within_it(place: Place) {
    let lookback = Some(Duration::from_secs(3600));
    let mut book = Book::open(Settings { lookback, ..settings(&place.url().await) }).await;
    book.list(&[workflow("w")]).await;
    book.read(&[ended("b", "FAILED", -30 * MINUTE), ended("a", "FAILED", -90 * MINUTE)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

async fn without_any_limit_all_history_is_news(place: Place) {
    let unlimited = Settings { lookback: None, retention: None, ..settings(&place.url().await) };
    let mut book = Book::open(unlimited).await;
    book.list(&[workflow("w")]).await;
    let nameless = Run { created_at: None, started_at: None, ..run("c", "SKIPPED") };
    book.read(&[ended("b", "FAILED", -400 * DAY_MS), nameless]).await;
    assert_eq!((book.counted("FAILED"), book.counted("SKIPPED")), (1.0, 1.0));
}

async fn a_run_open_at_the_cold_start_counts_when_it_ends(place: Place) {
    let mut book = Book::met(&place, &[run("a", "RUNNING")]).await;
    assert_eq!(book.open_runs(), ["a RUNNING"]);
    book.read(&[ended("a", "FAILED", SECOND)]).await;
    assert_eq!((book.counted("FAILED"), book.submitted()), (1.0, 0.0));
    assert!(book.open_runs().is_empty());
}

async fn a_finished_run_is_counted_once_however_often_it_is_listed(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    for _ in 0..3 {
        book.read(&[fresh("a", "COMPLETED", 20 * SECOND)]).await;
    }
    assert_eq!((book.counted("COMPLETED"), book.submitted()), (1.0, 1.0));
    assert_eq!(book.total(Metric::RunDuration, &["COMPLETED", "WORKFLOW"]), 1.0);
    assert_eq!(book.total(Metric::QueueDuration, &["WORKFLOW"]), 1.0);
}

async fn a_run_listed_twice_on_a_page_while_it_ended_is_counted_once(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("a", "COMPLETED", 20 * SECOND), run("a", "RUNNING")]).await;
    book.read(&[fresh("a", "COMPLETED", 20 * SECOND), fresh("a", "COMPLETED", 20 * SECOND)]).await;
    assert_eq!(book.counted("COMPLETED"), 1.0);
}

async fn a_run_seen_open_again_that_ends_later_is_a_new_attempt(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let first = fresh("a", "FAILED", 20 * SECOND);
    book.read(std::slice::from_ref(&first)).await;
    book.read(&[Run { status: Status::Running, ended_at: None, ..first.clone() }]).await;
    assert_eq!(book.open_runs(), ["a RUNNING"]);
    let ended_at = Some(Timestamp::Instant(COLD + 21 * SECOND));
    book.read(&[Run { status: Status::Completed, ended_at, ..first }]).await;
    assert_eq!((book.counted("FAILED"), book.counted("COMPLETED")), (1.0, 1.0));
    assert_eq!(book.submitted(), 1.0, "a replay is no submission");
    assert_eq!(book.total(Metric::QueueDuration, &["WORKFLOW"]), 1.0, "a replay doesn't wait");
}

async fn a_strictly_later_start_is_a_new_attempt(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let first = fresh("a", "FAILED", 20 * SECOND);
    let later = |ms| Some(Timestamp::Instant(COLD + 12 * SECOND + ms));
    book.read(std::slice::from_ref(&first)).await;
    for (started_at, attempts) in [(later(0), 1.0), (later(1), 2.0), (later(1), 2.0)] {
        book.read(&[Run { started_at, ..first.clone() }]).await;
        assert_eq!(book.counted("FAILED"), attempts, "{started_at:?}");
    }
}

async fn a_bare_date_is_no_later_start_than_an_instant_of_that_day(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let first = fresh("a", "FAILED", 20 * SECOND);
    let day = Some(Timestamp::Date(20_000 * DAY_MS));
    book.read(std::slice::from_ref(&first)).await;
    book.read(&[Run { started_at: day, ..first.clone() }]).await;
    book.read(std::slice::from_ref(&first)).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

async fn an_end_that_appears_or_is_corrected_later_is_no_new_attempt(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let unended = Run { ended_at: None, ..fresh("a", "COMPLETED", 20 * SECOND) };
    book.read(&[unended]).await;
    book.read(&[fresh("a", "COMPLETED", 20 * SECOND)]).await;
    let corrected = Some(Timestamp::Instant(COLD + 50 * SECOND));
    book.read(&[Run { ended_at: corrected, ..fresh("a", "COMPLETED", 20 * SECOND) }]).await;
    assert_eq!(book.counted("COMPLETED"), 1.0);
    assert_eq!(book.state().record.last_run_ms[&Status::Completed], COLD + 50 * SECOND);
}

async fn everything_that_a_run_moves_moves_together(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let step = |key, status, duration, credits| Step {
        key: Label::new(key),
        step_type: Label::new("model"),
        status: Status::new(status),
        duration,
        credits,
    };
    let steps = vec![
        step("ask", "COMPLETED", StepDuration::Seconds(0.3), Some(1.5)),
        step("tell", "FAILED", StepDuration::Unknown, None),
    ];
    book.read(&[Run { steps, credits: Some(2.5), ..fresh("a", "COMPLETED", 20 * SECOND) }]).await;
    assert_eq!(book.total(Metric::Steps, &["ask", "model", "COMPLETED"]), 1.0);
    assert_eq!(book.total(Metric::Steps, &["tell", "model", "FAILED"]), 1.0);
    assert_eq!(book.total(Metric::StepDuration, &["ask", "model", "COMPLETED"]), 1.0);
    assert_eq!(book.series(Metric::StepDuration, &["tell", "model", "FAILED"]), None);
    assert_eq!(book.total(Metric::RunCredits, &["COMPLETED", "WORKFLOW"]), 2.5);
    assert_eq!(book.total(Metric::StepCredits, &["ask", "model"]), 1.5);
    let series = book.series(Metric::RunDuration, &["COMPLETED", "WORKFLOW"]).expect("counted");
    let Value::Histogram(histogram) = series.value else { panic!("a histogram") };
    assert_eq!((histogram.count(), histogram.sum), (1, 8.0));
    assert_eq!(book.series(Metric::RunCredits, &["FAILED", "WORKFLOW"]), None, "never reported");
}

async fn a_run_without_a_usable_duration_counts_and_an_anomaly_says_why(place: Place) {
    let day = Some(Timestamp::Date(20_000 * DAY_MS));
    let whole = fresh("a", "COMPLETED", 20 * SECOND);
    let cases = [
        (Run { started_at: None, ..whole.clone() }, Anomaly::MissingTimestamp),
        (Run { started_at: day, ..whole.clone() }, Anomaly::DateOnlyTimestamp),
        (Run { ended_at: day, ..whole.clone() }, Anomaly::DateOnlyTimestamp),
        (
            Run { started_at: Some(Timestamp::Instant(COLD + MINUTE)), ..whole },
            Anomaly::NegativeDuration,
        ),
    ];
    for (run, anomaly) in cases {
        let mut book = Book::met(&place, &[]).await;
        book.read(std::slice::from_ref(&run)).await;
        book.read(std::slice::from_ref(&run)).await;
        assert_eq!(book.counted("COMPLETED"), 1.0, "{run:?}");
        assert_eq!(book.total(Metric::RunDuration, &["COMPLETED", "WORKFLOW"]), 0.0, "{run:?}");
        assert_eq!(book.anomalies(anomaly), 1.0, "{run:?}");
    }
}

async fn an_unknown_status_and_origin_are_counted_under_their_own_words(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let origin = Origin::new("SCHEDULE");
    book.read(&[Run { origin, ..fresh("a", "TIMED_OUT", 20 * SECOND) }]).await;
    assert_eq!(book.total(Metric::Runs, &["TIMED_OUT", "SCHEDULE"]), 1.0);
    assert_eq!(book.anomalies(Anomaly::UnknownStatus), 1.0);
    assert_eq!(book.anomalies(Anomaly::UnknownOrigin), 1.0);
}

async fn an_end_dated_the_cold_starts_day_or_later_is_news_unless_the_first_reading_found_it(
    place: Place,
) {
    let on = |day: i64| Some(Timestamp::Date((20_000 + day) * DAY_MS));
    for (day, counted) in [(-1, 0.0), (0, 1.0), (1, 1.0)] {
        let found = Run { ended_at: on(day), ..run("found", "FAILED") };
        let mut book = Book::met(&place, std::slice::from_ref(&found)).await;
        let later = Run { ended_at: on(day), ..run("later", "FAILED") };
        for _ in 0..2 {
            book.read(&[later.clone(), found.clone()]).await;
            assert_eq!(book.counted("FAILED"), counted, "day {day}");
        }
    }
    let lookback = Some(Duration::from_secs(3 * 86_400));
    let mut book = Book::open(Settings { lookback, ..settings(&place.url().await) }).await;
    book.list(&[workflow("w")]).await;
    let within = [-1, -2].map(|day| Run { ended_at: on(day), ..run(&format!("{day}"), "FAILED") });
    book.read(&within).await;
    assert_eq!(book.counted("FAILED"), 2.0, "the lookback asks for them");
}

async fn what_ended_while_the_exporter_was_down_is_counted_once_after_the_restart(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[run("open", "RUNNING"), ended("old", "FAILED", -MINUTE)]).await;
    for _ in 0..2 {
        book = book.reopened().await;
        book.now_ms += 10 * MINUTE;
        assert_eq!(book.ledger.state().apps[&app()].workflows.len(), 1);
        book.list(&[workflow("w")]).await;
        let missed = fresh("missed", "FAILED", 5 * MINUTE);
        book.read(&[missed, ended("open", "COMPLETED", MINUTE), ended("old", "FAILED", -MINUTE)])
            .await;
        assert_eq!((book.counted("FAILED"), book.counted("COMPLETED")), (1.0, 1.0));
    }
    let series = book.series(Metric::Runs, &["FAILED", "WORKFLOW"]).expect("it exists");
    assert_eq!(series.start_ms, COLD, "a start is never stamped anew");
}

async fn a_reading_that_broke_off_does_not_hide_what_lies_behind_it(place: Place) {
    let mut book = Book::met(&place, &[ended("old", "COMPLETED", -MINUTE)]).await;
    let newest = [fresh("c", "FAILED", 50 * SECOND)];
    assert!(!book.page(&newest, StopWhen::IfKnown).await, "there is more behind it");
    // Here the reading broke off. In the next one the same page is counted already, and yet it
    // must not end the reading.
    assert!(!book.page(&newest, StopWhen::IfKnown).await);
    assert!(!book.page(&[fresh("b", "FAILED", 40 * SECOND)], StopWhen::IfKnown).await);
    assert!(book.page(&[ended("old", "COMPLETED", -MINUTE)], StopWhen::IfKnown).await);
    assert!(book.page(&newest, StopWhen::IfKnown).await, "now it is known what lies behind");
    assert_eq!(book.counted("FAILED"), 2.0);
}

async fn a_vanished_run_leaves_the_gauges_and_counts_if_it_comes_back(place: Place) {
    let mut book = Book::met(&place, &[run("a", "RUNNING")]).await;
    let gone = [RunId::new("a").expect("a plain id"), RunId::new("never").expect("a plain id")];
    for _ in 0..2 {
        let vanished = book.ledger.record_vanished(&app(), &book.workflow, &gone, book.at()).await;
        vanished.expect("recorded");
    }
    assert!(book.open_runs().is_empty());
    assert_eq!(book.anomalies(Anomaly::VanishedRun), 1.0);
    book.read(&[ended("a", "FAILED", SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

async fn pruned_runs_are_never_news_again(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let early = fresh("a", "FAILED", 20 * SECOND);
    book.read(std::slice::from_ref(&early)).await;
    book.forget().await;
    book.read(&[early]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

async fn clocks_that_run_ahead_together_make_no_run_forgotten(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    // The local clock is set wrong, and the API doesn't state its own.
    book.now_ms += 400 * DAY_MS;
    book.list(&[workflow("w")]).await;
    book.now_ms -= 400 * DAY_MS;
    book.read(&[fresh("b", "FAILED", 30 * SECOND), fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 2.0);
}

async fn a_cycle_without_an_answer_makes_no_run_forgotten(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    // Whatever our own clock says: nobody can have corrected it.
    let ended = book.ledger.end_cycle(&app(), false, COLD + 400 * DAY_MS).await;
    ended.expect("recorded");
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 1.0);
}

async fn a_run_that_finished_at_no_known_time_is_counted_without_one(place: Place) {
    let mut book = Book::met(&place, &[Run { ended_at: None, ..run("old", "FAILED") }]).await;
    assert_eq!(book.counted("FAILED"), 0.0, "nothing says that it is news");
    book.read(&[Run { ended_at: None, ..fresh("a", "COMPLETED", 20 * SECOND) }]).await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    assert_eq!((book.counted("COMPLETED"), book.counted("FAILED")), (1.0, 1.0));
    assert_eq!(book.anomalies(Anomaly::MissingTimestamp), 1.0);
    assert_eq!(book.state().record.failures.len(), 1, "it failed after that");
    let last: Vec<_> = book.state().record.last_run_ms.clone().into_iter().collect();
    assert_eq!(last, [(Status::Failed, COLD + 30 * SECOND)]);
}

async fn history_that_never_ended_is_no_news_when_it_comes_into_view(place: Place) {
    let mut book = Book::met(&place, &[ended("b", "COMPLETED", -MINUTE)]).await;
    for updated_at in [None, Some(Timestamp::Instant(COLD + 20 * SECOND))] {
        let old = Run { started_at: None, updated_at, ..run("a", "CANCELLED") };
        book.read(&[ended("b", "COMPLETED", -MINUTE), old]).await;
        assert_eq!(book.counted("CANCELLED"), 0.0, "{updated_at:?}");
    }
}

async fn a_page_on_which_nothing_can_be_read_ends_no_reading(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    for stop_when in [StopWhen::IfSettled, StopWhen::IfKnown] {
        assert!(!book.page(&[], stop_when).await, "{stop_when:?}");
    }
    assert!(book.page(&[], StopWhen::Always).await, "the list's end does");
}

async fn the_replay_of_a_run_that_was_forgotten_waits_for_nothing(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let first = fresh("a", "FAILED", 20 * SECOND);
    book.read(std::slice::from_ref(&first)).await;
    book.forget().await;
    let started_at = Some(Timestamp::Instant(book.now_ms));
    let replay = Run { started_at, ended_at: None, status: Status::Running, ..first };
    book.read(std::slice::from_ref(&replay)).await;
    book.now_ms += MINUTE;
    let ended_at = Some(Timestamp::Instant(book.now_ms));
    book.read(&[Run { ended_at, status: Status::Failed, ..replay }]).await;
    assert_eq!(book.counted("FAILED"), 2.0);
    assert_eq!(book.total(Metric::QueueDuration, &["WORKFLOW"]), 1.0);
}

async fn an_api_clock_that_runs_ahead_makes_no_run_forgotten(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    let ahead = ReadAt::new(COLD + 400 * DAY_MS, COLD + MINUTE);
    let listed = book.ledger.record_workflows(&app(), &[workflow("w")], ahead).await;
    listed.expect("recorded");
    book.read(&[fresh("b", "FAILED", 30 * SECOND), fresh("a", "FAILED", 20 * SECOND)]).await;
    assert_eq!(book.counted("FAILED"), 2.0);
}

async fn clocks_that_disagree_make_neither_news_of_history_nor_history_of_news(place: Place) {
    let hour = 60 * MINUTE;
    // How far each is ahead of the right one.
    let clocks = [(0, hour), (0, -hour), (hour, 0), (-hour, 0), (400 * DAY_MS, 0), (0, -COLD)];
    for clocks in clocks {
        let mut book = Book::open(settings(&place.url().await)).await;
        book.ahead_ms = clocks;
        book.list(&[workflow("w")]).await;
        let history = [ended("b", "FAILED", -MINUTE), ended("a", "FAILED", -30 * MINUTE)];
        book.read(&history).await;
        book.now_ms += MINUTE;
        let [b, a] = history;
        book.read(&[fresh("c", "FAILED", 20 * SECOND), b, a]).await;
        assert_eq!(book.counted("FAILED"), 1.0, "{clocks:?}");
        assert_eq!(book.state().record.failures.len(), 3, "{clocks:?}");
    }
}

async fn a_row_of_failures_is_ended_by_a_completed_run_only(place: Place) {
    let mut book = Book::met(&place, &[ended("a", "FAILED", -MINUTE)]).await;
    book.read(&[
        fresh("d", "SKIPPED", 40 * SECOND),
        fresh("c", "CANCELLED", 30 * SECOND),
        fresh("b", "FAILED", 20 * SECOND),
    ])
    .await;
    assert_eq!(book.state().record.failures.len(), 2);
    book.read(&[fresh("e", "COMPLETED", 25 * SECOND)]).await;
    assert_eq!(book.state().record.failures.len(), 0);
}

async fn a_sum_that_is_not_finite_starts_anew_and_nothing_else_does(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    let labels = ["FAILED", "WORKFLOW"];
    let infinity = if url.starts_with("sqlite") { "9e999" } else { "'Infinity'" };
    for (number, (total, column)) in [
        ("run_credits", "value"),
        ("run_credits", "shown_value"),
        ("run_duration", "value"),
        ("run_duration", "shown_value"),
    ]
    .into_iter()
    .enumerate()
    {
        let failed = |id: &str| Run { credits: Some(2.5), ..fresh(id, "FAILED", 20 * SECOND) };
        book.read(&[failed(&format!("before{number}"))]).await;
        let sql = format!(
            "UPDATE series SET {column} = {infinity}, shown_counts = counts, shown_native = native \
             WHERE total = '{total}'"
        );
        book.now_ms += MINUTE;
        book = book.altered(&sql).await;
        book.read(&[failed(&format!("after{number}"))]).await;
        let runs = 2.0 * (number as f64 + 1.0);
        assert_eq!(book.counted("FAILED"), runs, "{sql}");
        let metric = Metric::parse(total).expect("it is known");
        let series = book.series(metric, &labels).expect("it is there");
        let expected = if metric == Metric::RunCredits { 2.5 } else { 1.0 };
        assert_eq!(series.value.amount(), expected, "{sql}");
        assert!(series.value.is_finite() && series.shown().is_finite(), "{sql}");
        assert_eq!(series.start_ms, book.now_ms, "{sql}");
    }
}

async fn other_bucket_bounds_start_the_histograms_anew_and_nothing_else(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.settings.buckets.runs = vec![7.0, 9.0];
    for _ in 0..2 {
        book = book.reopened().await;
        assert_eq!(book.counted("FAILED"), 1.0);
        assert_eq!(book.total(Metric::RunDuration, &["FAILED", "WORKFLOW"]), 0.0);
    }
}

on_each_database! {
    exponential_buckets_are_held_shown_and_restored_with_the_classic_ones
    a_ledger_without_exponential_buckets_gets_them_at_the_classic_bounds
    an_example_is_the_latest_run_that_is_shown
    every_foreseeable_series_exists_at_zero_from_the_first_list_on
    what_ended_before_the_cold_start_moves_gauges_but_no_counter
    the_lookback_makes_news_of_what_ended_within_it
    without_any_limit_all_history_is_news
    a_run_open_at_the_cold_start_counts_when_it_ends
    a_finished_run_is_counted_once_however_often_it_is_listed
    a_run_listed_twice_on_a_page_while_it_ended_is_counted_once
    a_run_seen_open_again_that_ends_later_is_a_new_attempt
    a_strictly_later_start_is_a_new_attempt
    a_bare_date_is_no_later_start_than_an_instant_of_that_day
    an_end_that_appears_or_is_corrected_later_is_no_new_attempt
    everything_that_a_run_moves_moves_together
    a_run_without_a_usable_duration_counts_and_an_anomaly_says_why
    an_unknown_status_and_origin_are_counted_under_their_own_words
    an_end_dated_the_cold_starts_day_or_later_is_news_unless_the_first_reading_found_it
    a_workflow_created_after_the_cold_start_counts_in_full
    where_the_date_is_ahead_of_the_timestamps_a_new_workflow_begins_with_history
    what_counts_of_a_workflow_that_appears_later_depends_on_when_it_was_created
    a_workflow_without_an_age_that_appeared_during_a_downtime_loses_nothing
    an_older_workflow_that_is_met_later_starts_with_its_history_uncounted
    widening_a_filter_makes_no_news_of_history
    what_ended_while_the_exporter_was_down_is_counted_once_after_the_restart
    a_reading_that_broke_off_does_not_hide_what_lies_behind_it
    a_vanished_run_leaves_the_gauges_and_counts_if_it_comes_back
    pruned_runs_are_never_news_again
    an_api_clock_that_runs_ahead_makes_no_run_forgotten
    clocks_that_run_ahead_together_make_no_run_forgotten
    clocks_that_disagree_make_neither_news_of_history_nor_history_of_news
    a_cycle_without_an_answer_makes_no_run_forgotten
    a_run_that_finished_at_no_known_time_is_counted_without_one
    history_that_never_ended_is_no_news_when_it_comes_into_view
    a_page_on_which_nothing_can_be_read_ends_no_reading
    the_replay_of_a_run_that_was_forgotten_waits_for_nothing
    a_workflow_that_is_listed_twice_is_as_it_was_listed_last
    a_sum_that_was_added_up_in_another_order_never_steps_back
    what_is_held_of_ever_new_series_is_held_together
    a_row_of_failures_is_ended_by_a_completed_run_only
    an_idle_workflow_is_shown_at_once_by_a_process_that_starts_after_days
    a_workflow_is_shown_at_once_by_a_process_that_starts_after_the_clock_was_set
    a_deleted_workflows_series_end_an_hour_after_it_was_last_listed
    other_bucket_bounds_start_the_histograms_anew_and_nothing_else
    a_sum_that_is_not_finite_starts_anew_and_nothing_else_does
    what_one_run_moves_is_shown_together_once_all_of_its_series_were_scraped
    a_run_that_is_not_held_passes_one_that_is
    nothing_is_released_of_a_workflow_that_is_not_published
    what_series_that_were_scraped_gain_is_shown_by_the_next_scrape
    what_nobody_scraped_is_no_base_after_a_restart
    what_nobody_scrapes_does_not_pile_up
    an_old_scrape_releases_nothing_that_is_younger
    a_scrape_that_releases_nothing_waits_for_no_writer
    a_restart_shows_what_was_shown_last_and_releases_the_rest_once_that_was_scraped
    another_apps_numbers_are_kept_and_not_shown
    a_renamed_workflow_begins_at_zero_and_what_was_not_shown_moves_along
    a_new_name_that_looks_the_same_changes_nothing
    a_renamed_workflow_without_a_hold_begins_at_zero
    a_run_is_found_by_its_id_alone_in_every_workflow_that_has_it
    a_run_of_an_app_that_is_not_read_is_not_found
    the_run_that_failed_last_is_remembered_history_included
    the_last_failure_is_ordered_by_whatever_says_when_it_ended
    a_ledger_of_a_former_version_learns_the_last_failure_from_the_list
    the_last_failure_has_its_version_step_and_class_also_after_a_restart
}
