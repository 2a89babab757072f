//! One reading of a workflow's list of runs, from its young end to the known region. Pure: answers
//! in, requests out.

use super::{
    order::{Evidence, Key, Order},
    pager::{PageInfo, Paged, Pager},
};
use crate::{api::PageRequest, ledger::StopWhen, model::Run};

/// Which pages to ask for, and when to stop.
#[derive(Debug)]
pub(super) struct Reading {
    evidence: Evidence,
    /// Whether it reads on where everything is known already.
    to_the_end: bool,
    take: u32,
    route: Route,
    /// The last page of a list with the oldest run first.
    last_page: Option<LastPage>,
    /// What the page before held, and how many pages the search for the last one has taken.
    before: Vec<u64>,
    sought: u32,
}

/// After so many pages, the last one is no longer searched for: what the server tells of how long
/// its list is can't be trusted, so the list is read from its front to its end instead.
const LONGEST_SEARCH: u32 = 100;

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
    /// Up from page `first` to the last one, which is `at` or later.
    ToLastPage { key: Key, first: u32, at: u32, overshot: bool },
    /// Down from the last page.
    Backward { key: Key, at: u32 },
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageOutcome {
    /// When the reading ends with it.
    pub(super) stop_when: StopWhen,
    /// The page to ask for next, if it doesn't. `None`: the reading ends without having reached
    /// the known region, and the next one must not stop where this one was.
    pub(super) next: Option<PageRequest>,
    /// Whether the list's first run is its latest.
    pub(super) newest_first: bool,
    /// Whether the list moved while it was read, so that it is read again.
    pub(super) shifted: bool,
    /// Whether all pages so far stand at the old end of the list, which is now left for the young
    /// one.
    pub(super) old_end: bool,
}

impl Reading {
    /// Begins a reading. `last_page` is where the reading before found the young end of a list
    /// with the oldest run first.
    pub(super) fn new(take: u32, to_the_end: bool, last_page: Option<LastPage>) -> Self {
        let route = match last_page {
            Some(LastPage { number, take: same, key }) if same == take && !to_the_end => {
                Route::ToLastPage { key, first: number, at: number, overshot: false }
            }
            _ => Route::Forward(Pager::new(take)),
        };
        let (evidence, before) = (Evidence::default(), Vec::new());
        Self { evidence, to_the_end, take, route, last_page: None, before, sought: 0 }
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
        self.route = Route::Forward(Pager::new(self.take));
        smaller
    }

    /// Takes in the page that was asked for.
    pub(super) fn answered(&mut self, runs: &[Run], info: PageInfo<'_>) -> PageOutcome {
        self.evidence.add(runs);
        let again = !info.keys.is_empty() && self.before == info.keys;
        self.before = info.keys.to_vec();
        match self.route {
            Route::Forward(_) => self.forward(info),
            Route::ToLastPage { key, .. } | Route::Backward { key, .. }
                if self.evidence.contradicts_oldest_first(key) =>
            {
                self.route = Route::Forward(Pager::new(self.take));
                self.outcome(StopWhen::Never, true)
            }
            // A server that ignores `page` has nothing more to tell.
            Route::ToLastPage { .. } if again => self.outcome(StopWhen::Always, false),
            Route::ToLastPage { .. } if self.sought >= LONGEST_SEARCH => {
                self.to_the_end = true;
                self.route = Route::Forward(Pager::new(self.take));
                self.outcome(StopWhen::Never, true)
            }
            Route::ToLastPage { key, first, at, overshot } => {
                self.sought += 1;
                self.seek_last_page(key, first, at, overshot, info.keys.len())
            }
            Route::Backward { at: 1, .. } => self.outcome(StopWhen::Always, false),
            Route::Backward { key, at } => {
                self.route = Route::Backward { key, at: at - 1 };
                self.outcome(self.evidence.stop_when(false), true)
            }
        }
    }

