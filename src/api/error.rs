use std::time::Duration;

use reqwest::StatusCode;

use super::{Undecodable, retry::Reason};
use crate::config::ApiKeyError;

/// Why the API didn't give what it was asked for. No text in it holds the key or customers' data;
/// what the server says is cut to a label's length.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no usable key to send.
    #[error(transparent)]
    Key(#[from] ApiKeyError),
    /// The client can't be set up, before any request.
    #[error("cannot set up the client for the Cortex API: {0}")]
    Setup(String),
    /// 401 or 403: the key is invalid, or not for this app.
    #[error(
        "the Cortex API rejected the key with {code}{message}; check CORTEX_API_KEY or \
         --cortex.api-key-file, and that the key belongs to --cortex.app-id"
    )]
    Unauthorized {
        /// The status code.
        code: u16,
        /// What the API said about it.
        message: ServerMessage,
    },
    /// 429, or another status with which the API asked to wait, still after the retries.
    #[error(
        "the Cortex API refuses further requests for now ({code}){message}; its limit is shared by \
         everything behind one address, so lower --cortex.rate-limit if this continues"
    )]
    Throttled {
        /// The status code.
        code: u16,
        /// What the API said about it.
        message: ServerMessage,
    },
    /// 404 where that isn't a run's or a workflow's normal end.
    #[error(
        "the Cortex API knows no such address (404){message}; check --cortex.app-id and \
         --cortex.api-url"
    )]
    NotFound {
        /// What the API said about it.
        message: ServerMessage,
    },
    /// Another status that is no success: 400, 5xx, ….
    #[error("the Cortex API answered with {code}{message}")]
    Status {
        /// The status code.
        code: u16,
        /// What the API said about it.
        message: ServerMessage,
    },
    /// Redirects aren't followed, since the key must not reach another host.
    #[error(
        "the Cortex API redirects to {to}, where the key is not sent unasked; set \
         --cortex.api-url to the address to use"
    )]
    Redirect {
        /// The host that it points to.
        to: String,
    },
    /// No connection, or a broken one.
    #[error("no answer from the Cortex API at {host}: {cause}")]
    Network {
        /// The API's host.
        host: String,
        /// What went wrong.
        cause: String,
    },
    /// No whole answer in time.
    #[error(
        "no whole answer from the Cortex API at {host} within {}; if it is only slow, raise \
         --cortex.timeout or lower --cortex.page-size",
        humantime::format_duration(*timeout)
    )]
    Timeout {
        /// The API's host.
        host: String,
        /// How long it had.
        timeout: Duration,
    },
    /// The answer broke off, or its compression is broken.
    #[error("the answer of the Cortex API at {host} broke off: {cause}")]
    CutOff {
        /// The API's host.
        host: String,
        /// What went wrong.
        cause: String,
    },
    /// The answer, decompressed, is larger than any page needs to be. Lists are read in smaller
    /// pages then, so that users see this only where that does not help.
    #[error(
        "an answer of the Cortex API is larger than {} MiB, the most that is read; if runs of a \
         workflow are so large, exclude it with --workflows.exclude",
        limit >> 20
    )]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
    },
    /// The answer is compressed in a way that wasn't asked for.
    #[error(
        "the Cortex API's answer is encoded as {encoding}, which was not asked for (only gzip is); \
         check for a proxy that compresses"
    )]
    Encoding {
        /// Its `Content-Encoding`.
        encoding: String,
    },
    /// The answer is something else than was asked for, such as a proxy's page.
    #[error(
        "the Cortex API's answer is not {expected} in JSON but {found}; check that \
         --cortex.api-url is the API and not a website or a proxy"
    )]
    NotJson {
        /// What was asked for.
        expected: &'static str,
        /// What the answer says it is, or where it stops being that.
        found: String,
    },
    /// The one run asked for can't be decoded.
    #[error("the Cortex API's answer is not the run that was asked for: {}", .0.reason)]
    Undecodable(Undecodable),
}

impl ApiError {
    /// Whether the same request may well succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.retry_reason().is_some()
    }

    /// Whether the key is the cause: further requests are useless until there is another one.
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Unauthorized { .. })
    }

    /// Why to send the request again, if that can help.
    pub(super) fn retry_reason(&self) -> Option<Reason> {
        match self {
            Self::Throttled { .. } => Some(Reason::Throttled),
            Self::Status { code, .. } if *code >= 500 => Some(Reason::Server),
            Self::Network { .. } | Self::Timeout { .. } => Some(Reason::Network),
            Self::CutOff { .. } | Self::NotJson { .. } => Some(Reason::Body),
            _ => None,
        }
    }

    /// What a status other than 2xx means; `asks_to_wait` says whether there was a `Retry-After`.
    pub(super) fn of_status(
        status: StatusCode,
        asks_to_wait: bool,
        message: ServerMessage,
    ) -> Self {
        let code = status.as_u16();
        match code {
            401 => Self::Unauthorized { code, message },
            404 => Self::NotFound { message },
            429 => Self::Throttled { code, message },
            400..500 if asks_to_wait => Self::Throttled { code, message },
            403 => Self::Unauthorized { code, message },
            _ => Self::Status { code, message },
        }
    }
}

/// What the API said about an error, made safe to show; shows as nothing if it said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerMessage(pub(super) Option<String>);

impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}
