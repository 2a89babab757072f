//! What workflows and runs that cannot be read do to others, in simulated time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    poller::{Cycle, CycleResult, Poller, Polling},
    simulator::{ApiEndpoint, Fault, RequestSeen, Rule, RunsCount, SimulatedRun, Simulator},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    MINUTE,
    account::{Setting, Stage, simulated},
    known, one,
};

const WORKFLOWS: usize = 40;

/// Workflows that are read in every cycle, and have been.
async fn stage() -> Stage {
    let setting = Setting {
        workflows: WORKFLOWS,
        runs_count: RunsCount::Absent,
        gateway: Some(Duration::from_secs(30)),
        ..Setting::default()
    };
    let stage = Stage::new(&setting).await;
    let cycle = next_cycle(&stage.poller).await;
    assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
    stage.simulator.take_requests();
    stage
}

async fn next_cycle(poller: &Poller) -> Cycle {
    let cycle = poller.cycle().await;
    sleep(Duration::from_secs(30)).await;
    cycle
}

/// From now on, the runs of the first so many workflows are answered so. Returns the others.
fn spoil(simulator: &Simulator, fault: &Fault, number: usize) -> BTreeSet<String> {
    let ids = simulator.world(|world| {
        world.workflows.iter().map(|workflow| workflow.id.clone()).collect::<Vec<_>>()
    });
    let (spoilt, others) = ids.split_at(number);
    for id in spoilt {
        let runs = Rule::new(fault.clone()).on(ApiEndpoint::Runs);
        simulator.inject(runs.containing(&format!("/{id}/")));
    }
    others.iter().cloned().collect()
}

/// The workflow whose runs this asks for.
fn workflow(request: &RequestSeen) -> Option<String> {
    let is_for_runs = request.endpoint == Some(ApiEndpoint::Runs);
    is_for_runs.then(|| request.path.rsplit('/').nth(1).expect("there is an id").to_owned())
}

/// The workflows whose runs were read since last asked.
fn read(simulator: &Simulator) -> BTreeSet<String> {
    let requests = simulator.take_requests().into_iter();
    requests.filter(|it| it.status == Some(200)).filter_map(|it| workflow(&it)).collect()
}

#[test]
fn workflows_that_cannot_be_read_hold_up_no_others() {
    for (code, number) in
        [(403, 1), (403, 30), (400, 5), (400, 30), (413, 5), (429, 1), (500, 5), (500, 30)]
    {
        simulated(async {
            let Stage { simulator, poller, .. } = stage().await;
            let others = spoil(&simulator, &Fault::status(code), number);
            // What fails is only known afterwards; until then it may be enough to end cycles.
            for _ in 0..=number / 5 {
                next_cycle(&poller).await;
            }
            for _ in 0..5 {
                simulator.take_requests();
                let cycle = next_cycle(&poller).await;
                assert_eq!(read(&simulator), others, "{number} × {code}");
                assert_eq!(cycle.result, CycleResult::Partial, "{number} × {code}");
                assert!(!cycle.rejected, "{number} × {code}");
            }
            simulator.clear_faults();
            let cycle = next_cycle(&poller).await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
        });
    }
}

#[test]
fn workflows_that_fail_by_themselves_end_no_cycle() {
    for (code, number) in [(400, 39), (403, 39)] {
        simulated(async {
            let Stage { simulator, poller, .. } = stage().await;
            let others = spoil(&simulator, &Fault::status(code), number);
            next_cycle(&poller).await;
            let asked: BTreeSet<_> =
                simulator.take_requests().iter().filter_map(workflow).collect();
            assert!(asked.is_superset(&others) && asked.len() == WORKFLOWS, "{asked:?}");
        });
    }
}

#[test]
fn workflows_that_hang_take_others_no_time() {
    simulated(async {
        let Stage { simulator, poller, .. } = stage().await;
        let others = spoil(&simulator, &Fault::Hang, 20);
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        tokio::spawn(Polling::new(vec![poller]).run(stop));
        // By then each of them has failed once.
        sleep(5 * MINUTE).await;
        simulator.take_requests();
        sleep(10 * MINUTE).await;
        let mut times = BTreeMap::<_, Vec<_>>::new();
        for request in simulator.take_requests() {
            if let Some(id) = workflow(&request) {
                times.entry(id).or_default().push(request.at_ms);
            }
        }
        for id in others {
            let times = times.get(&id).map_or(&[][..], Vec::as_slice);
            let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(times.len() >= 19 && longest < Some(40_000), "{id}: {times:?}");
        }
    });
}

#[test]
fn a_401_ends_the_cycle_at_once_wherever_it_comes() {
    simulated(async {
        let Stage { simulator, poller, .. } = stage().await;
        spoil(&simulator, &Fault::status(401), WORKFLOWS);
        let cycle = next_cycle(&poller).await;
        assert!(cycle.rejected && cycle.result == CycleResult::Failure, "{cycle:?}");
        let asked = simulator.take_requests().iter().filter_map(workflow).count();
        assert!(asked <= 16, "{asked} requests, although that's how many go at once");
    });
}

