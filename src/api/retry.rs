//! The decisions behind [`Client`](super::Client)'s retries.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The maximum number of retries of one request.
pub(super) const MAX_RETRIES: u32 = 3;

/// Why a request is sent again: a value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The API was asked too often.
    Throttled,
    /// The API's own trouble, 5xx.
    Server,
    /// No answer: no connection, a broken one, or none in time.
    Network,
    /// An answer that was cut off, or isn't what was asked for.
    Body,
}

impl Reason {
    pub(super) const ALL: [Self; 4] = [Self::Throttled, Self::Server, Self::Network, Self::Body];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Network => "network",
            Self::Body => "body",
        }
    }
}

/// How long to wait before a retry if the API didn't say.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the first retry; it doubles with each one.
    pub base: Duration,
    /// The longest.
    pub cap: Duration,
}

impl Backoff {
    /// What suits an API that other people use too.
    pub const DEFAULT: Self =
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

    /// The wait before the given retry (the first is 1). It doubles each time; `jitter`, from 0 to
    /// 1, leaves a half to all of it, so that clients that failed together don't return together.
    pub(super) fn delay(self, retry: u32, jitter: f64) -> Duration {
        let doubled = self.base * 2_u32.saturating_pow(retry.saturating_sub(1).min(16));
        doubled.min(self.cap).mul_f64(0.5 + jitter / 2.0)
    }
}

/// How long an answer asks to wait, if it does: `Retry-After` in seconds, or as a date, which is
/// compared with the answer's own `Date`, since the local clock may be wrong.
pub(super) fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // No wait is longer than a day; this only keeps huge numbers representable.
        let seconds = Some(seconds).filter(|it| it.is_finite() && *it >= 0.0)?.min(86_400.0);
        return Some(Duration::from_secs_f64(seconds));
    }
    let at = date(headers, &RETRY_AFTER)?;
    let now = date(headers, &DATE).unwrap_or(now_ms);
    Some(Duration::from_millis(at.saturating_sub(now).max(0) as u64))
}

/// A header's HTTP-date in any of its three forms, in milliseconds since the Unix epoch.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let at = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(HeaderName, &str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a header value")))
            .collect();
        // 1994-11-06T08:49:00Z
        retry_after(&headers, 784_111_740_000).map(|wait| wait.as_secs())
    }

    #[test]
    fn waits_double_up_to_the_cap_and_jitter_takes_at_most_half() {
        let longest = [1, 2, 3, 6, 99].map(|retry| Backoff::DEFAULT.delay(retry, 1.0).as_millis());
        assert_eq!(longest, [500, 1000, 2000, 10_000, 10_000]);
        assert_eq!(Backoff::DEFAULT.delay(1, 0.0), Duration::from_millis(250));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(asked(&[(RETRY_AFTER, "17")]), Some(17));
        assert_eq!(asked(&[(RETRY_AFTER, "1e300")]), Some(86_400));
        let date = (RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked(std::slice::from_ref(&date)), Some(37));
        for other in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(asked(&[(RETRY_AFTER, other)]), Some(37), "{other}");
        }
        assert_eq!(asked(&[(RETRY_AFTER, "0")]), Some(0));
        let past = (RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(asked(&[past]), Some(0));
        let answered = (DATE, "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(asked(&[date, answered]), Some(7));
    }

    #[test]
    fn what_asks_for_no_wait_that_makes_sense_is_ignored() {
        for text in
            ["", "soon", "-5", "nan", "-nan", "inf", "-inf", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(asked(&[(RETRY_AFTER, text)]), None, "{text}");
        }
        assert_eq!(asked(&[]), None);
    }
}
