use std::{collections::BTreeMap, time::Duration};

use super::request_log::ApiEndpoint;

/// A way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answer with this status and an error body, and maybe a `Retry-After`.
    Status {
        /// The HTTP status.
        code: u16,
        /// The value of `Retry-After`: seconds or an HTTP date.
        retry_after: Option<String>,
    },
    /// Answer 200 with this body.
    Body {
        /// The value of `Content-Type`.
        content_type: String,
        /// The whole body.
        text: String,
    },
    /// Answer properly, but close the connection after half of the body.
    Truncate,
    /// Don't answer until the faults are cleared, then answer properly.
    Hang,
    /// Close the connection without an answer. ([`super::Simulator::router`] alone can't; there an
    /// answer begins and breaks off.)
    Disconnect,
    /// Redirect to this URL.
    Redirect(String),
    /// Answer 200 with this many bytes of JSON.
    Huge(u64),
    /// Answer properly, but late.
    Delay(Duration),
}

impl Fault {
    /// Answer with this status.
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None }
    }

    /// 429 with this `Retry-After`.
    pub fn throttled(retry_after: &str) -> Self {
        Self::Status { code: 429, retry_after: Some(retry_after.into()) }
    }

    /// Answer 200 with an HTML page, as a proxy does.
    pub fn html() -> Self {
        Self::Body {
            content_type: "text/html; charset=utf-8".into(),
            text: "<!doctype html><title>Welcome</title><p>Please log in.".into(),
        }
    }

    /// Answer 200 with a body that claims to be JSON and isn't.
    pub fn not_json() -> Self {
        Self::Body { content_type: "application/json".into(), text: "[{\"id\": oops".into() }
    }
}

/// When to misbehave, and how: always, unless narrowed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    endpoint: Option<ApiEndpoint>,
    containing: Option<String>,
    times: Option<u32>,
}

impl Rule {
    /// Misbehave so at every request until the faults are cleared.
    pub fn new(fault: Fault) -> Self {
        Self { fault, endpoint: None, containing: None, times: None }
    }

    /// At this endpoint only.
    #[must_use]
    pub fn on(mut self, endpoint: ApiEndpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Only when this is part of the path and query, such as a workflow's id or `page=2`.
    #[must_use]
    pub fn containing(mut self, part: &str) -> Self {
        self.containing = Some(part.into());
        self
    }

    /// At this number of requests only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn applies(&self, endpoint: Option<ApiEndpoint>, path_and_query: &str) -> bool {
        let here = self.endpoint.is_none() || self.endpoint == endpoint;
        let part = self.containing.as_deref().unwrap_or_default();
        here && path_and_query.contains(part)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(super) struct ActiveFaults {
    rules: BTreeMap<u64, Rule>,
    added: u64,
    outage_until_ms: Option<i64>,
}

impl ActiveFaults {
    pub(super) fn add(&mut self, rule: Rule) {
        self.added += 1;
        self.rules.insert(self.added, rule);
    }

    pub(super) fn outage(&mut self, until_ms: i64) {
        self.outage_until_ms = Some(until_ms);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.outage_until_ms = None;
    }

    /// How to misbehave at this request: as an outage does, else as the oldest rule that applies.
    pub(super) fn take(
        &mut self,
        now_ms: i64,
        endpoint: Option<ApiEndpoint>,
        path_and_query: &str,
    ) -> Option<Fault> {
        if self.outage_until_ms.is_some_and(|until| now_ms < until) {
            return Some(Fault::status(503));
        }
        let mut rules = self.rules.iter_mut();
        let (&number, rule) = rules.find(|(_, rule)| rule.applies(endpoint, path_and_query))?;
        let fault = rule.fault.clone();
        if let Some(times) = &mut rule.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.rules.remove(&number);
            }
        }
        Some(fault)
    }
}
