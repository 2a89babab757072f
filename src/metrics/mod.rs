//! From the ledger's state to the text that Prometheus reads, and what of it may be shown. Uses
//! `ledger` and `model`.

mod encoding;
mod exposition;
mod families;
mod publishing;

pub use encoding::Encoding;
pub use exposition::Exposition;
pub use families::{FAMILIES, Family, Now};
pub use publishing::Publishing;
