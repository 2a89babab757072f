use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::retry::Backoff;

/// The longest pause that an answer can request; a longer one is probably a mistake.
const MAX_REQUESTED: Duration = Duration::from_secs(300);
/// The shortest one: "now" would only provoke the next refusal.
const MIN_REQUESTED: Duration = Duration::from_secs(1);
/// The longest pause where none was requested.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The resolution of tokio's timer.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// The requests that the whole process may send, evenly spaced: the API counts per address, so all
/// clients share one. Nothing is saved up while idle, because the API's window may be a fixed one
/// and a burst at its edge would exceed it.
#[derive(Debug)]
pub struct RateLimiter {
    limit: AtomicU32,
    /// When the next slot is. A queue, first come first served: its holder is the next to send.
    queue: tokio::sync::Mutex<Instant>,
    /// How many wait for a slot.
    waiting: watch::Sender<usize>,
    pause: Mutex<Pause>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    in_a_row: u32,
}

impl RateLimiter {
    /// A limiter of this number of requests a minute; 0 is taken as 1.
    pub fn new(requests_per_minute: u32) -> Self {
        Self::with_backoff(requests_per_minute, Backoff::DEFAULT)
    }

    /// The same with other waits before retries.
    pub fn with_backoff(requests_per_minute: u32, backoff: Backoff) -> Self {
        let now = Instant::now();
        Self {
            limit: AtomicU32::new(requests_per_minute.max(1)),
            queue: tokio::sync::Mutex::new(now),
            waiting: watch::Sender::new(0),
            pause: Mutex::new(Pause { until: now, in_a_row: 0 }),
            backoff,
        }
    }

    /// How long retries wait that nothing else holds back.
    pub(super) fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// The maximum time that a request waits, pauses aside, while this number is under way.
    pub(super) fn longest_wait(&self, concurrent: u32) -> Duration {
        self.backoff.cap + Duration::from_secs(60) * concurrent / self.limit()
    }

    /// Requests a minute.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Allows this number of requests a minute from the next one on; 0 is taken as 1.
    pub fn set_limit(&self, requests_per_minute: u32) {
        self.limit.store(requests_per_minute.max(1), Relaxed);
    }

