//! How far a reading of a list of runs looks beyond what is expected, and whether it believes what
//! a tag says. Pure.

use super::page_size::MIN_FIRST;
use crate::model::{DAY_MS, WorkflowId};

const HOUR_MS: i64 = 60 * 60_000;

/// What a tag hides that stays the same although its list has changed, it hides for so long.
const ASK_EVERY_MS: i64 = 2 * HOUR_MS;

/// What was known when a reading began, and what it is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// The number of runs that is listed.
    pub(super) count: Option<u64>,
    /// By how much that has grown since the last reading.
    pub(super) new_runs: u64,
    /// Whether the list of runs is to be read. Where it isn't, an open run is followed by its id, if
    /// there is only one.
    pub(super) list: bool,
    /// Whether it is to look further than to what is expected.
    pub(super) deep: bool,
    /// Whether a page that seems to be what it was, by its tag or its bytes, need not be looked at.
    pub(super) may_be_unchanged: bool,
    pub(super) at_ms: i64,
}

/// What came of a reading that ended well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Whether it met news.
    pub(super) news: bool,
    /// Whether it read the list of runs.
    pub(super) list: bool,
}

/// What the readings of one list have looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct PastReadings {
    /// When the last one began that read the list.
    list_ms: Option<i64>,
    /// When the last deep one began.
    deep_ms: Option<i64>,
    /// How many runs have come since then, at least.
    new_runs: u64,
    /// When the last one began that asked for its page whatever its tag.
    asked_ms: Option<i64>,
}

impl PastReadings {
    /// When the last reading began that read the list.
    pub(super) fn list_ms(&self) -> Option<i64> {
        self.list_ms
    }

    /// Whether a reading that begins now is to be deep, that is, to begin with a whole page, which
    /// shows what no number announces. `announced`: how many new runs the number announces, if
    /// there is one that is believed; where there is none, every sweep is to look for them.
    ///
    /// Otherwise it is once a day, or, once an hour at the most, when so many runs have come that
    /// whatever a small page held has left it.
    pub(super) fn is_deep_due(
        &self,
        id: &WorkflowId,
        announced: Option<u64>,
        sweep_ms: i64,
        now_ms: i64,
    ) -> bool {
        let Some(deep_ms) = self.deep_ms else { return true };
        let Some(announced) = announced else { return deep_ms + sweep_ms <= now_ms };
        let many = self.new_runs.saturating_add(announced) >= MIN_FIRST;
        is_over(id, deep_ms, DAY_MS, now_ms) || many && is_over(id, deep_ms, HOUR_MS, now_ms)
    }

    /// Whether a reading that begins now is to ask for its page whatever its tag.
    pub(super) fn is_asking_due(&self, id: &WorkflowId, now_ms: i64) -> bool {
        self.asked_ms.is_none_or(|asked_ms| is_over(id, asked_ms, ASK_EVERY_MS, now_ms))
    }

    /// A reading ended well.
    pub(super) fn ended(&mut self, begun: &Begun, outcome: Outcome) {
        if outcome.list {
            self.list_ms = Some(begun.at_ms);
        }
        if !begun.may_be_unchanged {
            self.asked_ms = Some(begun.at_ms);
        }
        if begun.deep {
            (self.deep_ms, self.new_runs) = (Some(begun.at_ms), 0);
        } else {
            let met = begun.new_runs.max(u64::from(outcome.news));
            self.new_runs = self.new_runs.saturating_add(met);
        }
    }
}

/// Whether the period in which this was is over. Each workflow's periods begin at another minute, so
/// that what is read together, as after a start, isn't due together again.
fn is_over(id: &WorkflowId, at_ms: i64, length_ms: i64, now_ms: i64) -> bool {
    let number = |ms: i64| (ms + offset_ms(id)).div_euclid(length_ms);
    number(at_ms) < number(now_ms)
}

