//! Plans that are lived through, a second at a time.

use std::{collections::BTreeMap, time::Duration};

use super::*;

const SECOND: i64 = 1000;

/// How a workflow is.
#[derive(Clone, Copy, Default)]
struct Workflow {
    count: Option<u64>,
    open: bool,
    failed: bool,
}

/// An app that is read by its plan, with a budget of so many readings a second.
struct Life {
    plan: Plan,
    workflows: BTreeMap<WorkflowId, Workflow>,
    per_second: f64,
    saved: f64,
    turn: usize,
    now_ms: i64,
    lists_fail: bool,
    /// When each workflow was read.
    readings: BTreeMap<WorkflowId, Vec<i64>>,
    cycles: Vec<(i64, i64)>,
}

fn id(name: &str) -> WorkflowId {
    WorkflowId::new(name).expect("a plain id")
}

impl Life {
    /// Every 30 seconds, with sweeps every 300.
    fn of(workflows: impl IntoIterator<Item = (String, Workflow)>) -> Self {
        let (interval, sweep_interval) = (Duration::from_secs(30), Duration::from_secs(300));
        Self {
            plan: Plan::new(&config::Poll { interval, sweep_interval }, 0),
            workflows: workflows.into_iter().map(|(name, it)| (id(&name), it)).collect(),
            per_second: 100.0,
            saved: 0.0,
            turn: 0,
            now_ms: 0,
            lists_fail: false,
            readings: BTreeMap::new(),
            cycles: Vec::new(),
        }
    }

