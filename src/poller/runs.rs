//! Reads the runs of a workflow.

use std::{collections::HashSet, sync::atomic::Ordering::Relaxed};

use super::{
    cycle::{CycleStats, ReadError},
    page_size::first_page,
    pager::{Paged, Pager},
    past_readings::{Begun, Outcome},
    reader::AppReader,
    reading::{ListMemory, PageOutcome, Reading, Shift},
};
use crate::{
    api::{Answer, ApiError, Page, PageRequest},
    ledger::{Recorded, RunsRead, StopWhen},
    model::{Anomaly, ReadAt, Run, RunId, Status, WorkflowId},
};

const RUNNING: [Status; 1] = [Status::Running];

/// How far a list of runs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadUntil {
    /// To the known region.
    Known,
    /// To its end.
    End,
    /// To its end, unless it turns out to have more runs than were expected.
    EndWithin,
}

/// What one reading of a workflow has seen.
#[derive(Default)]
struct SeenRuns {
    /// The runs that were listed.
    runs: HashSet<RunId>,
    /// Whether any of them was news.
    news: bool,
}

impl SeenRuns {
    fn add(&mut self, runs: Vec<Run>) {
        self.runs.extend(runs.into_iter().map(|run| run.id));
    }
}

impl AppReader {
    /// Reads one workflow's runs: the list from its newest end to the known region, then the open
    /// runs that weren't met there; or, if that is all that is due, its only open run.
    pub(super) async fn read_workflow(
        &self,
        id: &WorkflowId,
        begun: Begun,
    ) -> Result<Outcome, ReadError> {
        if !begun.list
            && let Some(news) = self.follow_the_only_one(id).await?
        {
            return Ok(Outcome { news, list: false });
        }
        let mut seen = SeenRuns::default();
        let (first_reading, all_is_news) = self
            .workflow_state(id)
            .map_or((false, false), |state| (state.record.first_reading, state.all_is_news()));
        let few =
            first_reading && begun.count.is_some_and(|it| it < self.settings.page_size.into());
        // Of so few runs, it is cheapest to read all.
        let all_read = few && self.read_list(id, ReadUntil::EndWithin, begun, &mut seen).await?;
        if !all_read {
            // The first reading doesn't go back to the oldest open run, so it needs the lists of
            // open runs; unless everything is news, and so read anyway.
            let open_met = !first_reading
                || all_is_news
                || self.read_open_lists(id, &Status::OPEN, &mut seen).await?;
            let until = if open_met { ReadUntil::Known } else { ReadUntil::End };
            self.read_list(id, until, begun, &mut seen).await?;
        }
        self.follow(id, &mut seen).await?;
        Ok(Outcome { news: seen.news, list: true })
    }

    /// Reads the list of runs; `seen` collects them. Returns whether it was read as far as it was
    /// to be; `false` only if it is longer than the list of workflows says.
    async fn read_list(
        &self,
        id: &WorkflowId,
        until: ReadUntil,
        begun: Begun,
        seen: &mut SeenRuns,
    ) -> Result<bool, ReadError> {
        let at_least = begun.count.unwrap_or(0);
        let (mut reading, list) = self.begin_reading(id, until, begun);
        let first_reading = self.workflow_state(id).is_none_or(|it| it.record.first_reading);
        let mut may_be_unchanged =
            until == ReadUntil::Known && !first_reading && begun.may_be_unchanged;
        let mut expects_more = begun.new_runs > 0 && !begun.deep && list.knows_order();
        let (mut pages, mut skipped) = (0, None);
        loop {
            let request = reading.request();
            let answer = self.request_page(id, request, may_be_unchanged).await;
            let page = match answer {
                Err(ApiError::TooLarge { .. }) if request.take > 1 && reading.shrink() => continue,
                Err(ApiError::TooLarge { limit }) if reading.skip() => {
                    skipped = Some(ApiError::TooLarge { limit });
                    Page::too_large(id, request, limit, self.client.now())
                }
                Err(error) => return Err(error.into()),
                Ok(None) => return self.missing(id).map(|()| true),
                Ok(Some(Answer::Changed(page))) => page,
                Ok(Some(Answer::Unchanged { read_at, .. })) => {
                    self.record(id, &[], read_at, StopWhen::Always).await?;
                    self.memory().lists.insert(id.clone(), list);
                    return Ok(true);
                }
            };
            may_be_unchanged = false;
            pages += 1;
            let (outcome, recorded) = self.record_page(id, &mut reading, &page).await?;
            seen.news |= recorded.news;
            if recorded.closed && expects_more && !seen.news {
                // What the number of runs announced is not where it was expected.
                expects_more = false;
                let full = self.memory().page_sizes.of(id);
                let list = reading.memory().without_order();
                reading = Reading::new(full, full, at_least, false, list);
            } else if recorded.closed {
                let closed = self.closed_readings(id);
                let mut memory = self.memory();
                memory.lists.insert(id.clone(), reading.memory());
                if pages == 1 {
                    let page = (&page, outcome.newest_first, begun.may_be_unchanged);
                    memory.settled_pages.ended(id, request, page, closed, self.clock.steady_ms());
                }
                seen.add(page.items);
                return Ok(true);
            }
            seen.add(page.items);
            if outcome.shift == Shift::GivenUp {
                return Err(skipped.map_or(ReadError::Moving, ReadError::Api));
            }
            if until == ReadUntil::EndWithin && seen.runs.len() as u64 > at_least {
                return Ok(false);
            }
        }
    }

