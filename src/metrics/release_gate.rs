use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use super::{Body, Exposition, Negotiated};
use crate::{ledger::Ledger, model::Clock};

/// Shows what was counted, and releases what the ledger holds once its base has been scraped.
pub struct ReleaseGate {
    exposition: Arc<Exposition>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    history: Mutex<ScrapeHistory>,
    releasing: tokio::sync::Mutex<()>,
    rendering: Semaphore,
}

/// Maximum number of scrapes that are rendered at once. Each takes a thread.
const MAX_RENDERED_AT_ONCE: usize = 4;

/// A connection with this number of scrapes is a regular scraper.
const REGULAR: u32 = 2;

/// How long a scrape waits until what it releases is durable.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(500);

/// Which version of the state each connection has scraped. Pure: the time is an argument.
#[derive(Debug)]
struct ScrapeHistory {
    /// How long a base waits to be scraped, and how long after its last scrape a regular scraper is
    /// waited for.
    hold: Duration,
    scrapers: HashMap<u64, Scraper>,
    /// The latest version that was scraped.
    latest: u64,
    /// Versions, each with a time by which it was published. At most the first is older than
    /// `hold`.
    published: VecDeque<(u64, Instant)>,
    confirmed: u64,
}

/// A connection. Prometheus keeps its own from one scrape to the next.
#[derive(Debug)]
struct Scraper {
    scrapes: u32,
    last: Instant,
    version: u64,
    /// It broke off during a scrape, and will be back on another connection.
    gone: bool,
}

impl ReleaseGate {
    /// Publishes what the ledger has counted; `hold` is `--metrics.hold-timeout`.
    pub fn new(
        exposition: Arc<Exposition>,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        hold: Duration,
    ) -> Self {
        let (history, releasing) =
            (Mutex::new(ScrapeHistory::new(hold)), tokio::sync::Mutex::default());
        let rendering = Semaphore::new(MAX_RENDERED_AT_ONCE);
        Self { exposition, ledger, clock, history, releasing, rendering }
    }

    /// The exposition as of now, and the version of the state in it.
    pub async fn render(self: &Arc<Self>, connection: u64, negotiated: Negotiated) -> (Body, u64) {
        // What is released counts as shown, so it must be shown to a scraper whose base it will be.
        if self.history.lock().may_release(connection, Instant::now()) {
            let this = Arc::clone(self);
            let releasing = tokio::spawn(async move { this.release().await });
            // A slow ledger must not delay scrapes: it continues, but is no longer waited for.
            let _ = tokio::time::timeout(RELEASE_TIMEOUT, releasing).await;
        }
        // It fails only when closed, which it never is.
        let _permit = self.rendering.acquire().await;
        let exposition = Arc::clone(&self.exposition);
        // It takes milliseconds of processor time, which must delay nothing else.
        let rendered = tokio::task::spawn_blocking(move || exposition.render(negotiated)).await;
        rendered.unwrap_or_else(|error| {
            tracing::error!(%error, "The metrics could not be rendered; this is a bug.");
            (Bytes::new().into(), 0)
        })
    }

    /// The client on this connection has received an exposition.
    pub fn completed(&self, connection: u64, version: u64) {
        self.history.lock().completed(connection, version, Instant::now());
    }

    /// A connection has ended; during a scrape, if it broke off.
    pub fn left(&self, connection: u64, broke_off: bool) {
        self.history.lock().left(connection, broke_off);
    }

    /// Records the version that is published by now. To be called about every second, so that it is
    /// known when a version was published that nobody scrapes.
    pub fn observe_version(&self) {
        let version = self.ledger.state().version;
        self.history.lock().published(version, Instant::now());
    }

    /// Releases what may be shown by now. What nobody scrapes stays held: it is nobody's base, and
    /// in the ledger it is added up per series, so that it doesn't grow.
    async fn release(&self) {
        let Ok(_only_one) = self.releasing.try_lock() else { return };
        self.observe_version();
        let confirmed = self.history.lock().confirmed(Instant::now());
        if let Err(error) = self.ledger.confirm(confirmed, self.clock.now_ms()).await {
            tracing::debug!(%error, "What is held could not be released; it is tried again.");
        }
    }
}

impl Scraper {
    fn is_regular(&self, hold: Duration, now: Instant) -> bool {
        self.scrapes >= REGULAR && now.saturating_duration_since(self.last) <= hold
    }
}

impl ScrapeHistory {
    fn new(hold: Duration) -> Self {
        Self { hold, scrapers: HashMap::new(), latest: 0, published: VecDeque::new(), confirmed: 0 }
    }

    fn completed(&mut self, connection: u64, version: u64, now: Instant) {
        self.latest = self.latest.max(version);
        let new = Scraper { scrapes: 0, last: now, version, gone: false };
        let scraper = self.scrapers.entry(connection).or_insert(new);
        scraper.scrapes += 1;
        scraper.last = now;
        scraper.version = scraper.version.max(version);
        if scraper.scrapes == REGULAR {
            // Most likely it is the one that broke off.
            let gone = self.scrapers.iter().filter(|(_, scraper)| scraper.gone);
            if let Some((&first, _)) = gone.min_by_key(|(_, scraper)| scraper.last) {
                self.scrapers.remove(&first);
            }
        }
    }

    /// A regular scraper that broke off has not seen what was sent last, and is waited for like one
    /// that fell silent.
    fn left(&mut self, connection: u64, broke_off: bool) {
        match self.scrapers.get_mut(&connection) {
            Some(scraper) if broke_off && scraper.scrapes >= REGULAR => scraper.gone = true,
            _ => drop(self.scrapers.remove(&connection)),
        }
    }

