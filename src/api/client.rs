use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use reqwest::{
    StatusCode, Url,
    header::{AGE, DATE, HeaderValue},
};
use tokio::time::Instant;

use super::{
    clock::{ApiClock, Moment},
    error::{ApiError, ServerMessage},
    exchange::{self, Handler, RawAnswer, Transport},
    keys::ApiKeys,
    metrics::{ApiMetrics, RequestKind},
    page::{Answer, Page, PageRequest, Undecodable},
    rate_limiter::RateLimiter,
    retry,
    validator::Validator,
    wire::{self, DecodeRules, DecodedList, WireItem},
};
use crate::{
    config,
    model::{AppId, Clock, DAY_MS, ReadAt, Run, RunId, Status, Workflow, WorkflowId},
};

/// Reads one app's workflows and runs. Clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    settings: config::Cortex,
    keys: RwLock<ApiKeys>,
    rate_limiter: Arc<RateLimiter>,
    metrics: ApiMetrics,
    clock: Arc<dyn Clock>,
    api_clock: Mutex<ApiClock>,
    /// When a request was last answered or failed, by the clock that nobody sets.
    heard_ms: AtomicI64,
}

/// An answer that can be used, and when it was asked for.
struct Read {
    answer: RawAnswer,
    at: ReadAt,
}

