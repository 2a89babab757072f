use std::time::UNIX_EPOCH;

use rustix::time::{ClockId, clock_gettime};

/// Where the wall-clock time comes from, so that tests can set it.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment, by a clock that nobody sets: to measure how much time went
    /// by. A clock that only goes forward can do without one of its own.
    fn steady_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    /// It also runs on while the host is suspended.
    fn steady_ms(&self) -> i64 {
        let since_boot = clock_gettime(ClockId::Boottime);
        since_boot.tv_sec * 1000 + since_boot.tv_nsec / 1_000_000
    }
}

/// When an answer was asked for, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt {
    /// By the API's clock, as well as it is known: what runs' timestamps are compared with.
    pub api_ms: i64,
    /// By the local clock: what is published as a timestamp.
    pub local_ms: i64,
    /// How long the answer took.
    pub took_ms: i64,
}

impl ReadAt {
    /// An answer that came at once.
    pub fn new(api_ms: i64, local_ms: i64) -> Self {
        Self { api_ms, local_ms, took_ms: 0 }
    }

    /// When the answer came, by the API's clock.
    pub fn answered_ms(self) -> i64 {
        self.api_ms.saturating_add(self.took_ms)
    }

    /// By the clock that is behind. One that was never set doesn't count.
    pub fn earliest_ms(self) -> i64 {
        if super::timestamp::is_set(self.local_ms) {
            self.api_ms.min(self.local_ms)
        } else {
            self.api_ms
        }
    }

    /// How far the API's clock is ahead of the local one.
    pub fn skew_ms(self) -> i64 {
        self.api_ms - self.local_ms
    }

    /// By the clock that is ahead.
    pub fn latest_ms(self) -> i64 {
        self.api_ms.max(self.local_ms)
    }
}
