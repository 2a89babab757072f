//! An API that means harm.

use std::{
    convert::Infallible,
    io::{self, Write},
};

use axum::{Router, body::Body, http::header::CONTENT_ENCODING, response::IntoResponse};
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use tokio::net::TcpListener;

use super::assert_small;
use crate::support::{KEY, Process, get, scrape, wait_until};

/// Answers every request with this again and again, up to so many bytes.
async fn api(part: Vec<u8>, size: usize, encoding: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let part = bytes::Bytes::from(part);
    let router = Router::new().fallback(move || {
        let parts = size / part.len();
        let part = part.clone();
        async move {
            let parts = stream::iter((0..parts).map(move |_| Ok::<_, Infallible>(part.clone())));
            let body = Body::from_stream(parts);
            let headers = encoding.map(|encoding| [(CONTENT_ENCODING, encoding)]);
            match headers {
                Some(headers) => (headers, body).into_response(),
                None => body.into_response(),
            }
        }
    });
    tokio::spawn(async { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// An exporter that polls this API, and its URL.
async fn serve(api: &str) -> (Process, String) {
    let api = format!("--cortex.api-url={api}");
    let address = "--web.listen-address=127.0.0.1:0";
    let arguments = ["serve", &api, "--state.url=sqlite::memory:", address];
    let mut exporter = Process::spawn(&arguments, &[("CORTEX_API_KEY", KEY)]);
    let url = exporter.url().await;
    (exporter, url)
}

/// Polls this API, fails at it, and goes on.
async fn survives(api: &str, what: &str, reason: &str) {
    let (exporter, url) = serve(api).await;
    let failed = async || {
        let samples = scrape(&url).await;
        let polls = samples.sum("cortex_workflow_exporter_polls_total", &[("result", "failure")]);
        polls.is_some_and(|polls| polls > 0.0).then_some(samples)
    };
    let samples = wait_until(&format!("a poll fails: {what}"), failed, || exporter.log()).await;
    assert_eq!(samples.sum("cortex_workflow_exporter_up", &[]), Some(0.0), "{what}");
    let told = async || exporter.stderr().contains(reason).then_some(());
    wait_until(&format!("{reason:?} is told: {what}"), told, || exporter.log()).await;
    assert_eq!(get(&format!("{url}/-/healthy")).await.0, 200, "{what}");
    assert_small(&exporter, what);
}

const MEGABYTE: usize = 1 << 20;

/// What the exporter says of an answer that goes on and on.
const TOO_LARGE: &str = "larger than";

#[tokio::test]
async fn a_list_without_an_end() {
    let item = br#"[{"id":"work","name":"A workflow that is listed forever"},"#;
    let url = api(item.repeat(10_000), 1 << 30, None).await;
    survives(&url, "a list of 1 GiB", TOO_LARGE).await;
}

#[tokio::test]
async fn an_answer_as_deep_as_it_is_long() {
    for part in ["[", "{\"id\":"] {
        let url = api(part.repeat(MEGABYTE / part.len()).into_bytes(), 4 * MEGABYTE, None).await;
        survives(&url, &format!("4 MiB of {part}"), "not a list").await;
    }
}

#[tokio::test]
async fn a_list_of_millions_of_nothings() {
    let mut list = "[0".to_owned() + &",0".repeat(4 * MEGABYTE) + "]";
    list.push('\n');
    let size = list.len();
    let url = api(list.into_bytes(), size, None).await;
    let (exporter, url) = serve(&url).await;
    let told = async || {
        let samples = scrape(&url).await;
        let reason = [("reason", "undecodable_workflow")];
        let told = samples.sum("cortex_workflow_exporter_anomalies_total", &reason);
        told.is_some_and(|told| told > 0.0).then_some(())
    };
    wait_until("the nothings are told", told, || exporter.log()).await;
    assert_small(&exporter, "a list of 4 million numbers");
    let lines = exporter.stderr().lines().count();
    assert!(lines < 3000, "{lines} lines in the log");
}

#[tokio::test]
async fn a_gzip_bomb() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut io::Read::take(io::repeat(b' '), 100 << 20), &mut bomb).expect("memory takes it");
    bomb.flush().expect("memory takes it");
    let bomb = bomb.finish().expect("memory takes it");
    let size = bomb.len();
    assert!(size < MEGABYTE, "{size} bytes");
    let url = api(bomb, size, Some("gzip")).await;
    survives(&url, &format!("{size} bytes that unpack to 100 MiB"), TOO_LARGE).await;
}
