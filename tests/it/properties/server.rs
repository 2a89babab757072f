//! What a Prometheus server makes of the scrapes.

use std::collections::BTreeMap;

use cortex_workflow_exporter::metrics::Publishing;

use super::exporter::{self, Exporter, Named};

/// A Prometheus server: what `increase()` over all of its scrapes would tell.
#[derive(Default)]
pub(super) struct Server {
    /// Its connection, and the scrape on it whose answer it has received.
    connection: Option<(u64, Option<u64>)>,
    /// How many answers it has received on it.
    scrapes: u32,
    /// The last sample of each counter.
    last: BTreeMap<Named, f64>,
    increase: BTreeMap<Named, f64>,
    /// Whether it has received what the exporter showed last.
    up_to_date: bool,
}

impl Server {
    /// Scrapes once. Of an aborted scrape it receives nothing, but the exporter has sent it.
    pub(super) async fn scrape(&mut self, exporter: &mut Exporter, aborted: bool) {
        let next = exporter.next_connection();
        let publishing = exporter.publishing();
        let (connection, received) = self.connection.unwrap_or((next, None));
        // The next request shows that the answer before it has been received.
        if let Some(version) = received {
            publishing.completed(connection, version);
        }
        let (body, version) = exporter::render(publishing, connection).await;
        self.up_to_date = !aborted;
        if aborted {
            self.hang_up(publishing, connection);
            return;
        }
        self.connection = Some((connection, Some(version)));
        self.scrapes += 1;
        for (series, value) in exporter::counters(&body) {
            // Prometheus takes the first sample of a series as its base.
            let before = self.last.insert(series.clone(), value).unwrap_or(value);
            assert!(value >= before, "{series:?} went from {before} back to {value}");
            *self.increase.entry(series).or_default() += value - before;
        }
    }

    fn hang_up(&mut self, publishing: &Publishing, connection: u64) {
        publishing.left(connection, true);
        (self.connection, self.scrapes) = (None, 0);
    }

    /// Whether the exporter knows that it comes again.
    pub(super) fn is_regular(&self) -> bool {
        self.scrapes > 2
    }

    /// Whether it has received what the exporter showed last.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.up_to_date
    }

    /// The exporter ended, and was away for so long that queries don't look back to the samples
    /// before; but a server that missed the last answer needs them.
    pub(super) fn lost(&mut self, for_long: bool) {
        (self.connection, self.scrapes) = (None, 0);
        if for_long && self.up_to_date {
            self.last.clear();
        }
    }

    /// What it would tell of each counter, under whatever name its workflow had.
    pub(super) fn increases(&self) -> BTreeMap<exporter::Sample, f64> {
        let mut sums = BTreeMap::new();
        for ((_, sample), increase) in &self.increase {
            *sums.entry(sample.clone()).or_default() += increase;
        }
        sums
    }
}
