//! The only place that speaks to Cortex: requests, their retries and their rate, and the forms that
//! its answers take. Uses `config` and `model`.

mod client;
mod clock;
mod encoding;
mod error;
mod exchange;
mod keys;
mod metrics;
mod page;
mod rate_limiter;
mod retry;
mod validator;
mod wire;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::{ApiError, ServerMessage};
pub use exchange::Handler;
pub use metrics::ApiMetrics;
pub use page::{Answer, Page, PageRequest, Undecodable};
pub use rate_limiter::RateLimiter;
pub use retry::Backoff;
pub use validator::Validator;
