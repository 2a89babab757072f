use std::{collections::BTreeMap, sync::Arc};

use super::{
    exemplar::{Exemplar, Exemplars},
    metric::{Metric, MetricKind, overflow},
    native::NativeHistogram,
};
use crate::{config::Buckets, model::Label};

/// Which number: a metric and the values of its labels, in the order of the metric's row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// What is added up.
    pub metric: Metric,
    /// The label values.
    pub labels: Arc<[Label]>,
}

impl SeriesKey {
    pub(super) fn new(metric: Metric, labels: &[&str]) -> Self {
        Self { metric, labels: labels.iter().map(|label| Label::new(label)).collect() }
    }

    /// The values of its labels, as the database has them.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.labels.iter().map(Label::as_str).collect()
    }

    /// The series of the overflow group that counts what this one has no room for.
    pub(super) fn overflow(&self) -> Self {
        let labels = self.metric.row().labels.iter().zip(&*self.labels);
        let labels = labels.map(|(label, value)| Label::new(overflow(label, value.as_str())));
        Self { metric: self.metric, labels: labels.collect() }
    }
}

/// Numbers that only grow.
pub type SeriesMap = BTreeMap<SeriesKey, Series>;

/// A number that only grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// How much it has come to.
    pub value: Value,
    /// How much of that may be shown by now, where that isn't all; see `hold`.
    pub(super) shown: Option<Value>,
    /// The first version of the state in which it was published since the process began.
    pub(super) first_published: u64,
    /// When it was 0, by our own clock: milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Runs of what is shown. Not kept in the database.
    pub(super) exemplars: Exemplars,
}

impl Series {
    /// A series that has seen nothing yet, published from this version of the state on.
    pub(super) fn zero(value: Value, first_published: u64, start_ms: i64) -> Self {
        Self { value, shown: None, first_published, start_ms, exemplars: Exemplars::default() }
    }

    /// What to show.
    pub fn shown(&self) -> &Value {
        self.shown.as_ref().unwrap_or(&self.value)
    }

    /// The latest run of what is shown, for each bucket by its place that has one.
    pub fn exemplars(&self) -> &[(usize, Exemplar)] {
        self.exemplars.as_slice()
    }
}

/// What a series has come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count, or a sum of credits.
    Counter(f64),
    /// A distribution of seconds.
    Histogram(Histogram),
}

/// A distribution of seconds over buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The buckets' upper bounds, ascending, without `+Inf`.
    pub bounds: Arc<[f64]>,
    /// How many fell into each bucket and no lower one; the last one is `+Inf`.
    pub counts: Box<[u64]>,
    /// All seconds together.
    pub sum: f64,
    /// The same observations in exponential buckets.
    pub native: NativeHistogram,
}

impl Histogram {
    fn new(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1].into();
        Self { bounds, counts, sum: 0.0, native: NativeHistogram::default() }
    }

    fn observe(&mut self, seconds: f64) {
        let bucket = self.bucket(seconds);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.sum = finite_sum(self.sum, seconds);
        self.native.observe(seconds, 1);
    }

    /// The index of the bucket that contains this number of seconds.
    fn bucket(&self, seconds: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < seconds)
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Value {
    /// The place of the bucket that an amount falls into.
    pub(super) fn bucket(&self, amount: f64) -> usize {
        match self {
            Self::Counter(_) => 0,
            Self::Histogram(histogram) => histogram.bucket(amount),
        }
    }

    pub(super) fn add(&mut self, amount: f64) {
        match self {
            Self::Counter(value) => *value = finite_sum(*value, amount),
            Self::Histogram(histogram) => histogram.observe(amount),
        }
    }

    /// Whether its sum is one that more can be added to.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Self::Counter(sum) => sum.is_finite(),
            Self::Histogram(histogram) => histogram.sum.is_finite(),
        }
    }

    /// How many observations, or how much.
    pub fn amount(&self) -> f64 {
        match self {
            Self::Counter(value) => *value,
            Self::Histogram(histogram) => histogram.count() as f64,
        }
    }

    /// The same kind of value before it has seen anything.
    pub(super) fn zero(&self) -> Self {
        match self {
            Self::Counter(_) => Self::Counter(0.0),
            Self::Histogram(histogram) => {
                Self::Histogram(Histogram::new(Arc::clone(&histogram.bounds)))
            }
        }
    }

    /// What it is more than `other`, which it once was. Never less than nothing: sums that were
    /// added up in another order can come out smaller by a rounding error.
    pub(super) fn since(&self, other: &Self) -> Self {
        let mut more = self.clone();
        match (&mut more, other) {
            (Self::Counter(more), Self::Counter(before)) => *more = (*more - before).max(0.0),
            (Self::Histogram(more), Self::Histogram(before)) => {
                more.sum = (more.sum - before.sum).max(0.0);
                more.native = more.native.since(&before.native);
                for (more, before) in more.counts.iter_mut().zip(&before.counts) {
                    *more = more.saturating_sub(*before);
                }
            }
            _ => {}
        }
        more
    }

    /// Adds what [`Self::since`] gave.
    pub(super) fn grow(&mut self, more: &Self) {
        match (self, more) {
            (Self::Counter(value), Self::Counter(more)) => *value = finite_sum(*value, *more),
            (Self::Histogram(histogram), Self::Histogram(more)) => {
                histogram.sum = finite_sum(histogram.sum, more.sum);
                histogram.native.grow(&more.native);
                for (count, more) in histogram.counts.iter_mut().zip(&more.counts) {
                    *count = count.saturating_add(*more);
                }
            }
            _ => {}
        }
    }

    /// Makes up for sums that were added up in another order and so came out larger by a rounding
    /// error: a number that was shown must never become smaller.
    pub(super) fn not_below(&mut self, shown: &Self) {
        match (self, shown) {
            (Self::Counter(value), Self::Counter(shown)) => *value = value.max(*shown),
            (Self::Histogram(histogram), Self::Histogram(shown)) => {
                histogram.sum = histogram.sum.max(shown.sum);
            }
            _ => {}
        }
    }
}

