//! How many runs to ask for at once, so that a page is neither a burden nor a waste. Pure.

use std::collections::HashMap;

use crate::model::WorkflowId;

/// The size of each list's pages: the configured one, or what their bytes allow.
#[derive(Debug, Default)]
pub(super) struct PageSizes {
    max: u32,
    smaller: HashMap<WorkflowId, u32>,
}

/// The maximum number of bytes that a page should have, decompressed.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Smaller pages aren't requested because of their bytes: several dozen small ones cost more than
/// a large one.
const MIN_SIZE: u32 = 5;

impl PageSizes {
    pub(super) fn new(max: u32) -> Self {
        Self { max, smaller: HashMap::new() }
    }

    /// How many runs of this workflow to ask for.
    pub(super) fn of(&self, workflow: &WorkflowId) -> u32 {
        self.smaller.get(workflow).copied().unwrap_or(self.max)
    }

    /// Adapts to a page with this number of runs and bytes. Returns how many to ask for from now on.
    pub(super) fn learn(&mut self, workflow: &WorkflowId, listed: usize, bytes: usize) -> u32 {
        let size = fitting(self.of(workflow), listed, bytes, self.max);
        if size < self.max {
            self.smaller.insert(workflow.clone(), size);
        } else {
            self.smaller.remove(workflow);
        }
        size
    }
}

/// The minimum number of runs on the first page: enough for new runs that no number announced, and for
/// an overlap with known ones.
pub(super) const MIN_FIRST: u64 = 10;

/// How many runs to ask for first in a list whose order is known, of pages of at most `full`: where
/// this number of new runs and of open ones is expected. Its older half has to be settled.
pub(super) fn first_page(new_runs: u64, open: usize, full: u32) -> u32 {
    let expected = new_runs.saturating_add(open as u64);
    let first = expected.saturating_mul(2).max(MIN_FIRST).min(full.into());
    u32::try_from(first).unwrap_or(full)
}

/// How many runs to request after a request for `asked` returned `listed` runs of `bytes` in total.
/// Whole fractions of the maximum `most`, and growing only when there is room to spare, so that
/// pages stay the same from one reading to the next.
pub(super) fn fitting(asked: u32, listed: usize, bytes: usize, most: u32) -> u32 {
    if listed == 0 {
        return asked;
    }
    let each = bytes.div_ceil(listed);
    let fits = |take: u32, room: usize| each.saturating_mul(take as usize) <= room;
    if !fits(asked, MAX_BYTES) {
        let fractions = (1..).map(|halvings| most.checked_shr(halvings).unwrap_or(0));
        let smaller = fractions.take_while(|take| *take >= MIN_SIZE);
        let found = smaller.filter(|take| *take < asked).find(|take| fits(*take, MAX_BYTES));
        return found.unwrap_or(MIN_SIZE.min(asked));
    }
    let larger = (0..32).map(|halvings| most >> halvings).take_while(|take| *take > asked);
    larger.into_iter().find(|take| fits(*take, MAX_BYTES / 2)).unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_of_usual_runs_stay_as_they_are_configured() {
        assert_eq!(fitting(100, 100, 900_000, 100), 100);
        assert_eq!(fitting(100, 3, 27_000, 100), 100);
        assert_eq!(fitting(100, 0, 2, 100), 100);
    }

    #[test]
    fn a_first_page_holds_what_is_expected_and_as_much_that_is_known() {
        for (new_runs, open, full, first) in [
            (0, 0, 100, 10),
            (5, 0, 100, 10),
            (5, 3, 100, 16),
            (40, 0, 100, 80),
            (51, 0, 100, 100),
            (u64::MAX, usize::MAX, 100, 100),
            (0, 0, 6, 6),
            (1, 1, 1, 1),
        ] {
            assert_eq!(first_page(new_runs, open, full), first, "{new_runs} {open} {full}");
        }
    }

    #[test]
    fn pages_of_fat_runs_become_small_and_those_of_thin_ones_large_again() {
        assert_eq!(fitting(100, 100, 5_000_000, 100), 25);
        assert_eq!(fitting(100, 100, 30_000_000, 100), 6);
        assert_eq!(fitting(25, 25, 25_000_000, 100), MIN_SIZE);
        assert_eq!(fitting(6, 6, 60_000, 100), 100);
        assert_eq!(fitting(3, 3, 60_000_000, 3), 3);
    }

    proptest! {
        #[test]
        fn runs_of_one_size_settle_at_one_size_of_page(
            each in 1_usize..3_000_000,
            most in 1_u32..1000,
            start in 1_u32..1000,
        ) {
            let step = |take: u32| fitting(take, take as usize, each * take as usize, most);
            let mut take = start.min(most);
            for _ in 0..3 {
                take = step(take);
            }
            prop_assert_eq!(step(take), take);
            prop_assert!(take <= most && take >= 1);
            prop_assert!(take <= MIN_SIZE || each * take as usize <= MAX_BYTES);
        }
    }
}