    /// Whether what is confirmed may be shown to this connection first: to any, unless there are
    /// regular scrapers.
    fn may_release(&self, connection: u64, now: Instant) -> bool {
        let comes_again = |scraper: &Scraper| !scraper.gone && scraper.is_regular(self.hold, now);
        self.scrapers.get(&connection).is_some_and(comes_again)
            || !self.scrapers.values().any(comes_again)
    }

    /// This version is published by now.
    fn published(&mut self, version: u64, now: Instant) {
        if self.published.back().is_none_or(|(latest, _)| *latest < version) {
            self.published.push_back((version, now));
        }
        // Of those that are confirmed by their age, the latest will do.
        while let Some((_, at)) = self.published.get(1)
            && now.saturating_duration_since(*at) >= self.hold
        {
            self.published.pop_front();
        }
    }

    /// The last version that all regular scrapers have scraped, or that was published `hold` ago.
    /// Without regular scrapers (at least two scrapes on one connection, the last within `hold`),
    /// any scrape will do.
    fn confirmed(&mut self, now: Instant) -> u64 {
        let hold = self.hold;
        self.scrapers.retain(|_, scraper| !scraper.gone || scraper.is_regular(hold, now));
        let regular = self.scrapers.values().filter(|scraper| scraper.is_regular(hold, now));
        let seen = regular.map(|scraper| scraper.version).min();
        self.confirmed = self.confirmed.max(seen.unwrap_or(self.latest));
        if let Some((version, at)) = self.published.front()
            && now.saturating_duration_since(*at) >= hold
        {
            self.confirmed = self.confirmed.max(*version);
        }
        self.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(120);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    impl ScrapeHistory {
        /// What is confirmed when this version is published and scraped.
        fn at(&mut self, version: u64, now: Instant) -> u64 {
            self.published(version, now);
            self.confirmed(now)
        }
    }

    #[test]
    fn nothing_is_confirmed_before_it_was_scraped_or_the_hold_ended() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        assert_eq!(history.at(7, start), 0);
        assert_eq!(history.at(9, after(start, 60)), 0);
        assert_eq!(history.at(9, after(start, 119)), 0);
        assert_eq!(history.at(9, after(start, 120)), 7);
        assert_eq!(history.at(9, after(start, 180)), 9);
        assert_eq!(history.at(9, after(start, 999)), 9);
    }

    #[test]
    fn a_single_scrape_will_do_without_regular_scrapers() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        history.completed(1, 5, start);
        assert_eq!(history.at(6, start), 5);
    }

    #[test]
    fn all_regular_scrapers_must_have_seen_the_base() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        for (client, version) in [(1, 2), (2, 2), (1, 3), (2, 3)] {
            history.completed(client, version, start);
        }
        history.completed(1, 8, after(start, 15));
        assert_eq!(history.at(9, after(start, 16)), 3, "the other one is still to come");
        history.completed(3, 9, after(start, 17));
        assert_eq!(history.at(9, after(start, 17)), 3, "a passer-by releases nothing");
        history.completed(2, 9, after(start, 18));
        assert_eq!(history.at(9, after(start, 18)), 8);
    }

    #[test]
    fn a_scraper_that_broke_off_is_waited_for_until_another_one_is_regular() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        for (client, version) in [(1, 2), (2, 2), (1, 3), (2, 3), (1, 8)] {
            history.completed(client, version, start);
        }
        history.left(2, true);
        history.completed(3, 8, after(start, 15));
        assert_eq!(history.at(9, after(start, 16)), 3, "one scrape shows nothing");
        history.completed(3, 9, after(start, 30));
        assert_eq!(history.at(9, after(start, 31)), 8);
        history.left(1, true);
        history.completed(3, 20, after(start, 60));
        assert_eq!(history.at(20, after(start, 61)), 8);
        assert_eq!(history.at(20, after(start, 121)), 20, "nobody is waited for for longer");
        assert_eq!(history.scrapers.len(), 1);
        history.left(3, false);
        history.completed(4, 20, after(start, 122));
        history.left(4, true);
        assert!(history.scrapers.is_empty(), "a passer-by is not waited for");
    }

    #[test]
    fn a_passer_by_is_shown_nothing_first() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        assert!(history.may_release(7, start), "there is nobody else");
        history.completed(1, 2, start);
        assert!(history.may_release(7, start));
        history.completed(1, 3, start);
        assert!(!history.may_release(7, start) && history.may_release(1, start));
        assert!(history.may_release(7, after(start, 121)), "it fell silent");
        history.left(1, true);
        assert!(history.may_release(7, start), "it may be the one that is back");
    }

    #[test]
    fn versions_that_nobody_scrapes_do_not_pile_up() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        for second in 0..10_000 {
            history.published(second, after(start, second));
        }
        assert!(history.published.len() <= 122, "{}", history.published.len());
        assert_eq!(history.at(9_999, after(start, 9_999)), 9_879);
    }

    #[test]
    fn a_scraper_that_left_or_fell_silent_is_not_waited_for() {
        let (mut history, start) = (ScrapeHistory::new(HOLD), Instant::now());
        for (client, version) in [(1, 2), (2, 2), (1, 3), (2, 3)] {
            history.completed(client, version, start);
        }
        history.completed(1, 8, after(start, 15));
        assert_eq!(history.at(9, after(start, 16)), 3);
        history.left(2, false);
        assert_eq!(history.at(9, after(start, 16)), 8);
        history.completed(4, 9, after(start, 17));
        history.completed(4, 9, after(start, 18));
        history.completed(1, 20, after(start, 130));
        assert_eq!(history.at(20, after(start, 139)), 20);
    }
}
