//! What was counted and has not been shown yet.
//!
//! Prometheus takes the first sample of a series as its base: what a series shows there is lost to
//! `increase()`. So a series that is new, or was restored after a restart, first shows its base (0,
//! or what was shown last), and more only when that has been scraped. What one run moves is held
//! and released together, so that counter and histogram never disagree.
//!
//! Whatever is counted is held until the next scrape at least, and is durable as shown before that
//! scrape shows it. So a restart begins with exactly what the last scrape could show: no less, or
//! the counters would go back; and no more, or what came since would be lost in the base. Pure.

use std::collections::BTreeMap;

use super::{
    exemplar::{Exemplar, Exemplars},
    series::{Series, SeriesKey, SeriesMap, Value},
};

/// What is held of a workflow's series: by the version of the state whose scrape releases it, how
/// much of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending(BTreeMap<u64, Shares>);

type Shares = BTreeMap<SeriesKey, Share>;

/// What is held of a series.
#[derive(Clone, Debug)]
struct Share {
    amount: Value,
    exemplars: Exemplars,
}

/// Maximum number of versions whose shares are kept apart. With more, they are released together.
const MAX_VERSIONS: usize = 4;

impl Pending {
    /// What a restart found not yet shown, held until this version has been scraped.
    pub(super) fn restored(series: &SeriesMap, version: u64) -> Self {
        let rest = series.iter().filter_map(|(key, series)| {
            let amount = series.value.since(series.shown.as_ref()?);
            Some((key.clone(), Share { amount, exemplars: Exemplars::default() }))
        });
        let rest: Shares = rest.collect();
        Self(if rest.is_empty() { BTreeMap::new() } else { BTreeMap::from([(version, rest)]) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is held that this version releases.
    pub(super) fn releases(&self, confirmed: u64) -> bool {
        self.0.first_key_value().is_some_and(|(version, _)| *version <= confirmed)
    }

    /// Adds what one run moves: held until that version has been scraped, or shown at once.
    pub(super) fn add(
        &mut self,
        series: &mut SeriesMap,
        amounts: Vec<(SeriesKey, f64)>,
        run: Option<&Exemplar>,
        held_until: Option<u64>,
    ) {
        for (key, amount) in amounts {
            let Some(series) = series.get_mut(&key) else { continue };
            let run = run.filter(|_| key.metric.row().exemplars);
            let exemplar = run.map(|run| (series.value.bucket(amount), run.with_value(amount)));
            if let Some(version) = held_until {
                series.shown.get_or_insert_with(|| series.value.clone());
                let zero =
                    || Share { amount: series.value.zero(), exemplars: Exemplars::default() };
                let share = self.0.entry(version).or_default().entry(key).or_insert_with(zero);
                share.amount.add(amount);
                share.exemplars.extend(exemplar);
            } else {
                if let Some(shown) = &mut series.shown {
                    shown.add(amount);
                }
                series.exemplars.extend(exemplar);
            }
            series.value.add(amount);
        }
        // Where each run brings a new series and nobody scrapes, this would grow with both.
        if self.0.len() > MAX_VERSIONS
            && let Some((version, _)) = self.0.last_key_value()
        {
            self.hold_until(*version);
        }
    }

    /// The series begin anew at 0, published from this version of the state on. What was not shown
    /// yet moves along, held until that version has been scraped.
    pub(super) fn restart(&mut self, series: &mut SeriesMap, version: u64, start_ms: i64) {
        self.hold_until(version);
        let rest = self.0.get(&version);
        for (key, series) in series {
            let zero = series.value.zero();
            *series = match rest.and_then(|shares| shares.get(key)) {
                Some(share) => Series {
                    shown: Some(zero),
                    ..Series::zero(share.amount.clone(), version, start_ms)
                },
                None => Series::zero(zero, version, start_ms),
            };
        }
    }

    /// This series has ended.
    pub(super) fn forget(&mut self, key: &SeriesKey) {
        for shares in self.0.values_mut() {
            shares.remove(key);
        }
        self.0.retain(|_, shares| !shares.is_empty());
    }

    /// Holds all that is held until this version has been scraped.
    pub(super) fn hold_until(&mut self, version: u64) {
        let all = merged(std::mem::take(&mut self.0));
        if !all.is_empty() {
            self.0.insert(version, all);
        }
    }

    /// Shows what was held for versions up to the confirmed one. Returns the series that changed.
    pub(super) fn release(&mut self, series: &mut SeriesMap, confirmed: u64) -> Vec<SeriesKey> {
        let still_held = self.0.split_off(&confirmed.saturating_add(1));
        let released = merged(std::mem::replace(&mut self.0, still_held));
        for (key, share) in &released {
            let Some(series) = series.get_mut(key) else { continue };
            series.exemplars.extend(share.exemplars.as_slice().iter().cloned());
            if self.0.values().any(|held| held.contains_key(key)) {
                if let Some(shown) = &mut series.shown {
                    shown.grow(&share.amount);
                }
            } else if let Some(shown) = series.shown.take() {
                series.value.not_below(&shown);
            }
        }
        released.into_keys().collect()
    }

    /// How many shares there are.
    #[cfg(test)]
    pub(super) fn shares(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

/// The version of the state in which the youngest of these series was published.
pub(super) fn first_published(series: &SeriesMap, amounts: &[(SeriesKey, f64)]) -> u64 {
    let series = amounts.iter().filter_map(|(key, _)| series.get(key));
    series.map(|series| series.first_published).max().unwrap_or(0)
}

fn merged(versions: BTreeMap<u64, Shares>) -> Shares {
    let mut sums = Shares::new();
    for (key, share) in versions.into_values().flatten() {
        match sums.get_mut(&key) {
            Some(sum) => {
                sum.amount.grow(&share.amount);
                sum.exemplars.extend(share.exemplars.as_slice().iter().cloned());
            }
            None => drop(sums.insert(key, share)),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::metric::Metric;

    fn key(name: &str) -> SeriesKey {
        SeriesKey::new(Metric::StepCredits, &[name, "model"])
    }

    /// Series of counters at 0.
    fn zeros(names: &[&str]) -> SeriesMap {
        let zero = |name: &&str| (key(name), Series::zero(Value::Counter(0.0), 1, 0));
        names.iter().map(zero).collect()
    }

    fn shown(series: &SeriesMap) -> Vec<f64> {
        series.values().map(|series| series.shown().amount()).collect()
    }

    #[test]
    fn the_fifth_version_is_released_with_those_before_it() {
        let (mut pending, mut series) = (Pending::default(), zeros(&["a"]));
        for version in 1..=4 {
            pending.add(&mut series, vec![(key("a"), 1.0)], None, Some(version));
        }
        assert!(pending.releases(1) && !pending.releases(0));
        assert_eq!(pending.release(&mut series, 1), [key("a")]);
        assert_eq!(shown(&series), [1.0], "up to four are kept apart");
        for version in 5..=6 {
            pending.add(&mut series, vec![(key("a"), 1.0)], None, Some(version));
        }
        assert!(pending.release(&mut series, 5).is_empty(), "five are held together");
        assert_eq!((shown(&series), pending.shares()), (vec![1.0], 1));
        assert_eq!(pending.release(&mut series, 6), [key("a")]);
        assert_eq!((shown(&series), pending.is_empty()), (vec![6.0], true));
    }

    #[test]
    fn a_series_shows_all_only_when_nothing_of_it_is_held() {
        let (mut pending, mut series) = (Pending::default(), zeros(&["a", "b"]));
        pending.add(&mut series, vec![(key("a"), 1.0)], None, Some(2));
        pending.add(&mut series, vec![(key("a"), 2.0), (key("b"), 4.0)], None, Some(3));
        pending.add(&mut series, vec![(key("a"), 8.0)], None, None);
        assert_eq!(shown(&series), [8.0, 0.0], "what is not held passes what is");
        assert_eq!(pending.release(&mut series, 2), [key("a")]);
        assert_eq!(shown(&series), [9.0, 0.0]);
        assert_eq!(pending.release(&mut series, u64::MAX), [key("a"), key("b")]);
        assert_eq!(shown(&series), [11.0, 4.0]);
        assert!(series.values().all(|series| series.shown.is_none()));
    }
}
