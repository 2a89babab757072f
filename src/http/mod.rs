//! Serves the metrics, the health checks and an overview for people. Uses `config`, `metrics` and `model`; what it shows
//! comes through [`Endpoints`].

mod access_control;
mod bucket;
mod connection;
mod crowd;
mod frames;
mod held;
mod landing;
mod negotiate;
mod passwords;
mod pieces;
mod progress;
mod router;
mod scrapes;
mod server;
mod tls;
mod watched;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

pub use access_control::AccessControl;
pub use landing::{AppView, Overview, WorkflowView};
pub use server::{BindError, Server};

use crate::metrics::{Body, Negotiated};

/// Gives the metrics as they are now.
#[async_trait]
pub trait Exposition: Send + Sync {
    /// All families as the client on this connection wishes, and a number that tells what was in it.
    async fn render(&self, client: u64, wanted: Negotiated) -> (Body, u64);

    /// The client on this connection has received all of what had this number.
    fn completed(&self, client: u64, number: u64);

    /// This connection has ended; if it broke off, before an exposition was received.
    fn left(&self, client: u64, broke_off: bool);
}

/// Answers whether something is in order; the error says why it isn't.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Does something that takes a while; the error says why it could not be done.
pub type Action = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What there is to serve.
#[derive(Clone)]
pub struct Endpoints {
    /// For the telemetry path.
    pub exposition: Arc<dyn Exposition>,
    /// For the landing page.
    pub overview: Arc<dyn Fn() -> Overview + Send + Sync>,
    /// Whether the first poll cycle has ended, for `/-/ready`.
    pub ready: Check,
    /// Whether the process and its poll loop live, for `/-/healthy`.
    pub healthy: Check,
    /// Reads the configuration anew, for `POST /-/reload`.
    pub reload: Action,
}

#[cfg(test)]
mod tests;
