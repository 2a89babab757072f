//! Serves the metrics, the health checks and an overview for people. Uses `config`, `metrics` and
//! `model`; what it shows comes through [`Endpoints`].

mod access_control;
mod connection;
mod connection_state;
mod connections;
mod guarded_body;
mod landing;
mod negotiate;
mod observed_reader;
mod page;
mod passwords;
mod router;
mod run_routes;
mod runs;
mod scrapes;
mod server;
mod tls;
mod token_bucket;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;

pub use access_control::AccessControl;
pub use landing::{AppView, Overview, WorkflowView};
pub use runs::{FindRuns, RunQuery, RunView};
pub use server::{BindError, Server};

use crate::metrics::{Body, Negotiated, ReleaseGate};

/// Where the metrics come from.
#[async_trait]
pub trait MetricsSource: Send + Sync {
    /// All families as they are now for this connection, and the version of the state in them.
    async fn scrape(self: Arc<Self>, connection: u64, negotiated: Negotiated) -> (Body, u64);

    /// The client on this connection has received a scrape that contains this version.
    fn received(&self, connection: u64, version: u64);

    /// This connection has ended; if it broke off, before its last answer was received.
    fn disconnected(&self, connection: u64, broke_off: bool);
}

#[async_trait]
impl MetricsSource for ReleaseGate {
    async fn scrape(self: Arc<Self>, connection: u64, negotiated: Negotiated) -> (Body, u64) {
        self.render(connection, negotiated).await
    }

    fn received(&self, connection: u64, version: u64) {
        self.completed(connection, version);
    }

    fn disconnected(&self, connection: u64, broke_off: bool) {
        self.left(connection, broke_off);
    }
}

/// Checks whether something is in order; the error says why it isn't.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Does something that takes a while; the error says why it failed.
pub type Action = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What there is to serve.
#[derive(Clone)]
pub struct Endpoints {
    /// For the telemetry path.
    pub metrics: Arc<dyn MetricsSource>,
    /// For the landing page.
    pub overview: Arc<dyn Fn() -> Overview + Send + Sync>,
    /// For the pages of runs.
    pub runs: FindRuns,
    /// Whether the first poll cycle has ended, for `/-/ready`.
    pub ready: Check,
    /// Whether the process and its poll loop live, for `/-/healthy`.
    pub healthy: Check,
    /// Reloads the configuration, for `POST /-/reload`.
    pub reload: Action,
}

/// A plain answer to people and scripts.
fn text(status: StatusCode, text: &str) -> Response {
    let kind = (CONTENT_TYPE, "text/plain; charset=utf-8");
    (status, [kind], text.to_owned()).into_response()
}

#[cfg(test)]
mod tests;
