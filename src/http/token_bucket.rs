use std::time::Duration;

use tokio::time::Instant;

use crate::config::RateLimit;

/// A token bucket. Pure: the time is an argument.
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: RateLimit,
    /// Tokens at that time.
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, tokens: limit.burst.into(), at: now }
    }

    /// Takes a token, if there is one; the error is how long until there is.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let RateLimit { interval, burst } = self.limit;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = f64::from(burst).min(self.tokens + passed / interval.as_secs_f64());
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(interval.mul_f64(1.0 - self.tokens))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_there_is_one_per_interval() {
        let start = Instant::now();
        let limit = RateLimit { interval: Duration::from_secs(2), burst: 3 };
        let mut bucket = TokenBucket::new(limit, start);
        let mut take = |seconds| bucket.take(start + Duration::from_secs_f64(seconds));
        assert_eq!([take(0.0), take(0.0), take(0.0)], [Ok(()); 3]);
        assert_eq!(take(0.0), Err(Duration::from_secs(2)));
        assert_eq!(take(1.5), Err(Duration::from_millis(500)));
        assert_eq!(take(2.0), Ok(()));
        assert!(take(2.0).is_err());
        // A long pause makes up for no more than the burst.
        assert_eq!([take(100.0), take(100.0), take(100.0)], [Ok(()); 3]);
        assert!(take(100.0).is_err());
    }

    #[test]
    fn a_bucket_without_room_lets_nothing_through() {
        let start = Instant::now();
        let mut bucket =
            TokenBucket::new(RateLimit { interval: Duration::from_secs(1), burst: 0 }, start);
        assert!(bucket.take(start + Duration::from_secs(1000)).is_err());
    }
}
