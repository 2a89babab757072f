//! What was counted and must not be shown yet.
//!
//! Prometheus takes the first sample of a series as its base: what a series shows there is lost to
//! `increase()`. So a series that is new, or was restored after a restart, first shows its base (0,
//! or what was shown last), and more only when that has been scraped. What one run moves is held
//! and released together, so that counter and histogram never disagree. What is shown is durable,
//! so a restart shows no less. Pure.

use super::{
    series::{Series, SeriesKey, Total, Value},
    state::{State, WorkflowState},
};

/// What one run moved, or what a restart found held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// It is released when this version of the state has been scraped.
    born: u64,
    amounts: Vec<(SeriesKey, Amount)>,
}

#[derive(Clone, Debug)]
enum Amount {
    /// One run's.
    One(f64),
    /// Of all runs whose hold a restart broke.
    Rest(Value),
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
        let held = |(_, series): (_, &Series)| series.value.amount() - series.shown().amount();
        self.series_of(Total::Runs).map(held).sum::<f64>() as u64
    }

    /// Whether something is held that this version releases.
    pub(super) fn holds(&self, confirmed: u64) -> bool {
        self.held.iter().any(|held| held.born <= confirmed)
    }

    /// Adds what one run moves. It is shown at once if all of its series have been scraped, that is
    /// if they were `born` no later than the `confirmed` version.
    pub(super) fn add(&mut self, amounts: Vec<(SeriesKey, f64)>, confirmed: u64) {
        let series = |(key, _): &(SeriesKey, f64)| self.series.get(key);
        let born = amounts.iter().filter_map(series).map(|series| series.born).max().unwrap_or(0);
        let held = born > confirmed;
        for (key, amount) in &amounts {
            let Some(series) = self.series.get_mut(key) else { continue };
            if held && series.shown.is_none() {
                series.shown = Some(series.value.clone());
            }
            series.value.add(*amount);
            if let (Some(shown), false) = (&mut series.shown, held) {
                shown.add(*amount);
            }
        }
        if held {
            let one = |(key, amount)| (key, Amount::One(amount));
            self.held.push(Held { born, amounts: amounts.into_iter().map(one).collect() });
        }
    }

    /// Holds what a restart found not yet shown until this version has been scraped.
    pub(super) fn hold_restored(&mut self, born: u64) {
        let rest = |(key, series): (&SeriesKey, &Series)| {
            let rest = series.value.since(series.shown.as_ref()?);
            Some((key.clone(), Amount::Rest(rest)))
        };
        let amounts: Vec<_> = self.series.iter().filter_map(rest).collect();
        self.held = if amounts.is_empty() { Vec::new() } else { vec![Held { born, amounts }] };
    }

    /// Shows what was held for versions up to the confirmed one. Returns the series that changed.
    pub(super) fn release(&mut self, confirmed: u64) -> Vec<SeriesKey> {
        let (released, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held: &Held| held.born <= confirmed);
        self.held = held;
        let released: Vec<Held> = released;
        let mut changed = Vec::new();
        for (key, amount) in released.into_iter().flat_map(|held| held.amounts) {
            let shown = self.series.get_mut(&key).and_then(|series| series.shown.as_mut());
            match (shown, amount) {
                (Some(shown), Amount::One(amount)) => shown.add(amount),
                (Some(shown), Amount::Rest(rest)) => shown.grow(&rest),
                (None, _) => {}
            }
            changed.push(key);
        }
        changed.sort_unstable();
        changed.dedup();
        for key in &changed {
            let still_held = self.held.iter().flat_map(|held| &held.amounts).any(|(k, _)| k == key);
            if let Some(series) = self.series.get_mut(key).filter(|_| !still_held)
                && let Some(shown) = series.shown.take()
            {
                series.value.not_below(&shown);
            }
        }
        changed
    }
}
