//! What needn't be sent, decoded or looked up again, because it is still as it was. Pure.

use std::collections::HashMap;

use super::page_size::MIN_FIRST;
use crate::{
    api::{Page, PageRequest, Validator},
    model::{DAY_MS, Phase, ReadAt, Run, Workflow, WorkflowId},
};

/// The page on which the last reading of each list of runs began and ended, where all of its runs
/// were finished: while it is the same, nothing has happened in the list. One for each workflow.
#[derive(Debug, Default)]
pub(super) struct SettledPages {
    pages: HashMap<WorkflowId, SettledPage>,
    /// Until when the tags of these lists aren't believed.
    distrusted: HashMap<WorkflowId, i64>,
}

#[derive(Debug)]
struct SettledPage {
    request: PageRequest,
    validator: Validator,
    /// How many readings of the list the ledger had closed by then.
    closed: i64,
}

impl SettledPages {
    /// By what this page is recognised, if it is the one that was remembered. `closed` is how many
    /// readings of the list the ledger has closed: fewer than then, if its database has lost what it
    /// had acknowledged, as after a failover without all of its log. Then nothing is known.
    pub(super) fn known(
        &self,
        id: &WorkflowId,
        request: PageRequest,
        closed: i64,
    ) -> Option<Validator> {
        let page = self.pages.get(id)?;
        (page.request == request && page.closed <= closed).then(|| page.validator.clone())
    }

    /// The size of the page that was remembered, if the server can be asked whether it is the same.
    pub(super) fn tagged(&self, id: &WorkflowId) -> Option<u32> {
        let page = self.pages.get(id).filter(|page| page.validator.tag().is_some())?;
        Some(page.request.take)
    }

    /// This page was sent. If the server calls it by the name of another one, its tags aren't
    /// believed for a day, like a number of runs that missed something.
    pub(super) fn sent(
        &mut self,
        id: &WorkflowId,
        request: PageRequest,
        page: &Page<Run>,
        now_ms: i64,
    ) {
        let known = self.pages.remove(id).filter(|known| known.request == request);
        if known.is_some_and(|known| page.validator.contradicts(&known.validator)) {
            self.distrusted.insert(id.clone(), now_ms + DAY_MS);
        }
    }

    /// A reading began and ended with this page, and what it read is durable. `expected`: the page
    /// was asked for only to see whether it is what it was.
    ///
    /// If the list isn't one with the newest run first, a server that gives fewer runs than are
    /// asked for can add more without changing the page, but for the length of the list; of that, a
    /// 304 says nothing. And a large page that has changed although nothing was expected may do so
    /// every time, so the next reading asks for a small one.
    pub(super) fn ended(
        &mut self,
        id: &WorkflowId,
        request: PageRequest,
        (page, newest_first, expected): (&Page<Run>, bool, bool),
        closed: i64,
        now_ms: i64,
    ) {
        let finished = page.items.iter().all(|run| run.phase() == Phase::Finished);
        if !finished || !page.undecodable.is_empty() {
            return;
        }
        let distrusted = self.distrusted.get(id).is_some_and(|until_ms| now_ms < *until_ms);
        let validator = page.validator.clone();
        let useless = expected && u64::from(request.take) > MIN_FIRST;
        let by_tag = newest_first && !distrusted && !useless;
        let validator = if by_tag { validator } else { validator.without_tag() };
        self.pages.insert(id.clone(), SettledPage { request, validator, closed });
    }

    /// Only these workflows are left.
    pub(super) fn retain(&mut self, is_left: impl Fn(&WorkflowId) -> bool) {
        self.pages.retain(|id, _| is_left(id));
        self.distrusted.retain(|id, _| is_left(id));
    }
}

/// The pages of the list of workflows as they were read last. One that is still the same needn't be
/// sent again.
#[derive(Debug, Default)]
pub struct KnownWorkflows {
    pages: Vec<(PageRequest, Page<Workflow>)>,
    /// Those of the reading under way.
    next: Vec<(PageRequest, Page<Workflow>)>,
    /// When the present reading began, and when one last asked for all pages, whatever was known.
    now_ms: i64,
    asked_ms: Option<i64>,
    /// Until when the tags of the list aren't believed.
    distrusted_until_ms: i64,
}

