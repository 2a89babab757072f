//! Plans that are lived through, a second at a time.

use std::{collections::BTreeMap, time::Duration};

use super::*;

const SECOND: i64 = 1000;

/// A reading of a list in which there was nothing new.
const READ: Outcome = Outcome { news: false, list: true };

/// How a workflow is.
#[derive(Clone, Copy, Default)]
struct Simulated {
    count: Option<u64>,
    open: bool,
    failed: bool,
}

/// An app that is read by its schedule, with a budget of readings per second.
struct Scenario {
    schedule: Schedule,
    workflows: BTreeMap<WorkflowId, Simulated>,
    per_second: f64,
    saved: f64,
    turn: usize,
    now_ms: i64,
    lists_fail: bool,
    /// When each workflow was read.
    readings: BTreeMap<WorkflowId, Vec<i64>>,
    /// When any of them was read deep.
    deep: Vec<i64>,
    /// When the list of any of them was read.
    lists: Vec<i64>,
    cycles: Vec<(i64, i64)>,
}

fn id(name: &str) -> WorkflowId {
    WorkflowId::new(name).expect("a plain id")
}

impl Scenario {
    /// Every 30 seconds, with sweeps every 300.
    fn of(workflows: impl IntoIterator<Item = (String, Simulated)>) -> Self {
        let (interval, sweep_interval) = (Duration::from_secs(30), Duration::from_secs(300));
        Self {
            schedule: Schedule::new(&config::Poll { interval, sweep_interval }, 0),
            workflows: workflows.into_iter().map(|(name, it)| (id(&name), it)).collect(),
            per_second: 100.0,
            saved: 0.0,
            turn: 0,
            now_ms: 0,
            lists_fail: false,
            readings: BTreeMap::new(),
            deep: Vec::new(),
            lists: Vec::new(),
            cycles: Vec::new(),
        }
    }

    fn many(number: usize, workflow: Simulated) -> Self {
        Self::of((0..number).map(|n| (format!("work_{n}"), workflow)))
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.second();
            self.now_ms += SECOND;
        }
    }

    fn second(&mut self) {
        if self.schedule.list_due_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
            self.list();
        }
        self.saved = (self.saved + self.per_second).min(self.per_second.max(1.0));
        while self.saved >= 1.0 && self.read_one() {
            self.saved -= 1.0;
        }
        self.cycles.extend(self.schedule.end_cycle().map(|begun_ms| (begun_ms, self.now_ms)));
    }

    fn list(&mut self) {
        self.schedule.begin_list(self.now_ms);
        let counts = self.workflows.iter().map(|(id, it)| (id.clone(), it.count)).collect();
        let listing = Listing { counts, requests: 1, cost_ms: 100 };
        let seen = self.workflows.iter().map(|(id, it)| {
            let Simulated { open, failed, .. } = *it;
            Activity { id: id.clone(), open, failed }
        });
        let listing = (!self.lists_fail).then_some(&listing);
        self.schedule.listed(listing, seen.collect(), self.now_ms, self.now_ms);
    }

    fn read_one(&mut self) -> bool {
        self.turn += 1;
        let policy = Policy::of_turn(self.turn);
        let Some((_, next)) = self.schedule.next(policy, self.now_ms) else { return false };
        let next = next.clone();
        let begun = self.schedule.begin(&next, self.now_ms).expect("it is known");
        // Its only open run is followed.
        let list = begun.list || !self.workflows[&next].open;
        let outcome = Outcome { list, ..READ };
        self.schedule.ended(&next, begun, Some(outcome), self.now_ms);
        self.deep.extend(begun.deep.then_some(self.now_ms));
        self.lists.extend(list.then_some(self.now_ms));
        self.readings.entry(next).or_default().push(self.now_ms);
        true
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Simulated)) {
        change(self.workflows.get_mut(&id(name)).expect("it is there"));
    }

    fn of_one(&self, name: &str) -> &[i64] {
        self.readings.get(&id(name)).map_or(&[], Vec::as_slice)
    }

    /// The longest time between two readings of one, in seconds.
    fn longest_gap(&self, name: &str) -> i64 {
        let gaps = self.of_one(name).windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().expect("it was read more than once") / SECOND
    }
}

const IDLE: Simulated = Simulated { count: Some(7), open: false, failed: false };

#[test]
fn an_idle_workflow_is_read_at_the_start_and_then_for_its_sweeps_only() {
    let mut scenario = Scenario::many(300, IDLE);
    scenario.pass(3600);
    for name in scenario.workflows.keys() {
        let readings = scenario.readings[name].len();
        assert!((12..=15).contains(&readings), "{name}: {readings} readings in an hour");
        assert!(scenario.longest_gap(name.as_str()) <= 300, "{name}");
    }
}