    /// Begins to read a list, with what is known of it from earlier readings.
    fn begin_reading(
        &self,
        id: &WorkflowId,
        until: ReadUntil,
        begun: Begun,
    ) -> (Reading, ListMemory) {
        let (at_least, to_the_end) = (begun.count.unwrap_or(0), until != ReadUntil::Known);
        let open = self.workflow_state(id).map_or(0, |state| state.open.len());
        let mut memory = self.memory();
        let full = memory.page_sizes.of(id);
        let list = memory.lists.remove(id).unwrap_or_default();
        let list = if begun.deep || to_the_end { list.without_order() } else { list };
        // What the server may call unchanged costs nothing, however large it is.
        let tagged = memory.settled_pages.tagged(id).filter(|_| begun.may_be_unchanged);
        let expected = || first_page(begun.new_runs, open, full);
        // A small page doesn't show the order.
        let first = if list.knows_order() {
            tagged.filter(|take| *take <= full).unwrap_or_else(expected)
        } else {
            full
        };
        (Reading::new(first, full, at_least, to_the_end, list), list)
    }

    /// Requests a page of a list, unless it may be unchanged and is.
    async fn request_page(
        &self,
        id: &WorkflowId,
        request: PageRequest,
        may_be_unchanged: bool,
    ) -> Result<Option<Answer<Page<Run>>>, ApiError> {
        let closed = self.closed_readings(id);
        let known =
            may_be_unchanged.then(|| self.memory().settled_pages.known(id, request, closed));
        let answer = self.client.runs(id, request, known.flatten().as_ref()).await?;
        if let Some(Answer::Changed(page)) = &answer {
            self.memory().settled_pages.sent(id, request, page, self.clock.steady_ms());
        }
        Ok(answer)
    }

    /// Records a page of a reading, and what it means for that.
    async fn record_page(
        &self,
        id: &WorkflowId,
        reading: &mut Reading,
        page: &Page<Run>,
    ) -> Result<(PageOutcome, Recorded), ReadError> {
        self.report_undecodable(&page.undecodable, Anomaly::UndecodableRun, id.as_str());
        let size = self.memory().page_sizes.learn(id, page.keys.len(), page.bytes);
        reading.aim(size);
        let outcome = reading.answered(&page.items, &page.keys, page.total);
        if outcome.shift != Shift::None {
            self.ledger.metrics().anomaly(Anomaly::ShiftedPages);
        }
        let read = RunsRead {
            runs: &page.items,
            read_at: page.read_at,
            newest_first: outcome.newest_first,
            stop_when: outcome.stop_when,
            old_end: outcome.old_end,
        };
        let recorded = self.ledger.record_runs(&self.settings.app_id, id, read).await?;
        self.runs_read.fetch_add(page.items.len() as u64, Relaxed);
        Ok((outcome, recorded))
    }

    /// How many readings of a list the ledger has closed.
    fn closed_readings(&self, id: &WorkflowId) -> i64 {
        self.workflow_state(id).map_or(0, |state| state.record.closed_readings)
    }

    /// There is no list of a workflow's runs. Where the workflow isn't listed any more either, it
    /// is gone; its open runs are requested one by one, and vanish.
    fn missing(&self, id: &WorkflowId) -> Result<(), ReadError> {
        let listed = self.workflow_state(id).is_some_and(|state| state.listed);
        if listed { Err(ReadError::Missing) } else { Ok(()) }
    }

