//! From the ledger's state to what Prometheus reads, in any of its formats, and what of it may be
//! shown. Uses `ledger` and `model`.

mod encoding;
mod exposition;
mod families;
mod format;
mod openmetrics;
mod protobuf;
mod release_gate;
mod sample;
mod self_metrics;
#[cfg(test)]
mod tests;
mod text;
mod text_common;

pub use encoding::{Body, Encoding};
pub use exposition::{Exposition, Negotiated};
pub use families::{FAMILIES, Family, Now, gauges_of};
pub use format::{ExpositionOptions, Format};
pub use release_gate::ReleaseGate;
pub use sample::MetricType;
