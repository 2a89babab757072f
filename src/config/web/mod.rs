//! The web configuration file: who may connect, and how. Its format is that of Prometheus'
//! exporter-toolkit, so that one file does for all exporters of a machine.

mod client;
mod config;
mod keys;
mod load;
mod loader;
mod tls;
mod tls_section;
mod users;

pub use config::{RateLimit, WebConfig};
pub use keys::{WEB_CONFIG_KEYS, WebKey};
pub use users::Users;

#[cfg(test)]
mod tests;
