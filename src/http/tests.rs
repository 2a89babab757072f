mod accept;
mod access_control;
mod handshake;
mod limits;
mod runs;
mod scrapes;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::{RESERVED_PATHS, Web, WebConfig},
    metrics::Encoding,
};

/// Long enough for anything that ends by itself; only a failing test waits for it.
const FOREVER: Duration = Duration::from_secs(60);

struct Text(&'static str);

#[async_trait]
impl MetricsSource for Text {
    async fn scrape(self: Arc<Self>, _: u64, wanted: Negotiated) -> (Body, u64) {
        let body = match wanted.encoding {
            Encoding::Identity => Bytes::from_static(self.0.as_bytes()),
            Encoding::Gzip => Bytes::from_static(b"zipped"),
        };
        (body.into(), 0)
    }

    fn received(&self, _: u64, _: u64) {}

    fn disconnected(&self, _: u64, _: bool) {}
}

/// Reports when it is asked, answers when it may.
struct Gate {
    asked: mpsc::UnboundedSender<()>,
    open: Semaphore,
}

impl Gate {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<()>) {
        let (asked, questions) = mpsc::unbounded_channel();
        let open = Semaphore::new(0);
        (Arc::new(Self { asked, open }), questions)
    }
}

#[async_trait]
impl MetricsSource for Gate {
    async fn scrape(self: Arc<Self>, _: u64, _: Negotiated) -> (Body, u64) {
        self.asked.send(()).expect("the test listens");
        let permit = self.open.acquire().await.expect("never closed");
        permit.forget();
        (Bytes::from_static(b"late\n").into(), 0)
    }

    fn received(&self, _: u64, _: u64) {}

    fn disconnected(&self, _: u64, _: bool) {}
}

/// Megabytes that no socket's buffers can take.
struct Flood;

#[async_trait]
impl MetricsSource for Flood {
    async fn scrape(self: Arc<Self>, _: u64, _: Negotiated) -> (Body, u64) {
        (Bytes::from(vec![b'x'; 64 << 20]).into(), 0)
    }

    fn received(&self, _: u64, _: u64) {}

    fn disconnected(&self, _: u64, _: bool) {}
}

fn endpoints(metrics: Arc<dyn MetricsSource>) -> Endpoints {
    Endpoints {
        metrics,
        overview: Arc::new(|| Overview {
            now_ms: 0,
            poll_interval: Duration::from_secs(30),
            stands_by: false,
            apps: Vec::new(),
            workflows: Vec::new(),
        }),
        runs: Arc::new(|_| Box::pin(async { Ok(Vec::new()) })),
        ready: Arc::new(|| Err("the first poll cycle has not ended".into())),
        healthy: Arc::new(|| Ok(())),
        reload: Arc::new(|| Box::pin(async { Ok(()) })),
    }
}

fn web(listen_addresses: Vec<SocketAddr>) -> Web {
    Web {
        listen_addresses,
        telemetry_path: "/metrics".into(),
        max_requests: 1,
        external_url: None,
        config: WebConfig::default(),
    }
}

struct TestServer {
    address: SocketAddr,
    stop: CancellationToken,
    end: JoinHandle<()>,
}

async fn site(endpoints: Endpoints, adapt: impl FnOnce(&mut Server)) -> TestServer {
    configured_site(WebConfig::default(), endpoints, adapt).await
}

async fn configured_site(
    config: WebConfig,
    endpoints: Endpoints,
    adapt: impl FnOnce(&mut Server),
) -> TestServer {
    let web = Web { config, ..web(vec![([127, 0, 0, 1], 0).into()]) };
    let mut server = Server::bind(&web).await.expect("a free port");
    adapt(&mut server);
    let address = server.addresses()[0];
    let stop = CancellationToken::new();
    let end = tokio::spawn(server.serve(endpoints, stop.clone(), FOREVER));
    TestServer { address, stop, end }
}

impl TestServer {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it reads");
        stream
    }

    /// The whole answer to a request, as it came.
    async fn ask(&self, line: &str, headers: &str) -> String {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        rest(&mut self.send(&request).await).await
    }
}

/// What comes until the other side closes; how it does so doesn't matter.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(FOREVER, reading).await;
    drop(read.expect("the connection is closed"));
    String::from_utf8(bytes).expect("text")
}

async fn one_answer(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = stream.read_u8().await.expect("more of the answer");
        text.push(byte.into());
    }
    text
}

