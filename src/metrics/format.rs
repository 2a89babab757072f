use std::{collections::BTreeMap, sync::Arc};

use super::{
    openmetrics, protobuf,
    sample::{Head, Labels, Sample},
    text,
};

/// A format in which Prometheus reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4, for everybody.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Delimited messages, with exemplars, start times and native histograms.
    Protobuf,
}

impl Format {
    /// All of them, the plainest first.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// How HTTP names it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// What an exposition may have or not.
#[derive(Clone, Debug, Default)]
pub struct ExpositionOptions {
    /// Whether OpenMetrics has start times as samples of their own.
    pub created_lines: bool,
    /// Whether protocol buffers have native buckets besides the classic ones. Without them nothing
    /// says that a histogram is native, so that Prometheus keeps its classic buckets.
    pub native_histograms: bool,
    /// Labels that every series has besides its own, by name. No family may have one of them.
    pub labels: BTreeMap<String, String>,
}

/// Writes a format.
pub(super) struct Formatter {
    pub(super) format: Format,
    pub(super) options: Arc<ExpositionOptions>,
}

impl Formatter {
    /// The beginning of a family whose samples take `samples` bytes.
    pub(super) fn head(&self, out: &mut Vec<u8>, head: &Head<'_>, samples: usize) {
        match self.format {
            Format::Text => text::head(out, head),
            Format::OpenMetrics => openmetrics::head(out, head),
            Format::Protobuf => protobuf::head(out, head, samples),
        }
    }

    /// One sample of a family.
    pub(super) fn sample(
        &self,
        out: &mut Vec<u8>,
        head: &Head<'_>,
        labels: &Labels<'_>,
        sample: &Sample<'_>,
    ) {
        let all: Vec<_>;
        let labels = if self.options.labels.is_empty() {
            labels
        } else {
            let more =
                self.options.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            all = labels.iter().copied().chain(more).collect();
            &all
        };
        match self.format {
            Format::Text => text::sample(out, head.name, labels, sample),
            Format::OpenMetrics => {
                openmetrics::sample(out, head, labels, sample, self.options.created_lines);
            }
            Format::Protobuf => {
                protobuf::sample(out, labels, sample, self.options.native_histograms);
            }
        }
    }

    /// With what an exposition ends.
    pub(super) const fn end(&self) -> &'static [u8] {
        match self.format {
            Format::OpenMetrics => openmetrics::END,
            Format::Text | Format::Protobuf => b"",
        }
    }
}
