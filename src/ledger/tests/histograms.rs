//! Exponential buckets and examples.

use super::*;

impl Book {
    fn duration(&self, status: &str) -> Series {
        self.series(Metric::RunDuration, &[status, "WORKFLOW"]).expect("there is such a series")
    }

    /// The runs that are examples for failures, with the seconds that they took.
    pub(super) fn examples(&self) -> Vec<(String, f64)> {
        let exemplars = self.duration("FAILED").exemplars().to_vec();
        exemplars.iter().map(|(_, it)| (it.run.to_string(), it.value)).collect()
    }
}

fn histogram(value: &Value) -> &Histogram {
    match value {
        Value::Histogram(histogram) => histogram,
        Value::Counter(_) => panic!("this is a counter"),
    }
}

pub(super) async fn exponential_buckets_are_held_shown_and_restored_with_the_classic_ones(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    for _ in 0..2 {
        let series = book.duration("FAILED");
        let [all, shown] = [&series.value, series.shown()].map(histogram);
        // 8 seconds each: 2^(24/8).
        assert_eq!((all.native.buckets.as_slice(), all.count()), (&[(24, 2)][..], 2));
        assert_eq!((shown.native.buckets.as_slice(), shown.count()), (&[(24, 1)][..], 1));
        book = book.reopened().await;
    }
    book.scraped().await;
    let series = book.duration("FAILED");
    assert_eq!(histogram(series.shown()).native.buckets, [(24, 2)]);
}

pub(super) async fn a_ledger_without_exponential_buckets_gets_them_at_the_classic_bounds(
    place: Place,
) {
    let url = place.lasting_url().await;
    let mut book = holding(&url).await;
    book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    book.scraped().await;
    book.read(&[fresh("b", "FAILED", 30 * SECOND)]).await;
    // As an older version wrote it.
    book = book.altered("UPDATE series SET native = NULL, shown_native = NULL").await;
    let series = book.duration("FAILED");
    let [all, shown] = [&series.value, series.shown()].map(histogram);
    // Both fell into the bucket up to 10 seconds: 2^(26/8) < 10 <= 2^(27/8).
    assert_eq!((all.native.buckets.as_slice(), all.sum), (&[(27, 2)][..], 16.0));
    assert_eq!(shown.native.buckets, [(27, 1)]);
    book.read(&[fresh("c", "FAILED", 40 * SECOND)]).await;
    let series = book.duration("FAILED");
    assert_eq!(histogram(&series.value).native.buckets, [(24, 1), (27, 2)]);
}

pub(super) async fn an_example_is_the_latest_run_that_is_shown(place: Place) {
    let mut book = holding(&place.url().await).await;
    let fast = |id: &str, after| {
        let started_at = Some(Timestamp::Instant(COLD + after - SECOND));
        Run { started_at, ..fresh(id, "FAILED", after) }
    };
    book.read(&[fresh("a", "FAILED", 20 * SECOND), fast("b", 15 * SECOND)]).await;
    assert_eq!(book.examples(), [], "nothing is shown yet");
    book.scraped().await;
    let both = [("b".to_owned(), 1.0), ("a".to_owned(), 8.0)];
    assert_eq!(book.examples(), both, "one for each bucket");
    let unended = Run { ended_at: None, ..fresh("c", "FAILED", 40 * SECOND) };
    let long = "x".repeat(123);
    let late = [fresh("d", "FAILED", 19 * SECOND), fresh(&long, "FAILED", 40 * SECOND), unended];
    book.read(&late).await;
    book.scraped().await;
    assert_eq!(book.examples(), both, "an earlier one, one with a long id, one without an end");
    let of_runs = book.series(Metric::Runs, &["FAILED", "WORKFLOW"]).expect("it exists");
    let [(0, exemplar)] = of_runs.exemplars() else { panic!("a counter has one bucket") };
    assert_eq!((exemplar.run.as_str(), exemplar.ended_ms), ("a", COLD + 20 * SECOND));
    let submitted = book.series(Metric::RunsSubmitted, &["WORKFLOW"]).expect("it exists");
    assert_eq!(submitted.exemplars(), []);
}
