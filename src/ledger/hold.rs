//! What was counted and has not been shown yet.
//!
//! Prometheus takes the first sample of a series as its base: what a series shows there is lost to
//! `increase()`. So a series that is new, or was restored after a restart, first shows its base (0,
//! or what was shown last), and more only when that has been scraped. What one run moves is held
//! and released together, so that counter and histogram never disagree.
//!
//! Whatever is counted is held until the next scrape at least, and is durable as shown before that
//! scrape shows it. So a restart begins with exactly what the last scrape could show: no less, or
//! the counters would go back; and no more, or what came since would hide in the base. Pure.

use std::collections::BTreeMap;

use super::{
    exemplar::{Exemplar, Exemplars},
    metric::Metric,
    series::{Series, SeriesKey, Value},
    state::{State, WorkflowState},
};

/// What is held: by the version of the state whose scrape releases it, how much of each series.
pub(super) type Pending = BTreeMap<u64, BTreeMap<SeriesKey, Share>>;

/// Past so many versions, what is held is released together.
const MOST_HELD: usize = 4;

/// What is held of a series.
#[derive(Clone, Debug)]
pub(super) struct Share {
    amount: Value,
    exemplars: Exemplars,
}

impl From<Value> for Share {
    fn from(amount: Value) -> Self {
        Self { amount, exemplars: Exemplars::default() }
    }
}

impl State {
    /// Whether something is held that this version releases.
    pub(super) fn holds(&self, confirmed: u64) -> bool {
        let mut workflows = self.apps.values().flat_map(|app| app.workflows.values());
        workflows.any(|workflow| workflow.holds(confirmed))
    }
}

impl WorkflowState {
    /// How many runs were counted that must not be shown yet.
    pub fn held_runs(&self) -> u64 {
        if self.held.is_empty() {
            return 0;
        }
        let held = |(_, series): (_, &Series)| series.value.amount() - series.shown().amount();
        self.series_of(Metric::Runs).map(held).sum::<f64>() as u64
    }

    /// Whether something is held that this version releases.
    pub(super) fn holds(&self, confirmed: u64) -> bool {
        self.held
            .first_key_value()
            .is_some_and(|(first_published, _)| *first_published <= confirmed)
    }

    /// The version of the state in which the youngest of these series was published.
    pub(super) fn first_published(&self, amounts: &[(SeriesKey, f64)]) -> u64 {
        let series = amounts.iter().filter_map(|(key, _)| self.series.get(key));
        series.map(|series| series.first_published).max().unwrap_or(0)
    }

    /// Adds what one run moves: held until that version has been scraped, or shown at once.
    pub(super) fn add(
        &mut self,
        amounts: Vec<(SeriesKey, f64)>,
        run: Option<&Exemplar>,
        held_until: Option<u64>,
    ) {
        for (key, amount) in amounts {
            let Some(series) = self.series.get_mut(&key) else { continue };
            let run = run.filter(|_| key.metric.row().exemplars);
            let exemplar = run.map(|run| (series.value.bucket(amount), run.with_value(amount)));
            if let Some(first_published) = held_until {
                series.shown.get_or_insert_with(|| series.value.clone());
                let shares = self.held.entry(first_published).or_default();
                let share = shares.entry(key).or_insert_with(|| series.value.zero().into());
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
        if self.held.len() > MOST_HELD
            && let Some(first_published) =
                self.held.last_key_value().map(|(first_published, _)| *first_published)
        {
            self.hold_together(first_published);
        }
    }

    /// Holds what a restart found not yet shown until this version has been scraped.
    pub(super) fn hold_restored(&mut self, first_published: u64) {
        let rest = |(key, series): (&SeriesKey, &Series)| {
            let rest = series.value.since(series.shown.as_ref()?);
            Some((key.clone(), rest.into()))
        };
        let rest: BTreeMap<_, _> = self.series.iter().filter_map(rest).collect();
        self.held =
            if rest.is_empty() { Pending::new() } else { Pending::from([(first_published, rest)]) };
    }

    /// To Prometheus, all series are new from this version of the state on: they show again what
    /// they showed last, and nothing more before that has been scraped.
    pub(super) fn show_bases_again(&mut self, first_published: u64) {
        for series in self.series.values_mut() {
            series.first_published = first_published;
        }
        self.hold_together(first_published);
    }

    /// Holds all that is held until this version has been scraped.
    fn hold_together(&mut self, first_published: u64) {
        let mut all = BTreeMap::new();
        for held in std::mem::take(&mut self.held).into_values() {
            merge(&mut all, held);
        }
        if !all.is_empty() {
            self.held.insert(first_published, all);
        }
    }

    /// Shows what was held for versions up to the confirmed one. Returns the series that changed.
    pub(super) fn release(&mut self, confirmed: u64) -> Vec<SeriesKey> {
        let still_held = self.held.split_off(&confirmed.saturating_add(1));
        let released = std::mem::replace(&mut self.held, still_held);
        let mut changed = BTreeMap::new();
        for released in released.into_values() {
            merge(&mut changed, released);
        }
        for (key, share) in &changed {
            let Some(series) = self.series.get_mut(key) else { continue };
            series.exemplars.extend(share.exemplars.as_slice().iter().cloned());
            if self.held.values().any(|held| held.contains_key(key)) {
                if let Some(shown) = &mut series.shown {
                    shown.grow(&share.amount);
                }
            } else if let Some(shown) = series.shown.take() {
                series.value.not_below(&shown);
            }
        }
        changed.into_keys().collect()
    }
}

fn merge(into: &mut BTreeMap<SeriesKey, Share>, more: BTreeMap<SeriesKey, Share>) {
    for (key, share) in more {
        match into.get_mut(&key) {
            Some(sum) => {
                sum.amount.grow(&share.amount);
                sum.exemplars.extend(share.exemplars.as_slice().iter().cloned());
            }
            None => drop(into.insert(key, share)),
        }
    }
}
