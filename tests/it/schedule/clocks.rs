//! Clocks that are wrong, or are set, in simulated time.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    poller::CycleResult,
    simulator::{Quirk, SimulatedRun, Simulator},
};
use tokio::time::sleep;

use super::{
    account::{Stage, simulated},
    known, one,
};

const SECOND: i64 = 1000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// By how much a clock is ahead in a cycle, in milliseconds.
type Ahead = fn(cycle: usize, wrong: i64) -> i64;

const RIGHT: Ahead = |_, _| 0;
const WRONG: Ahead = |_, wrong| wrong;
const FIRST: Ahead = |cycle, wrong| if cycle == 0 { wrong } else { 0 };
const ONCE: Ahead = |cycle, wrong| if cycle == 3 { wrong } else { 0 };
const AT_FIRST: Ahead = |cycle, wrong| if cycle < 4 { wrong } else { 0 };
const FOR_A_WHILE: Ahead = |cycle, wrong| if (2..6).contains(&cycle) { wrong } else { 0 };
const LATER: Ahead = |cycle, wrong| if cycle < 3 { 0 } else { wrong };

/// A run that started and ended so long ago.
fn add(simulator: &Simulator, status: Status, ago_ms: i64) {
    simulator.world(|world| {
        let id = world.workflows[0].id.clone();
        let at_ms = world.now_ms() - ago_ms;
        let run = SimulatedRun::new(status, Origin::Workflow);
        world.add_run(&id, run.with_times(at_ms - 2 * SECOND, Some(at_ms - SECOND), Some(at_ms)));
    });
}

/// How many runs are counted that ended before the first cycle, and how many of eight that ended one
/// after each cycle.
fn counted(date: Ahead, local: Ahead, wrong: i64, omit_date: bool) -> u64 {
    simulated(async {
        let setting = one();
        let Stage { simulator, poller, ledger, .. } = Stage::new(&setting).await;
        for ago in [3 * DAY, 2 * HOUR, HOUR / 2, 60 * SECOND, 5 * SECOND] {
            add(&simulator, Status::Failed, ago);
        }
        if omit_date {
            simulator.world(|world| world.quirks.insert(Quirk::OmitDate));
        }
        for cycle in 0..9 {
            simulator.world(|world| world.date_skew_ms = date(cycle, wrong));
            setting.local_ahead_ms.store(local(cycle, wrong), Relaxed);
            let outcome = poller.cycle().await;
            assert_eq!(outcome.result, CycleResult::Success, "{:?}", outcome.error);
            sleep(Duration::from_secs(10)).await;
            if cycle < 8 {
                add(&simulator, Status::Completed, SECOND);
            }
            sleep(Duration::from_secs(20)).await;
        }
        known(&ledger).0
    })
}

#[test]
fn no_wrong_date_makes_news_of_history_or_history_of_news() {
    for wrong in [-400 * DAY, -40 * DAY, -HOUR, -7 * SECOND, 7 * SECOND, HOUR, 40 * DAY, 400 * DAY]
    {
        let shapes = [WRONG, FIRST, ONCE, AT_FIRST, FOR_A_WHILE, LATER];
        for (shape, date) in shapes.into_iter().enumerate() {
            assert_eq!(counted(date, RIGHT, wrong, false), 8, "{wrong}, {shape}");
        }
    }
}

#[test]
fn no_wrong_local_clock_does_so_either_if_the_date_is_right() {
    for wrong in [-60 * 365 * DAY, -400 * DAY, -HOUR, -7 * SECOND, 7 * SECOND, HOUR, 400 * DAY] {
        let shapes = [WRONG, FIRST, ONCE, AT_FIRST, FOR_A_WHILE, LATER];
        for (shape, local) in shapes.into_iter().enumerate() {
            assert_eq!(counted(RIGHT, local, wrong, false), 8, "{wrong}, {shape}");
        }
    }
}

#[test]
fn without_a_date_no_later_step_of_the_local_clock_does_so() {
    for wrong in [-400 * DAY, -HOUR, HOUR, 400 * DAY] {
        for (shape, local) in [RIGHT, ONCE, FOR_A_WHILE, LATER].into_iter().enumerate() {
            assert_eq!(counted(RIGHT, local, wrong, true), 8, "{wrong}, {shape}");
        }
    }
}
