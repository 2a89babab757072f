use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{super::*, Hand, NOON, Served};
use crate::model::{Clock, Status};

fn busy(seed: u64) -> (Simulator, Arc<Hand>) {
    let clock = Hand::new();
    let settings = SimulatorSettings { seed, generate_runs: true, ..SimulatorSettings::default() };
    (Simulator::new(settings, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

fn runs(simulator: &Simulator) -> Vec<SimulatedRun> {
    simulator.world(|world| world.workflows.iter().flat_map(|it| it.runs.clone()).collect())
}

fn changed_since(simulator: &Simulator, from_ms: i64) -> Vec<SimulatedRun> {
    simulator.world(|world| {
        let runs = world.workflows.iter().flat_map(|workflow| &workflow.runs);
        runs.filter(|run| run.updated_at > Some(from_ms)).cloned().collect()
    })
}

fn finished(simulator: &Simulator, wanted: &Status) -> u64 {
    let totals = simulator.world(|world| world.totals());
    let of_status = totals.iter().filter(|((_, status, _), _)| status == wanted);
    of_status.map(|(_, count)| count).sum()
}

#[test]
fn it_starts_with_history_and_open_runs_and_none_from_the_future() {
    let (simulator, _) = busy(1);
    let runs = runs(&simulator);
    assert!(runs.len() > 1000, "{}", runs.len());
    assert!(runs.iter().any(|run| run.status == Status::Running));
    let times = |run: &SimulatedRun| [run.created_at, run.started_at, run.ended_at, run.updated_at];
    assert!(runs.iter().flat_map(times).flatten().all(|at| at <= NOON));
    let idle = simulator.world(|world| world.workflow("Archive invoices").map(|it| it.runs.len()));
    assert_eq!(idle, Some(1));
}

#[test]
fn within_a_minute_runs_arrive_finish_and_fail_whatever_the_seed() {
    for seed in 0..20 {
        let (simulator, clock) = busy(seed);
        let counts = |simulator: &Simulator| {
            let arrived: u64 = simulator.world(|world| world.created().values().sum());
            let ended = [Status::Completed, Status::Failed].map(|it| finished(simulator, &it));
            (arrived, ended)
        };
        let (arrived, ended) = counts(&simulator);
        clock.forward(60);
        let (arrived_later, ended_later) = counts(&simulator);
        assert!(arrived_later > arrived + 10, "seed {seed}");
        assert!(ended_later[0] > ended[0] && ended_later[1] > ended[1], "seed {seed}");
    }
}

#[test]
fn within_an_hour_everything_documented_is_seen() {
    let (simulator, clock) = busy(1);
    let (mut statuses, mut step_statuses) = (BTreeSet::new(), BTreeSet::new());
    let (mut types, mut origins) = (BTreeSet::new(), BTreeSet::new());
    let (mut survived, mut looped, mut replayed) = (false, false, false);
    for _ in 0..360 {
        clock.forward(10);
        for run in changed_since(&simulator, clock.now_ms() - 10_000) {
            for step in &run.steps {
                types.insert(step.step_type.clone());
                step_statuses.insert(step.status.clone());
                survived |= run.status == Status::Completed && step.status == Status::Failed;
                looped |= step.output.is_array();
            }
            replayed |= run.started_at > run.created_at.map(|created| created + 10_000)
                && run.origin.as_str() == "RECORD";
            statuses.insert(run.status.as_str().to_owned());
            origins.insert(run.origin.as_str().to_owned());
        }
    }
    let all = |words: &str| words.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(statuses, all("PENDING RUNNING COMPLETED SKIPPED FAILED CANCELLED"));
    assert_eq!(origins, all("WORKFLOW RECORD TEST TRIGGER ENDPOINT WEBHOOK"));
    let kinds = "note branch code model http_request browser workflow service input";
    assert_eq!(types, all(kinds));
    let step_statuses: BTreeSet<_> = step_statuses.iter().map(|it| it.as_str().into()).collect();
    assert_eq!(step_statuses, all("RUNNING CANCELLED SKIPPED COMPLETED FAILED"));
    assert!(survived && looped && replayed);
}

#[test]
fn the_same_seed_makes_the_same_world_however_often_one_looks() {
    let (often, clock) = busy(7);
    for _ in 0..600 {
        clock.forward(1);
        often.world(|_| ());
    }
    let (once, clock) = busy(7);
    clock.forward(600);
    assert_eq!(runs(&often), runs(&once));
    let (other, clock) = busy(8);
    clock.forward(600);
    assert_ne!(runs(&other), runs(&once));
}

#[test]
fn a_spike_raises_failures_of_its_workflow_while_it_lasts() {
    let failures = |spiked: Option<&str>| {
        let (simulator, clock) = busy(3);
        let before = finished(&simulator, &Status::Failed);
        let minute = Duration::from_secs(60);
        if let Some(name) = spiked {
            assert!(simulator.spike(Some(name), minute, 1.0));
        }
        clock.forward(60);
        let during = finished(&simulator, &Status::Failed) - before;
        clock.forward(60);
        (during, finished(&simulator, &Status::Failed) - before - during)
    };
    let (calm, calm_after) = failures(None);
    let (spiked, after) = failures(Some("Enrich lead"));
    assert!(spiked > calm + 10, "{spiked} after {calm}");
    assert!(after < calm_after + 10, "{after} after {calm_after}");
    let (simulator, _) = busy(3);
    assert!(!simulator.spike(Some("nobody"), Duration::from_secs(1), 1.0));
}

#[test]
fn old_runs_are_forgotten_but_not_the_totals() {
    let (simulator, clock) = busy(1);
    clock.forward(4 * 3600);
    let lead = simulator.world(|world| world.workflow("Enrich lead").cloned());
    let lead = lead.expect("it is in the cast");
    let ended = lead.runs.iter().filter(|run| run.ended_at.is_some()).count();
    assert_eq!(ended, 2000);
    let totals = simulator.world(|world| world.totals());
    let truth: u64 = totals.iter().filter(|((id, ..), _)| *id == lead.id).map(|it| it.1).sum();
    assert!(truth > 8000, "{truth}");
}

#[tokio::test]
async fn a_busy_world_is_served_in_all_its_forms() {
    let api = Served::busy().await;
    let workflows = api.get("/apps/c/workflows").await;
    assert_eq!(workflows.ids().len(), 8);
    for id in workflows.ids() {
        let runs = api.get(&format!("/apps/c/workflows/{id}/runs")).await;
        assert!(!runs.ids().is_empty(), "{id}");
    }
}

/// The runs of a workflow that finished, by version, and those of them that failed.
fn by_version(simulator: &Simulator, name: &str, version: Option<u32>) -> (u64, u64) {
    simulator.world(|world| {
        let id = &world.workflow(name).expect("it is there").id;
        let runs = world.truth().versions.iter();
        let of_version = runs.filter(|((workflow, of, _), _)| workflow == id && *of == version);
        of_version.fold((0, 0), |(all, failed), ((_, _, status), count)| {
            (all + count, failed + if *status == Status::Failed { *count } else { 0 })
        })
    })
}

const TICKETS: &str = "Answer support ticket";

#[test]
fn a_bad_version_fails_until_it_is_rolled_back() {
    let (simulator, clock) = busy(2);
    let before = simulator.world(|world| world.workflow(TICKETS).and_then(|it| it.version));
    let bad = simulator.deploy(TICKETS, 0.8);
    assert!(bad > before, "{bad:?} after {before:?}");
    clock.forward(300);
    let (all, failed) = by_version(&simulator, TICKETS, bad);
    assert!(all > 30 && failed * 10 > all * 6, "{failed} of {all}");
    assert_eq!(simulator.roll_back(TICKETS), before);
    clock.forward(120);
    // Those that had been created before have ended, also those that were replayed.
    let (ended, good) =
        (by_version(&simulator, TICKETS, bad).0, by_version(&simulator, TICKETS, before));
    clock.forward(120);
    let (all, failed) = by_version(&simulator, TICKETS, before);
    let (all, failed) = (all - good.0, failed - good.1);
    assert!(all > 10 && failed * 2 < all, "{failed} of {all}");
    assert_eq!(by_version(&simulator, TICKETS, bad).0, ended);
    assert_eq!(simulator.deploy("nobody", 0.5), None);
}

/// The published version of a workflow.
fn published(simulator: &Simulator, name: &str) -> Option<u32> {
    simulator.world(|world| world.workflow(name).expect("it is there").version)
}

#[test]
fn a_bad_version_stays_until_it_is_rolled_back_whatever_is_deployed_now_and_then() {
    for seed in 1..4 {
        let (simulator, clock) = busy(seed);
        let good = published(&simulator, TICKETS);
        let bad = simulator.deploy(TICKETS, 0.5);
        // Within any four hours another version is due.
        clock.forward(4 * 3600);
        assert_eq!(published(&simulator, TICKETS), bad, "seed {seed}");
        assert_eq!(simulator.roll_back(TICKETS), good, "seed {seed}");
        clock.forward(4 * 3600);
        assert!(published(&simulator, TICKETS) > bad, "seed {seed}: then versions go on");
    }
}

#[test]
fn a_rollback_goes_to_the_newest_version_before_that_is_good() {
    let (simulator, _) = busy(1);
    let good = published(&simulator, TICKETS).expect("it has one");
    let [first, second] = [(); 2].map(|()| simulator.deploy(TICKETS, 0.5));
    assert_eq!([first, second], [Some(good + 1), Some(good + 2)]);
    assert_eq!(simulator.roll_back(TICKETS), Some(good));
    assert_eq!(simulator.deploy(TICKETS, 0.0), Some(good + 3));
    assert_eq!(simulator.roll_back(TICKETS), Some(good), "those between are bad");
    for older in (1..good).rev() {
        assert_eq!(simulator.roll_back(TICKETS), Some(older));
    }
    assert_eq!(simulator.roll_back(TICKETS), None);
    assert_eq!(published(&simulator, TICKETS), Some(1));
}

#[test]
fn runs_of_a_bad_version_fail_in_its_last_step() {
    let (simulator, clock) = busy(1);
    let bad = simulator.deploy(TICKETS, 1.0);
    clock.forward(300);
    let runs = simulator.world(|world| world.workflow(TICKETS).expect("it is there").runs.clone());
    let failed = runs.iter().filter(|run| run.version == bad && run.status == Status::Failed);
    let steps: Vec<_> = failed.filter_map(|run| run.failed_step()).collect();
    let in_last = steps.iter().filter(|step| step.key == "quality_check").count();
    assert!(in_last > 20 && in_last * 10 > steps.len() * 8, "{in_last} of {}", steps.len());
    assert!(steps.iter().all(|step| step.error.is_some()));
}

#[test]
fn versions_are_deployed_now_and_then_and_tests_run_the_draft() {
    let (simulator, clock) = busy(1);
    clock.forward(4 * 3600);
    simulator.world(|world| {
        let tickets = world.workflow(TICKETS).expect("it is there");
        let newest = tickets.deployed.keys().next_back().copied();
        assert!(newest > Some(12) && tickets.version == newest, "{:?}", tickets.deployed);
        for run in &tickets.runs {
            assert_eq!(run.draft, run.origin.as_str() == "TEST");
            assert_eq!(run.version.is_none(), run.draft);
        }
    });
    assert!(by_version(&simulator, TICKETS, None).0 > 10);
}

#[test]
fn failures_are_known_by_step_and_kind_of_error() {
    let (simulator, clock) = busy(1);
    clock.forward(3600);
    let truth = simulator.world(|world| world.truth().clone());
    let failed = truth.finished.iter().filter(|((_, status, _), _)| *status == Status::Failed);
    let failed: u64 = failed.map(|(_, count)| count).sum();
    assert_eq!(truth.failures.values().sum::<u64>(), failed);
    let versions = truth.versions.values().sum::<u64>();
    assert_eq!(versions, truth.finished.values().sum::<u64>());
    let kinds: BTreeSet<_> = truth.failures.keys().map(|(.., kind)| *kind).collect();
    for kind in ["rate_limit", "overloaded", "js_exception", "timeout", "none"] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
}
