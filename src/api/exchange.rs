//! One request and its answer, without retries.

use std::{error::Error, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::{
    Client, Method, Request, Response, StatusCode, Url,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue,
        IF_NONE_MATCH, LOCATION,
    },
};

use super::{
    encoding::{self, DecodeError},
    error::ApiError,
    validator::Validator,
};
use crate::config;

const USER_AGENT: &str = concat!("cortex-workflow-exporter/", env!("CARGO_PKG_VERSION"));

/// The largest answer, decompressed: hundreds of the largest runs known.
pub(super) const MAX_BODY: usize = 32 * 1024 * 1024;
/// How much of the answer to a failed request is read, for its message.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// What is set aside on the strength of a header alone.
const MAX_PREALLOCATED: u64 = 1024 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Decoded. Empty where it says nothing worth waiting for: in a redirect or a 429.
    pub(super) body: Vec<u8>,
}

impl RawAnswer {
    /// The number in a header, if there is one.
    pub(super) fn number<T: std::str::FromStr>(&self, header: &str) -> Option<T> {
        self.headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }

    /// The JSON in it. No content is an empty list, and a byte order mark says nothing.
    pub(super) fn json(&self) -> &[u8] {
        match self.status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => b"[]",
            _ => self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.body),
        }
    }

    pub(super) fn validator(&self) -> Validator {
        Validator::of(&self.headers, &self.body, self.number("pagination-count"))
    }

    /// What it says it is.
    pub(super) fn content_type(&self) -> &str {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        if self.body.is_empty() {
            "an empty body"
        } else {
            content_type.unwrap_or("an unnamed type")
        }
    }

    /// The host that a redirect points to.
    pub(super) fn redirects_to(&self, from: &Url) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let to = from.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()?;
        Some(host(&to))
    }
}

/// A URL's host and, if it isn't the scheme's usual one, its port.
pub(super) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.into(),
    }
}

/// Answers requests within the process.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// How requests get to the API.
pub(super) enum Transport {
    Network(Client),
    /// For simulations, in which time is no real one.
    InProcess(Handler),
}

impl Transport {
    /// A client of the network. Sends nothing.
    pub(super) fn network(settings: &config::Cortex) -> Result<Self, ApiError> {
        let mut http = Client::builder()
            .user_agent(USER_AGENT)
            // It would read no more than the first member of a gzip file.
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            // Every attempt must wait for the rate limiter, so none may happen out of sight.
            .retry(reqwest::retry::never())
            .referer(false);
        if settings.api_url.scheme() == "http" {
            // To a proxy, the key would go in clear.
            http = http.no_proxy();
        }
        let setup = |error| ApiError::Setup(format!("{:#}", anyhow::Error::new(error)));
        http.build().map(Self::Network).map_err(setup)
    }

    async fn send(&self, request: Request) -> reqwest::Result<Response> {
        match self {
            Self::Network(client) => client.execute(request).await,
            Self::InProcess(answer) => Ok(answer(request).await),
        }
    }
}

/// Sends a GET and reads the whole answer, within the client's timeout. `tag` is that of an answer
/// which needn't be sent again.
pub(super) async fn get(
    transport: &Transport,
    url: &Url,
    authorization: HeaderValue,
    tag: Option<&HeaderValue>,
    timeout: Duration,
) -> Result<RawAnswer, ApiError> {
    let host = || host(url);
    let failed = |error: &reqwest::Error| {
        error.is_timeout().then(|| ApiError::Timeout { host: host(), timeout })
    };
    let mut request = Request::new(Method::GET, url.clone());
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, authorization);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.extend(tag.map(|tag| (IF_NONE_MATCH, tag.clone())));
    *request.timeout_mut() = Some(timeout);
    let mut response = transport.send(request).await.map_err(|error| {
        failed(&error).unwrap_or_else(|| ApiError::Network { host: host(), cause: causes(&error) })
    })?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let body = if status.is_success() {
        let body = read(&mut response, MAX_BODY).await;
        let body = body.map_err(|error| {
            failed(&error)
                .unwrap_or_else(|| ApiError::CutOff { host: host(), cause: causes(&error) })
        })?;
        let body = body.ok_or(ApiError::TooLarge { limit: MAX_BODY })?;
        encoding::decode(body, &headers, MAX_BODY).map_err(|error| match error {
            DecodeError::TooLarge => ApiError::TooLarge { limit: MAX_BODY },
            DecodeError::Unknown(encoding) => ApiError::Encoding { encoding },
            DecodeError::Broken(cause) => ApiError::CutOff { host: host(), cause },
        })?
    } else if status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
        Vec::new()
    } else {
        // The status says enough, if the message can't be had.
        let body = read(&mut response, MAX_ERROR_BODY).await.ok().flatten();
        let body = body.unwrap_or_default();
        encoding::decode(body, &headers, MAX_ERROR_BODY).unwrap_or_default()
    };
    Ok(RawAnswer { status, headers, body })
}

/// Reads the body as it comes; `None` if it is larger than that.
async fn read(response: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let announced = response.content_length().unwrap_or(0);
    if announced > most as u64 {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(announced.min(MAX_PREALLOCATED) as usize);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What went wrong below. The outermost text is left out where there is a cause: it only says
/// that sending or reading failed, and names the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { "the connection failed".into() } else { causes.join(": ") }
}
