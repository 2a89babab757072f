use std::{
    sync::LazyLock,
    time::{Instant, UNIX_EPOCH},
};

/// Where the wall-clock time comes from, so that tests can set it.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment, by a clock that nobody sets: to tell how much time went by.
    /// A clock that only goes forward can do without one of its own.
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

    fn steady_ms(&self) -> i64 {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGINNING.elapsed().as_millis() as i64
    }
}
