use serde::{Deserialize, Serialize};

use crate::model::{FailedRun, Run, RunId};

/// A run FAILED: it takes the place of the latest one, unless that ended later. In whatever order, and
/// however often runs are reported, the same one is the latest in the end.
pub(super) fn note_failed(latest: &mut Option<FailedRun>, run: &Run, ended_ms: i64) {
    let is_later = |it: &FailedRun| (it.ended_ms, &it.id) > (ended_ms, &run.id);
    if !latest.as_ref().is_some_and(is_later) {
        *latest = Some(FailedRun::of(run, ended_ms));
    }
}

/// The FAILED runs since the last COMPLETED one. Runs may be reported in any order, and twice: what
/// counts is when they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureStreak {
    /// When the latest COMPLETED run ended.
    completed_ms: Option<i64>,
    /// When each of the latest of them ended, with a hash of its id.
    latest: Vec<(i64, u32)>,
    /// How many more there are, and when the last of those ended.
    earlier: Option<(u64, i64)>,
}

/// Maximum number of failures that are remembered one by one, so that a streak of thousands stays
/// small. A completed run that is reported so late that it belongs before these no longer shortens
/// the streak.
const REMEMBERED: usize = 256;

impl FailureStreak {
    /// A run FAILED. Of runs that ended at the same millisecond, the one reported last is the last.
    pub(super) fn failed(&mut self, ended_ms: i64, run: &RunId) {
        let failure = (ended_ms, crc32fast::hash(run.as_str().as_bytes()));
        let ended_before = |until: Option<i64>| until.is_some_and(|until| ended_ms < until);
        if ended_before(self.completed_ms)
            || ended_before(self.earlier.map(|(_, until)| until))
            || self.latest.contains(&failure)
        {
            return;
        }
        let place = self.latest.partition_point(|(ms, _)| *ms <= ended_ms);
        self.latest.insert(place, failure);
        if self.latest.len() > REMEMBERED {
            let (ms, _) = self.latest.remove(0);
            let (count, _) = self.earlier.unwrap_or((0, ms));
            self.earlier = Some((count + 1, ms));
        }
    }

    /// A run COMPLETED: what failed until then is past.
    pub(super) fn completed(&mut self, ended_ms: i64) {
        if self.completed_ms.is_none_or(|ms| ms < ended_ms) {
            self.completed_ms = Some(ended_ms);
        }
        self.latest.retain(|(ms, _)| *ms > ended_ms);
        self.earlier = self.earlier.filter(|(_, until)| *until > ended_ms);
    }

    /// How many runs FAILED in a row.
    pub fn len(&self) -> u64 {
        self.latest.len() as u64 + self.earlier.map_or(0, |(count, _)| count)
    }

    /// Whether the last run didn't fail.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(n: usize) -> RunId {
        RunId::new(&format!("run{n}")).expect("a plain id")
    }

    #[test]
    fn a_row_longer_than_what_is_remembered_is_counted_in_full() {
        let mut row = FailureStreak::default();
        for n in 0..1000 {
            row.failed(n as i64, &run(n));
        }
        assert_eq!(row.len(), 1000);
        row.completed(2000);
        assert!(row.is_empty());
    }

    #[test]
    fn of_runs_that_ended_together_the_one_reported_last_is_the_last() {
        let mut row = FailureStreak::default();
        row.failed(5, &run(0));
        row.completed(5);
        assert_eq!(row.len(), 0);
        row.failed(5, &run(1));
        assert_eq!(row.len(), 1);
    }

    proptest! {
        #[test]
        fn the_order_and_repetition_of_reports_do_not_matter(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60),
            reported in proptest::collection::vec(any::<proptest::sample::Index>(), 0..200),
        ) {
            let mut row = FailureStreak::default();
            let all = (0..outcomes.len()).rev();
            for n in reported.iter().filter(|_| !outcomes.is_empty()).map(|i| i.index(outcomes.len())).chain(all) {
                if outcomes[n] { row.failed(n as i64, &run(n)) } else { row.completed(n as i64) }
            }
            let expected = outcomes.iter().rev().take_while(|failed| **failed).count();
            prop_assert_eq!(row.len(), expected as u64);
        }

        #[test]
        fn the_same_run_is_the_latest_in_whatever_order_and_however_often_they_are_reported(
            ends in proptest::collection::vec((0_i64..5, 0_usize..5), 1..20),
            reported in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
        ) {
            let note = |latest: &mut _, (ended_ms, n): (i64, usize)| {
                let failed = Run { id: run(n), ..Run::completed("run") };
                note_failed(latest, &failed, ended_ms);
            };
            let (mut one, mut other) = (None, None);
            for end in &ends {
                note(&mut one, *end);
            }
            let again = reported.iter().map(|index| ends[index.index(ends.len())]);
            for end in again.chain(ends.iter().rev().copied()) {
                note(&mut other, end);
            }
            let latest = ends.iter().max().map(|(ms, n)| (*ms, run(*n)));
            prop_assert_eq!(one.as_ref().map(|it| (it.ended_ms, it.id.clone())), latest);
            prop_assert_eq!(one, other);
        }
    }
}