impl Client {
    /// Sets a client up. Reads the key, so that a bad one is reported at once; sends nothing.
    /// `rate_limiter` is the one that all clients of the process share.
    pub fn new(
        settings: &config::Cortex,
        rate_limiter: Arc<RateLimiter>,
        metrics: ApiMetrics,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ApiError> {
        Self::over(Transport::network(settings)?, settings, rate_limiter, metrics, clock)
    }

    /// A client whose requests this answers, rather than a server.
    pub fn in_process(
        answer: Handler,
        settings: &config::Cortex,
        rate_limiter: Arc<RateLimiter>,
        metrics: ApiMetrics,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ApiError> {
        Self::over(Transport::InProcess(answer), settings, rate_limiter, metrics, clock)
    }

    fn over(
        transport: Transport,
        settings: &config::Cortex,
        rate_limiter: Arc<RateLimiter>,
        metrics: ApiMetrics,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ApiError> {
        let key = settings.api_key.read()?;
        if settings.api_url.cannot_be_a_base() {
            let text = format!("{} cannot be the base of an address", settings.api_url);
            return Err(ApiError::Setup(text));
        }
        metrics.set_rate_limit(rate_limiter.limit());
        Ok(Self(Arc::new(Inner {
            transport,
            settings: settings.clone(),
            keys: RwLock::new(ApiKeys::new(key)),
            rate_limiter,
            metrics,
            heard_ms: AtomicI64::new(clock.steady_ms()),
            api_clock: Mutex::new(ApiClock::new(Moment::now(&clock))),
            clock,
        })))
    }

    /// Reads the key again and returns whether it changed. If there is no usable one now, the one
    /// before stays in use.
    pub fn refresh_key(&self) -> Result<bool, config::ApiKeyError> {
        let key = self.0.settings.api_key.read()?;
        Ok(self.0.keys.write().replace(key))
    }

    /// Reads a page of the list of workflows, unless it is still the known one.
    pub async fn workflows(
        &self,
        page: PageRequest,
        known: Option<&Validator>,
    ) -> Result<Answer<Page<Workflow>>, ApiError> {
        let url = self.0.page_url(&[], page);
        self.0.page_if_changed(RequestKind::Workflows, url, known).await
    }

    /// Reads a page of a workflow's runs, unless it is still the known one. `None`: the workflow is
    /// gone.
    pub async fn runs(
        &self,
        workflow: &WorkflowId,
        page: PageRequest,
        known: Option<&Validator>,
    ) -> Result<Option<Answer<Page<Run>>>, ApiError> {
        let url = self.0.page_url(&[workflow.as_str(), "runs"], page);
        none_if_gone(self.0.page_if_changed(RequestKind::Runs, url, known).await)
    }

    /// Reads a page of a workflow's runs with one status. `None`: the workflow is gone.
    pub async fn runs_with(
        &self,
        workflow: &WorkflowId,
        status: &Status,
        page: PageRequest,
    ) -> Result<Option<Page<Run>>, ApiError> {
        let mut url = self.0.page_url(&[workflow.as_str(), "runs"], page);
        url.query_pairs_mut().append_pair("status", status.as_str());
        let decode = |read: &Read| self.0.page(read, read.answer.validator());
        none_if_gone(self.0.request(RequestKind::Runs, url, None, decode).await)
    }

    /// Reads one run. `None`: it is gone.
    pub async fn run(&self, workflow: &WorkflowId, run: &RunId) -> Result<Option<Run>, ApiError> {
        let url = self.0.url(&[workflow.as_str(), "runs", run.as_str()]);
        let decode = |read: &Read| self.0.the_run(run, read);
        let read = none_if_gone(self.0.request(RequestKind::Run, url, None, decode).await);
        read.map_err(|error| match error {
            ApiError::TooLarge { .. } => {
                let id = Some(run.as_str());
                ApiError::Undecodable(Undecodable::new(id, "", "it is too large to be read"))
            }
            error => error,
        })
    }

    /// The app that it asks for, as it is called in requests.
    pub fn app_id(&self) -> &AppId {
        &self.0.settings.app_id
    }

    /// The rate limiter that all clients of the process share.
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.0.rate_limiter
    }

    /// When a request was last answered or failed, by [`Clock::steady_ms`].
    pub fn last_heard_ms(&self) -> i64 {
        self.0.heard_ms.load(Relaxed)
    }

    /// The maximum time from one such moment to the next while this number of requests is under way.
    pub fn longest_silence(&self, concurrent: u32) -> Duration {
        self.0.settings.timeout + self.0.rate_limiter.longest_wait(concurrent)
    }

    /// Now, by the API's clock and the local one.
    pub fn now(&self) -> ReadAt {
        self.0.api_clock.lock().at(Moment::now(&self.0.clock))
    }

    /// How far the API's clock is at least ahead of the local one; negative if it is behind.
    /// `None` until an answer had a `Date`.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.0.api_clock.lock().skew_ms(Moment::now(&self.0.clock))
    }
}

fn none_if_gone<T>(outcome: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match outcome {
        Ok(read) => Ok(Some(read)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Inner {
    /// Sends a GET until there is an answer that `decode` accepts, or no sense in asking again:
    ///
    /// - 5xx, no connection or a broken one, no answer in time, a body that is cut off or isn't
    ///   what was asked for: up to three retries, after half a second, a second, two seconds, less
    ///   up to half of it by chance.
    /// - 429, or another 4xx than 401 and 404 that asks to wait: up to three retries, after a pause.
    /// - Anything else, above all 401, 403, 404, redirects and answers that are too large: none.
    ///
    /// Whatever the status, an answer with `Retry-After` makes all clients of the process pause for
    /// as long as it asks (1 second to 5 minutes); a 429 without it for 2, 4, 8 … 60 seconds. Every
    /// attempt waits for the rate limiter and counts by itself in the metrics. With a `tag`, an
    /// answer can be a 304 too.
    async fn request<T>(
        &self,
        kind: RequestKind,
        url: Url,
        tag: Option<&HeaderValue>,
        decode: impl Fn(&Read) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut retries = 0;
        loop {
            self.rate_limiter.acquire().await;
            let attempt = self.attempt(kind, &url, tag).await;
            let error = match attempt.and_then(|read| decode(&read)) {
                Ok(decoded) => return Ok(decoded),
                Err(error) => error,
            };
            let Some(reason) = error.retry_reason().filter(|_| retries < retry::MAX_RETRIES) else {
                return Err(error);
            };
            retries += 1;
            self.metrics.retry(reason);
            tracing::debug!(endpoint = kind.as_str(), %error, retries, "A request is retried.");
            // A pause takes the place of our own wait.
            if self.rate_limiter.pause_left().is_none() {
                let delay = self.rate_limiter.backoff().delay(retries, rand::random());
                tokio::time::sleep(delay).await;
            }
        }
    }

    async fn attempt(
        &self,
        kind: RequestKind,
        url: &Url,
        tag: Option<&HeaderValue>,
    ) -> Result<Read, ApiError> {
        let (started, sent) = (Instant::now(), Moment::now(&self.clock));
        let timeout = self.settings.timeout;
        let authorization = self.keys.read().authorization()?;
        let outcome = exchange::get(&self.transport, url, authorization, tag, timeout).await;
        self.metrics.attempt(kind, outcome.as_ref().ok(), started.elapsed());
        self.heard_ms.store(self.clock.steady_ms(), Relaxed);
        let answer = outcome?;
        let received = Moment::now(&self.clock);
        let at = {
            let mut api_clock = self.api_clock.lock();
            // The `Date` of an answer that a cache kept is not of now.
            if !answer.headers.contains_key(AGE)
                && let Some(date_ms) = retry::date(&answer.headers, &DATE)
            {
                api_clock.answered(date_ms, sent, received);
            }
            ReadAt { took_ms: received.since_ms(sent), ..api_clock.at(sent) }
        };
        let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let asked = retry::retry_after(&answer.headers, at.api_ms);
        // "Now" is what anybody may do anyway, unless it comes with a refusal.
        let asked = asked.filter(|wait| refused || !wait.is_zero());
        if refused || asked.is_some() {
            self.pause(answer.status, asked);
        } else {
            self.rate_limiter.succeeded();
        }
        let is_whole = answer.status.is_success() && answer.status != StatusCode::PARTIAL_CONTENT;
        if is_whole || answer.status == StatusCode::NOT_MODIFIED && tag.is_some() {
            return Ok(Read { answer, at });
        }
        Err(self.refusal(&answer, url, asked))
    }

    fn pause(&self, status: StatusCode, asked: Option<Duration>) {
        if let Some(length) = self.rate_limiter.refused(asked) {
            tracing::warn!(
                code = status.as_u16(),
                seconds = length.as_secs(),
                app_id = %self.settings.app_id,
                "The Cortex API asks to wait: all requests pause. Its limit is shared by everything \
                 behind one address."
            );
        }
    }

    fn refusal(&self, answer: &RawAnswer, url: &Url, asked: Option<Duration>) -> ApiError {
        if let Some(to) = answer.redirects_to(url) {
            return ApiError::Redirect { to: self.showable(&to) };
        }
        let message = wire::error_message(&answer.body);
        let message = ServerMessage(message.map(|message| self.showable(&message)));
        ApiError::of_status(answer.status, asked.is_some(), message)
    }

    /// Asks for a page, and doesn't decode what is known already: what the server calls so, or what
    /// has the same bytes.
    async fn page_if_changed<T: WireItem>(
        &self,
        kind: RequestKind,
        url: Url,
        known: Option<&Validator>,
    ) -> Result<Answer<Page<T>>, ApiError> {
        let decode = |read: &Read| {
            let validator = read.answer.validator();
            let unchanged = read.answer.status == StatusCode::NOT_MODIFIED
                || known.is_some_and(|known| known.says_the_same(&validator));
            if unchanged {
                let total = read.answer.number("pagination-count");
                Ok(Answer::Unchanged { read_at: read.at, total })
            } else {
                self.page(read, validator).map(Answer::Changed)
            }
        };
        self.request(kind, url, known.and_then(Validator::tag), decode).await
    }

    fn page<T: WireItem>(&self, read: &Read, validator: Validator) -> Result<Page<T>, ApiError> {
        let answer = &read.answer;
        let list = wire::list(answer.json(), self.decode_rules(read.at));
        let list = list.map_err(|error| self.not_json("a list", answer, &error))?;
        let DecodedList { items, keys, undecodable } = list;
        let total = answer.number("pagination-count");
        let (bytes, read_at) = (answer.body.len(), read.at);
        Ok(Page { items, keys, undecodable, bytes, total, read_at, validator })
    }

    fn decode_rules(&self, read_at: ReadAt) -> DecodeRules<'_> {
        // No clocks differ by more than a day.
        let latest_ms = read_at.latest_ms().saturating_add(DAY_MS);
        DecodeRules { latest_ms, error_classes: &self.settings.error_classes }
    }

    fn the_run(&self, id: &RunId, read: &Read) -> Result<Run, ApiError> {
        let answer = &read.answer;
        let run = wire::single(answer.json(), self.decode_rules(read.at));
        let run = run.map_err(|error| self.not_json("a run", answer, &error))?;
        let run: Run = run.map_err(ApiError::Undecodable)?;
        if run.id == *id {
            return Ok(run);
        }
        let id = run.id.as_str();
        Err(ApiError::Undecodable(Undecodable::new(Some(id), id, "it is another one")))
    }

    fn not_json(
        &self,
        expected: &'static str,
        answer: &RawAnswer,
        error: &serde_json::Error,
    ) -> ApiError {
        let content_type = self.showable(answer.content_type());
        let found = if error.is_data() {
            "something else".into()
        } else if content_type.to_lowercase().contains("json") {
            let (line, column) = (error.line(), error.column());
            format!("{content_type} that is not valid JSON (line {line}, column {column})")
        } else {
            content_type
        };
        ApiError::NotJson { expected, found }
    }

    fn showable(&self, text: &str) -> String {
        self.keys.read().showable(text)
    }

    /// `…/apps/{app_id}/workflows/` and more.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.settings.api_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["apps", self.settings.app_id.as_str(), "workflows"])
                .extend(path);
        }
        if self.settings.verbose {
            url.query_pairs_mut().append_pair("verbose", "all");
        }
        url
    }

    fn page_url(&self, path: &[&str], page: PageRequest) -> Url {
        let mut url = self.url(path);
        url.query_pairs_mut()
            .append_pair("page", &page.number.to_string())
            .append_pair("take", &page.take.to_string());
        url
    }
}
