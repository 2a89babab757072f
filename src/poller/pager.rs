//! Which page of a list to ask for next, so that nothing between two pages is skipped although the
//! list moves. Pure.

use std::collections::HashSet;

use crate::api::PageRequest;

/// Reads a list from its first page to its end.
///
/// Items that join at the front push others onto the next page, where they are met twice, which
/// does no harm. Items that leave pull others onto a page that was already read, where nobody looks
/// again; so each page is asked for such that it overlaps what was read, and a page that shares
/// nothing with it shows that the list moved further than that.
///
/// What the server says of its pages is believed only as far as it agrees with what they hold.
#[derive(Debug)]
pub(super) struct Pager {
    request: PageRequest,
    /// The maximum number of items to ask for, once it is known what the server gives, and how many
    /// it was at first.
    take: u32,
    full: u32,
    /// Items up to here were read.
    end: u64,
    /// No page begins before this one: the item before it is too large to be read.
    not_before: u64,
    skipped: u32,
    /// The largest page that was as large as asked for, so the server's own limit isn't lower, and
    /// the largest of all.
    fullest: u32,
    largest: u32,
    /// The minimum length of the list, according to something else.
    at_least: u64,
    /// The server gives pages of its own size, whatever is asked for, so that none overlap.
    ignores_take: bool,
    seen: HashSet<u64>,
    /// What the page before began with, and how many pages in a row have begun likewise.
    first: Option<u64>,
    repeats: u32,
    /// Pages in a row that held nothing unseen.
    stale: u32,
    pages: u32,
    restarts: u32,
}

/// Where the reading of a list stands after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paged {
    /// There is more.
    More,
    /// That was the last page.
    Ended,
    /// The list moved so that something may have been skipped: it is read from its front again.
    Restarted,
    /// It moves too much, or never ends.
    GivenUp,
}

/// How many items two pages share, if pages are large enough.
const OVERLAP: u64 = 5;

/// The number of consecutive pages that begin with the same item as the one before if the server
/// ignores `page`. Items that join can push it on from page to page, but not to the beginning of each.
const MAX_REPEATS: u32 = 4;

/// The number of consecutive pages without anything unseen that mean that the list goes in circles,
/// or grows faster than it can be read.
const MAX_STALE_PAGES: u32 = 20;

/// A list that is longer than this many pages isn't read to its end.
const MAX_PAGES: u32 = 20_000;

/// How often a list that moves too much is read from its front again.
const MAX_RESTARTS: u32 = 3;

/// How many items of one list are skipped because each of them is too large to be read. Where there
/// are more, the rest of the list is likely to be like them, and each costs a large answer.
const MAX_SKIPPED: u32 = 5;

impl Pager {
    /// Asks for a first page of `first` items, and then for pages of at most `take`. The list is
    /// believed to end before `at_least` items only if a page proves it.
    pub(super) fn new(first: u32, take: u32, at_least: u64) -> Self {
        Self {
            request: PageRequest { number: 1, take: first },
            take,
            full: take,
            end: 0,
            not_before: 0,
            skipped: 0,
            fullest: 0,
            largest: 0,
            at_least,
            ignores_take: false,
            seen: HashSet::new(),
            first: None,
            repeats: 0,
            stale: 0,
            pages: 0,
            restarts: 0,
        }
    }

    /// The page to ask for now.
    pub(super) fn request(&self) -> PageRequest {
        self.request
    }

    /// The maximum number of items that a page has.
    pub(super) fn take(&self) -> u32 {
        self.take
    }

    /// How many items were read without a gap.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Pages of at most this size are requested from now on, if the server respects that.
    pub(super) fn aim(&mut self, take: u32) {
        if !self.ignores_take {
            self.take = self.take.min(take).max(1);
        }
    }

    /// A page of a quarter of this size is asked for from now on, because one of this size is too
    /// large to be read. `false` if there is no smaller one.
    pub(super) fn shrink(&mut self) -> bool {
        if self.ignores_take || self.request.take <= 1 {
            return false;
        }
        self.take = (self.request.take / 4).max(1);
        self.request = self.next_request();
        true
    }

    /// The item that was asked for is too large even by itself. Once its page is taken in, with some
    /// key, no page asked for contains it, and pages are as large again as the others allow. `false`
    /// if more than one item was asked for, or if too many were skipped.
    pub(super) fn skip(&mut self) -> bool {
        let skips = self.request.take == 1 && self.skipped < MAX_SKIPPED;
        if skips {
            self.skipped += 1;
            self.not_before = self.request.number.into();
            self.take = self.full;
        }
        skips
    }

