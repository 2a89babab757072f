//! Exponential buckets, in which Prometheus calls a histogram native. Pure.
//!
//! With schema `n`, the bucket with index `i` holds what is above `2^((i-1)/2^n)` and at most
//! `2^(i/2^n)`: each doubling of seconds is cut into `2^n` buckets. Only those that hold something
//! are kept.

use serde::{Deserialize, Serialize};

/// A distribution of seconds over exponential buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NativeHistogram {
    /// How fine the buckets are.
    pub schema: i32,
    /// How many observations are no larger than [`Self::ZERO_THRESHOLD`].
    pub zero: u64,
    /// Index and count of the buckets that hold something, ascending.
    pub buckets: Vec<(i32, u64)>,
}

/// How fine it begins: a bucket ends 9 % above its beginning.
const FINEST: i32 = 3;

/// The coarsest schema that Prometheus knows.
const COARSEST: i32 = -4;

/// With more buckets than these, two become one.
const MAX_BUCKETS: usize = 160;

/// `2^(k/8) / 2` for `k` from 0 to 7: the upper bounds of the buckets between 0.5 and 1.
const HALF_TO_ONE: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_4,
    0.917_004_043_204_671_2,
];

impl Default for NativeHistogram {
    fn default() -> Self {
        Self { schema: FINEST, zero: 0, buckets: Vec::new() }
    }
}

impl NativeHistogram {
    /// What is no larger than this counts as zero. The value is the usual one of Prometheus'
    /// client libraries: 2^-128.
    pub const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

    /// Stands in for observations of which only the classic buckets are known: each at the upper
    /// bound of its bucket. What is added later is exact, and so is the difference to it.
    pub(super) fn of_classic(bounds: &[f64], counts: &[u64]) -> Self {
        let mut native = Self::default();
        let beyond = bounds.last().map_or(1.0, |last| last * 2.0);
        for (seconds, count) in bounds.iter().copied().chain([beyond]).zip(counts) {
            native.observe(seconds, *count);
        }
        native
    }

