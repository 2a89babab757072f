//! One reading of a workflow's list of runs, from its young end to the known region. Pure: answers
//! in, requests out.

use super::{
    order::{Evidence, Key, Order},
    pager::{Paged, Pager},
};
use crate::{api::PageRequest, ledger::StopWhen, model::Run};

/// Which pages to ask for, and when to stop.
#[derive(Debug)]
pub(super) struct Reading {
    evidence: Evidence,
    /// Whether it reads on where everything is known already.
    to_the_end: bool,
    /// How many runs there are at least; see [`Pager::new`].
    at_least: u64,
    take: u32,
    route: Route,
    /// The last page of a list with the oldest run first.
    last_page: Option<LastPage>,
    /// What the page before held, and how many pages the search for the last one has taken.
    before: Vec<u64>,
    sought: u32,
}

/// The number of pages after which the last one is no longer searched for: what the server says of
/// how long its list is can't be trusted, so the list is read from its front to its end instead.
const MAX_SEARCH_PAGES: u32 = 100;

/// Where the young end of a list with the oldest run first was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastPage {
    number: u32,
    take: u32,
    key: Key,
}

#[derive(Debug)]
enum Route {
    /// From the first page on.
    Forward(Pager),
    /// From page `first` to the last one, which is `at` or later, or else the one before `first`.
    ToLastPage { key: Key, first: u32, at: u32 },
    /// Down from the last page.
    Backward { key: Key, at: u32 },
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageOutcome {
    /// When the reading ends with it.
    pub(super) stop_when: StopWhen,
    /// Whether the list moved while it was read.
    pub(super) shift: Shift,
    /// Whether the list's first run is its latest.
    pub(super) newest_first: bool,
    /// Whether all pages so far stand at the old end of the list, which is now left for the young
    /// one.
    pub(super) old_end: bool,
}

/// What becomes of a reading whose list moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    /// It doesn't move, or not further than pages overlap.
    None,
    /// The list is read again from its front.
    Restarted,
    /// The reading ends without having reached the known region, and the next one must not stop
    /// where this one was.
    GivenUp,
}

impl Reading {
    /// Begins a reading. `last_page` is where the reading before found the young end of a list
    /// with the oldest run first; the list is at least as long as `at_least`, as far as anything
    /// says so.
    pub(super) fn new(
        take: u32,
        at_least: u64,
        to_the_end: bool,
        last_page: Option<LastPage>,
    ) -> Self {
        let route = match last_page {
            Some(LastPage { number, take: same, key }) if same == take && !to_the_end => {
                Route::ToLastPage { key, first: number, at: number }
            }
            _ => Route::Forward(Pager::new(take, at_least)),
        };
        let (evidence, before) = (Evidence::default(), Vec::new());
        Self { evidence, to_the_end, at_least, take, route, last_page: None, before, sought: 0 }
    }

    /// The page to ask for now.
    pub(super) fn request(&self) -> PageRequest {
        match &self.route {
            Route::Forward(pager) => pager.request(),
            Route::ToLastPage { at, .. } | Route::Backward { at, .. } => {
                PageRequest { number: *at, take: self.take }
            }
        }
    }

    /// Where the next reading best begins.
    pub(super) fn last_page(&self) -> Option<LastPage> {
        self.last_page
    }

    /// Asks for pages of at most this size from now on, unless page numbers are known already that
    /// belong to another size.
    pub(super) fn aim(&mut self, take: u32) {
        if let Route::Forward(pager) = &mut self.route {
            pager.aim(take);
        }
    }

    /// Asks for smaller pages from now on; `false` if there are no smaller ones.
    pub(super) fn shrink(&mut self) -> bool {
        if let Route::Forward(pager) = &mut self.route {
            return pager.shrink();
        }
        let smaller = self.take > 1;
        self.take = (self.take / 4).max(1);
        self.go_forward();
        smaller
    }

