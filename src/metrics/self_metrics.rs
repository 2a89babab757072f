//! The families of a registry: the exporter's own and those of its process.

use prometheus::proto::{self, Bucket, Metric, MetricFamily};

use super::sample::{Distribution, Head, MetricType, Sample, Sink};

pub(super) fn head(family: &MetricFamily) -> Head<'_> {
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER => MetricType::Counter,
        proto::MetricType::HISTOGRAM => MetricType::Histogram,
        proto::MetricType::GAUGE | proto::MetricType::SUMMARY | proto::MetricType::UNTYPED => {
            MetricType::Gauge
        }
    };
    Head { name: family.name(), help: family.help(), kind }
}

/// Hands out a family's samples. Its counters began with the process.
pub(super) fn samples(family: &MetricFamily, start_ms: i64, sink: &mut Sink<'_>) {
    let kind = head(family).kind;
    for metric in family.get_metric() {
        sample(kind, metric, start_ms, sink);
    }
}

fn sample(kind: MetricType, metric: &Metric, start_ms: i64, sink: &mut Sink<'_>) {
    let labels: Vec<_> =
        metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
    match kind {
        MetricType::Gauge => sink(&labels, &Sample::Gauge(metric.get_gauge().get_value())),
        MetricType::Counter => {
            let value = metric.get_counter().get_value();
            sink(&labels, &Sample::Counter { value, start_ms, exemplar: None });
        }
        MetricType::Histogram => {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket();
            let bounds: Vec<_> = buckets.iter().map(Bucket::upper_bound).collect();
            let total = histogram.get_sample_count();
            let cumulative = buckets.iter().map(Bucket::cumulative_count);
            let counts: Vec<_> = cumulative
                .chain([total])
                .scan(0, |before, now| Some(now - std::mem::replace(before, now)))
                .collect();
            let distribution = Distribution {
                bounds: &bounds,
                counts: &counts,
                sum: histogram.get_sample_sum(),
                native: None,
                start_ms,
                exemplars: &[],
            };
            sink(&labels, &Sample::Histogram(distribution));
        }
    }
}