async fn plain_site() -> TestServer {
    site(endpoints(Arc::new(Text("runs 1\n"))), |_| ()).await
}

fn assert_holds(answer: &str, parts: &[&str]) {
    for part in parts {
        assert!(answer.contains(part), "{part:?} is not in {answer:?}");
    }
}

#[tokio::test]
async fn the_metrics_are_plain_text_of_exact_length_or_gzip_if_asked() {
    let site = plain_site().await;
    let plain = site.ask("GET /metrics?x=y", "").await;
    assert_holds(
        &plain,
        &[
            "HTTP/1.1 200 OK\r\n",
            "content-type: text/plain; version=0.0.4; charset=utf-8\r\n",
            "content-length: 7\r\n",
            "vary: Accept, Accept-Encoding\r\n",
            "x-content-type-options: nosniff\r\n",
            "\r\n\r\nruns 1\n",
        ],
    );
    assert!(!plain.contains("content-encoding"), "{plain}");
    let zipped = site.ask("GET /metrics", "accept-encoding: gzip\r\n").await;
    assert_holds(&zipped, &["content-encoding: gzip", "content-length: 6", "\r\n\r\nzipped"]);
    let refused = site.ask("GET /metrics", "accept-encoding: gzip;q=0\r\n").await;
    assert_holds(&refused, &["\r\n\r\nruns 1\n"]);
}

#[tokio::test]
async fn head_tells_the_length_without_a_body() {
    let answer = plain_site().await.ask("HEAD /metrics", "").await;
    assert_holds(&answer, &["200 OK", "content-length: 7\r\n"]);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_are_404_with_a_hint_and_other_methods_405_with_the_right_ones() {
    let site = plain_site().await;
    let nowhere = site.ask("GET /metric", "").await;
    assert_holds(&nowhere, &["404 Not Found", "the metrics are at /metrics"]);
    for (line, allowed) in [
        ("POST /metrics", "allow: GET,HEAD\r\n"),
        ("DELETE /", "allow: GET,HEAD\r\n"),
        ("PUT /-/healthy", "allow: GET,HEAD\r\n"),
        ("GET /-/reload", "allow: POST\r\n"),
    ] {
        let answer = site.ask(line, "").await;
        assert_holds(&answer, &["405 Method Not Allowed", allowed]);
    }
}

#[tokio::test]
async fn every_reserved_path_is_a_page() {
    let site = plain_site().await;
    for path in RESERVED_PATHS {
        let method = if path == "/-/reload" { "POST" } else { "GET" };
        let answer = site.ask(&format!("{method} {path}"), "").await;
        let refused = ["HTTP/1.1 404", "HTTP/1.1 405"];
        assert!(!refused.iter().any(|status| answer.starts_with(status)), "{answer}");
    }
}

#[tokio::test]
async fn health_and_readiness_are_reported_with_their_reason() {
    let site = plain_site().await;
    for path in ["/-/healthy", "/healthz", "/livez"] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        assert_holds(&answer, &["200 OK", "\r\n\r\nhealthy\n"]);
    }
    for path in ["/-/ready", "/readyz"] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        let why = "not ready: the first poll cycle has not ended\n";
        assert_holds(&answer, &["503 Service Unavailable", why]);
    }
}

#[tokio::test]
async fn reload_is_a_post_whose_failure_is_explained() {
    let site_that_reloads = plain_site().await;
    let answer = site_that_reloads.ask("POST /-/reload", "").await;
    assert_holds(&answer, &["200 OK", "reloaded\n"]);
    let mut endpoints = endpoints(Arc::new(Text("")));
    endpoints.reload = Arc::new(|| Box::pin(async { Err("line 3 is odd".into()) }));
    let answer = site(endpoints, |_| ()).await.ask("POST /-/reload", "").await;
    assert_holds(&answer, &["500 Internal Server Error", "line 3 is odd\n"]);
}

#[tokio::test]
async fn the_landing_page_is_html_that_may_load_nothing() {
    let answer = plain_site().await.ask("GET /", "").await;
    assert_holds(
        &answer,
        &[
            "content-type: text/html; charset=utf-8\r\n",
            "content-security-policy: default-src 'none'; style-src 'nonce-",
            "cache-control: no-store\r\n",
            "<!DOCTYPE html>",
        ],
    );
}