/// A counter that has become infinite says nothing any more, and stays so: what would make it so is
/// left out.
fn finite_sum(sum: f64, more: f64) -> f64 {
    let new = sum + more;
    if new.is_finite() { new } else { sum }
}

/// The bucket bounds in force, by metric.
#[derive(Clone, Debug)]
pub(super) struct Bounds([Option<Arc<[f64]>>; Metric::ALL.len()]);

impl Bounds {
    pub(super) fn new(buckets: &Buckets) -> Self {
        Self(Metric::ALL.map(|metric| match metric.row().kind {
            MetricKind::Counter => None,
            MetricKind::Histogram(bounds) => Some(bounds(buckets).into()),
        }))
    }

    /// The bounds of a metric; `None` for one that is no histogram.
    pub(super) fn of(&self, metric: Metric) -> Option<&Arc<[f64]>> {
        self.0[metric as usize].as_ref()
    }

    /// A series of this metric that has seen nothing yet.
    pub(super) fn zero(&self, metric: Metric) -> Value {
        match self.of(metric) {
            Some(bounds) => Value::Histogram(Histogram::new(Arc::clone(bounds))),
            None => Value::Counter(0.0),
        }
    }

    /// How many series Prometheus makes of one of this metric.
    pub(super) fn width(&self, metric: Metric) -> usize {
        // Besides the buckets of these bounds: the one without bound, the sum and the count.
        self.of(metric).map_or(1, |bounds| bounds.len() + 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_of_every_metric_stays_finite() {
        let bounds = Bounds::new(&Buckets::default());
        for metric in Metric::ALL {
            let mut value = bounds.zero(metric);
            for amount in [1.0, f64::MAX, f64::MAX, f64::INFINITY, f64::NAN, 2.0] {
                value.add(amount);
                assert!(value.is_finite(), "{metric:?}: {value:?}");
            }
            let mut grown = value.clone();
            grown.grow(&value);
            assert!(grown.is_finite(), "{metric:?}: {grown:?}");
            grown.not_below(&value);
            assert!(grown.is_finite() && grown.since(&value).is_finite(), "{metric:?}: {grown:?}");
        }
        let counts = vec![u64::MAX, 1].into();
        let mut full = Histogram { counts, ..Histogram::new([1.0].as_slice().into()) };
        full.observe(0.5);
        assert_eq!((full.counts[0], full.count()), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_value_on_a_bound_falls_into_that_bucket() {
        let mut histogram = Histogram::new([1.0, 5.0].as_slice().into());
        for seconds in [0.0, 1.0, 1.1, 5.0, 5.1] {
            histogram.observe(seconds);
        }
        assert_eq!(*histogram.counts, [2, 2, 1]);
        assert_eq!((histogram.count(), histogram.sum), (5, 12.2));
    }
}
