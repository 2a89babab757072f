//! The only place that speaks to Cortex: requests, their retries and their budget, and the forms
//! that its answers take. Uses `config` and `model`.

mod client;
mod error;
mod exchange;
mod metrics;
mod rate_limiter;
mod retry;
mod wire;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::{ApiError, ServerMessage};
pub use exchange::Handler;
pub use metrics::ApiMetrics;
pub use rate_limiter::RateLimiter;
pub use retry::Backoff;

/// Which part of a list to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The page; the first is 1.
    pub number: u32,
    /// How many items a page has.
    pub take: u32,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What could be decoded, in the API's order.
    pub items: Vec<T>,
    /// How many items the answer had, undecodable ones included.
    pub listed: usize,
    /// What couldn't be decoded. Of an absurd number, only the first thousand.
    pub undecodable: Vec<Undecodable>,
    /// How many bytes the answer had, decompressed.
    pub bytes: usize,
    /// How many items the whole list has (`pagination-count`), if told.
    pub total: Option<u64>,
    /// How many items a page really has (`pagination-take`), if told.
    pub take: Option<u32>,
    /// When it was asked for, in milliseconds by the API's clock: whatever the API knew by then is
    /// in it.
    pub read_at_ms: i64,
}

/// An item that is not what its list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Stays the same from one reading to the next while this process lives: of the item's id if
    /// that can be read, else of its whole text.
    pub key: u64,
    /// Its id, if that can be read, made safe to show.
    pub id: Option<String>,
    /// What is wrong with it, without any of its data.
    pub reason: String,
}
