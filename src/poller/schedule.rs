//! What of one app is to be read next, and since when. Pure: it is given the time, what the list of
//! workflows said, and how readings ended.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    cycle::DOWN_AFTER,
    hint::Hint,
    past_readings::{Begun, Outcome, PastReadings},
};
use crate::{config, model::WorkflowId};

/// The maximum number of lists and workflows that are read at once, so that an API that takes
/// seconds for an answer can be asked hundreds of times a minute.
pub(super) const MAX_CONCURRENT: usize = 16;

/// Of this number of readings, one goes to whatever is most overdue, so that nothing starves while
/// others are more urgent.
pub(super) const TURNS: usize = 4;

/// What there is to poll, over all apps together, as far as it decides what that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Workload {
    /// Requests that it takes to read the list of workflows of each app once.
    pub list_requests: u32,
    /// Workflows that are followed.
    pub followed: u32,
    /// Those of the followed ones that have open runs at any one time.
    pub open: u32,
    /// Those of the others whose number of runs is not listed, or not believed.
    pub uncounted: u32,
    /// Runs that are created in a minute.
    pub runs_per_minute: f64,
}

/// When the workflows of one app are to be read.
///
/// Every interval the list of workflows is read, and decides which workflows are due. A cycle
/// begins with a list and ends when all that was due after it has been tried. If that takes longer
/// than the interval, the list is read again meanwhile, and what it makes due waits beside the
/// rest. All times are in milliseconds by a clock that nobody sets.
#[derive(Debug)]
pub(super) struct Schedule {
    periods: Periods,
    workflows: BTreeMap<WorkflowId, Task>,
    list_due_ms: i64,
    listing: bool,
    cycle: Option<CurrentCycle>,
    /// How many requests the last list took.
    list_requests: u32,
}

/// How far a cycle has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CycleProgress {
    /// The workflows that are read in it.
    pub workflows: usize,
    /// Those of them that have been read, or tried.
    pub read: usize,
    /// Since it began.
    pub elapsed: Duration,
}

impl CycleProgress {
    /// About how long the rest takes, once that can be said.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.workflows.checked_sub(self.read)? as f64;
        (self.read > 0).then(|| self.elapsed.mul_f64(left / self.read as f64))
    }
}

/// The current cycle.
#[derive(Clone, Copy, Debug)]
struct CurrentCycle {
    begun_ms: i64,
    /// Whether its first list has ended, well or not.
    listed: bool,
    /// How many workflows that list made due.
    workflows: usize,
    /// Whether it was broken off, so that nothing more is begun in it.
    broken_off: bool,
}

/// How often a workflow is read: if something can happen in it unannounced, and if not.
#[derive(Clone, Copy, Debug)]
struct Periods {
    interval_ms: i64,
    sweep_ms: i64,
}

/// A workflow.
#[derive(Debug, Default)]
struct Task {
    hint: Hint,
    /// When the last reading that ended well began.
    read_ms: Option<i64>,
    past: PastReadings,
    /// When the last reading began, if it ended badly.
    failed_ms: Option<i64>,
    /// Since when it is to be read.
    due_ms: Option<i64>,
    /// How often it is to be read as things are.
    period_ms: i64,
    /// Whether it has open runs, or one failed lately.
    active: bool,
    state: TaskState,
    /// Whether the current cycle waits for it.
    in_cycle: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TaskState {
    #[default]
    Resting,
    Queued,
    Reading,
}

/// How urgent a reading is compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Priority {
    /// Whether there is more to it than a sweep.
    urgent: bool,
    /// The time since it was read as a multiple of its period, in thousandths. Whatever is chosen
    /// by this is stretched by the same factor as everything else.
    overdue_ratio: i64,
}

/// How the workflow to read next is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// What is more than a sweep first; of that, what is active counts for more.
    Urgent,
    /// The most overdue one, whatever it is.
    MostOverdue,
}

impl Policy {
    pub(super) fn of_turn(turn: usize) -> Self {
        if turn % TURNS == TURNS - 1 { Self::MostOverdue } else { Self::Urgent }
    }
}

/// The factor by which an active workflow counts as more overdue than others. It is read before
/// them, yet they don't wait forever if there are more active ones than the rate limit allows for.
const ACTIVE: i64 = 4;

/// After how many sweep intervals a workflow that failed is as urgent again as one whose sweep is
/// due. It has been tried long before, unless there is more to do than the rate limit allows for:
/// whatever didn't fail is read first, so that it doesn't have to wait for what may fail again.
const FAILED: i64 = 2;

