use std::sync::Arc;

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

/// How a format is written.
#[derive(Clone, Debug)]
pub(super) struct Formatter {
    pub(super) format: Format,
    /// Whether OpenMetrics has start times as samples of their own.
    pub(super) created_lines: bool,
    /// What every series has besides its own labels.
    pub(super) labels: Arc<[(String, String)]>,
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
        let labels = if self.labels.is_empty() {
            labels
        } else {
            let more = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            all = labels.iter().copied().chain(more).collect();
            &all
        };
        match self.format {
            Format::Text => text::sample(out, head.name, labels, sample),
            Format::OpenMetrics => {
                openmetrics::sample(out, head, labels, sample, self.created_lines);
            }
            Format::Protobuf => protobuf::sample(out, labels, sample),
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
