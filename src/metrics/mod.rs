//! From the ledger's state to the text that Prometheus reads. Uses the ledger's state and `model`.

mod encoding;
mod exposition;
mod families;

pub use encoding::Encoding;
pub use exposition::Exposition;
pub use families::{FAMILIES, Family, Now};