    fn forward(&mut self, info: PageInfo<'_>) -> PageOutcome {
        let Route::Forward(pager) = &mut self.route else {
            return self.outcome(StopWhen::Never, false);
        };
        let stand = pager.answered(info);
        let (take, end) = (pager.take(), pager.end());
        let order = self.evidence.order().filter(|_| !self.to_the_end);
        if let (Paged::Ended, Some(Order::OldestFirst(key))) = (stand, self.evidence.order()) {
            return self.end_at_last_page(LastPage::of(end, take, key));
        }
        match (stand, order) {
            (Paged::Ended, _) => self.outcome(StopWhen::Always, false),
            (Paged::GivenUp, _) => {
                PageOutcome { shifted: true, ..self.outcome(StopWhen::Never, false) }
            }
            (Paged::Restarted, _) => {
                PageOutcome { shifted: true, ..self.outcome(StopWhen::Never, true) }
            }
            (Paged::More, Some(Order::NewestFirst(_))) => {
                self.outcome(self.evidence.stop_when(true), true)
            }
            (Paged::More, Some(Order::OldestFirst(key))) => {
                // Without a total, the end is only found by going there.
                if let Some(total) = info.total {
                    self.take = take;
                    let last = LastPage::of(total, take, key).number;
                    self.route = Route::ToLastPage { key, first: last, at: last, overshot: false };
                }
                let old_end = info.total.is_some();
                PageOutcome { old_end, ..self.outcome(StopWhen::Never, true) }
            }
            (Paged::More, None) => self.outcome(StopWhen::Never, true),
        }
    }

    /// The whole of a list with the oldest run first was read, from its old end. Where a run can
    /// move to the young end, one may have done so after its page was read; so the pages are read
    /// again from the young end.
    fn end_at_last_page(&mut self, last: LastPage) -> PageOutcome {
        self.last_page = Some(last);
        let LastPage { number, take, key } = last;
        if number == 1 || self.evidence.stop_when(false) == StopWhen::IfKnown {
            return self.outcome(StopWhen::Always, false);
        }
        self.take = take;
        self.route = Route::Backward { key, at: number };
        self.outcome(StopWhen::Never, true)
    }

    fn seek_last_page(
        &mut self,
        key: Key,
        first: u32,
        at: u32,
        overshot: bool,
        listed: usize,
    ) -> PageOutcome {
        if listed == 0 && at == first && first > 1 {
            let at = first - 1;
            self.route = Route::ToLastPage { key, first: at, at, overshot: true };
            return self.outcome(StopWhen::Never, true);
        }
        if listed >= self.take as usize && !overshot {
            self.route = Route::ToLastPage { key, first, at: at + 1, overshot };
            return self.outcome(StopWhen::Never, true);
        }
        let last = if listed == 0 && at > 1 { at - 1 } else { at };
        self.last_page = Some(LastPage { number: last, take: self.take, key });
        if at == 1 {
            return self.outcome(StopWhen::Always, false);
        }
        // Pages that were read on the way up are read again: what changed since stands behind them,
        // but before what changed after that and was already met.
        self.route = Route::Backward { key, at: at - 1 };
        let stop_when = if listed == 0 { StopWhen::Never } else { self.evidence.stop_when(false) };
        self.outcome(stop_when, true)
    }

    fn outcome(&self, stop_when: StopWhen, more: bool) -> PageOutcome {
        let newest_first = matches!(self.evidence.order(), Some(Order::NewestFirst(_)));
        let next = more.then(|| self.request());
        PageOutcome { stop_when, next, newest_first, shifted: false, old_end: false }
    }
}

impl LastPage {
    /// Of a list of so many runs.
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
        let mut reading = Reading::new(10, false, None);
        for requests in 1..10_000 {
            let runs = answer(reading.request());
            let keys = keys(&runs);
            let info = PageInfo { keys: &keys, total: Some(total), take: Some(10) };
            let outcome = reading.answered(&runs, info);
            if outcome.stop_when == StopWhen::Always || outcome.next.is_none() {
                return requests;
            }
        }
        panic!("it is asked forever");
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
        assert!(requests <= LONGEST_SEARCH + 30, "{requests}");
    }

    #[test]
    fn a_list_that_has_no_end_is_not_climbed_forever() {
        let page = |request: PageRequest| {
            let first = (request.number - 1).saturating_mul(request.take);
            runs(first..first + request.take)
        };
        let mut reading = Reading::new(10, false, None);
        let climbed = (0..LONGEST_SEARCH + 20).find(|_| {
            let runs = page(reading.request());
            let keys = keys(&runs);
            reading.answered(&runs, PageInfo { keys: &keys, total: Some(20), take: Some(10) });
            reading.to_the_end
        });
        assert!(climbed.is_some(), "{reading:?}");
    }
}
