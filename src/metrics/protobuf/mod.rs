//! The format of delimited protocol buffers, in which alone Prometheus reads native histograms.

mod messages;

use prost::{Message, encoding};

use super::sample::{Distribution, Head, Labels, MetricType, Sample};
use crate::ledger::{self, NativeHistogram};
use messages::{
    ProtoBucket, ProtoBucketSpan, ProtoCounter, ProtoExemplar, ProtoGauge, ProtoHistogram,
    ProtoLabelPair, ProtoMetric, ProtoMetricFamily, ProtoMetricType, ProtoTimestamp,
};

/// The field of a family in which its metrics are.
const METRIC: u32 = 4;

/// The beginning of a family whose samples take `samples` bytes.
pub(super) fn head(out: &mut Vec<u8>, head: &Head<'_>, samples: usize) {
    let kind = match head.kind {
        MetricType::Counter => ProtoMetricType::Counter,
        MetricType::Gauge => ProtoMetricType::Gauge,
        MetricType::Histogram => ProtoMetricType::Histogram,
    };
    let family = ProtoMetricFamily {
        name: Some(head.name.into()),
        help: Some(head.help.into()),
        r#type: Some(kind.into()),
        metric: Vec::new(),
    };
    encoding::encode_varint((family.encoded_len() + samples) as u64, out);
    family.encode_raw(out);
}

/// One sample; `native` adds native buckets to histograms that have them.
pub(super) fn sample(out: &mut Vec<u8>, labels: &Labels<'_>, sample: &Sample<'_>, native: bool) {
    let label = labels.iter().map(|(name, value)| pair(name, value)).collect();
    let mut metric = ProtoMetric { label, ..ProtoMetric::default() };
    match sample {
        Sample::Gauge(value) => metric.gauge = Some(ProtoGauge { value: Some(*value) }),
        Sample::Counter { value, start_ms, exemplar: example } => {
            metric.counter = Some(ProtoCounter {
                value: Some(*value),
                exemplar: example.map(exemplar),
                created_timestamp: Some(timestamp(*start_ms)),
            });
        }
        Sample::Histogram(distribution) => {
            metric.histogram = Some(histogram(distribution, native));
        }
    }
    encoding::message::encode(METRIC, &metric, out);
}

fn histogram(distribution: &Distribution<'_>, native: bool) -> ProtoHistogram {
    let buckets = distribution.buckets().map(|bucket| ProtoBucket {
        cumulative_count: Some(bucket.cumulative),
        upper_bound: Some(bucket.bound),
        exemplar: bucket.exemplar.map(exemplar),
    });
    let mut histogram = ProtoHistogram {
        sample_count: Some(distribution.count()),
        sample_sum: Some(distribution.sum),
        bucket: buckets.collect(),
        created_timestamp: Some(timestamp(distribution.start_ms)),
        ..ProtoHistogram::default()
    };
    if let Some(native) = distribution.native.filter(|_| native) {
        histogram.schema = Some(native.schema);
        histogram.zero_threshold = Some(NativeHistogram::ZERO_THRESHOLD);
        histogram.zero_count = Some(native.zero);
        (histogram.positive_span, histogram.positive_delta) = spans(&native.buckets);
    }
    histogram
}

/// Runs of neighbouring buckets, and each bucket's count less that of the one before. Without any
/// bucket there is a span without length, which shows that the histogram is a native one.
fn spans(buckets: &[(i32, u64)]) -> (Vec<ProtoBucketSpan>, Vec<i64>) {
    let mut spans: Vec<ProtoBucketSpan> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut next, mut before) = (None, 0);
    for &(index, count) in buckets {
        if let Some(span) = spans.last_mut().filter(|_| next == Some(index)) {
            span.length = span.length.map(|length| length + 1);
        } else {
            let offset = Some(index - next.unwrap_or(0));
            spans.push(ProtoBucketSpan { offset, length: Some(1) });
        }
        next = Some(index + 1);
        deltas.push(count as i64 - before);
        before = count as i64;
    }
    if spans.is_empty() {
        spans.push(ProtoBucketSpan { offset: Some(0), length: Some(0) });
    }
    (spans, deltas)
}

fn exemplar(exemplar: &ledger::Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        label: vec![pair("run_id", exemplar.run.as_str())],
        value: Some(exemplar.value),
        timestamp: Some(timestamp(exemplar.ended_ms)),
    }
}

fn pair(name: &str, value: &str) -> ProtoLabelPair {
    ProtoLabelPair { name: Some(name.into()), value: Some(value.into()) }
}

fn timestamp(ms: i64) -> ProtoTimestamp {
    let nanos = ms.rem_euclid(1000) as i32 * 1_000_000;
    ProtoTimestamp { seconds: ms.div_euclid(1000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_buckets_are_one_span_and_counts_are_encoded_as_differences() {
        let (found, deltas) = spans(&[(-3, 5), (-2, 1), (4, 1), (5, 7)]);
        let found: Vec<_> = found.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(found, [(Some(-3), Some(2)), (Some(5), Some(2))]);
        assert_eq!(deltas, [5, -4, 0, 6]);
    }

    #[test]
    fn an_empty_native_histogram_has_a_span_of_nothing() {
        let (found, deltas) = spans(&[]);
        assert_eq!((found.len(), found[0].length, deltas.len()), (1, Some(0), 0));
    }

    #[test]
    fn a_moment_before_the_epoch_keeps_its_fraction_positive() {
        assert_eq!(timestamp(-1), ProtoTimestamp { seconds: -1, nanos: 999_000_000 });
    }
}