    /// Takes in the page that was asked for: a key for each of its items, and how many items the
    /// whole list has, if the server says so.
    pub(super) fn answered(&mut self, keys: &[u64], total: Option<u64>) -> Paged {
        self.pages += 1;
        let listed = keys.len() as u32;
        // If nothing else was seen before, what was skipped were no single items if the server ignores
        // `take`. This page must show that it doesn't.
        let unproved = self.skipped > 0 && self.end == u64::from(self.skipped);
        let agreed = total.unwrap_or(self.at_least) == self.end;
        if unproved && (listed > self.request.take || listed == 0 && !agreed) {
            return Paged::GivenUp;
        }
        // Behind what was skipped, pages grow. Where one begins that is smaller than asked for is
        // unknown, if the server was never seen to give so many.
        let grows = self.skipped > 0 && self.request.number > 1 && self.request.take > self.fullest;
        if grows && (1..self.request.take).contains(&listed) {
            self.take = listed;
            self.request = self.next_request();
            return Paged::More;
        }
        if listed > self.request.take {
            self.ignores_take = true;
            self.take = listed;
        }
        if listed >= self.request.take {
            self.fullest = self.fullest.max(listed);
        }
        let offset = u64::from(self.request.number - 1) * u64::from(self.request.take.max(listed));
        let any_seen = keys.iter().any(|key| self.seen.contains(key));
        if offset < self.end && !any_seen {
            return self.restart();
        }
        let before = self.seen.len();
        self.seen.extend(keys);
        self.stale = if self.seen.len() == before { self.stale + 1 } else { 0 };
        let first = keys.first().copied();
        let again = self.request.number > 1 && self.first == first;
        self.first = first;
        self.repeats = if again { self.repeats + 1 } else { 0 };
        let end = offset + u64::from(listed);
        if self.is_last(listed, end, total) || self.repeats >= MAX_REPEATS {
            self.end = self.end.max(end);
            return Paged::Ended;
        }
        self.largest = self.largest.max(listed);
        if self.pages >= MAX_PAGES || self.stale >= MAX_STALE_PAGES {
            return Paged::GivenUp;
        }
        self.end = self.end.max(end);
        if listed < self.request.take {
            // It seems that the server gives fewer than asked for.
            self.take = self.take.min(listed);
        }
        self.request = self.next_request();
        Paged::More
    }

    /// Whether a page that lists this number of items, and ends here, is the last one. A short page
    /// can also mean that the server gives fewer than asked for.
    fn is_last(&self, listed: u32, end: u64, total: Option<u64>) -> bool {
        if listed == 0 {
            return true;
        }
        let is_short = listed < self.request.take;
        // Of a larger page than any before, the server may give a part only.
        let nothing_beyond = end <= self.end && self.request.take <= self.largest;
        let agreed = total == Some(end) && end >= self.at_least;
        let could_be_full = self.request.take <= self.fullest;
        is_short && (nothing_beyond || agreed || could_be_full && total.is_none_or(|it| it <= end))
    }

    fn restart(&mut self) -> Paged {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Paged::GivenUp;
        }
        // A server that makes of `take` what it likes also looks like a list that moves, so the
        // second time pages are joined end to end.
        self.ignores_take |= self.restarts > 1;
        self.end = 0;
        self.not_before = 0;
        self.skipped = 0;
        self.stale = 0;
        self.seen.clear();
        self.request = PageRequest { number: 1, take: self.take };
        Paged::Restarted
    }

    /// The page that begins at least [`OVERLAP`] items before the end of what was read, and
    /// reaches furthest beyond. Only multiples of `take` can be begun at, so the size varies a
    /// little. Pages too small to overlap join end to end.
    fn next_request(&self) -> PageRequest {
        let joined = |take: u32, overlap: u64| {
            let number = self.end.saturating_sub(overlap) / u64::from(take) + 1;
            PageRequest { number: u32::try_from(number).unwrap_or(u32::MAX), take }
        };
        let reach = |page: &PageRequest| u64::from(page.number) * u64::from(page.take);
        let allowed = |page: &PageRequest| reach(page) - u64::from(page.take) >= self.not_before;
        if !self.ignores_take {
            let overlap = OVERLAP.min(u64::from(self.take.div_ceil(10)));
            let sizes = self.take.div_ceil(2)..=self.take;
            let pages = sizes.map(|take| joined(take, overlap)).filter(allowed);
            let furthest = pages.max_by_key(reach);
            if let Some(page) = furthest.filter(|page| reach(page) > self.end) {
                return page;
            }
        }
        let mut pages = (1..=self.take).rev().map(|take| joined(take, 0));
        pages.find(allowed).unwrap_or_else(|| joined(1, 0))
    }
}

#[cfg(test)]
mod tests;