#[test]
fn a_key_that_may_read_no_runs_at_all_is_a_rejected_one() {
    simulated(async {
        let setting = Setting { workflows: WORKFLOWS, ..Setting::default() };
        let Stage { simulator, poller, .. } = Stage::new(&setting).await;
        simulator.inject(Rule::new(Fault::status(403)).on(ApiEndpoint::Runs));
        let cycle = next_cycle(&poller).await;
        assert!(cycle.rejected && cycle.result == CycleResult::Failure, "{cycle:?}");
        let asked = simulator.take_requests().iter().filter_map(workflow).count();
        assert!(asked <= 20, "{asked} requests in vain");
        // It could once, and is restricted then.
        simulator.clear_faults();
        let cycle = next_cycle(&poller).await;
        assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
        simulator.inject(Rule::new(Fault::status(403)).on(ApiEndpoint::Runs));
        simulator.world(|world| {
            for workflow in &mut world.workflows {
                workflow.runs_count = RunsCount::Absent;
            }
        });
        let cycle = next_cycle(&poller).await;
        assert!(cycle.rejected && cycle.result == CycleResult::Failure, "{cycle:?}");
    });
}

/// One workflow with these open runs, which stand behind a page of others.
async fn stage_with_open(open: &[&str]) -> Stage {
    let stage = Stage::new(&one()).await;
    stage.simulator.world(|world| {
        let id = world.workflows[0].id.clone();
        let at_ms = world.now_ms() - 3_600_000;
        for (n, run) in (0..).zip(open) {
            let times = (at_ms + n, Some(at_ms + n), None);
            let run = SimulatedRun::new(Status::Running, Origin::Workflow).with_id(run);
            world.add_run(&id, run.with_times(times.0, times.1, times.2));
        }
        for n in 100..300 {
            let at_ms = at_ms + n;
            let run = SimulatedRun::new(Status::Completed, Origin::Workflow);
            world.add_run(&id, run.with_times(at_ms, Some(at_ms), Some(at_ms + 1)));
        }
    });
    let cycle = next_cycle(&stage.poller).await;
    assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
    let open = open.iter().map(|run| (*run).to_owned()).collect();
    assert_eq!(known(&stage.ledger), (0, open));
    stage
}

#[test]
fn an_open_run_that_cannot_be_read_keeps_no_other_from_being_followed() {
    simulated(async {
        let stage = stage_with_open(&["a_gone", "b_bad", "c_done", "d_gone", "e_done"]).await;
        for code in [400, 403, 500] {
            let bad = Rule::new(Fault::status(code)).on(ApiEndpoint::Run);
            stage.simulator.inject(bad.containing("b_bad"));
            stage.simulator.world(|world| {
                for run in ["b_bad", "c_done", "e_done"] {
                    world.finish_run(run, Status::Failed);
                }
                for run in ["a_gone", "d_gone"] {
                    world.delete_run(run);
                }
            });
            let cycle = next_cycle(&stage.poller).await;
            assert_eq!(cycle.result, CycleResult::Failure, "{code}");
            assert!(cycle.error.is_some_and(|error| error.contains(&code.to_string())));
            assert_eq!(known(&stage.ledger), (2, vec!["b_bad".into()]), "{code}");
            stage.simulator.clear_faults();
        }
        let cycle = next_cycle(&stage.poller).await;
        assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
        assert_eq!(known(&stage.ledger), (3, Vec::new()));
    });
}

#[test]
fn open_runs_are_followed_no_further_where_that_is_of_no_use() {
    let open: Vec<_> = (10..40).map(|n| format!("run_{n}")).collect();
    let open: Vec<_> = open.iter().map(String::as_str).collect();
    // One for a rejected key, four for each run that is tried again.
    for (code, asked) in [(401, 1), (429, 4), (500, 20)] {
        simulated(async {
            let stage = stage_with_open(&open).await;
            stage.simulator.world(|world| {
                for run in &open {
                    world.finish_run(run, Status::Failed);
                }
                world.delete_run(open[0]);
            });
            for run in &open[1..] {
                let failing = Rule::new(Fault::status(code)).on(ApiEndpoint::Run);
                stage.simulator.inject(failing.containing(run));
            }
            stage.simulator.take_requests();
            let cycle = next_cycle(&stage.poller).await;
            assert_eq!((cycle.result, cycle.rejected), (CycleResult::Failure, code == 401));
            let requests = stage.simulator.take_requests().into_iter();
            let failed = requests.filter(|it| it.status == Some(code)).count();
            assert_eq!(failed, asked, "{code}");
            // What was found out before that stays so.
            assert_eq!(known(&stage.ledger).1, open[1..], "{code}");
        });
    }
}

#[test]
fn an_api_that_refuses_to_list_runs_by_status_is_read_nevertheless() {
    for code in [400, 404, 422] {
        simulated(async {
            let stage = Stage::new(&Setting { history: 250, ..one() }).await;
            let by_status = Rule::new(Fault::status(code)).on(ApiEndpoint::Runs);
            stage.simulator.inject(by_status.containing("status="));
            let open = stage.simulator.world(|world| {
                let id = world.workflows[0].id.clone();
                let open = SimulatedRun::new(Status::Running, Origin::Workflow);
                let at_ms = world.now_ms() - 40 * 86_400_000;
                world.add_run(&id, open.with_times(at_ms, Some(at_ms), None)).expect("it is there")
            });
            let cycle = next_cycle(&stage.poller).await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
            assert_eq!(known(&stage.ledger), (0, vec![open.clone()]), "{code}");
            stage.simulator.world(|world| world.finish_run(&open, Status::Failed));
            let cycle = next_cycle(&stage.poller).await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
            assert_eq!(known(&stage.ledger), (1, Vec::new()), "{code}");
        });
    }
}
