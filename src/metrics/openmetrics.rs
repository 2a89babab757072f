//! The text format OpenMetrics 1.0, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::io::Write;

use super::{
    sample::{Head, Labels, MetricType, Sample, seconds},
    text_common::{escape, labels, number, series},
};
use crate::ledger::Exemplar;

/// With what every exposition ends.
pub(super) const END: &[u8] = b"# EOF\n";

pub(super) fn head(out: &mut Vec<u8>, head: &Head<'_>) {
    let (name, kind) = named(head);
    out.extend_from_slice(format!("# TYPE {name} {kind}\n# HELP {name} ").as_bytes());
    escape(out, head.help, true);
    out.push(b'\n');
}

/// A family's name, without the ending that its samples get, and its type.
fn named<'a>(head: &Head<'a>) -> (&'a str, &'static str) {
    match head.kind {
        MetricType::Counter => (head.name.strip_suffix("_total").unwrap_or(head.name), "counter"),
        MetricType::Gauge => (head.name, "gauge"),
        MetricType::Histogram => (head.name, "histogram"),
    }
}

/// `created` adds the start times as samples of their own.
pub(super) fn sample(
    out: &mut Vec<u8>,
    head: &Head<'_>,
    of: &Labels<'_>,
    sample: &Sample<'_>,
    created: bool,
) {
    let labels = labels(of);
    let (stem, _) = named(head);
    let mut line = |name, bound: Option<&[u8]>, value, exemplar| {
        series(out, name, &labels, bound);
        number(out, value);
        write_exemplar(out, exemplar);
        out.push(b'\n');
    };
    match sample {
        Sample::Gauge(value) => line([head.name, ""], None, *value, None),
        Sample::Counter { value, start_ms, exemplar } => {
            line([head.name, ""], None, *value, *exemplar);
            if created {
                line([stem, "_created"], None, seconds(*start_ms), None);
            }
        }
        Sample::Histogram(histogram) => {
            let mut bound = Vec::new();
            for bucket in histogram.buckets() {
                bound.clear();
                write_bound(&mut bound, bucket.bound);
                let value = bucket.cumulative as f64;
                line([stem, "_bucket"], Some(&bound), value, bucket.exemplar);
            }
            line([stem, "_sum"], None, histogram.sum, None);
            line([stem, "_count"], None, histogram.count() as f64, None);
            if created {
                line([stem, "_created"], None, seconds(histogram.start_ms), None);
            }
        }
    }
}

/// Always recognisable as a number with a fraction: `1.0`.
fn write_bound(out: &mut Vec<u8>, bound: f64) {
    if bound.is_finite() {
        write!(out, "{bound:?}").expect("memory takes everything");
    } else {
        number(out, bound);
    }
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: Option<&Exemplar>) {
    if let Some(exemplar) = exemplar {
        out.extend_from_slice(b" # {");
        out.extend(labels(&[("run_id", exemplar.run.as_str())]));
        out.extend_from_slice(b"} ");
        number(out, exemplar.value);
        out.push(b' ');
        number(out, seconds(exemplar.ended_ms));
    }
}
