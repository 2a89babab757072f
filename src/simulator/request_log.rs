use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// How many requests are remembered one by one where runs are generated.
const REMEMBERED: usize = 10_000;

/// The length of the window that the rate limit looks at.
const WINDOW_MS: i64 = 60_000;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiEndpoint {
    /// The list of workflows, or one workflow.
    Workflows,
    /// A workflow's list of runs.
    Runs,
    /// One run.
    Run,
}

impl ApiEndpoint {
    /// The endpoint that a path belongs to, whatever its ids are.
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["apps", _, "workflows"] | ["apps", _, "workflows", _] => Some(Self::Workflows),
            ["apps", _, "workflows", _, "runs"] => Some(Self::Runs),
            ["apps", _, "workflows", _, "runs", _] => Some(Self::Run),
            _ => None,
        }
    }
}

/// A request that the API saw. The control endpoints' own are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSeen {
    /// When it came, in epoch milliseconds.
    pub at_ms: i64,
    /// Its method.
    pub method: String,
    /// Its path as sent.
    pub path: String,
    /// Its query as sent, empty if there was none.
    pub query: String,
    /// What it was for; `None` if the API has no such endpoint.
    pub endpoint: Option<ApiEndpoint>,
    /// Whether it carried the right key.
    pub authorised: bool,
    /// The status of the answer; `None` if there is none, or not yet.
    pub status: Option<u16>,
}

/// Totals of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// All requests.
    pub total: u64,
    /// The most requests within any sliding minute, those refused included.
    pub highest_per_minute: usize,
    /// Answers by endpoint (`workflows`, `runs`, `run`, `other`) and status (`none` if there was no
    /// answer).
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The requests so far, and what they add up to.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    seen: VecDeque<RequestSeen>,
    taken: u64,
    forgetful: bool,
    recent: VecDeque<i64>,
    granted: VecDeque<i64>,
    counts: RequestCounts,
}

impl RequestLog {
    pub(super) fn new(forgetful: bool) -> Self {
        Self { forgetful, ..Self::default() }
    }

    /// Records a request; returns its number.
    pub(super) fn record(&mut self, request: RequestSeen) -> u64 {
        let now_ms = request.at_ms;
        let number = self.taken + self.seen.len() as u64;
        self.seen.push_back(request);
        if self.forgetful && self.seen.len() > REMEMBERED {
            self.seen.pop_front();
            self.taken += 1;
        }
        expire(&mut self.recent, now_ms);
        self.recent.push_back(now_ms);
        self.counts.total += 1;
        self.counts.highest_per_minute = self.counts.highest_per_minute.max(self.recent.len());
        number
    }

    /// Whether the limit leaves room for one more request in this minute; if so it is used.
    pub(super) fn grant(&mut self, now_ms: i64, limit: Option<u32>) -> bool {
        expire(&mut self.granted, now_ms);
        let room = limit.is_none_or(|limit| self.granted.len() < limit as usize);
        if room && limit.is_some() {
            self.granted.push_back(now_ms);
        }
        room
    }

    /// Records how the request with this number was answered.
    pub(super) fn answered(
        &mut self,
        number: u64,
        endpoint: Option<ApiEndpoint>,
        status: Option<u16>,
    ) {
        let index = number.checked_sub(self.taken);
        if let Some(seen) = index.and_then(|index| self.seen.get_mut(index as usize)) {
            seen.status = status;
        }
        let endpoint = match endpoint {
            Some(ApiEndpoint::Workflows) => "workflows",
            Some(ApiEndpoint::Runs) => "runs",
            Some(ApiEndpoint::Run) => "run",
            None => "other",
        };
        let status = status.map_or_else(|| "none".into(), |status| status.to_string());
        let answers = self.counts.answers.entry(endpoint.into()).or_default();
        *answers.entry(status).or_default() += 1;
    }

    pub(super) fn seen(&self) -> Vec<RequestSeen> {
        self.seen.iter().cloned().collect()
    }

    pub(super) fn take(&mut self) -> Vec<RequestSeen> {
        self.taken += self.seen.len() as u64;
        self.seen.drain(..).collect()
    }

    pub(super) fn counts(&self) -> RequestCounts {
        self.counts.clone()
    }
}

fn expire(times: &mut VecDeque<i64>, now_ms: i64) {
    while times.front().is_some_and(|&at| at <= now_ms - WINDOW_MS) {
        times.pop_front();
    }
}