impl KnownWorkflows {
    /// A reading of the list begins. What the one before read remains, if it has ended well. At
    /// least so often, all pages are asked for whatever is known, since a tag may not change when
    /// it should.
    pub(super) fn begin(&mut self, now_ms: i64, ask_every_ms: i64) {
        self.pages = std::mem::take(&mut self.next);
        self.now_ms = now_ms;
        if self.asked_ms.is_none_or(|asked_ms| asked_ms + ask_every_ms <= now_ms) {
            self.asked_ms = Some(now_ms);
        }
    }

    /// The list is read from its front again, or could not be read: nothing of it is known.
    pub(super) fn forget(&mut self) {
        self.next.clear();
    }

    /// By what this page is recognised, if the server may be told.
    pub(super) fn validator(&self, request: PageRequest) -> Option<&Validator> {
        let asked_now = self.asked_ms == Some(self.now_ms);
        self.known(request).filter(|_| !asked_now).map(|page| &page.validator)
    }

    /// The page that is still the same, of a list that has this length by now, if that is said. The
    /// length that it had before proves nothing any more.
    pub(super) fn unchanged(
        &self,
        request: PageRequest,
        read_at: ReadAt,
        total: Option<u64>,
    ) -> Option<Page<Workflow>> {
        let page = self.known(request)?;
        Some(Page { total, read_at, ..page.clone() })
    }

    /// This page was read. If the server calls it by the name of another one, the tags of the list
    /// aren't believed for a day.
    pub(super) fn read(&mut self, request: PageRequest, mut page: Page<Workflow>) {
        if self.known(request).is_some_and(|known| page.validator.contradicts(&known.validator)) {
            self.distrusted_until_ms = self.now_ms + DAY_MS;
        }
        if self.now_ms < self.distrusted_until_ms {
            page.validator = page.validator.without_tag();
        }
        self.next.push((request, page));
    }

    fn known(&self, request: PageRequest) -> Option<&Page<Workflow>> {
        self.pages.iter().find(|(known, _)| *known == request).map(|(_, page)| page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(tag: Option<&'static str>) -> Page<Run> {
        Page {
            items: vec![Run::completed("a")],
            keys: vec![1],
            undecodable: Vec::new(),
            bytes: 2,
            total: None,
            read_at: ReadAt::new(0, 0),
            validator: Validator::of_body(b"[]", tag),
        }
    }

    #[test]
    fn a_page_is_known_only_while_the_ledger_holds_the_reading_that_ended_with_it() {
        let id = WorkflowId::new("w").expect("an id");
        let request = PageRequest { number: 1, take: 10 };
        let mut pages = SettledPages::default();
        pages.ended(&id, request, (&page(None), true, false), 3, 0);
        assert!(pages.known(&id, request, 3).is_some() && pages.known(&id, request, 4).is_some());
        assert!(pages.known(&id, request, 2).is_none(), "that reading is lost");
        assert!(pages.known(&id, PageRequest { take: 100, ..request }, 3).is_none());
    }

    #[test]
    fn a_large_page_is_asked_for_again_only_where_that_may_be_answered_without_it() {
        let id = WorkflowId::new("w").expect("an id");
        for (take, tag, newest_first, expected, again) in [
            (100, Some("\"a\""), true, false, true),
            (100, None, true, false, false),
            (100, Some("\"a\""), false, false, false),
            // It has changed although nothing was expected.
            (100, Some("\"a\""), true, true, false),
            (10, Some("\"a\""), true, true, true),
        ] {
            let mut pages = SettledPages::default();
            let request = PageRequest { number: 1, take };
            pages.ended(&id, request, (&page(tag), newest_first, expected), 0, 0);
            let case = (take, tag, newest_first, expected);
            assert_eq!(pages.tagged(&id), again.then_some(take), "{case:?}");
        }
    }
}
