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