fn offset_ms(id: &WorkflowId) -> i64 {
    i64::from(crc32fast::hash(id.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEP_MS: i64 = 300_000;

    fn id(name: &str) -> WorkflowId {
        WorkflowId::new(name).expect("a plain id")
    }

    /// When a period of this length begins for the workflow `w`.
    fn begin(length_ms: i64) -> i64 {
        // After any number of them.
        100_000 * length_ms - offset_ms(&id("w"))
    }

    fn reading(at_ms: i64, deep: bool, new_runs: u64) -> Begun {
        Begun { count: None, new_runs, list: true, deep, may_be_unchanged: !deep, at_ms }
    }

    fn outcome(news: bool) -> Outcome {
        Outcome { news, list: true }
    }

    #[test]
    fn a_reading_is_deep_after_ten_new_runs_but_not_within_the_hour_and_after_a_day() {
        let (hour, day) = (begin(HOUR_MS), begin(DAY_MS));
        let late = day + DAY_MS - 1;
        for (deep_at, readings, announced, now, due) in [
            // Its hour is not over.
            (hour, &[(10, true)][..], Some(20), hour + HOUR_MS - 1, false),
            (hour, &[(10, true)], Some(0), hour + HOUR_MS, true),
            (hour + HOUR_MS - 1, &[(10, true)], Some(0), hour + HOUR_MS, true),
            // Nine have come, and with those that are announced, ten.
            (day, &[(4, true), (5, true)], Some(0), late, false),
            (day, &[(4, true), (5, true)], Some(1), late, true),
            // What no number announced is one at least; what is gone takes nothing away.
            (day, &[(9, true), (0, true)], Some(0), late, true),
            (day, &[(9, true), (0, false)], Some(0), late, false),
            (day, &[(1, false); 10], Some(0), late, true),
            (day, &[(u64::MAX, true); 2], Some(u64::MAX), late, true),
            // Its day is over.
            (day, &[], Some(0), late, false),
            (day, &[], Some(0), late + 1, true),
            (late, &[], Some(0), late + 1, true),
            // There is no number: it is deep once per sweep interval.
            (hour, &[(20, true)], None, hour + SWEEP_MS - 1, false),
            (hour, &[], None, hour + SWEEP_MS, true),
        ] {
            let mut past = PastReadings::default();
            past.ended(&reading(deep_at, true, 50), outcome(true));
            for (new_runs, news) in readings {
                past.ended(&reading(deep_at, false, *new_runs), outcome(*news));
            }
            let is_due = past.is_deep_due(&id("w"), announced, SWEEP_MS, now);
            assert_eq!(is_due, due, "{past:?} {announced:?} {now}");
        }
        assert!(PastReadings::default().is_deep_due(&id("w"), Some(0), SWEEP_MS, 0));
    }

    #[test]
    fn a_page_is_asked_for_whatever_its_tag_every_two_hours() {
        let begin = begin(ASK_EVERY_MS);
        let mut past = PastReadings::default();
        assert!(past.is_asking_due(&id("w"), begin));
        past.ended(&Begun { may_be_unchanged: false, ..reading(begin, false, 0) }, outcome(false));
        past.ended(&reading(begin + ASK_EVERY_MS - 1, false, 0), outcome(false));
        assert!(!past.is_asking_due(&id("w"), begin + ASK_EVERY_MS - 1));
        assert!(past.is_asking_due(&id("w"), begin + ASK_EVERY_MS));
    }

    #[test]
    fn what_was_read_together_is_not_due_together_again() {
        for length_ms in [HOUR_MS, ASK_EVERY_MS, DAY_MS] {
            let mut due = [0; 60];
            for n in 0..300 {
                let id = id(&format!("work_{n}"));
                let part = |part: &usize| is_over(&id, 0, length_ms, *part as i64 * length_ms / 60);
                due[(1..60).find(part).unwrap_or(0)] += 1;
            }
            assert!(due.iter().all(|due| (0..=15).contains(due)), "{due:?}");
        }
    }
}
