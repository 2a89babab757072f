use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::{
    StatusCode, Url,
    header::{DATE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    error::{ApiError, ServerMessage},
    exchange::{self, Handler, RawAnswer, Transport},
    metrics::{ApiMetrics, RequestKind},
    page::{Page, PageRequest, Undecodable},
    rate_limiter::RateLimiter,
    retry::{self, Reason},
    wire::{self, DecodedList, WireItem},
};
use crate::{
    config,
    model::{Clock, Label, Run, RunId, Status, Workflow, WorkflowId},
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
    skew_ms: Mutex<Option<i64>>,
    /// When a request was last answered or failed, by the clock that nobody sets.
    heard_ms: AtomicI64,
}

struct ApiKeys {
    current: SecretString,
    /// The one before, which an answer that was still under way may echo.
    former: Option<SecretString>,
}

/// An answer that can be used, and when it was asked for.
struct Read {
    answer: RawAnswer,
    at_ms: i64,
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
            keys: RwLock::new(ApiKeys { current: key, former: None }),
            rate_limiter,
            metrics,
            heard_ms: AtomicI64::new(clock.steady_ms()),
            clock,
            skew_ms: Mutex::new(None),
        })))
    }

    /// Reads the key again and returns whether it changed. If there is no usable one now, the one
    /// before stays in use.
    pub fn refresh_key(&self) -> Result<bool, config::ApiKeyError> {
        let key = self.0.settings.api_key.read()?;
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        let changed = keys.current.expose_secret() != key.expose_secret();
        if changed {
            keys.former = Some(std::mem::replace(&mut keys.current, key));
        }
        Ok(changed)
    }

    /// Reads a page of the list of workflows.
    pub async fn workflows(&self, page: PageRequest) -> Result<Page<Workflow>, ApiError> {
        let url = self.0.page_url(&[], page);
        self.0.request(RequestKind::Workflows, url, |read| self.0.page(read)).await
    }

    /// Reads a page of a workflow's runs, of one status or of all. `None`: the workflow is gone.
    pub async fn runs(
        &self,
        workflow: &WorkflowId,
        status: Option<Status>,
        page: PageRequest,
    ) -> Result<Option<Page<Run>>, ApiError> {
        let mut url = self.0.page_url(&[workflow.as_str(), "runs"], page);
        if let Some(status) = status {
            url.query_pairs_mut().append_pair("status", status.as_str());
        }
        none_if_gone(self.0.request(RequestKind::Runs, url, |read| self.0.page(read)).await)
    }

    /// Reads one run. `None`: it is gone.
    pub async fn run(&self, workflow: &WorkflowId, run: &RunId) -> Result<Option<Run>, ApiError> {
        let url = self.0.url(&[workflow.as_str(), "runs", run.as_str()]);
        let decode = |read: &Read| self.0.the_run(run, read);
        none_if_gone(self.0.request(RequestKind::Run, url, decode).await)
    }

    /// The rate limiter that all clients of the process share.
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.0.rate_limiter
    }

    /// When a request was last answered or failed, by [`Clock::steady_ms`].
    pub fn last_heard_ms(&self) -> i64 {
        self.0.heard_ms.load(Relaxed)
    }

    /// The maximum time from one such moment to the next while so many requests are under way.
    pub fn longest_silence(&self, concurrent: u32) -> Duration {
        self.0.settings.timeout + self.0.rate_limiter.longest_wait(concurrent)
    }

    /// Now, by the API's clock: the local one, corrected by what the answers' `Date` tells. In
    /// milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms() + self.clock_skew_ms().unwrap_or(0)
    }

    /// How far the API's clock is at least ahead of the local one; negative if it is behind.
    /// `None` until an answer had a `Date`.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        *self.0.skew_ms.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// - 5xx, no connection or a broken one, no answer in time, a body that is cut off or isn't what
    ///   was asked for: up to three retries, after half a second, a second, two seconds, less up to
    ///   half of it by chance.
    /// - 429: all clients of the process pause for as long as it asks (1 second to 5 minutes), else
    ///   for 2, 4, 8 … 60 seconds; then this request is tried again, up to three times.
    /// - Anything else, above all 401, 403, 404, redirects and answers that are too large: none.
    ///
    /// Every attempt waits for the rate limiter and counts by itself in the metrics.
    async fn request<T>(
        &self,
        kind: RequestKind,
        url: Url,
        decode: impl Fn(&Read) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut retries = 0;
        loop {
            self.rate_limiter.acquire().await;
            let attempt = self.attempt(kind, &url).await;
            let error = match attempt.and_then(|read| decode(&read)) {
                Ok(decoded) => return Ok(decoded),
                Err(error) => error,
            };
            if let ApiError::Throttled { asked } = error {
                self.pause(asked);
            }
            let Some(reason) = error.retry_reason().filter(|_| retries < retry::MAX_RETRIES) else {
                return Err(error);
            };
            retries += 1;
            self.metrics.retry(reason);
            tracing::debug!(endpoint = kind.as_str(), %error, retries, "A request is retried.");
            if reason != Reason::Throttled {
                let delay = self.rate_limiter.backoff().delay(retries, rand::random());
                tokio::time::sleep(delay).await;
            }
        }
    }

    fn pause(&self, asked: Option<Duration>) {
        if let Some(length) = self.rate_limiter.refused(asked) {
            tracing::warn!(
                seconds = length.as_secs(),
                app_id = %self.settings.app_id,
                "The Cortex API was asked too often: all requests pause. Its limit is shared by \
                 everything behind one address."
            );
        }
    }

    async fn attempt(&self, kind: RequestKind, url: &Url) -> Result<Read, ApiError> {
        let (started, sent_ms) = (Instant::now(), self.clock.now_ms());
        let timeout = self.settings.timeout;
        let outcome = exchange::get(&self.transport, url, self.authorization()?, timeout).await;
        let code = outcome.as_ref().ok().map(|answer| answer.status.as_u16());
        self.metrics.attempt(kind, code, started.elapsed());
        self.heard_ms.store(self.clock.steady_ms(), Relaxed);
        let answer = outcome?;
        let skew_ms = self.learn_skew(&answer.headers, sent_ms);
        if answer.status != StatusCode::TOO_MANY_REQUESTS {
            self.rate_limiter.went_through();
        }
        if answer.status.is_success() {
            return Ok(Read { answer, at_ms: sent_ms + skew_ms });
        }
        Err(self.refusal(&answer, url, sent_ms + skew_ms))
    }

    fn refusal(&self, answer: &RawAnswer, url: &Url, now_ms: i64) -> ApiError {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            let asked = retry::retry_after(&answer.headers, now_ms);
            ApiError::Throttled { asked }
        } else if let Some(to) = answer.redirects_to(url) {
            ApiError::Redirect { to: self.showable(&to) }
        } else {
            let message = wire::error_message(&answer.body);
            let message = ServerMessage(message.map(|message| self.showable(&message)));
            ApiError::of_status(answer.status, message)
        }
    }

    fn page<T: WireItem>(&self, read: &Read) -> Result<Page<T>, ApiError> {
        let answer = &read.answer;
        let list = wire::list(&answer.body).ok_or_else(|| self.not_json("a list", answer))?;
        let DecodedList { items, keys, undecodable } = list;
        let total = answer.number("pagination-count");
        let (bytes, read_at_ms) = (answer.body.len(), read.at_ms);
        Ok(Page { items, keys, undecodable, bytes, total, read_at_ms })
    }

    fn the_run(&self, id: &RunId, read: &Read) -> Result<Run, ApiError> {
        let answer = &read.answer;
        let run = wire::single(&answer.body).ok_or_else(|| self.not_json("a run", answer))?;
        let run: Run = run.map_err(ApiError::Undecodable)?;
        if run.id == *id {
            return Ok(run);
        }
        let id = run.id.as_str();
        Err(ApiError::Undecodable(Undecodable::new(Some(id), id, "it is another one")))
    }

    fn not_json(&self, expected: &'static str, answer: &RawAnswer) -> ApiError {
        ApiError::NotJson { expected, content_type: self.showable(answer.content_type()) }
    }

    /// A text from the server as it may be shown: short, and without the key, should it echo that.
    fn showable(&self, text: &str) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let all = [Some(&keys.current), keys.former.as_ref()];
        let hide = |text: String, key: &SecretString| text.replace(key.expose_secret(), "<key>");
        Label::new(&all.into_iter().flatten().fold(text.to_owned(), hide)).to_string()
    }

    fn authorization(&self) -> Result<HeaderValue, ApiError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let text = format!("Bearer {}", keys.current.expose_secret());
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| ApiError::Setup("the API key cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Corrects the skew as little as an answer's `Date` demands. That names a second, and the answer
    /// was made at some moment between its request and now: any skew in between agrees with it, so
    /// clocks that agree have none.
    fn learn_skew(&self, headers: &HeaderMap, sent_ms: i64) -> i64 {
        let mut skew_ms = self.skew_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(date_ms) = retry::date(headers, &DATE) {
            let least = date_ms - self.clock.now_ms().max(sent_ms);
            let most = date_ms + 999 - sent_ms;
            *skew_ms = Some(skew_ms.unwrap_or(0).clamp(least, most));
        }
        skew_ms.unwrap_or(0)
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
