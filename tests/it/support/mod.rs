//! What the tests share.

mod alertmanager;
mod api;
mod config_file;
pub(crate) mod documents;
mod postgres;
mod process;
mod prometheus;
pub(crate) mod promql;
mod proxy;
mod python;
mod scrape;
mod tool;
mod wait;

pub(crate) use alertmanager::{Alertmanager, Receiver};
pub(crate) use api::{Api, KEY};
pub(crate) use config_file::ConfigFile;
pub(crate) use postgres::Postgres;
pub(crate) use process::{Process, ledger_url, run};
pub(crate) use prometheus::{History, Prometheus};
pub(crate) use proxy::Proxy;
pub(crate) use python::python;
pub(crate) use scrape::{Samples, Series, parse, scrape};
pub(crate) use tool::{newest_prometheus, report_missing, tool, victoria_metrics};
pub(crate) use wait::wait_until;

/// An address on loopback that is free now, for a program that can't report which port it chose.
pub(crate) fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("loopback has a free port")
}

/// A client that talks to loopback only, and never follows a redirect.
pub(crate) fn client() -> reqwest::Client {
    // The process of the tests uses TLS nowhere, but the client insists on one implementation.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().expect("a plain client can be built")
}

/// GETs a page; the status and the body.
pub(crate) async fn get(url: &str) -> (u16, String) {
    let answer = client().get(url).send().await;
    let answer = answer.unwrap_or_else(|error| panic!("{url} does not answer: {error}"));
    let status = answer.status().as_u16();
    let body = answer.text().await;
    (status, body.expect("an answer is complete"))
}