/// The maximum number of concurrent readings of workflows that failed before, since each may take
/// until its last retry has timed out. This few don't make the API count as down if they end
/// together.
const MAX_FAILED: usize = DOWN_AFTER as usize - 1;

/// The activity of a workflow, as known from its last reading.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    pub(super) id: WorkflowId,
    /// Whether it has open runs.
    pub(super) open: bool,
    /// Whether one of its runs failed lately.
    pub(super) failed: bool,
}

/// What a list of workflows says.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// Each workflow's number of runs, if that is listed.
    pub(super) counts: HashMap<WorkflowId, Option<u64>>,
    /// How many requests it took.
    pub(super) requests: u32,
    /// How long these take at the rate limit.
    pub(super) cost_ms: i64,
}

/// Lists of workflows get at most one in this number of requests: with many thousands of workflows
/// the list is read less often.
const LIST_SHARE: i64 = 2;

impl Schedule {
    /// Nothing is known; the list is due.
    pub(super) fn new(poll: &config::Poll, now_ms: i64) -> Self {
        let interval_ms = poll.interval.as_millis() as i64;
        let sweep_ms = (poll.sweep_interval.as_millis() as i64).max(interval_ms);
        Self {
            periods: Periods { interval_ms, sweep_ms },
            workflows: BTreeMap::new(),
            list_due_ms: now_ms,
            listing: false,
            cycle: None,
            list_requests: 0,
        }
    }

    /// Begins a new cycle at once. What was being read is given up.
    pub(super) fn restart(&mut self, now_ms: i64) {
        (self.listing, self.cycle, self.list_due_ms) = (false, None, now_ms);
        for task in self.workflows.values_mut() {
            task.state = TaskState::Resting;
        }
    }

    /// When the list is to be read next; `None` while it is being read, and while what had begun
    /// before a cycle was broken off has not ended.
    pub(super) fn list_due_ms(&self) -> Option<i64> {
        let ending = self.cycle.is_some_and(|cycle| cycle.broken_off);
        (!self.listing && !ending).then_some(self.list_due_ms)
    }

    /// The list must not be read before.
    pub(super) fn postpone_list(&mut self, until_ms: i64) {
        self.list_due_ms = until_ms;
    }

    /// The reading of the list begins, and with it a cycle, if there is no current one.
    pub(super) fn begin_list(&mut self, now_ms: i64) {
        self.listing = true;
        self.list_due_ms = now_ms + self.periods.interval_ms;
        let cycle =
            CurrentCycle { begun_ms: now_ms, listed: false, workflows: 0, broken_off: false };
        self.cycle.get_or_insert(cycle);
    }

    /// The reading of the list that began then has ended; `None`: badly, so nothing is known of
    /// what changed. `activity` has the workflows to follow.
    pub(super) fn listed(
        &mut self,
        listing: Option<&Listing>,
        activity: Vec<Activity>,
        begun_ms: i64,
        now_ms: i64,
    ) {
        self.listing = false;
        if let Some(listing) = listing {
            let least_ms = listing.cost_ms.saturating_mul(LIST_SHARE).max(self.periods.interval_ms);
            self.list_due_ms = begun_ms + least_ms;
            self.list_requests = listing.requests;
        }
        let Some(cycle) = self.cycle else { return };
        let mut before = std::mem::take(&mut self.workflows);
        for seen in activity {
            let mut task = before.remove(&seen.id).unwrap_or_default();
            let count = listing.map(|listing| listing.counts.get(&seen.id));
            if let Some(Some(count)) = count {
                task.hint.listed(*count, begun_ms);
            }
            // Of what is not listed any more there is nothing to expect but that its open runs go.
            let listed = count.is_none_or(|count| count.is_some());
            let hinted = listing.is_some() && task.hint.is_usable(now_ms);
            task.judge(&seen, listed, hinted, self.periods, now_ms);
            self.workflows.insert(seen.id, task);
        }
        // What is being read still has to end.
        let reading = before.into_iter().filter(|(_, task)| task.state == TaskState::Reading);
        self.workflows.extend(reading);
        self.sweep_some_early(now_ms);
        for task in self.workflows.values_mut() {
            if task.due_ms.is_some() && task.state == TaskState::Resting && !cycle.broken_off {
                task.state = TaskState::Queued;
            }
            if !cycle.listed {
                task.in_cycle = task.state != TaskState::Resting;
            }
        }
        let workflows = if cycle.listed { cycle.workflows } else { self.left_in_cycle() };
        self.cycle = Some(CurrentCycle { listed: true, workflows, ..cycle });
    }

