//! What an encoder is given: families and their samples, in no format yet.

use crate::ledger::{Exemplar, NativeHistogram};

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// What describes a family as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// As in the table: a counter's ends in `_total`.
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    pub(super) kind: MetricType,
}

/// A sample's labels, in order.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// One series' value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    Gauge(f64),
    Counter { value: f64, start_ms: i64, exemplar: Option<&'a Exemplar> },
    Histogram(Distribution<'a>),
}

/// Takes a family's samples, one after the other.
pub(super) type Sink<'s> = dyn FnMut(&Labels<'_>, &Sample<'_>) + 's;

/// A histogram's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distribution<'a> {
    /// Without `+Inf`.
    pub(super) bounds: &'a [f64],
    /// One more than there are bounds, not cumulative.
    pub(super) counts: &'a [u64],
    pub(super) sum: f64,
    /// The same observations in exponential buckets, if it is known.
    pub(super) native: Option<&'a NativeHistogram>,
    pub(super) start_ms: i64,
    /// By the place of their bucket, ascending.
    pub(super) exemplars: &'a [(usize, Exemplar)],
}

/// A classic bucket as the formats have it.
pub(super) struct ClassicBucket<'a> {
    /// The last one is infinite.
    pub(super) bound: f64,
    /// How many are no larger than the bound.
    pub(super) cumulative: u64,
    pub(super) exemplar: Option<&'a Exemplar>,
}

impl Sample<'_> {
    /// How many series it is, in a text format.
    pub(super) fn series(&self) -> usize {
        match self {
            Self::Gauge(_) | Self::Counter { .. } => 1,
            // The buckets, the sum and the count.
            Self::Histogram(histogram) => histogram.counts.len() + 2,
        }
    }
}

impl<'a> Distribution<'a> {
    pub(super) fn buckets(&self) -> impl Iterator<Item = ClassicBucket<'a>> + use<'a> {
        let mut exemplars = self.exemplars.iter().peekable();
        let mut cumulative = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts).enumerate().map(move |(place, (bound, count))| {
            cumulative += count;
            let exemplar = exemplars.next_if(|(of, _)| *of == place).map(|(_, exemplar)| exemplar);
            ClassicBucket { bound, cumulative, exemplar }
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Milliseconds as the formats have them.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
