//! In which order a server lists runs, detected from its pages. Pure.

use std::ops::Range;

use crate::{
    ledger::{StopWhen, older_half},
    model::{Run, Timestamp},
};

/// By what a list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `created_at`: a run's place never changes.
    Created,
    /// `started_at`.
    Started,
    /// `updated_at`.
    Updated,
}

impl Key {
    const ALL: [Self; 3] = [Self::Created, Self::Started, Self::Updated];

    fn of(self, run: &Run) -> Option<Timestamp> {
        match self {
            Self::Created => run.created_at,
            Self::Started => run.started_at,
            Self::Updated => run.updated_at,
        }
    }
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The youngest run comes first.
    NewestFirst(Key),
    /// The youngest run comes last.
    OldestFirst(Key),
}

/// What the pages read so far show of their list's order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// By each [`Key`].
    trends: [Trend; 3],
    /// Whether there is a run that was started in the first half of the page added last, and in the
    /// second.
    any_started: (bool, bool),
}

/// Neighbours of which one is surely the later.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    rising: u32,
    falling: u32,
    /// Runs without the timestamp that follow one with it, and that go before one.
    missing_behind: u32,
    missing_ahead: u32,
}

/// This number of neighbours in the same order, and none in the other, is no accident. Of lists without
/// order, such as those by a random id, one in 12! / 2 looks so for each key, and with some thousand
/// workflows none should: the mistake would hide runs for as long as the newest end stays as it is.
const ENOUGH: u32 = 11;

impl Evidence {
    /// Takes in the runs of one page, in their order.
    pub(super) fn add(&mut self, runs: &[Run]) {
        for key in Key::ALL {
            self.trends[key as usize].add(runs.iter().map(|run| key.of(run)));
        }
        let started = |part: Range<usize>| runs[part].iter().any(|run| run.started_at.is_some());
        let older_half = |newest_first| older_half(runs.len(), newest_first);
        self.any_started = (started(older_half(false)), started(older_half(true)));
    }

    /// The order, if there is one and enough was seen of it.
    pub(super) fn order(&self) -> Option<Order> {
        let mut possible = Key::ALL.into_iter().filter(|key| !self.trend(*key).is_scattered());
        possible.find_map(|key| match self.trend(key) {
            Trend { rising: 0, falling, .. } if falling >= ENOUGH => Some(Order::NewestFirst(key)),
            Trend { rising, falling: 0, .. } if rising >= ENOUGH => Some(Order::OldestFirst(key)),
            Trend { .. } => None,
        })
    }

    /// When the older half of the page added last ends the reading of an ordered list. Several
    /// orders can explain what was seen, and it must do so in each of them:
    ///
    /// - By `created_at` a run's place never changes.
    /// - By `updated_at` or `started_at` a run that was followed and has changed since moves to the
    ///   newest end, so one that still stands among the known ones proves nothing.
    /// - By `started_at`, runs that never started stand before the newest end, as databases sort
    ///   what is missing. A page of nothing but such runs shows nothing of what lies behind.
    pub(super) fn stop_when(&self, newest_first: bool) -> StopWhen {
        let (first_half, second_half) = self.any_started;
        let any_started = if newest_first { second_half } else { first_half };
        let by_start = self.trend(Key::Started).allows(newest_first);
        if by_start && !any_started {
            StopWhen::Never
        } else if by_start || self.trend(Key::Updated).allows(newest_first) {
            StopWhen::IfSettled
        } else {
            StopWhen::IfKnown
        }
    }

    /// Whether the list can't be ordered with the oldest first by this key.
    pub(super) fn contradicts_oldest_first(&self, key: Key) -> bool {
        let trend = self.trend(key);
        trend.falling > 0 || trend.is_scattered()
    }

    fn trend(&self, key: Key) -> Trend {
        self.trends[key as usize]
    }
}

impl Trend {
    fn add(&mut self, times: impl Iterator<Item = Option<Timestamp>>) {
        let mut before = None::<Timestamp>;
        let mut missing = false;
        for at in times {
            let Some(at) = at else {
                self.missing_behind += u32::from(before.is_some());
                missing = true;
                continue;
            };
            if let Some(before) = before {
                self.rising += u32::from(before.latest() < at.earliest());
                self.falling += u32::from(at.latest() < before.earliest());
            }
            self.missing_ahead += u32::from(missing);
            before = Some(at);
        }
    }

    /// Whether runs without the timestamp stand among those with it. Where it orders the list, they
    /// stand together at one end, whichever that is.
    fn is_scattered(&self) -> bool {
        self.missing_behind > 0 && self.missing_ahead > 0
    }

    /// Whether nothing speaks against this order.
    fn allows(&self, newest_first: bool) -> bool {
        if newest_first {
            self.rising == 0 && self.missing_behind == 0
        } else {
            self.falling == 0 && self.missing_ahead == 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order that a page shows whose runs started then, if they did.
    fn order(started: impl IntoIterator<Item = Option<i64>>) -> Option<Order> {
        let run = |started: Option<i64>| {
            let started_at = started.map(Timestamp::Instant);
            Run { started_at, ..Run::completed("r") }
        };
        let mut evidence = Evidence::default();
        evidence.add(&started.into_iter().map(run).collect::<Vec<_>>());
        evidence.order()
    }

    fn falling(runs: i64) -> impl Iterator<Item = Option<i64>> {
        (0..runs).rev().map(Some)
    }

    #[test]
    fn a_few_runs_that_happen_to_stand_in_order_are_no_order() {
        assert_eq!(order(falling(11)), None);
        assert_eq!(order(falling(12)), Some(Order::NewestFirst(Key::Started)));
        assert_eq!(order((0..12).map(Some)), Some(Order::OldestFirst(Key::Started)));
        assert_eq!(order((0..20).map(Some).chain([Some(3)])), None);
    }

    #[test]
    fn runs_that_never_started_may_stand_at_either_end_but_not_among_the_others() {
        let never = || [None; 3].into_iter();
        let newest_first = Some(Order::NewestFirst(Key::Started));
        assert_eq!(order(never().chain(falling(12))), newest_first);
        assert_eq!(order(falling(12).chain(never())), newest_first);
        assert_eq!(order(falling(12).flat_map(|started| [started, None])), None);
    }
}