    /// What was read together at the start would always be swept together. So each list makes the
    /// longest unread ones due before their time, as many as sweeps come to on average.
    fn sweep_some_early(&mut self, now_ms: i64) {
        let Periods { interval_ms, sweep_ms } = self.periods;
        let swept = self.workflows.values_mut().filter(|task| task.period_ms == sweep_ms);
        let swept: Vec<_> = swept.collect();
        let share = (swept.len() as i64 * interval_ms + sweep_ms - 1) / sweep_ms;
        let due = swept.iter().filter(|task| task.due_ms.is_some()).count();
        let old = |list_ms: &i64| *list_ms + sweep_ms / 2 <= now_ms;
        let early = swept.into_iter().filter(|task| task.due_ms.is_none());
        let mut early: Vec<_> =
            early.filter_map(|task| Some((task.past.list_ms().filter(old)?, task))).collect();
        early.sort_by_key(|(list_ms, _)| *list_ms);
        for (list_ms, task) in early.into_iter().take((share as usize).saturating_sub(due)) {
            task.due_ms = Some(list_ms + sweep_ms);
        }
    }

    /// The workflow to read next, if there is one.
    pub(super) fn next(&self, policy: Policy, now_ms: i64) -> Option<(Priority, &WorkflowId)> {
        let tried_again = |it: &&Task| it.state == TaskState::Reading && it.failed_ms.is_some();
        let room = self.workflows.values().filter(tried_again).count() < MAX_FAILED;
        let queued = self.workflows.iter().filter(|(_, it)| it.state == TaskState::Queued);
        queued
            .filter(|(_, task)| room || task.failed_ms.is_none())
            .map(|(id, task)| (task.priority(policy, self.periods, now_ms), id))
            .max_by_key(|(priority, _)| *priority)
    }

    /// The reading of a workflow begins. Returns what is to be handed to [`Self::ended`].
    pub(super) fn begin(&mut self, id: &WorkflowId, now_ms: i64) -> Option<Begun> {
        let periods = self.periods;
        let task = self.workflows.get_mut(id)?;
        task.state = TaskState::Reading;
        let new_runs = task.hint.new_runs();
        let announced = task.hint.is_usable(now_ms).then_some(new_runs);
        let deep = task.past.is_deep_due(id, announced, periods.sweep_ms, now_ms);
        let asks = deep || task.hint.has_moved() || task.past.is_asking_due(id, now_ms);
        let list = asks || announced.is_none() || task.sweep_ms(periods, now_ms).is_some();
        let count = task.hint.count();
        Some(Begun { count, new_runs, list, deep, may_be_unchanged: !asks, at_ms: now_ms })
    }

    /// The reading of a workflow has ended; without an outcome, it failed.
    pub(super) fn ended(
        &mut self,
        id: &WorkflowId,
        begun: Begun,
        outcome: Option<Outcome>,
        now_ms: i64,
    ) {
        let Some(task) = self.workflows.get_mut(id) else { return };
        (task.state, task.in_cycle) = (TaskState::Resting, false);
        task.failed_ms = outcome.is_none().then_some(begun.at_ms);
        if let Some(outcome) = outcome {
            task.hint.read(begun.count, outcome.news, now_ms);
            task.past.ended(&begun, outcome);
            task.read_ms = Some(begun.at_ms);
            task.due_ms = None;
        }
    }

    /// Whether there is a workflow whose last reading ended well.
    pub(super) fn can_read_any(&self) -> bool {
        self.workflows.values().any(|it| it.read_ms.is_some() && it.failed_ms.is_none())
    }

    /// Breaks the cycle off. Returns how many workflows of it are left out.
    pub(super) fn break_off(&mut self) -> usize {
        let mut left_out = 0;
        for task in self.workflows.values_mut() {
            if task.state == TaskState::Queued {
                left_out += usize::from(task.in_cycle);
                (task.state, task.in_cycle) = (TaskState::Resting, false);
            }
        }
        if let Some(cycle) = &mut self.cycle {
            cycle.broken_off = true;
        }
        left_out
    }

    /// How many workflows are still to be read in the cycle.
    fn left_in_cycle(&self) -> usize {
        let waits_for = |it: &&Task| it.in_cycle && it.state != TaskState::Resting;
        self.workflows.values().filter(waits_for).count()
    }

