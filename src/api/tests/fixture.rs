use std::{sync::Arc, time::Duration};

use prometheus::{Encoder, Registry, TextEncoder};

use super::stub_server::{Reply, StubServer, answer};
use crate::{
    api::{Answer, ApiError, ApiMetrics, Backoff, Client, Page, PageRequest, RateLimiter},
    config::{ApiKey, Cortex},
    model::{AppId, Clock, ErrorClasses, Run, RunId, WorkflowId},
};

pub(super) const KEY: &str = "sk-very-secret";
pub(super) const PAGE: PageRequest = PageRequest { number: 2, take: 50 };
pub(super) const RUN: &[u8] = br#"{"id":"run_1","status":"RUNNING"}"#;
/// 2026-01-02T03:04:05.500Z
pub(super) const NOW_MS: i64 = 1_767_323_045_500;

struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

/// A client of a server that gives these replies.
pub(super) struct Fixture {
    pub(super) client: Client,
    pub(super) server: StubServer,
    pub(super) rate_limiter: Arc<RateLimiter>,
    registry: Registry,
}

fn settings(server: &StubServer) -> Cortex {
    Cortex {
        api_url: format!("http://{}", server.address).parse().expect("a URL"),
        app_id: AppId::new("c").expect("an id"),
        api_key: ApiKey::Value(KEY.into()),
        timeout: Duration::from_secs(30),
        page_size: 100,
        verbose: false,
        error_classes: ErrorClasses::default(),
    }
}

impl Fixture {
    pub(super) async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(replies, |_| {}).await
    }

    pub(super) async fn with(
        replies: impl IntoIterator<Item = Reply>,
        change: impl FnOnce(&mut Cortex),
    ) -> Self {
        let server = StubServer::start(replies).await;
        let mut settings = settings(&server);
        change(&mut settings);
        let quick = Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) };
        let rate_limiter = Arc::new(RateLimiter::with_backoff(1_000_000, quick));
        let registry = Registry::new();
        let metrics = ApiMetrics::new(&registry).expect("a new registry");
        let (shared, clock) = (Arc::clone(&rate_limiter), Arc::new(FixedClock));
        let client =
            Client::new(&settings, shared, metrics, clock).expect("settings that can be used");
        Self { client, server, rate_limiter, registry }
    }

    pub(super) async fn runs(&self) -> Result<Option<Page<Run>>, ApiError> {
        self.client.runs(&workflow(), PAGE, None).await.map(|answer| answer.map(changed))
    }

    /// What went wrong, asked so often; its texts are searched for the key.
    pub(super) async fn failure(&self, requests: usize) -> ApiError {
        let error = self.runs().await.expect_err("a failure");
        assert!(!format!("{error} {error:?} {error:#?}").contains(KEY), "{error:?}");
        assert_eq!(self.server.requests().len(), requests, "{error}");
        error
    }

    fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a Vec takes everything");
        let text = String::from_utf8(text).expect("metrics are text");
        text.replace("cortex_workflow_exporter_api_", "")
    }

    pub(super) fn assert_metrics(&self, lines: &[&str]) {
        let metrics = self.metrics();
        for line in lines {
            assert!(metrics.lines().any(|other| other == *line), "{line} in\n{metrics}");
        }
    }
}

pub(super) fn workflow() -> WorkflowId {
    WorkflowId::new("work_1").expect("an id")
}

pub(super) fn run() -> RunId {
    RunId::new("run_1").expect("an id")
}

pub(super) fn empty_list() -> Reply {
    answer("200 OK", &[], b"[]")
}

/// What an answer to an unconditional request has.
pub(super) fn changed<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Changed(page) => page,
        Answer::Unchanged { .. } => panic!("nobody said what is known"),
    }
}