#[test]
fn sweeps_spread_although_all_were_read_together_at_the_start() {
    let mut scenario = Scenario::many(300, IDLE);
    scenario.pass(3 * 3600);
    let mut per_cycle = BTreeMap::<i64, usize>::new();
    for at_ms in scenario.readings.values().flatten().filter(|at_ms| **at_ms > 2 * 3_600_000) {
        *per_cycle.entry(at_ms / 30_000).or_default() += 1;
    }
    let most = per_cycle.values().max().copied().unwrap_or(0);
    assert!(per_cycle.len() >= 119 && most <= 32, "{per_cycle:?}");
}

#[test]
fn an_idle_workflow_is_read_deep_at_the_start_and_once_a_day() {
    let mut scenario = Scenario::many(50, IDLE);
    for days in 1..=3 {
        scenario.pass(600);
        // Of a few, the day ends within these ten minutes.
        let deep = scenario.deep.len();
        assert!((days * 50..days * 50 + 4).contains(&deep), "{deep} after {days} days");
        scenario.now_ms += 86_400_000;
    }
}

#[test]
fn a_workflow_whose_count_grows_is_read_deep_for_every_ten_runs() {
    let mut scenario = Scenario::many(1, IDLE);
    for runs in 8..68 {
        scenario.change("work_0", |workflow| workflow.count = Some(runs));
        scenario.pass(600);
    }
    // At the start, and then six times, of which one may be because the day of the workflow ended.
    assert!((7..=8).contains(&scenario.deep.len()), "{:?}", scenario.deep);
}

#[test]
fn where_no_count_is_listed_every_sweep_is_deep() {
    let mut scenario = Scenario::many(5, Simulated { count: None, ..IDLE });
    scenario.pass(3600);
    assert!((60..=65).contains(&scenario.deep.len()), "{:?}", scenario.deep);
}

#[test]
fn a_workflow_without_a_count_is_read_every_interval_and_so_is_one_with_open_runs() {
    let unknown = Simulated { count: None, ..IDLE };
    let open = Simulated { open: true, ..IDLE };
    let mut scenario = Scenario::of([("unknown".into(), unknown), ("open".into(), open)]);
    scenario.pass(600);
    assert_eq!((scenario.of_one("unknown").len(), scenario.of_one("open").len()), (20, 20));
}

#[test]
fn of_a_workflow_with_open_runs_the_list_is_to_be_read_once_per_sweep_interval_and_when_it_changed()
{
    let mut scenario = Scenario::many(1, Simulated { open: true, ..IDLE });
    scenario.pass(1800);
    let swept: Vec<_> = scenario.lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        swept.len() >= 5 && swept.iter().all(|ms| (270_000..=300_000).contains(ms)),
        "{swept:?}"
    );
    assert_eq!(scenario.readings.values().map(Vec::len).sum::<usize>(), 60);
    let before = scenario.lists.len();
    scenario.change("work_0", |workflow| workflow.count = Some(8));
    scenario.pass(30);
    assert_eq!(scenario.lists.len(), before + 1);
    // Without a count that is believed, always.
    scenario.change("work_0", |workflow| workflow.count = None);
    scenario.pass(300);
    assert_eq!(scenario.lists.len(), before + 11);
}

#[test]
fn a_count_that_moves_has_its_workflow_read_after_the_next_list_and_once() {
    let mut scenario = Scenario::many(20, IDLE);
    scenario.pass(40);
    scenario.change("work_3", |workflow| workflow.count = Some(8));
    scenario.pass(60);
    assert_eq!(scenario.of_one("work_3"), [0, 60_000]);
}

#[test]
fn while_no_list_can_be_read_every_workflow_is_read_every_interval() {
    let mut scenario = Scenario::many(5, IDLE);
    scenario.pass(30);
    scenario.lists_fail = true;
    scenario.pass(120);
    assert_eq!(scenario.of_one("work_1").len(), 5);
}

#[test]
fn open_runs_and_failures_go_before_what_changed_and_that_before_sweeps() {
    let mut scenario = Scenario::of([
        ("idle".into(), IDLE),
        ("changed".into(), IDLE),
        ("failed".into(), IDLE),
        ("open".into(), IDLE),
    ]);
    scenario.pass(100);
    scenario.change("changed", |workflow| workflow.count = Some(8));
    scenario.change("failed", |workflow| workflow.failed = true);
    scenario.change("open", |workflow| workflow.open = true);
    scenario.now_ms = 300_000;
    scenario.list();
    let order = order(&mut scenario, Policy::Urgent);
    let (first, rest) = order.split_at(2);
    assert!(first.contains(&id("open")) && first.contains(&id("failed")), "{order:?}");
    assert_eq!(rest, [id("changed"), id("idle")]);
}