    /// How much longer all requests wait because the API was asked too often; `None` if they don't.
    pub fn pause_left(&self) -> Option<Duration> {
        let left = self.pause.lock().until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Waits until no request waits for a slot. What is begun only then is begun as late as
    /// possible, and so chosen as well as possible, and yet leaves no slot unused.
    pub async fn until_idle(&self) {
        // The sender is here, so waiting can't fail.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    /// Waits for the next slot and takes it. Takes none when dropped before.
    pub(super) async fn acquire(&self) {
        let _waiting = Waiting::in_line(&self.waiting);
        let mut next = self.queue.lock().await;
        loop {
            let at = (*next).max(self.pause.lock().until);
            let spacing = Duration::from_secs(60) / self.limit();
            // A request may go a little early where the slots are closer than the timer can wait.
            let leeway = if spacing < TIMER_GRAIN { TIMER_GRAIN } else { Duration::ZERO };
            if at <= Instant::now() + leeway {
                *next = at.max(Instant::now()) + spacing;
                return;
            }
            sleep_until(at).await;
        }
    }

    /// Holds all requests back after a refusal: for as long as it asked, else for 2, 4, 8 … 60
    /// seconds. The refusals of requests that were under way together make one pause. Returns its
    /// length if it is a new one.
    pub(super) fn refused(&self, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.map(|asked| asked.clamp(MIN_REQUESTED, MAX_REQUESTED));
        let now = Instant::now();
        let mut pause = self.pause.lock();
        if now < pause.until {
            pause.until = pause.until.max(now + asked.unwrap_or_default());
            return None;
        }
        pause.in_a_row = (pause.in_a_row + 1).min(16);
        let guess = Duration::from_secs(1 << pause.in_a_row).min(MAX_BACKOFF);
        let length = asked.unwrap_or(guess);
        pause.until = now + length;
        Some(length)
    }

    /// Forgets earlier refusals, since a request succeeded.
    pub(super) fn succeeded(&self) {
        let mut pause = self.pause.lock();
        if pause.until <= Instant::now() {
            pause.in_a_row = 0;
        }
    }
}

/// One of those who wait, until dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn in_line(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn send_times(rate_limiter: &RateLimiter, requests: usize) -> Vec<u128> {
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..requests {
            rate_limiter.acquire().await;
            times.push(start.elapsed().as_millis());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn another_limit_holds_from_the_next_slot_on() {
        let rate_limiter = RateLimiter::new(60);
        assert_eq!(send_times(&rate_limiter, 3).await, [0, 1000, 2000]);
        rate_limiter.set_limit(600);
        assert_eq!(send_times(&rate_limiter, 3).await, [1000, 1100, 1200]);
        rate_limiter.set_limit(0);
        assert_eq!(rate_limiter.limit(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced_even_after_an_idle_hour() {
        let rate_limiter = RateLimiter::new(400);
        assert_eq!(send_times(&rate_limiter, 4).await, [0, 150, 300, 450]);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(send_times(&rate_limiter, 4).await, [0, 150, 300, 450]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_holds_more_requests_than_the_limit() {
        let rate_limiter = RateLimiter::new(490);
        let times = send_times(&rate_limiter, 2000).await;
        let fullest = times
            .iter()
            .map(|from| times.iter().filter(|t| (*from..from + 60_000).contains(t)).count())
            .max();
        assert!(fullest <= Some(490), "{fullest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_served_in_order_and_a_cancelled_one_takes_no_slot() {
        let rate_limiter = Arc::new(RateLimiter::new(60));
        let (sent, mut order) = tokio::sync::mpsc::unbounded_channel();
        let start = Instant::now();
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let (rate_limiter, sent) = (Arc::clone(&rate_limiter), sent.clone());
                tokio::spawn(async move {
                    rate_limiter.acquire().await;
                    sent.send((number, start.elapsed().as_secs())).expect("the test listens");
                })
            })
            .collect();
        tokio::time::advance(Duration::from_millis(500)).await;
        waiting[1].abort();
        drop(sent);
        let mut served = Vec::new();
        while let Some(next) = order.recv().await {
            served.push(next);
        }
        assert_eq!(served, [(0, 0), (2, 1), (3, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_everything_back_even_who_waits_already() {
        let rate_limiter = Arc::new(RateLimiter::new(60));
        rate_limiter.acquire().await;
        let waiting = tokio::spawn({
            let rate_limiter = Arc::clone(&rate_limiter);
            async move { rate_limiter.acquire().await }
        });
        tokio::time::advance(Duration::from_millis(500)).await;
        let start = Instant::now();
        rate_limiter.refused(Some(Duration::from_secs(30)));
        waiting.await.expect("waiting does not panic");
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(rate_limiter.pause_left(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn unasked_pauses_grow_until_a_request_goes_through() {
        let rate_limiter = RateLimiter::new(1_000_000);
        let mut lengths = Vec::new();
        for _ in 0..7 {
            lengths.extend(rate_limiter.refused(None).map(|length| length.as_secs()));
            assert_eq!(rate_limiter.refused(None), None, "the same pause");
            rate_limiter.succeeded();
            rate_limiter.acquire().await;
        }
        assert_eq!(lengths, [2, 4, 8, 16, 32, 60, 60]);
        rate_limiter.succeeded();
        assert_eq!(rate_limiter.refused(None), Some(Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_asked_pause_is_neither_nothing_nor_endless() {
        for (asked, length) in [(0, 1), (7, 7), (86_400, 300)] {
            let pause = RateLimiter::new(1).refused(Some(Duration::from_secs(asked)));
            assert_eq!(pause, Some(Duration::from_secs(length)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_requests_a_minute_are_not_slowed_to_the_timers_grain() {
        let start = Instant::now();
        send_times(&RateLimiter::new(1_000_000), 10_000).await;
        assert!(start.elapsed() <= Duration::from_millis(1200), "{:?}", start.elapsed());
    }
}