    /// Takes in the page that was asked for: its runs, a key for each of its items, and how many
    /// there are in the whole list, if the server says so.
    pub(super) fn answered(
        &mut self,
        runs: &[Run],
        keys: &[u64],
        total: Option<u64>,
    ) -> PageOutcome {
        self.evidence.add(runs);
        let was_full = self.before.len() >= self.take as usize;
        let again = !keys.is_empty() && self.before == keys;
        self.before = keys.to_vec();
        match &mut self.route {
            Route::Forward(pager) => {
                let progress = pager.answered(keys, total);
                let (take, end) = (pager.take(), pager.end());
                self.forward(progress, take, end, total)
            }
            Route::ToLastPage { key, .. } | Route::Backward { key, .. }
                if self.evidence.contradicts_oldest_first(*key) =>
            {
                self.go_forward()
            }
            // A server that ignores `page` has nothing more to give.
            Route::ToLastPage { .. } if again => self.outcome(StopWhen::Always),
            Route::ToLastPage { .. } if self.sought >= MAX_SEARCH_PAGES => {
                self.to_the_end = true;
                self.go_forward()
            }
            Route::ToLastPage { key, first, at } => {
                self.sought += 1;
                let (key, first, at) = (*key, *first, *at);
                let listed = keys.len();
                let end = u64::from(at - 1) * u64::from(self.take) + listed as u64;
                // As in a list that is read forward, a short page proves nothing by itself.
                let agreed = total == Some(end) && end >= self.at_least;
                let is_last = listed < self.take as usize && (was_full || agreed);
                match listed {
                    0 if 1 < at && at <= first => {
                        self.go_on(Route::ToLastPage { key, first, at: at - 1 }, StopWhen::Never)
                    }
                    1.. if at >= first && !is_last => {
                        self.go_on(Route::ToLastPage { key, first, at: at + 1 }, StopWhen::Never)
                    }
                    _ => self.found(key, at, listed),
                }
            }
            Route::Backward { at: 1, .. } => self.outcome(StopWhen::Always),
            Route::Backward { key, at } => {
                let route = Route::Backward { key: *key, at: *at - 1 };
                self.go_on(route, self.evidence.stop_when(false))
            }
        }
    }

    fn forward(&mut self, progress: Paged, take: u32, end: u64, total: Option<u64>) -> PageOutcome {
        let order = self.evidence.order();
        match (progress, order) {
            (Paged::Ended, Some(Order::OldestFirst(key))) => {
                self.end_at_last_page(LastPage::of(end, take, key))
            }
            (Paged::Ended, _) => self.outcome(StopWhen::Always),
            (Paged::GivenUp, _) => {
                PageOutcome { shift: Shift::GivenUp, ..self.outcome(StopWhen::Never) }
            }
            (Paged::Restarted, _) => {
                PageOutcome { shift: Shift::Restarted, ..self.outcome(StopWhen::Never) }
            }
            (Paged::More, Some(Order::NewestFirst(_))) if !self.to_the_end => {
                self.outcome(self.evidence.stop_when(true))
            }
            // Without a total, the end is only found by going there.
            (Paged::More, Some(Order::OldestFirst(key)))
                if !self.to_the_end
                    && let Some(total) = total =>
            {
                self.take = take;
                let first = LastPage::of(total.max(end + 1), take, key).number;
                let route = Route::ToLastPage { key, first, at: first };
                PageOutcome { old_end: true, ..self.go_on(route, StopWhen::Never) }
            }
            (Paged::More, _) => self.outcome(StopWhen::Never),
        }
    }

    /// The whole of a list with the oldest run first was read, from its old end. Where a run can
    /// move to the young end, one may have done so after its page was read; so the pages are read
    /// again from the young end.
    fn end_at_last_page(&mut self, last: LastPage) -> PageOutcome {
        self.last_page = Some(last);
        let LastPage { number, take, key } = last;
        if number == 1 || self.evidence.stop_when(false) == StopWhen::IfKnown {
            return self.outcome(StopWhen::Always);
        }
        self.take = take;
        self.go_on(Route::Backward { key, at: number }, StopWhen::Never)
    }

    /// The search for the last page has ended at this page, which holds this number of runs.
    fn found(&mut self, key: Key, at: u32, listed: usize) -> PageOutcome {
        let number = if listed == 0 && at > 1 { at - 1 } else { at };
        self.last_page = Some(LastPage { number, take: self.take, key });
        if at == 1 {
            return self.outcome(StopWhen::Always);
        }
        // Pages that were read on the way up are read again: what changed since stands behind them,
        // but before what changed after that and was already seen.
        let stop_when = if listed == 0 { StopWhen::Never } else { self.evidence.stop_when(false) };
        self.go_on(Route::Backward { key, at: at - 1 }, stop_when)
    }

    fn go_forward(&mut self) -> PageOutcome {
        self.go_on(Route::Forward(Pager::new(self.take, self.at_least)), StopWhen::Never)
    }

