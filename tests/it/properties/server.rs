//! What a Prometheus server makes of the scrapes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::exporter::{self, Exporter, Named};

/// A Prometheus server: what `increase()` over all of its scrapes would be, summed over the
/// exporters.
#[derive(Default)]
pub(super) struct Server {
    /// To each exporter, by its place.
    connections: BTreeMap<usize, Connection>,
    /// The last sample of each counter.
    last: BTreeMap<Named, f64>,
    increase: BTreeMap<Named, f64>,
    /// Whether it has received what the exporter showed last.
    up_to_date: bool,
}

/// A connection on which it has received answers.
struct Connection {
    number: u64,
    /// How many answers, and which was the last.
    scrapes: u32,
    version: u64,
}

/// A scrape that takes as long does not wait for what it releases.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(500);

impl Server {
    /// Scrapes the exporter at this place once. Of an aborted scrape it receives nothing, but the
    /// exporter has sent it.
    pub(super) async fn scrape(&mut self, at: usize, exporter: &Exporter, aborted: bool) {
        let next = exporter.next_connection();
        let gate = exporter.gate();
        let before = self.connections.remove(&at);
        // The next request shows that the answer before it has been received.
        if let Some(before) = &before {
            gate.completed(before.number, before.version);
        }
        let (number, scrapes) = before.map_or((next, 0), |before| (before.number, before.scrapes));
        let begun = Instant::now();
        let (body, version) = exporter::render(gate, number).await;
        if exporter.leads() {
            self.up_to_date = !aborted && begun.elapsed() < RELEASE_TIMEOUT;
        }
        if aborted {
            gate.left(number, true);
            return;
        }
        self.connections.insert(at, Connection { number, scrapes: scrapes + 1, version });
        for (series, value) in exporter::counters(&body) {
            // Prometheus takes the first sample of a series as its base.
            let before = self.last.insert(series.clone(), value).unwrap_or(value);
            assert!(value >= before, "{series:?} went from {before} back to {value}");
            *self.increase.entry(series).or_default() += value - before;
        }
    }

    /// Whether the exporter at this place knows that it comes again.
    pub(super) fn is_regular(&self, at: usize) -> bool {
        self.connections.get(&at).is_some_and(|connection| connection.scrapes > 2)
    }

    /// Whether it has received what the exporter showed last.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.up_to_date
    }

    /// The exporter at this place ended.
    pub(super) fn disconnected(&mut self, at: usize) {
        self.connections.remove(&at);
    }

    /// The series are another target's from now on, or were away for so long that queries don't look
    /// back to the samples before. A server that missed the last answer needs these: the exporter
    /// begins with what was shown, not with what was seen.
    pub(super) fn begins_anew(&mut self) {
        if self.up_to_date {
            self.last.clear();
        }
    }

    /// What it would be for each counter, under whatever name its workflow had.
    pub(super) fn increases(&self) -> BTreeMap<exporter::Sample, f64> {
        let mut sums = BTreeMap::new();
        for ((_, sample), increase) in &self.increase {
            *sums.entry(sample.clone()).or_default() += increase;
        }
        sums
    }
}