#[test]
fn above_the_budget_all_intervals_stretch_by_the_same_factor() {
    // Twice as many as there is room for.
    let mut scenario = Scenario::many(120, Simulated { open: true, ..IDLE });
    scenario.per_second = 2.0;
    scenario.pass(3600);
    for name in scenario.workflows.keys() {
        let readings = scenario.readings[name].len();
        assert!((55..=65).contains(&readings), "{name}: {readings} readings in an hour");
    }
}

#[test]
fn nobody_starves_although_there_is_more_urgent_work_than_budget() {
    let urgent = Simulated { open: true, ..IDLE };
    let urgent = (0..200).map(|n| (format!("urgent_{n}"), urgent));
    let mut scenario = Scenario::of(urgent.chain((0..20).map(|n| (format!("idle_{n}"), IDLE))));
    scenario.per_second = 2.0;
    scenario.pass(4 * 3600);
    for n in 0..20 {
        let gap = scenario.longest_gap(&format!("idle_{n}"));
        assert!(gap < 1800, "idle_{n} had to wait for {gap} seconds");
    }
    // And the urgent ones had most of it: 150 seconds would be all.
    assert!((0..200).all(|n| scenario.longest_gap(&format!("urgent_{n}")) < 300));
}

#[test]
fn what_is_active_is_read_more_often_than_others_and_does_not_hold_them_up() {
    let uncounted = Simulated { count: None, ..IDLE };
    let open = Simulated { open: true, ..IDLE };
    let open = (0..100).map(|n| (format!("open_{n}"), open));
    let mut scenario =
        Scenario::of(open.chain((0..400).map(|n| (format!("uncounted_{n}"), uncounted))));
    scenario.per_second = 2.0;
    scenario.pass(4 * 3600);
    // 400 readings and four times 100 take 400 seconds; every fourth one is for others. The active
    // ones alone could take up the rest, and then the others would take 800.
    for (name, from, to) in [("open", 80, 120), ("uncounted", 320, 480)] {
        for n in 0..100 {
            let readings = scenario.of_one(&format!("{name}_{n}")).len() as i64;
            let between = 4 * 3600 / readings;
            assert!((from..to).contains(&between), "{name}_{n}: {between} seconds");
        }
    }
}

#[test]
fn a_cycle_ends_when_all_that_was_due_has_been_tried_however_long_that_takes() {
    let mut scenario = Scenario::many(120, IDLE);
    scenario.per_second = 1.0;
    scenario.pass(600);
    let (begun_ms, ended_ms) = scenario.cycles[0];
    assert_eq!((begun_ms, ended_ms / 10_000), (0, 11));
    assert!(scenario.cycles.len() > 3, "{:?}", scenario.cycles);
}

#[test]
fn a_cycle_that_is_broken_off_ends_and_what_is_left_is_due_in_the_next() {
    let mut scenario = Scenario::many(3, IDLE);
    scenario.list();
    let (_, first) = scenario.schedule.next(Policy::Urgent, 0).expect("all are due");
    let first = first.clone();
    let begun = scenario.schedule.begin(&first, 0).expect("it is known");
    assert_eq!(scenario.schedule.break_off(), 2);
    assert_eq!(scenario.schedule.end_cycle(), None, "one is still being read");
    assert_eq!(scenario.schedule.list_due_ms(), None);
    scenario.schedule.ended(&first, begun, None, 10);
    assert_eq!(scenario.schedule.end_cycle(), Some(0));
    assert_eq!(scenario.schedule.list_due_ms(), Some(30_000));
    scenario.now_ms = 30_000;
    scenario.pass(1);
    assert_eq!(scenario.readings.len(), 3);
    let overdue: Vec<_> = scenario.schedule.due(60_000).collect();
    assert!(overdue.is_empty(), "{overdue:?}");
}

/// In which order what is queued is read, by urgency or by lateness.
fn order(scenario: &mut Scenario, policy: Policy) -> Vec<WorkflowId> {
    let mut order = Vec::new();
    while let Some((_, next)) = scenario.schedule.next(policy, scenario.now_ms) {
        let next = next.clone();
        let begun = scenario.schedule.begin(&next, scenario.now_ms).expect("it is known");
        scenario.schedule.ended(&next, begun, Some(READ), scenario.now_ms);
        order.push(next);
    }
    order
}