    /// Reads the lists of runs with these statuses: PENDING before RUNNING, so that a run that
    /// changes from one to the other meanwhile is met. Returns whether the server has such lists.
    async fn read_open_lists(
        &self,
        id: &WorkflowId,
        statuses: &[Status],
        seen: &mut SeenRuns,
    ) -> Result<bool, ReadError> {
        for status in statuses {
            let size = self.settings.page_size;
            let mut pager = Pager::new(size, size, 0);
            loop {
                let page = self.client.runs_with(id, status, pager.request()).await;
                let page = match page {
                    Err(ApiError::TooLarge { .. }) if pager.shrink() => continue,
                    // It doesn't know what is asked for, or one run is too large.
                    Err(ApiError::Status { code: 400..500, .. } | ApiError::TooLarge { .. }) => {
                        None
                    }
                    page => page?,
                };
                // If the list of all runs is there nevertheless, it has to have these too.
                let Some(page) = page else { return Ok(false) };
                if page.items.iter().any(|run| run.status != *status) {
                    return Ok(false);
                }
                self.report_undecodable(&page.undecodable, Anomaly::UndecodableRun, id.as_str());
                let progress = pager.answered(&page.keys, page.total);
                seen.news |= self.record(id, &page.items, page.read_at, StopWhen::Never).await?;
                seen.add(page.items);
                match progress {
                    Paged::More | Paged::Restarted => {}
                    Paged::Ended => break,
                    Paged::GivenUp => return Err(ReadError::Moving),
                }
            }
        }
        Ok(true)
    }

    /// Looks at the open run, if there is only one, and returns whether that was news. `None`: the
    /// list has to be read, which may have the run although its own address does not.
    async fn follow_the_only_one(&self, id: &WorkflowId) -> Result<Option<bool>, ReadError> {
        let open = self.unmet(id, &SeenRuns::default());
        let [run_id] = &open[..] else { return Ok(None) };
        let Ok(Some(run)) = self.client.run(id, run_id).await else { return Ok(None) };
        let read_at = self.client.now();
        self.record(id, &[run], read_at, StopWhen::WithoutList).await.map(Some)
    }

    /// Looks at the open runs that weren't met. One that can't be read doesn't keep the others from
    /// being followed, unless further requests are useless; it makes this fail in the end.
    async fn follow(&self, id: &WorkflowId, seen: &mut SeenRuns) -> Result<(), ReadError> {
        let lists = self.lists_worth_reading(id, seen);
        if !lists.is_empty() {
            self.read_open_lists(id, lists, seen).await?;
        }
        let mut vanished = Vec::new();
        let (mut stats, mut failure) = (CycleStats::default(), None);
        for run_id in self.unmet(id, seen) {
            let run = self.client.run(id, &run_id).await;
            match run {
                Ok(Some(run)) => {
                    self.record(id, &[run], self.client.now(), StopWhen::Never).await?;
                    stats.read();
                }
                Ok(None) => {
                    vanished.push(run_id);
                    stats.read();
                }
                Err(ApiError::Undecodable(item)) => {
                    self.report_undecodable(&[item], Anomaly::UndecodableRun, id.as_str());
                }
                Err(error) => {
                    let error = ReadError::from(error);
                    stats.failed(&error, run_id.as_str());
                    if stats.has_given_up(true) {
                        failure = Some(error);
                        break;
                    }
                    failure.get_or_insert(error);
                }
            }
        }
        if !vanished.is_empty() {
            let app = &self.settings.app_id;
            self.ledger.record_vanished(app, id, &vanished, self.client.now()).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// The lists of open runs that cost less than asking for each run that wasn't met. No run is
    /// PENDING again once it was RUNNING.
    fn lists_worth_reading(&self, id: &WorkflowId, seen: &SeenRuns) -> &'static [Status] {
        let Some(state) = self.workflow_state(id) else {
            return &[];
        };
        let unmet = state.open.iter().filter(|(run, _)| !seen.runs.contains(*run));
        let count = |status: Status| unmet.clone().filter(|(_, run)| run.status == status).count();
        match (count(Status::Pending), count(Status::Running)) {
            (0, 2..) => &RUNNING,
            (pending @ 1.., running) if pending + running > Status::OPEN.len() => &Status::OPEN,
            _ => &[],
        }
    }

    /// The open runs that weren't met.
    fn unmet(&self, id: &WorkflowId, seen: &SeenRuns) -> Vec<RunId> {
        let Some(state) = self.workflow_state(id) else {
            return Vec::new();
        };
        state.open.keys().filter(|run| !seen.runs.contains(*run)).cloned().collect()
    }

    /// Records runs that are no page of a reading. Returns whether there was news among them.
    async fn record(
        &self,
        id: &WorkflowId,
        runs: &[Run],
        read_at: ReadAt,
        stop_when: StopWhen,
    ) -> Result<bool, ReadError> {
        let read = RunsRead { runs, read_at, newest_first: false, stop_when, old_end: false };
        let news = self.ledger.record_runs(&self.settings.app_id, id, read).await?.news;
        self.runs_read.fetch_add(runs.len() as u64, Relaxed);
        Ok(news)
    }
}
