//! In which order a server lists runs: found out by looking. Pure.

use crate::model::{Run, Timestamp};

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

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The youngest run comes first.
    NewestFirst(Key),
    /// The youngest run comes last.
    OldestFirst(Key),
}

/// What the pages read so far tell of their list's order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    created: Trend,
    started: Trend,
    updated: Trend,
}

/// Neighbours of which one is surely the later.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    rising: u32,
    falling: u32,
}

/// So many neighbours in the same order, and none in the other, are no accident: in a list
/// without order that happens once in 8! pages.
const ENOUGH: u32 = 7;

impl Evidence {
    /// Takes in the runs of one page, in their order.
    pub(super) fn add(&mut self, runs: &[Run]) {
        self.created.add(runs, |run| run.created_at);
        self.started.add(runs, |run| run.started_at);
        self.updated.add(runs, |run| run.updated_at);
    }

    /// The order, if there is one and enough was seen of it.
    pub(super) fn order(&self) -> Option<Order> {
        let keys = [
            (Key::Created, self.created),
            (Key::Started, self.started),
            (Key::Updated, self.updated),
        ];
        keys.into_iter().find_map(|(key, trend)| match trend {
            Trend { rising: 0, falling } if falling >= ENOUGH => Some(Order::NewestFirst(key)),
            Trend { rising, falling: 0 } if rising >= ENOUGH => Some(Order::OldestFirst(key)),
            Trend { .. } => None,
        })
    }

    /// Whether the list can't be ordered with the oldest first by this key.
    pub(super) fn contradicts_oldest_first(&self, key: Key) -> bool {
        let trend = match key {
            Key::Created => self.created,
            Key::Started => self.started,
            Key::Updated => self.updated,
        };
        trend.falling > 0
    }
}

impl Trend {
    fn add(&mut self, runs: &[Run], key: impl Fn(&Run) -> Option<Timestamp>) {
        let mut before = None::<Timestamp>;
        for at in runs.iter().filter_map(key) {
            if let Some(before) = before {
                self.rising += u32::from(before.latest() < at.earliest());
                self.falling += u32::from(at.latest() < before.earliest());
            }
            before = Some(at);
        }
    }
}