    fn many(number: usize, workflow: Workflow) -> Self {
        Self::of((0..number).map(|n| (format!("work_{n}"), workflow)))
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.second();
            self.now_ms += SECOND;
        }
    }

    fn second(&mut self) {
        if self.plan.list_due_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
            self.list();
        }
        self.saved = (self.saved + self.per_second).min(self.per_second.max(1.0));
        while self.saved >= 1.0 && self.read_one() {
            self.saved -= 1.0;
        }
        self.cycles.extend(self.plan.end_cycle().map(|begun_ms| (begun_ms, self.now_ms)));
    }

    fn list(&mut self) {
        self.plan.begin_list(self.now_ms);
        let counts = self.workflows.iter().map(|(id, it)| (id.clone(), it.count)).collect();
        let listing = Listing { counts, cost_ms: 100 };
        let seen = self.workflows.iter().map(|(id, it)| {
            let Workflow { open, failed, .. } = *it;
            Seen { id: id.clone(), open, failed }
        });
        let listing = (!self.lists_fail).then_some(&listing);
        self.plan.listed(listing, seen.collect(), self.now_ms, self.now_ms);
    }

    fn read_one(&mut self) -> bool {
        self.turn += 1;
        let by = if self.turn.is_multiple_of(4) { By::Lateness } else { By::Urgency };
        let Some((_, next)) = self.plan.next(by, self.now_ms) else { return false };
        let next = next.clone();
        let begun = self.plan.begin(&next, self.now_ms).expect("it is known");
        self.plan.ended(&next, begun, Some(false), self.now_ms);
        self.readings.entry(next).or_default().push(self.now_ms);
        true
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Workflow)) {
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

const IDLE: Workflow = Workflow { count: Some(7), open: false, failed: false };

#[test]
fn an_idle_workflow_is_read_at_the_start_and_then_for_its_sweeps_only() {
    let mut life = Life::many(300, IDLE);
    life.pass(3600);
    for name in life.workflows.keys() {
        let readings = life.readings[name].len();
        assert!((12..=15).contains(&readings), "{name}: {readings} readings in an hour");
        assert!(life.longest_gap(name.as_str()) <= 300, "{name}");
    }
}

#[test]
fn sweeps_spread_although_all_were_read_together_at_the_start() {
    let mut life = Life::many(300, IDLE);
    life.pass(3 * 3600);
    let mut per_cycle = BTreeMap::<i64, usize>::new();
    for at_ms in life.readings.values().flatten().filter(|at_ms| **at_ms > 2 * 3_600_000) {
        *per_cycle.entry(at_ms / 30_000).or_default() += 1;
    }
    let most = per_cycle.values().max().copied().unwrap_or(0);
    assert!(per_cycle.len() >= 119 && most <= 32, "{per_cycle:?}");
}

#[test]
fn a_workflow_without_a_count_is_read_every_interval_and_so_is_one_with_open_runs() {
    let unknown = Workflow { count: None, ..IDLE };
    let open = Workflow { open: true, ..IDLE };
    let mut life = Life::of([("unknown".into(), unknown), ("open".into(), open)]);
    life.pass(600);
    assert_eq!((life.of_one("unknown").len(), life.of_one("open").len()), (20, 20));
}

#[test]
fn a_count_that_moves_has_its_workflow_read_after_the_next_list_and_once() {
    let mut life = Life::many(20, IDLE);
    life.pass(40);
    life.change("work_3", |workflow| workflow.count = Some(8));
    life.pass(60);
    assert_eq!(life.of_one("work_3"), [0, 60_000]);
}

#[test]
fn while_no_list_can_be_read_every_workflow_is_read_every_interval() {
    let mut life = Life::many(5, IDLE);
    life.pass(30);
    life.lists_fail = true;
    life.pass(120);
    assert_eq!(life.of_one("work_1").len(), 5);
}

#[test]
fn open_runs_and_failures_go_before_what_changed_and_that_before_sweeps() {
    let mut life = Life::of([
        ("idle".into(), IDLE),
        ("changed".into(), IDLE),
        ("failed".into(), IDLE),
        ("open".into(), IDLE),
    ]);
    life.pass(100);
    life.change("changed", |workflow| workflow.count = Some(8));
    life.change("failed", |workflow| workflow.failed = true);
    life.change("open", |workflow| workflow.open = true);
    life.now_ms = 300_000;
    life.list();
    let order = order(&mut life, By::Urgency);
    let (first, rest) = order.split_at(2);
    assert!(first.contains(&id("open")) && first.contains(&id("failed")), "{order:?}");
    assert_eq!(rest, [id("changed"), id("idle")]);
}

#[test]
fn above_the_budget_all_intervals_stretch_by_the_same_factor() {
    // Twice as many as there is room for.
    let mut life = Life::many(120, Workflow { open: true, ..IDLE });
    life.per_second = 2.0;
    life.pass(3600);
    for name in life.workflows.keys() {
        let readings = life.readings[name].len();
        assert!((55..=65).contains(&readings), "{name}: {readings} readings in an hour");
    }
}

#[test]
fn nobody_starves_although_there_is_more_urgent_work_than_budget() {
    let urgent = Workflow { open: true, ..IDLE };
    let urgent = (0..200).map(|n| (format!("urgent_{n}"), urgent));
    let mut life = Life::of(urgent.chain((0..20).map(|n| (format!("idle_{n}"), IDLE))));
    life.per_second = 2.0;
    life.pass(4 * 3600);
    for n in 0..20 {
        let gap = life.longest_gap(&format!("idle_{n}"));
        assert!(gap < 1800, "idle_{n} had to wait for {gap} seconds");
    }
    // And the urgent ones had most of it: 150 seconds would be all.
    assert!((0..200).all(|n| life.longest_gap(&format!("urgent_{n}")) < 300));
}

#[test]
fn what_is_active_is_read_more_often_than_others_and_does_not_hold_them_up() {
    let uncounted = Workflow { count: None, ..IDLE };
    let open = Workflow { open: true, ..IDLE };
    let open = (0..100).map(|n| (format!("open_{n}"), open));
    let mut life = Life::of(open.chain((0..400).map(|n| (format!("uncounted_{n}"), uncounted))));
    life.per_second = 2.0;
    life.pass(4 * 3600);
    // 400 readings and four times 100 take 400 seconds; every fourth one is for others. The active ones
    // alone could take up the rest, and then the others would take 800.
    for (name, from, to) in [("open", 80, 120), ("uncounted", 320, 480)] {
        for n in 0..100 {
            let readings = life.of_one(&format!("{name}_{n}")).len() as i64;
            let between = 4 * 3600 / readings;
            assert!((from..to).contains(&between), "{name}_{n}: {between} seconds");
        }
    }
}

#[test]
fn a_cycle_ends_when_all_that_was_due_has_been_tried_however_long_that_takes() {
    let mut life = Life::many(120, IDLE);
    life.per_second = 1.0;
    life.pass(600);
    let (begun_ms, ended_ms) = life.cycles[0];
    assert_eq!((begun_ms, ended_ms / 10_000), (0, 11));
    assert!(life.cycles.len() > 3, "{:?}", life.cycles);
}

#[test]
fn a_cycle_that_is_broken_off_ends_and_what_is_left_is_due_in_the_next() {
    let mut life = Life::many(3, IDLE);
    life.list();
    let (_, first) = life.plan.next(By::Urgency, 0).expect("all are due");
    let first = first.clone();
    let begun = life.plan.begin(&first, 0).expect("it is known");
    assert_eq!(life.plan.break_off(), 2);
    assert_eq!(life.plan.end_cycle(), None, "one is still being read");
    assert_eq!(life.plan.list_due_ms(), None);
    life.plan.ended(&first, begun, None, 10);
    assert_eq!(life.plan.end_cycle(), Some(0));
    assert_eq!(life.plan.list_due_ms(), Some(30_000));
    life.now_ms = 30_000;
    life.pass(1);
    assert_eq!(life.readings.len(), 3);
    let overdue: Vec<_> = life.plan.due(60_000).collect();
    assert!(overdue.is_empty(), "{overdue:?}");
}

/// In which order what is queued is read, by urgency or by lateness.
fn order(life: &mut Life, by: By) -> Vec<WorkflowId> {
    let mut order = Vec::new();
    while let Some((_, next)) = life.plan.next(by, life.now_ms) {
        let next = next.clone();
        let begun = life.plan.begin(&next, life.now_ms).expect("it is known");
        life.plan.ended(&next, begun, Some(false), life.now_ms);
        order.push(next);
    }
    order
}

#[test]
fn what_failed_goes_behind_all_that_did_not_and_the_last_to_fail_comes_last() {
    for by in [By::Urgency, By::Lateness] {
        let active = Workflow { open: true, failed: true, count: None };
        let failing = ["bad_0", "bad_1"].map(|name| (name.to_owned(), active));
        let well = [("active".into(), active), ("idle".into(), IDLE)];
        let mut life = Life::of(failing.into_iter().chain(well));
        life.list();
        for (name, at_ms) in [("bad_1", 0), ("bad_0", 1000)] {
            let begun = life.plan.begin(&id(name), at_ms).expect("it is known");
            life.plan.ended(&id(name), begun, None, at_ms);
        }
        life.now_ms = 2000;
        order(&mut life, by);
        // So late that both have waited for long, and the sweep is due early.
        life.now_ms = 290_000;
        life.list();
        let order = order(&mut life, by);
        assert_eq!(order[2..], [id("bad_1"), id("bad_0")], "{by:?}: {order:?}");
        // They have ended well since.
        assert_eq!(life.plan.due(life.now_ms).count(), 0);
    }
}

#[test]
fn what_failed_gets_its_turn_although_there_is_more_urgent_work_than_budget() {
    let urgent = Workflow { open: true, ..IDLE };
    let mut life = Life::many(200, urgent);
    life.per_second = 2.0;
    life.list();
    let name = id("work_7");
    let begun = life.plan.begin(&name, 0).expect("it is known");
    life.plan.ended(&name, begun, None, 0);
    life.pass(2 * 3600);
    let readings = life.of_one("work_7");
    assert!(readings[0] < 3_600_000 && readings.len() > 30, "{readings:?}");
}

#[test]
fn what_failed_is_tried_again_a_few_at_a_time() {
    let mut life = Life::many(40, IDLE);
    life.list();
    for name in life.workflows.keys().skip(1) {
        let begun = life.plan.begin(name, 0).expect("it is known");
        life.plan.ended(name, begun, None, 0);
    }
    life.now_ms = 30_000;
    life.list();
    let mut begun = Vec::new();
    while let Some((_, next)) = life.plan.next(By::Lateness, life.now_ms) {
        let next = next.clone();
        begun.push((life.plan.begin(&next, life.now_ms).expect("it is known"), next));
    }
    assert_eq!(begun.len(), 1 + MOST_FAILED, "{begun:?}");
    assert_eq!(begun[0].1, id("work_0"));
    let (first, name) = begun.swap_remove(1);
    life.plan.ended(&name, first, None, life.now_ms);
    assert!(life.plan.next(By::Urgency, life.now_ms).is_some());
}

#[test]
fn what_could_not_be_read_stays_overdue() {
    let mut life = Life::many(1, IDLE);
    life.list();
    let name = id("work_0");
    let begun = life.plan.begin(&name, 0).expect("it is known");
    life.plan.ended(&name, begun, None, 10);
    assert_eq!(life.plan.due(20_000).collect::<Vec<_>>(), [(&name, 20_000)]);
}

#[test]
fn the_list_takes_no_more_than_its_part_of_the_budget() {
    let mut life = Life::many(1, IDLE);
    life.plan.begin_list(0);
    let listing = Listing { counts: HashMap::new(), cost_ms: 40_000 };
    life.plan.listed(Some(&listing), Vec::new(), 0, 40_000);
    assert_eq!(life.plan.list_due_ms(), Some(80_000));
}

#[test]
fn a_workflow_that_is_not_listed_any_more_is_read_for_its_open_runs_only() {
    let mut life = Life::many(1, Workflow { open: true, ..IDLE });
    life.pass(30);
    let gone = |life: &mut Life, open| {
        life.plan.begin_list(life.now_ms);
        let listing = Listing { counts: HashMap::new(), cost_ms: 0 };
        let seen = vec![Seen { id: id("work_0"), open, failed: false }];
        life.plan.listed(Some(&listing), seen, life.now_ms, life.now_ms);
        life.plan.next(By::Urgency, life.now_ms).is_some()
    };
    assert!(gone(&mut life, true));
    assert!(life.read_one() && life.plan.end_cycle().is_some());
    life.now_ms += 30_000;
    assert!(!gone(&mut life, false));
}
