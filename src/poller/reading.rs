//! One reading of a workflow's list of runs, from its newest end to the known region. Pure: answers
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
    /// The size of the pages that are read forward, but for the first one.
    full: u32,
    /// The size of the pages that are read at the end of the list, and up to which size the server
    /// is known to give them.
    take: u32,
    given: u32,
    route: Route,
    newest_end: Option<NewestEnd>,
    /// What the page before held, and how many pages the search for the last one has taken.
    before: Vec<u64>,
    sought: u32,
}

/// The number of pages after which the last one is no longer searched for: what the server says of
/// how long its list is can't be trusted, so the list is read from its front to its end instead.
const MAX_SEARCH_PAGES: u32 = 100;

/// What the readings of a list have learned for the next ones. Losing it costs larger pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListMemory {
    /// What one reading saw of its order, which was enough, and what was seen since.
    evidence: Option<Evidence>,
    newest_end: Option<NewestEnd>,
}

impl ListMemory {
    /// Whether the order of the list is known, so that small pages need not show it.
    pub(super) fn knows_order(&self) -> bool {
        self.evidence.is_some()
    }

    /// The same without the order, which is to be learned again.
    pub(super) fn without_order(self) -> Self {
        Self { evidence: None, ..self }
    }
}

/// Where the newest end of a list with the oldest run first was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NewestEnd {
    key: Key,
    /// The length of the list.
    end: u64,
    /// Pages of up to this size are given. Of larger ones the server may give less.
    take: u32,
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
    /// Whether all pages so far stand at the old end of the list, which is now left for the newest
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
    /// Begins a reading with a page of `first` runs, which goes on with pages of `full`. The list
    /// is at least as long as `at_least`, as far as anything says so.
    pub(super) fn new(
        first: u32,
        full: u32,
        at_least: u64,
        to_the_end: bool,
        memory: ListMemory,
    ) -> Self {
        let route = match memory.newest_end {
            Some(newest_end) if first <= newest_end.take && !to_the_end => {
                let number = newest_end.last_page(first);
                Route::ToLastPage { key: newest_end.key, first: number, at: number }
            }
            _ => Route::Forward(Pager::new(first, full, at_least)),
        };
        Self {
            evidence: memory.evidence.unwrap_or_default(),
            to_the_end,
            at_least,
            full,
            take: first,
            given: memory.newest_end.map_or(0, |newest_end| newest_end.take),
            route,
            newest_end: None,
            before: Vec::new(),
            sought: 0,
        }
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

    /// What the next reading is to know.
    pub(super) fn memory(&self) -> ListMemory {
        let evidence = self.evidence.order().map(|_| self.evidence);
        ListMemory { evidence, newest_end: self.newest_end }
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
        self.full = (self.take / 4).max(1);
        self.go_forward();
        smaller
    }

    /// The run that was asked for is too large even by itself; see [`Pager::skip`].
    pub(super) fn skip(&mut self) -> bool {
        match &mut self.route {
            Route::Forward(pager) => pager.skip(),
            Route::ToLastPage { .. } | Route::Backward { .. } => self.take == 1,
        }
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
                self.end_at_last_page(NewestEnd { key, end, take })
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
                let first = NewestEnd { key, end: total.max(end + 1), take }.last_page(take);
                let route = Route::ToLastPage { key, first, at: first };
                PageOutcome { old_end: true, ..self.go_on(route, StopWhen::Never) }
            }
            (Paged::More, _) => self.outcome(StopWhen::Never),
        }
    }

    /// The whole of a list with the oldest run first was read, from its old end. Where a run can
    /// move to the newest end, one may have done so after its page was read; so the pages are read
    /// again from the newest end.
    fn end_at_last_page(&mut self, newest_end: NewestEnd) -> PageOutcome {
        self.newest_end = Some(newest_end);
        let NewestEnd { key, take, .. } = newest_end;
        let number = newest_end.last_page(take);
        if number == 1 || self.evidence.stop_when(false) == StopWhen::IfKnown {
            return self.outcome(StopWhen::Always);
        }
        self.take = take;
        self.go_on(Route::Backward { key, at: number }, StopWhen::Never)
    }

    /// The search for the last page has ended at this page, which holds this number of runs.
    fn found(&mut self, key: Key, at: u32, listed: usize) -> PageOutcome {
        let end = u64::from(at - 1) * u64::from(self.take) + listed as u64;
        self.newest_end = Some(NewestEnd { key, end, take: self.take.max(self.given) });
        if at == 1 {
            return self.outcome(StopWhen::Always);
        }
        // Pages that were read on the way up are read again: what changed since stands behind them,
        // but before what changed after that and was already seen.
        let stop_when = if listed == 0 { StopWhen::Never } else { self.evidence.stop_when(false) };
        self.go_on(Route::Backward { key, at: at - 1 }, stop_when)
    }

    fn go_forward(&mut self) -> PageOutcome {
        self.given = 0;
        self.go_on(Route::Forward(Pager::new(self.full, self.full, self.at_least)), StopWhen::Never)
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

impl NewestEnd {
    /// The number of the last page, if pages have this size.
    fn last_page(self, take: u32) -> u32 {
        let number = self.end.div_ceil(u64::from(take)).max(1);
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
