//! What the number of runs in the list of workflows is worth for one of them. Pure.

/// How long a number isn't believed after a change that it didn't show: a day, so that one replay,
/// which it may rightly not count, isn't held against it forever.
const DISTRUST_MS: i64 = 24 * 3_600_000;

/// The number of runs in the list of workflows (`runs_count`), taken as a hint that a workflow has
/// changed. What it really counts is unknown, so it is observed: news that it doesn't show make it
/// worthless for a day. Lost with the process, which costs what one late discovery costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint {
    /// The number in the last list.
    count: Option<u64>,
    /// The number when the last reading of the runs began.
    read_with: Option<u64>,
    /// A reading met news although the number had not changed.
    unannounced: Option<Unannounced>,
    distrusted_until_ms: Option<i64>,
}

/// When such a reading ended, and the number that had not changed.
#[derive(Clone, Copy, Debug)]
struct Unannounced {
    met_ms: i64,
    count: Option<u64>,
}

impl Hint {
    /// A list whose reading began then has this number.
    pub(super) fn listed(&mut self, count: Option<u64>, begun_ms: i64) {
        self.count = count;
        // A run can come between the list and the reading. Then the next list shows it.
        if let Some(unannounced) =
            self.unannounced.take_if(|unannounced| unannounced.met_ms <= begun_ms)
            && count == unannounced.count
        {
            self.distrusted_until_ms = Some(begun_ms + DISTRUST_MS);
        }
    }

    /// The number now, to be passed to [`Self::read`] when the reading that begins has ended.
    pub(super) fn count(&self) -> Option<u64> {
        self.count
    }

    /// A reading ended well that began with this number; whether it met news.
    pub(super) fn read(&mut self, count: Option<u64>, news: bool, ended_ms: i64) {
        if news && count.is_some() && count == self.read_with {
            self.unannounced = Some(Unannounced { met_ms: ended_ms, count });
        }
        self.read_with = count;
    }

    /// By how much the number has grown since the last reading, as far as it is known.
    pub(super) fn new_runs(&self) -> u64 {
        let grown = self.count.zip(self.read_with).map(|(now, then)| now.saturating_sub(then));
        grown.unwrap_or(0)
    }

    /// Whether there is a number that can be believed.
    pub(super) fn is_usable(&self, now_ms: i64) -> bool {
        self.count.is_some() && self.distrusted_until_ms.is_none_or(|until_ms| until_ms <= now_ms)
    }

    /// Whether the number is another one than at the last reading.
    pub(super) fn has_moved(&self) -> bool {
        self.count != self.read_with
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workflow that has been read once, with this number.
    fn known(count: u64) -> Hint {
        let mut hint = Hint::default();
        hint.listed(Some(count), 0);
        hint.read(Some(count), true, 1);
        hint.listed(Some(count), 10);
        hint
    }

    #[test]
    fn a_number_that_moves_tells_of_a_change_until_the_runs_are_read() {
        let mut hint = known(5);
        assert!(hint.is_usable(10) && !hint.has_moved());
        hint.listed(Some(6), 20);
        assert!(hint.has_moved());
        hint.read(Some(6), true, 21);
        assert!(!hint.has_moved());
    }

    #[test]
    fn a_number_that_moved_during_a_reading_tells_of_another_change() {
        let mut hint = known(5);
        let count = hint.count();
        hint.listed(Some(6), 20);
        hint.read(count, true, 21);
        assert!(hint.has_moved());
    }

    #[test]
    fn a_number_that_stands_still_while_something_happens_is_worthless_for_a_day() {
        let mut hint = known(5);
        hint.read(Some(5), true, 15);
        assert!(hint.is_usable(15), "the next list may show it");
        hint.listed(Some(5), 20);
        assert!(!hint.is_usable(20) && !hint.is_usable(DISTRUST_MS));
        assert!(hint.is_usable(20 + DISTRUST_MS));
    }

    #[test]
    fn a_run_that_comes_between_the_list_and_the_reading_is_no_lie() {
        let mut hint = known(5);
        hint.read(Some(5), true, 15);
        hint.listed(Some(6), 20);
        assert!(hint.is_usable(20) && hint.has_moved());
    }

    #[test]
    fn a_list_that_was_begun_before_the_news_were_met_is_no_proof_of_a_lie() {
        let mut hint = known(5);
        hint.read(Some(5), true, 15);
        hint.listed(Some(5), 14);
        assert!(hint.is_usable(20));
        hint.listed(Some(5), 30);
        assert!(!hint.is_usable(30));
    }

    #[test]
    fn a_list_that_was_under_way_when_the_news_were_met_may_tell_of_them() {
        let mut hint = known(5);
        hint.read(Some(5), true, 15);
        hint.listed(Some(6), 14);
        hint.read(hint.count(), false, 18);
        hint.listed(Some(6), 20);
        assert!(hint.is_usable(20) && !hint.has_moved());
    }

    #[test]
    fn without_a_number_there_is_nothing_to_believe() {
        let mut hint = known(5);
        hint.listed(None, 20);
        assert!(!hint.is_usable(20));
        hint.read(None, true, 21);
        hint.listed(None, 30);
        hint.listed(Some(5), 40);
        assert!(hint.is_usable(40) && hint.has_moved());
    }
}