#[test]
fn what_failed_goes_behind_all_that_did_not_and_the_last_to_fail_comes_last() {
    for policy in [Policy::Urgent, Policy::MostOverdue] {
        let active = Simulated { open: true, failed: true, count: None };
        let failing = ["bad_0", "bad_1"].map(|name| (name.to_owned(), active));
        let well = [("active".into(), active), ("idle".into(), IDLE)];
        let mut scenario = Scenario::of(failing.into_iter().chain(well));
        scenario.list();
        for (name, at_ms) in [("bad_1", 0), ("bad_0", 1000)] {
            let begun = scenario.schedule.begin(&id(name), at_ms).expect("it is known");
            scenario.schedule.ended(&id(name), begun, None, at_ms);
        }
        scenario.now_ms = 2000;
        order(&mut scenario, policy);
        // So late that both have waited for long, and the sweep is due early.
        scenario.now_ms = 290_000;
        scenario.list();
        let order = order(&mut scenario, policy);
        assert_eq!(order[2..], [id("bad_1"), id("bad_0")], "{policy:?}: {order:?}");
        // They have ended well since.
        assert_eq!(scenario.schedule.due(scenario.now_ms).count(), 0);
    }
}

#[test]
fn what_failed_gets_its_turn_although_there_is_more_urgent_work_than_budget() {
    let urgent = Simulated { open: true, ..IDLE };
    let mut scenario = Scenario::many(200, urgent);
    scenario.per_second = 2.0;
    scenario.list();
    let name = id("work_7");
    let begun = scenario.schedule.begin(&name, 0).expect("it is known");
    scenario.schedule.ended(&name, begun, None, 0);
    scenario.pass(2 * 3600);
    let readings = scenario.of_one("work_7");
    assert!(readings[0] < 3_600_000 && readings.len() > 30, "{readings:?}");
}

#[test]
fn what_failed_is_tried_again_a_few_at_a_time() {
    let mut scenario = Scenario::many(40, IDLE);
    scenario.list();
    for name in scenario.workflows.keys().skip(1) {
        let begun = scenario.schedule.begin(name, 0).expect("it is known");
        scenario.schedule.ended(name, begun, None, 0);
    }
    scenario.now_ms = 30_000;
    scenario.list();
    let mut begun = Vec::new();
    while let Some((_, next)) = scenario.schedule.next(Policy::MostOverdue, scenario.now_ms) {
        let next = next.clone();
        begun.push((scenario.schedule.begin(&next, scenario.now_ms).expect("it is known"), next));
    }
    assert_eq!(begun.len(), 1 + MAX_FAILED, "{begun:?}");
    assert_eq!(begun[0].1, id("work_0"));
    let (first, name) = begun.swap_remove(1);
    scenario.schedule.ended(&name, first, None, scenario.now_ms);
    assert!(scenario.schedule.next(Policy::Urgent, scenario.now_ms).is_some());
}

#[test]
fn what_could_not_be_read_stays_overdue() {
    let mut scenario = Scenario::many(1, IDLE);
    scenario.list();
    let name = id("work_0");
    let begun = scenario.schedule.begin(&name, 0).expect("it is known");
    scenario.schedule.ended(&name, begun, None, 10);
    assert_eq!(scenario.schedule.due(20_000).collect::<Vec<_>>(), [(&name, 20_000)]);
}

#[test]
fn the_list_takes_no_more_than_its_part_of_the_budget() {
    let mut scenario = Scenario::many(1, IDLE);
    scenario.schedule.begin_list(0);
    let listing = Listing { counts: HashMap::new(), requests: 1, cost_ms: 40_000 };
    scenario.schedule.listed(Some(&listing), Vec::new(), 0, 40_000);
    assert_eq!(scenario.schedule.list_due_ms(), Some(80_000));
}

#[test]
fn a_workflow_that_is_not_listed_any_more_is_read_for_its_open_runs_only() {
    let mut scenario = Scenario::many(1, Simulated { open: true, ..IDLE });
    scenario.pass(30);
    let gone = |scenario: &mut Scenario, open| {
        scenario.schedule.begin_list(scenario.now_ms);
        let listing = Listing { counts: HashMap::new(), requests: 1, cost_ms: 0 };
        let seen = vec![Activity { id: id("work_0"), open, failed: false }];
        scenario.schedule.listed(Some(&listing), seen, scenario.now_ms, scenario.now_ms);
        scenario.schedule.next(Policy::Urgent, scenario.now_ms).is_some()
    };
    assert!(gone(&mut scenario, true));
    assert!(scenario.read_one() && scenario.schedule.end_cycle().is_some());
    scenario.now_ms += 30_000;
    assert!(!gone(&mut scenario, false));
}
