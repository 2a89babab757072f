//! What distinguishes attempts at a run: their instants, not the order in which they are seen.

use super::*;

on_each_database! {
    each_attempt_is_counted_once_in_whatever_order_it_is_seen
    what_had_finished_before_the_first_reading_is_no_news_when_an_old_answer_shows_it_open
    a_forgotten_run_is_no_news_when_an_old_answer_shows_it_open
    a_replay_of_a_run_that_an_older_version_counted_counts
}

/// How a run is seen: its status, when it started, and when it ended.
type Seen = (&'static str, At, At);

/// Seconds after the cold start, and a moment on that day.
#[derive(Clone, Copy, Debug)]
enum At {
    Missing,
    Second(i64),
    Milli(i64),
    Today,
    Tomorrow,
}

use At::{Milli, Missing, Second, Today, Tomorrow};

fn time(at: At) -> Option<Timestamp> {
    Some(match at {
        Missing => return None,
        Second(second) => Timestamp::Instant(COLD + second * SECOND),
        Milli(ms) => Timestamp::Instant(COLD + ms),
        Today => Timestamp::Date(20_000 * DAY_MS),
        Tomorrow => Timestamp::Date(20_001 * DAY_MS),
    })
}

fn seen(id: &str, (status, started, ended): Seen) -> Run {
    let created_at = Some(Timestamp::Instant(COLD + SECOND));
    Run { created_at, started_at: time(started), ended_at: time(ended), ..run(id, status) }
}

const FAILED: Seen = ("FAILED", Second(2), Second(9));
const RUNNING: Seen = ("RUNNING", Second(2), Missing);
const PENDING: Seen = ("PENDING", Missing, Missing);
/// Its replay.
const REPLAY: Seen = ("COMPLETED", Second(20), Second(29));
const REPLAYING: Seen = ("RUNNING", Second(20), Missing);
const GONE: Seen = ("GONE", Missing, Missing);

const SEQUENCES: &[(&str, &[Seen], f64)] = &[
    ("an answer that is out of date", &[RUNNING, FAILED, RUNNING, FAILED], 1.0),
    ("more of them", &[FAILED, RUNNING, FAILED, PENDING, RUNNING, FAILED, RUNNING, FAILED], 1.0),
    ("one that is older still", &[RUNNING, FAILED, PENDING, FAILED], 1.0),
    ("a replay", &[RUNNING, FAILED, REPLAYING, REPLAY], 2.0),
    ("a replay that was not seen open", &[RUNNING, FAILED, REPLAY], 2.0),
    ("a replay seen twice", &[FAILED, REPLAY, REPLAY], 2.0),
    ("the first attempt after its replay", &[FAILED, REPLAY, FAILED, RUNNING, FAILED], 2.0),
    ("its whole life after its replay", &[FAILED, REPLAY, RUNNING, FAILED, REPLAY], 2.0),
    ("a replay among old answers", &[FAILED, RUNNING, REPLAYING, RUNNING, FAILED, REPLAY], 2.0),
    ("a replay that keeps its start", &[FAILED, RUNNING, ("FAILED", Second(2), Second(12))], 2.0),
    (
        "a replay that keeps its start, and old answers",
        &[FAILED, RUNNING, ("FAILED", Second(2), Second(12)), RUNNING, FAILED, FAILED],
        2.0,
    ),
    ("a millisecond later", &[FAILED, RUNNING, ("FAILED", Second(2), Milli(9001))], 2.0),
    ("an earlier end", &[FAILED, RUNNING, ("FAILED", Second(2), Second(8))], 1.0),
    ("an end that is corrected", &[FAILED, ("FAILED", Second(2), Second(12))], 1.0),
    (
        "an end that is corrected, and an old answer",
        &[FAILED, ("FAILED", Second(2), Second(12)), RUNNING, ("FAILED", Second(2), Second(12))],
        1.0,
    ),
    ("an end that appears", &[("FAILED", Second(2), Missing), FAILED], 1.0),
    ("an end that disappears", &[FAILED, RUNNING, ("FAILED", Second(2), Missing)], 1.0),
    (
        "no end at all",
        &[("FAILED", Second(2), Missing), RUNNING, ("FAILED", Second(2), Missing)],
        1.0,
    ),
    (
        "an end that appears after it was seen open",
        &[("FAILED", Second(2), Missing), RUNNING, FAILED],
        2.0,
    ),
    (
        "neither start nor end",
        &[("FAILED", Missing, Missing), PENDING, ("FAILED", Missing, Missing)],
        1.0,
    ),
    ("a start that disappears", &[FAILED, RUNNING, ("FAILED", Missing, Second(9))], 1.0),
    ("a start that appears", &[("FAILED", Missing, Second(9)), RUNNING, FAILED], 1.0),
    ("a later start seen only while open", &[FAILED, REPLAYING, ("FAILED", Missing, Missing)], 2.0),
    (
        "another outcome of the same attempt",
        &[FAILED, RUNNING, ("COMPLETED", Second(2), Second(9))],
        1.0,
    ),
    ("bare dates", &[("FAILED", Today, Today), RUNNING, ("FAILED", Today, Today)], 1.0),
    ("a day and an instant of it", &[("FAILED", Today, Today), RUNNING, FAILED], 1.0),
    ("an instant and its day", &[FAILED, RUNNING, ("FAILED", Today, Today)], 1.0),
    (
        "a replay on the next day",
        &[("FAILED", Today, Today), RUNNING, ("FAILED", Today, Tomorrow)],
        2.0,
    ),
    ("gone while an old answer showed it open", &[FAILED, RUNNING, GONE, FAILED], 1.0),
    ("gone, and back as a replay", &[FAILED, RUNNING, GONE, REPLAY], 2.0),
    ("gone while it was replayed", &[FAILED, REPLAYING, GONE, REPLAY], 2.0),
    ("gone before it was counted", &[RUNNING, GONE, FAILED], 1.0),
];

impl Book {
    /// How many runs with this id were counted, when it is seen so one poll after the other.
    async fn count(&mut self, id: &str, sequence: &[Seen]) -> f64 {
        let total = |book: &Self| book.counted("FAILED") + book.counted("COMPLETED");
        let before = total(self);
        for one in sequence {
            self.now_ms += MINUTE;
            if one.0 == GONE.0 {
                let gone = [RunId::new(id).expect("a plain id")];
                let vanished =
                    self.ledger.record_vanished(&app(), &self.workflow, &gone, self.at()).await;
                vanished.expect("recorded");
            } else {
                self.read(&[seen(id, *one)]).await;
            }
        }
        total(self) - before
    }
}

async fn each_attempt_is_counted_once_in_whatever_order_it_is_seen(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    for (number, (what, sequence, attempts)) in SEQUENCES.iter().enumerate() {
        let counted = book.count(&format!("run{number}"), sequence).await;
        assert_eq!(counted, *attempts, "{what}: {sequence:?}");
        assert!(book.open_runs().is_empty(), "{what}");
    }
    // The same with a restart before each answer.
    for (number, (what, sequence, attempts)) in SEQUENCES.iter().enumerate() {
        let mut counted = 0.0;
        for one in *sequence {
            book = book.reopened().await;
            counted += book.count(&format!("restarted{number}"), &[*one]).await;
        }
        assert_eq!(counted, *attempts, "{what}: {sequence:?}, restarted");
    }
}

async fn what_had_finished_before_the_first_reading_is_no_news_when_an_old_answer_shows_it_open(
    place: Place,
) {
    let old = ended("old", "FAILED", -MINUTE);
    for old in [old.clone(), Run { created_at: None, ..old }] {
        let mut book = Book::met(&place, std::slice::from_ref(&old)).await;
        let open = Run { status: Status::Running, ended_at: None, ..old.clone() };
        for run in [&open, &old, &open, &old] {
            book.read(std::slice::from_ref(run)).await;
        }
        assert_eq!((book.counted("FAILED"), book.open_runs().len()), (0.0, 0), "{old:?}");
        let ended_at = Some(Timestamp::Instant(COLD + 20 * SECOND));
        book.read(&[open]).await;
        book.read(&[Run { ended_at, ..old.clone() }]).await;
        assert_eq!(book.counted("FAILED"), 1.0, "a replay of {old:?}");
    }
}

async fn a_forgotten_run_is_no_news_when_an_old_answer_shows_it_open(place: Place) {
    let mut book = Book::met(&place, &[]).await;
    let early = fresh("a", "FAILED", 20 * SECOND);
    book.read(std::slice::from_ref(&early)).await;
    book.forget().await;
    book.read(&[Run { status: Status::Running, ended_at: None, ..early.clone() }]).await;
    book.read(&[early]).await;
    assert_eq!((book.counted("FAILED"), book.open_runs().len()), (1.0, 0));
}

async fn a_replay_of_a_run_that_an_older_version_counted_counts(place: Place) {
    let url = place.lasting_url().await;
    let mut book = Book::open(settings(&url)).await;
    book.list(&[workflow("w")]).await;
    book.read(&[]).await;
    assert_eq!(book.count("a", &[FAILED, RUNNING]).await, 1.0);
    let forget = "UPDATE run SET ended_ms = NULL";
    book = book.altered(forget).await;
    assert_eq!(book.count("a", &[("FAILED", Second(2), Second(12))]).await, 1.0);
    // A run that has finished learns its end from the next answer.
    book = book.altered(forget).await;
    let answers = [("FAILED", Second(2), Second(12)), RUNNING, ("FAILED", Second(2), Second(12))];
    assert_eq!(book.count("a", &answers).await, 0.0);
}
