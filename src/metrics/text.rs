//! The text format 0.0.4, <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use super::{
    sample::{Head, Labels, MetricType, Sample},
    text_common::{escape, labels, number, series},
};

pub(super) fn head(out: &mut Vec<u8>, head: &Head<'_>) {
    let Head { name, help, kind } = head;
    let kind = match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
    };
    out.extend_from_slice(format!("# HELP {name} ").as_bytes());
    escape(out, help, false);
    out.extend_from_slice(format!("\n# TYPE {name} {kind}\n").as_bytes());
}

pub(super) fn sample(out: &mut Vec<u8>, name: &str, of: &Labels<'_>, sample: &Sample<'_>) {
    let labels = labels(of);
    let mut line = |suffix: &str, bound: Option<&[u8]>, value: f64| {
        series(out, [name, suffix], &labels, bound);
        number(out, value);
        out.push(b'\n');
    };
    match sample {
        Sample::Gauge(value) | Sample::Counter { value, .. } => line("", None, *value),
        Sample::Histogram(histogram) => {
            let mut bound = Vec::new();
            for bucket in histogram.buckets() {
                bound.clear();
                number(&mut bound, bucket.bound);
                line("_bucket", Some(&bound), bucket.cumulative as f64);
            }
            line("_sum", None, histogram.sum);
            line("_count", None, histogram.count() as f64);
        }
    }
}
