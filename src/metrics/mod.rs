//! From the ledger's state to what Prometheus reads, in any of its formats, and what of it may be
//! shown. Uses `ledger` and `model`.

mod encoding;
mod exposition;
mod families;
mod format;
mod lines;
mod openmetrics;
mod own;
mod protobuf;
mod publishing;
mod rendering;
mod sample;
#[cfg(test)]
mod tests;
mod text;

pub use encoding::{Body, Encoding};
pub use exposition::{Exposition, Wanted};
pub use families::{FAMILIES, Family, Now};
pub use format::Format;
pub use publishing::Publishing;
pub use sample::Kind;