    /// Adds `count` observations of a number of seconds, which isn't negative.
    pub(super) fn observe(&mut self, seconds: f64, count: u64) {
        if count == 0 {
        } else if seconds <= Self::ZERO_THRESHOLD {
            self.zero = self.zero.saturating_add(count);
        } else {
            self.add(coarser(index(seconds), FINEST - self.schema), count);
            self.limit();
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.zero, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// What it is more than `other`, which it once was.
    pub(super) fn since(&self, other: &Self) -> Self {
        let (mut more, mut before) = (self.clone(), other.clone());
        more.reduce(before.schema);
        before.reduce(more.schema);
        more.zero = more.zero.saturating_sub(before.zero);
        for (index, count) in &mut more.buckets {
            if let Ok(at) = before.buckets.binary_search_by_key(index, |(index, _)| *index) {
                *count = count.saturating_sub(before.buckets[at].1);
            }
        }
        more.buckets.retain(|(_, count)| *count > 0);
        more
    }

    /// Adds what [`Self::since`] gave.
    pub(super) fn grow(&mut self, more: &Self) {
        let mut more = more.clone();
        self.reduce(more.schema);
        more.reduce(self.schema);
        self.zero = self.zero.saturating_add(more.zero);
        for (index, count) in more.buckets {
            self.add(index, count);
        }
        self.limit();
    }

    /// Whether this type can have made it, from `count` observations.
    pub(super) fn is_valid(&self, count: u64) -> bool {
        let ascends = self.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let filled = self.buckets.iter().all(|(_, count)| *count > 0);
        let fits = (COARSEST..=FINEST).contains(&self.schema) && self.buckets.len() <= MAX_BUCKETS;
        ascends && filled && fits && self.count() == count
    }

    fn add(&mut self, index: i32, count: u64) {
        match self.buckets.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Makes it so coarse, if it is finer.
    fn reduce(&mut self, schema: i32) {
        if schema >= self.schema {
            return;
        }
        let by = self.schema - schema;
        self.schema = schema;
        for (index, count) in std::mem::take(&mut self.buckets) {
            let index = coarser(index, by);
            match self.buckets.last_mut().filter(|last| last.0 == index) {
                Some(last) => last.1 = last.1.saturating_add(count),
                None => self.buckets.push((index, count)),
            }
        }
    }

    fn limit(&mut self) {
        while self.buckets.len() > MAX_BUCKETS && self.schema > COARSEST {
            self.reduce(self.schema - 1);
        }
    }
}

/// The bucket of the finest schema that a positive number falls into. No logarithm: it would put
/// numbers on a bound into the wrong bucket, now and then.
fn index(seconds: f64) -> i32 {
    const EXPONENT: u64 = 0x7ff << 52;
    let bits = seconds.min(f64::MAX).to_bits();
    let exponent = ((bits & EXPONENT) >> 52) as i32 - 1022;
    let fraction = f64::from_bits(bits & !EXPONENT | 1022 << 52);
    let within = HALF_TO_ONE.partition_point(|bound| *bound < fraction) as i32;
    (exponent - 1) * 8 + within
}

/// The bucket that contains this one in a schema that is coarser by `steps`.
fn coarser(index: i32, steps: i32) -> i32 {
    (index + (1 << steps) - 1) >> steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(seconds: &[f64]) -> NativeHistogram {
        let mut native = NativeHistogram::default();
        for seconds in seconds {
            native.observe(*seconds, 1);
        }
        native
    }

    /// The definition in Prometheus' protocol (`Histogram.schema` of `metrics.proto`): bounds grow
    /// by the factor `2^(2^-schema)`, and the bucket with index 0 ends at 1, which it includes.
    fn defined(seconds: f64, schema: i32) -> i32 {
        let bound = |index: i32| 2_f64.powf(f64::from(index) * 2_f64.powi(-schema));
        let index = (-2000..2000).find(|index| seconds <= bound(*index));
        index.expect("it lies within them")
    }

    /// A histogram with this schema that has observed one number.
    fn coarse(seconds: f64, schema: i32) -> NativeHistogram {
        let mut native = NativeHistogram { schema, ..NativeHistogram::default() };
        native.observe(seconds, 1);
        native
    }

    #[test]
    fn each_number_lies_in_the_bucket_that_prometheus_defines() {
        let powers = (-20..20).map(|power| 2_f64.powi(power));
        let off_the_bounds = [0.001, 0.3, 0.7, 1.01, 1.5, 3.0, 5.0, 59.9, 61.0, 86_399.0];
        for seconds in powers.chain(off_the_bounds) {
            for schema in COARSEST..=FINEST {
                let expected = [(defined(seconds, schema), 1)];
                assert_eq!(coarse(seconds, schema).buckets, expected, "{seconds} {schema}");
                let mut reduced = of(&[seconds]);
                reduced.reduce(schema);
                assert_eq!(reduced.buckets, expected, "{seconds} reduced to {schema}");
            }
        }
    }

    #[test]
    fn a_number_on_a_bound_belongs_to_the_bucket_below() {
        for (seconds, expected) in [
            (1.0, 0),
            (1.000_000_1, 1),
            (2.0, 8),
            (2.0_f64.powf(1.0 / 8.0), 1),
            (0.5, -8),
            (0.001, -79),
            (86_400.0, 132),
            (f64::INFINITY, 8192),
        ] {
            assert_eq!(index(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn what_is_not_above_the_threshold_counts_as_zero() {
        let threshold = NativeHistogram::ZERO_THRESHOLD;
        let native = of(&[0.0, 1e-40, threshold, threshold * 1.01]);
        assert_eq!((native.zero, native.buckets.len(), native.count()), (3, 1, 4));
        let mut nothing = of(&[1.0]);
        nothing.observe(0.0, 0);
        nothing.observe(2.0, 0);
        assert_eq!(nothing, of(&[1.0]));
    }

    #[test]
    fn the_161st_bucket_makes_two_of_all_buckets_one() {
        let mut native = NativeHistogram::default();
        let upper = |index: i32| 2_f64.powf((f64::from(index) - 0.5) / 8.0);
        for index in 1..=160 {
            native.observe(upper(index), 1);
        }
        assert_eq!((native.schema, native.buckets.len()), (3, 160));
        assert!(native.is_valid(160));
        native.observe(upper(161), 1);
        assert_eq!((native.schema, native.buckets.len()), (2, 81));
        assert_eq!((native.buckets[0], native.buckets[80]), ((1, 2), (81, 1)));
        assert!(native.is_valid(161));
    }

    #[test]
    fn no_more_than_160_buckets_are_kept_whatever_comes() {
        let mut native = NativeHistogram::default();
        for power in -300..300 {
            native.observe(10.0_f64.powi(power), 1);
        }
        assert!(native.buckets.len() <= 160 && native.schema < 3, "{native:?}");
        assert!(native.is_valid(600));
    }

    #[test]
    fn what_an_older_version_counted_stands_at_the_upper_bounds_of_its_buckets() {
        // What lies beyond the last bound stands at twice that bound.
        let old = NativeHistogram::of_classic(&[1.0, 3.0], &[3, 0, 1]);
        assert_eq!(old.buckets, [(0, 3), (defined(6.0, 3), 1)]);
        assert!(old.is_valid(4));
        assert_eq!(NativeHistogram::of_classic(&[], &[2]).buckets, [(0, 2)]);
    }

    #[test]
    fn differences_and_sums_are_of_each_bucket_in_the_coarser_schema() {
        let (mut whole, mut part) = (of(&[0.0, 0.0, 3.0, 3.0, 3.0, 5.0]), of(&[0.0, 3.0]));
        let rest = whole.since(&part);
        assert_eq!((rest.zero, &rest.buckets), (1, &of(&[3.0, 3.0, 5.0]).buckets));
        part.grow(&rest);
        assert_eq!(part, whole);
        whole.grow(&coarse(5.0, 0));
        let (three, five) = (defined(3.0, 0), defined(5.0, 0));
        assert_eq!((whole.schema, whole.zero), (0, 2));
        assert_eq!(whole.buckets, [(three, 3), (five, 2)]);
        let rest = of(&[3.0, 5.0, 5.0]).since(&coarse(5.0, 0));
        assert_eq!((rest.schema, rest.buckets), (0, vec![(three, 1), (five, 1)]));
    }

    #[test]
    fn what_no_histogram_can_hold_is_not_valid() {
        let good = of(&[1.0, 3.0]);
        assert!(good.is_valid(2) && !good.is_valid(3));
        let but = |change: fn(&mut NativeHistogram)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad
        };
        assert!(but(|coarse| coarse.schema = -4).is_valid(2));
        assert!(!but(|bad| bad.schema = 4).is_valid(2));
        assert!(!but(|bad| bad.schema = -5).is_valid(2));
        assert!(!but(|bad| bad.buckets.reverse()).is_valid(2));
        assert!(!but(|bad| bad.buckets[1].0 = bad.buckets[0].0).is_valid(2));
        assert!(!but(|bad| bad.buckets[0].1 = 0).is_valid(1));
        assert!(!but(|bad| bad.zero = u64::MAX).is_valid(2));
        let many = (0..161).map(|index| (index, 1)).collect();
        assert!(!NativeHistogram { buckets: many, ..good.clone() }.is_valid(161));
    }

    proptest! {
        #[test]
        fn each_number_lies_within_its_bucket(seconds in 0.001..1e9_f64) {
            let index = index(seconds);
            let bound = |index: i32| 2.0_f64.powf(f64::from(index) / 8.0);
            prop_assert!(bound(index - 1) < seconds * (1.0 + 1e-12));
            prop_assert!(seconds <= bound(index) * (1.0 + 1e-12));
        }

        #[test]
        fn the_rest_added_to_a_part_is_the_whole(
            part in proptest::collection::vec(1e-9..1e9_f64, 0..300),
            rest in proptest::collection::vec(1e-9..1e9_f64, 0..300),
        ) {
            let mut shown = of(&part);
            let mut whole = shown.clone();
            for seconds in &rest {
                whole.observe(*seconds, 1);
            }
            shown.grow(&whole.since(&of(&part)));
            prop_assert_eq!(&shown, &whole);
            prop_assert!(whole.is_valid((part.len() + rest.len()) as u64));
        }
    }
}