    fn go_on(&mut self, route: Route, stop_when: StopWhen) -> PageOutcome {
        self.route = route;
        self.outcome(stop_when)
    }

    fn outcome(&self, stop_when: StopWhen) -> PageOutcome {
        let newest_first = matches!(self.evidence.order(), Some(Order::NewestFirst(_)));
        PageOutcome { stop_when, shift: Shift::None, newest_first, old_end: false }
    }
}

impl LastPage {
    /// Of a list of this length.
    fn of(total: u64, take: u32, key: Key) -> Self {
        let number = total.div_ceil(u64::from(take)).max(1);
        Self { number: u32::try_from(number).unwrap_or(u32::MAX), take, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn keys(runs: &[Run]) -> Vec<u64> {
        runs.iter().map(|run| run.id.as_str().parse().expect("a number")).collect()
    }

    /// The runs of a list with the oldest first, in the order of their creation.
    fn runs(numbers: std::ops::Range<u32>) -> Vec<Run> {
        let run = |number: u32| {
            let created_at = Some(Timestamp::Instant(i64::from(number) * 1000));
            Run { created_at, ..Run::completed(&number.to_string()) }
        };
        numbers.map(run).collect()
    }

    /// Reads a list whose server answers so; how many requests that takes.
    fn requests(answer: impl Fn(PageRequest) -> Vec<Run>, total: u64) -> u32 {
        let mut reading = Reading::new(10, 0, false, None);
        for requests in 1..10_000 {
            let runs = answer(reading.request());
            let keys = keys(&runs);
            let outcome = reading.answered(&runs, &keys, Some(total));
            if outcome.stop_when == StopWhen::Always || outcome.shift == Shift::GivenUp {
                return requests;
            }
        }
        panic!("it is asked forever");
    }

    /// Reads such a list of 230 runs and returns whether the youngest one was seen.
    fn meets_the_youngest(cap: u32, total: Option<u64>, last_page: Option<LastPage>) -> bool {
        let mut reading = Reading::new(100, 230, false, last_page);
        for _ in 0..2 * MAX_SEARCH_PAGES {
            let request = reading.request();
            let first = (request.number - 1).saturating_mul(request.take.min(cap));
            let end = first.saturating_add(request.take.min(cap));
            let runs = runs(first.min(230)..end.min(230));
            if runs.last().is_some_and(|run| run.id.as_str() == "229") {
                return true;
            }
            let outcome = reading.answered(&runs, &keys(&runs), total);
            // Old runs are known, so the reading stops as soon as it may.
            if outcome.stop_when != StopWhen::Never || outcome.shift == Shift::GivenUp {
                return false;
            }
        }
        false
    }

    #[test]
    fn no_claim_and_no_memory_hides_the_young_end_of_a_list_with_the_oldest_run_first() {
        let memory = |number| LastPage { number, take: 100, key: Key::Created };
        for total in [None, Some(0), Some(50), Some(100), Some(230), Some(1000), Some(u64::MAX)] {
            for cap in [50, 99, 100] {
                for last_page in [None, Some(memory(1)), Some(memory(3)), Some(memory(30))] {
                    let met = meets_the_youngest(cap, total, last_page);
                    assert!(met, "{cap} {total:?} {last_page:?}");
                }
            }
        }
    }

    #[test]
    fn a_server_that_gives_the_same_page_again_is_not_asked_forever_for_the_last_one() {
        assert_eq!(requests(|_| runs(0..10), 500), 3);
    }

    #[test]
    fn a_total_that_is_far_too_large_costs_few_requests() {
        let page = |request: PageRequest| {
            let first = (request.number - 1).saturating_mul(request.take).min(35);
            runs(first..first.saturating_add(request.take).min(35))
        };
        let requests = requests(page, u64::MAX);
        assert!(requests <= MAX_SEARCH_PAGES + 30, "{requests}");
    }

    #[test]
    fn a_list_that_has_no_end_is_not_climbed_forever() {
        let page = |request: PageRequest| {
            let first = (request.number - 1).saturating_mul(request.take);
            runs(first..first + request.take)
        };
        let mut reading = Reading::new(10, 0, false, None);
        let climbed = (0..MAX_SEARCH_PAGES + 20).find(|_| {
            let runs = page(reading.request());
            let keys = keys(&runs);
            reading.answered(&runs, &keys, Some(20));
            reading.to_the_end
        });
        assert!(climbed.is_some(), "{reading:?}");
    }
}