    /// How far the cycle has got.
    pub(super) fn progress(&self, now_ms: i64) -> Option<CycleProgress> {
        let CurrentCycle { begun_ms, workflows, .. } = self.cycle.filter(|cycle| cycle.listed)?;
        let read = workflows.saturating_sub(self.left_in_cycle());
        let elapsed = Duration::from_millis((now_ms - begun_ms).max(0) as u64);
        Some(CycleProgress { workflows, read, elapsed })
    }

    /// Ends the cycle if all of it has been tried. Returns when it began.
    pub(super) fn end_cycle(&mut self) -> Option<i64> {
        if self.listing || self.left_in_cycle() > 0 {
            return None;
        }
        let cycle = self.cycle.take_if(|cycle| cycle.listed)?;
        Some(cycle.begun_ms)
    }

    /// How long ago the most overdue workflow should have been read.
    pub(super) fn lag_ms(&self, now_ms: i64) -> i64 {
        self.due(now_ms).map(|(_, late_ms)| late_ms).max().unwrap_or(0)
    }

    /// What there is to poll.
    pub(super) fn workload(&self) -> Workload {
        let count = |fits: &dyn Fn(&Task) -> bool| {
            self.workflows.values().filter(|task| fits(task)).count() as u32
        };
        let often = |task: &Task| task.period_ms <= self.periods.interval_ms;
        Workload {
            list_requests: self.list_requests,
            followed: self.workflows.len() as u32,
            open: count(&|it| often(it) && it.active),
            uncounted: count(&|it| often(it) && !it.active),
            ..Workload::default()
        }
    }

    /// The workflows that are to be read, and how long ago they should have been.
    pub(super) fn due(&self, now_ms: i64) -> impl Iterator<Item = (&WorkflowId, i64)> {
        let late_ms = move |due_ms: i64| (now_ms - due_ms).max(0);
        self.workflows.iter().filter_map(move |(id, it)| Some((id, late_ms(it.due_ms?))))
    }
}

impl Task {
    /// Decides whether it is due, and how urgent that is.
    fn judge(
        &mut self,
        seen: &Activity,
        listed: bool,
        hinted: bool,
        periods: Periods,
        now_ms: i64,
    ) {
        let Periods { interval_ms, sweep_ms } = periods;
        let moved = listed && self.hint.has_moved();
        self.active = seen.open || seen.failed;
        let often = seen.open || moved || (listed && !hinted);
        let was_often = self.period_ms <= interval_ms;
        self.period_ms = if often { interval_ms } else { sweep_ms }.max(1);
        let due_ms = match self.read_ms {
            Some(read_ms) if often && was_often => Some((read_ms + interval_ms).min(now_ms)),
            _ if often => Some(now_ms),
            _ => self.sweep_ms(periods, now_ms),
        };
        self.due_ms = match (self.due_ms, due_ms) {
            (Some(before_ms), Some(due_ms)) => Some(before_ms.min(due_ms)),
            (before_ms, due_ms) => before_ms.or(due_ms),
        };
    }

    /// Since when its list is to be read although nothing happens in it; `None`: not yet.
    fn sweep_ms(&self, periods: Periods, now_ms: i64) -> Option<i64> {
        let due_ms = self.past.list_ms().map_or(now_ms, |list_ms| list_ms + periods.sweep_ms);
        // Rather before its time has come than an interval after that.
        Some(due_ms).filter(|due_ms| *due_ms < now_ms + periods.interval_ms)
    }

    fn priority(&self, policy: Policy, periods: Periods, now_ms: i64) -> Priority {
        let Periods { interval_ms, sweep_ms } = periods;
        if let Some(failed_ms) = self.failed_ms {
            let overdue_ratio = (now_ms - failed_ms).saturating_mul(1000) / (sweep_ms * FAILED);
            return Priority { urgent: false, overdue_ratio };
        }
        let late_ms = self.due_ms.map_or(0, |due_ms| now_ms - due_ms);
        let overdue_ratio = (self.period_ms + late_ms).saturating_mul(1000) / self.period_ms;
        match policy {
            Policy::MostOverdue => Priority { urgent: false, overdue_ratio },
            Policy::Urgent => Priority {
                urgent: self.active || self.period_ms <= interval_ms,
                overdue_ratio: if self.active {
                    overdue_ratio.saturating_mul(ACTIVE)
                } else {
                    overdue_ratio
                },
            },
        }
    }
}

#[cfg(test)]
mod tests;
