//! What polling costs and how late it finds what happens, in simulated time.

mod account;
mod clocks;
mod failing;

use std::time::Duration;

use cortex_workflow_exporter::{
    config::ApiKey,
    ledger::Ledger,
    model::{Origin, Status},
    poller::{CycleResult, Polling},
    simulator::{ApiEndpoint, Fault, Quirk, RequestSeen, Rule, RunsCount, SimulatedRun, Simulator},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use account::{Figures, Setting, Stage, app, live, runs_counted, simulated};

const MINUTE: Duration = Duration::from_secs(60);

fn counted_rightly_and_never_refused(figures: &Figures) {
    let told = (figures.refused, figures.missing, figures.surplus);
    assert_eq!(told, (0, 0, 0), "refused, missing, surplus: {figures:?}");
    assert!(figures.most_sliding <= 410 && figures.most_fixed <= 410, "{figures:?}");
}

#[test]
fn idle_workflows_cost_their_list_and_their_sweeps() {
    let figures = live(&Setting { workflows: 300, measured: 20 * MINUTE, ..Setting::default() });
    counted_rightly_and_never_refused(&figures);
    // Three pages, which overlap, every 30 seconds; one reading each every five minutes.
    assert!(figures.lists <= 8.2, "{figures:?}");
    assert!(figures.requests - figures.lists <= 62.0, "{figures:?}");
    // Without sweeps there is the list alone.
    let sweep_interval = Duration::from_secs(86_400);
    let setting = Setting { workflows: 300, sweep_interval, ..Setting::default() };
    let figures = live(&Setting { measured: 10 * MINUTE, ..setting });
    assert!(figures.requests <= 8.2, "{figures:?}");
}

#[test]
fn what_is_listed_and_sent_is_little_more_than_what_is_new() {
    let measured = 120 * MINUTE;
    let world = Setting { history: 200, padding: 8_700, measured, ..Setting::default() };
    let fewer = Setting { workflows: 50, ..world.clone() };
    // Of each workflow there is one every five minutes. All counts: the lists of workflows, and
    // readings of whole pages.
    let sweeps = measured.as_secs() / 300 * 50;
    let idle = live(&fewer);
    counted_rightly_and_never_refused(&idle);
    let sweep = idle.traffic.bytes / sweeps;
    let run_bytes = idle.traffic.runs_bytes / idle.traffic.runs;
    assert!((9_000..10_000).contains(&run_bytes), "{run_bytes}: {idle:?}");
    assert!(sweep <= 110_000, "{sweep}: {idle:?}");

    // Where the API names its answers, next to nothing is sent again.
    let named = live(&Setting { quirks: [Quirk::Etags].into(), ..fewer });
    counted_rightly_and_never_refused(&named);
    let sweep = named.traffic.bytes / sweeps;
    assert!(sweep <= 12_000, "{sweep}: {named:?}");

    let busy = live(&Setting { every: Some(60 * MINUTE), ..world });
    counted_rightly_and_never_refused(&busy);
    let new_runs = busy.delays.len() as u64;
    // As the API listed them.
    let listed = busy.traffic.runs / new_runs;
    assert!(new_runs > 150 && listed <= 150, "{listed}: {busy:?}");
    // Most pages are known by their bytes.
    let decoded = busy.runs_read / new_runs;
    assert!(decoded <= 60, "{decoded}: {busy:?}");
}

#[test]
fn tags_that_stay_the_same_hide_nothing_that_a_number_announces_and_nothing_for_long() {
    for (runs_count, latest) in [
        // That the tags of the list of workflows are frozen shows when that is asked for whole.
        (RunsCount::Ever, 360.0),
        (RunsCount::Listed, 360.0),
        // Each sweep looks at a whole page, whatever its tag.
        (RunsCount::Absent, 330.0),
        // Until a reading that asks whatever the tag finds what the number doesn't show; then as
        // without one.
        (RunsCount::Fixed(7), 7_530.0),
    ] {
        let every = Some(15 * MINUTE);
        let quirks = [Quirk::FrozenEtags].into();
        let setting = Setting { workflows: 30, every, runs_count, quirks, ..Setting::default() };
        let figures = live(&Setting { measured: 60 * MINUTE, ..setting });
        counted_rightly_and_never_refused(&figures);
        assert!(figures.delay(1.0) < latest, "{runs_count:?}: {figures:?}");
    }
}

#[test]
fn runs_are_found_within_an_interval_for_a_part_of_the_budget() {
    let every = Some(10 * MINUTE);
    let setting = Setting { workflows: 200, every, measured: 20 * MINUTE, ..Setting::default() };
    let figures = live(&setting);
    counted_rightly_and_never_refused(&figures);
    assert!(figures.delays.len() > 300, "{figures:?}");
    assert!(figures.delay(0.5) < 25.0 && figures.delay(0.99) < 45.0, "{figures:?}");
    assert!(figures.requests < 200.0, "{figures:?}");
    // Three requests for each workflow, at 400 a minute.
    assert!(figures.first_cycle < Duration::from_secs(100), "{figures:?}");
}

#[test]
fn a_number_of_runs_that_is_missing_or_wrong_loses_nothing() {
    for (runs_count, latest) in [
        (RunsCount::Absent, 60.0),
        (RunsCount::Listed, 60.0),
        // The sweeps find what it doesn't tell of.
        (RunsCount::Fixed(7), 330.0),
    ] {
        let every = Some(15 * MINUTE);
        let setting = Setting { workflows: 60, every, runs_count, ..Setting::default() };
        let figures = live(&Setting { measured: 20 * MINUTE, ..setting });
        counted_rightly_and_never_refused(&figures);
        assert!(figures.delay(1.0) < latest, "{runs_count:?}: {figures:?}");
    }
}

#[test]
fn above_the_budget_everything_comes_later_and_nothing_is_refused_or_lost() {
    let (every, runs_count) = (Some(30 * MINUTE), RunsCount::Absent);
    let setting = Setting { workflows: 500, every, runs_count, ..Setting::default() };
    let figures = live(&Setting { measured: 10 * MINUTE, ..setting });
    counted_rightly_and_never_refused(&figures);
    // 500 readings and six lists in the time of 400 requests a minute.
    assert!(figures.requests > 390.0, "{figures:?}");
    assert!(figures.delay(0.5) < 75.0 && figures.delay(0.99) < 180.0, "{figures:?}");
}

#[test]
fn an_api_that_takes_seconds_for_an_answer_does_not_make_the_budget_useless() {
    let (latency_ms, runs_count) = (1_500..2_000, RunsCount::Absent);
    let setting = Setting { workflows: 500, latency_ms, runs_count, ..Setting::default() };
    let figures = live(&Setting { measured: 10 * MINUTE, ..setting });
    assert!(figures.requests > 380.0, "{figures:?}");
}

#[test]
fn the_first_cycle_costs_the_same_however_long_the_history() {
    let cost = |history, runs_count| {
        let setting = Setting { workflows: 5, history, runs_count, ..Setting::default() };
        let figures = live(&Setting { measured: MINUTE, ..setting });
        counted_rightly_and_never_refused(&figures);
        figures.first_requests
    };
    let honest = [cost(200, RunsCount::Ever), cost(20_000, RunsCount::Ever)];
    // The list of workflows; of each the open runs, which are two lists, and the newest end.
    assert_eq!(honest, [16, 16]);
    // Of each, the first page of what is said to be read to its end with it.
    let far_too_small = [cost(200, RunsCount::Fixed(3)), cost(20_000, RunsCount::Fixed(3))];
    assert_eq!(far_too_small, [21, 21]);
    // The list of workflows, and what the list of each really has.
    assert_eq!([cost(20, RunsCount::Ever), cost(20, RunsCount::Fixed(3))], [6, 6]);
}

/// What is known of the only workflow: how many of its runs are counted, and which are open.
fn known(ledger: &Ledger) -> (u64, Vec<String>) {
    let state = ledger.state();
    let workflow = state.apps[&app()].workflows.values().next().expect("it was listed");
    let open = workflow.open.keys().map(|run| run.as_str().to_owned()).collect();
    (runs_counted(workflow), open)
}

#[test]
fn open_runs_behind_history_are_met_although_the_number_of_runs_is_far_too_small() {
    simulated(async {
        let setting = Setting { history: 3_000, runs_count: RunsCount::Fixed(3), ..one() };
        let Stage { simulator, poller, ledger, .. } = Stage::new(&setting).await;
        simulator.world(|world| {
            let id = world.workflows[0].id.clone();
            let at = world.now_ms() - 40 * 86_400_000;
            let open = SimulatedRun::new(Status::Running, Origin::Workflow).with_id("long");
            world.add_run(&id, open.with_times(at, Some(at), None));
        });
        for expected in [(0, vec!["long".into()]), (1, Vec::new())] {
            let cycle = poller.cycle().await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
            assert_eq!(known(&ledger), expected);
            sleep(Duration::from_secs(30)).await;
            simulator.world(|world| world.finish_run("long", Status::Failed));
        }
        assert!(for_runs(&simulator).len() < 10);
    });
}

/// The requests for runs since last asked.
fn for_runs(simulator: &Simulator) -> Vec<RequestSeen> {
    let requests = simulator.take_requests().into_iter();
    requests.filter(|request| request.endpoint != Some(ApiEndpoint::Workflows)).collect()
}

/// One workflow of which the list tells no number of runs, so that it is read in every cycle.
fn one() -> Setting {
    Setting { workflows: 1, history: 0, runs_count: RunsCount::Absent, ..Setting::default() }
}

#[test]
fn many_open_runs_cost_two_requests_and_not_one_each() {
    simulated(async {
        let Stage { simulator, poller, .. } = Stage::new(&one()).await;
        simulator.world(|world| {
            let id = world.workflows[0].id.clone();
            let at = world.now_ms() - 3_600_000;
            for n in 0..240 {
                let old = n < 40;
                let status = if old { Status::Running } else { Status::Completed };
                let ended = (!old).then_some(at + n + 1);
                let run = SimulatedRun::new(status, Origin::Workflow);
                world.add_run(&id, run.with_times(at + n, Some(at + n), ended));
            }
        });
        for _ in 0..2 {
            simulator.take_requests();
            let cycle = poller.cycle().await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
        }
        let queries: Vec<_> = for_runs(&simulator).into_iter().map(|it| it.query).collect();
        assert_eq!(queries.len(), 2, "{queries:?}");
        assert!(queries[1].contains("status=RUNNING"), "{queries:?}");
    });
}

/// One workflow, whose list was read to the known region, and an open run of it, `long`.
async fn with_one_open_run() -> Stage {
    let stage = Stage::new(&Setting { workflows: 1, ..Setting::default() }).await;
    stage.poller.cycle().await;
    stage.simulator.world(|world| {
        let (id, now) = (world.workflows[0].id.clone(), world.now_ms());
        let run = SimulatedRun::new(Status::Running, Origin::Workflow).with_id("long");
        world.add_run(&id, run.with_times(now, Some(now), None));
    });
    next_cycle(&stage).await;
    stage.simulator.take_requests();
    stage
}

/// What is known after the next cycle, which is a complete one.
async fn next_cycle(stage: &Stage) -> (u64, Vec<String>) {
    sleep(Duration::from_secs(30)).await;
    let cycle = stage.poller.cycle().await;
    assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
    let now_ms = stage.simulator.world(|world| world.now_ms());
    let app = &stage.ledger.state().apps[&app()];
    for (id, workflow) in &app.workflows {
        assert_eq!(app.lag_ms(id, workflow, now_ms), 0, "all that was due was read");
    }
    known(&stage.ledger)
}

#[test]
fn the_only_open_run_is_asked_for_by_its_id_and_the_list_once_per_sweep_interval() {
    simulated(async {
        let stage = with_one_open_run().await;
        for _ in 0..40 {
            assert_eq!(next_cycle(&stage).await, (0, vec!["long".into()]));
        }
        let asked: Vec<_> = for_runs(&stage.simulator).iter().map(|it| it.endpoint).collect();
        let lists = asked.iter().filter(|endpoint| **endpoint == Some(ApiEndpoint::Runs)).count();
        assert_eq!((asked.len(), lists), (40, 4), "{asked:?}");
        stage.simulator.world(|world| world.finish_run("long", Status::Failed));
        assert_eq!(next_cycle(&stage).await, (1, Vec::new()));
        // With a second one, the list shows both.
        for id in ["other", "another"] {
            stage.simulator.world(|world| {
                let (workflow, now) = (world.workflows[0].id.clone(), world.now_ms());
                let run = SimulatedRun::new(Status::Running, Origin::Workflow).with_id(id);
                world.add_run(&workflow, run.with_times(now, Some(now), None));
            });
        }
        stage.simulator.take_requests();
        for _ in 0..3 {
            assert_eq!(next_cycle(&stage).await.1.len(), 2);
        }
        let asked = for_runs(&stage.simulator);
        let is_list = |request: &RequestSeen| request.endpoint == Some(ApiEndpoint::Runs);
        assert!(asked.len() == 3 && asked.iter().all(is_list), "{asked:?}");
        // What is neither there nor in the list is gone.
        stage.simulator.world(|world| world.delete_run("other"));
        assert_eq!(next_cycle(&stage).await.1, ["another"]);
        stage.simulator.world(|world| world.delete_run("another"));
        assert!(next_cycle(&stage).await.1.is_empty());
    });
}

#[test]
fn an_open_run_whose_own_address_is_of_no_use_is_followed_in_the_list() {
    let other = r#"{"id":"other","status":"COMPLETED"}"#.to_owned();
    let json = |text| Fault::Body { content_type: "application/json".into(), text };
    for fault in [
        Fault::status(404),
        Fault::status(403),
        Fault::status(500),
        Fault::html(),
        json("[]".into()),
        json(r#"{"id":"long"}"#.into()),
        json(other),
    ] {
        simulated(async {
            let stage = with_one_open_run().await;
            stage.simulator.inject(Rule::new(fault.clone()).on(ApiEndpoint::Run));
            assert_eq!(next_cycle(&stage).await, (0, vec!["long".into()]), "{fault:?}");
            stage.simulator.world(|world| world.finish_run("long", Status::Failed));
            assert_eq!(next_cycle(&stage).await, (1, Vec::new()), "{fault:?}");
        });
    }
}

#[test]
fn pages_of_fat_runs_become_small_and_large_again_when_runs_get_thin() {
    simulated(async {
        let Stage { simulator, poller, .. } = Stage::new(&one()).await;
        let fill = |padding: usize| {
            simulator.world(|world| {
                let workflow = &mut world.workflows[0];
                workflow.runs.clear();
                let id = workflow.id.clone();
                let at_ms = world.now_ms() - 86_400_000;
                for at_ms in at_ms..at_ms + 150 {
                    let mut run = SimulatedRun::new(Status::Completed, Origin::Workflow);
                    run = run.with_times(at_ms, Some(at_ms), Some(at_ms + 1));
                    run.padding = padding;
                    world.add_run(&id, run);
                }
            });
        };
        let takes = async || {
            // Without a number of runs, each sweep reads a whole page.
            sleep(5 * MINUTE).await;
            simulator.take_requests();
            let cycle = poller.cycle().await;
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
            let queries = for_runs(&simulator).into_iter().map(|request| request.query);
            let newest_end = queries.filter(|query| !query.contains("status="));
            newest_end.map(|query| query.rsplit('=').next().map(str::to_owned)).collect::<Vec<_>>()
        };
        fill(60_000);
        assert_eq!(takes().await, [Some("100".into())]);
        // Six megabytes were too many.
        assert_eq!(takes().await, [Some("25".into())]);
        fill(100);
        assert_eq!(takes().await, [Some("25".into())]);
        assert_eq!(takes().await, [Some("100".into())]);
    });
}

#[test]
fn a_rejected_key_is_tried_ever_more_slowly_until_its_file_holds_another() {
    simulated(async {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key");
        std::fs::write(&file, "a-wrong-one").expect("it can be written");
        let setting = Setting { key: ApiKey::File(file.clone()), ..Setting::default() };
        let Stage { simulator, poller, .. } = Stage::new(&setting).await;
        let mut status = poller.status();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        tokio::spawn(Polling::new(vec![poller]).run(stop));
        sleep(10 * MINUTE).await;
        let requests = simulator.take_requests();
        assert!(requests.iter().all(|request| request.status == Some(401)), "{requests:?}");
        let gaps: Vec<_> =
            requests.windows(2).map(|pair| (pair[1].at_ms - pair[0].at_ms + 500) / 1000).collect();
        assert_eq!(gaps[..6], [1, 2, 4, 8, 16, 30], "{gaps:?}");
        assert!(gaps[6..].iter().all(|gap| (29..=31).contains(gap)), "{gaps:?}");
        assert!(status.borrow_and_update().last.as_ref().is_some_and(|last| last.rejected));
        std::fs::write(&file, "demo-key\n").expect("it can be written");
        let well = status.wait_for(|status| {
            status.last.as_ref().is_some_and(|last| last.result == CycleResult::Success)
        });
        let well = tokio::time::timeout(3 * MINUTE, well).await;
        assert!(well.is_ok(), "the new key is used");
    });
}

#[test]
fn a_poll_loop_that_hangs_is_noticed_and_so_is_that_it_goes_on() {
    simulated(async {
        let Stage { simulator, poller, .. } = Stage::new(&Setting::default()).await;
        simulator.inject(Rule::new(Fault::Hang));
        let polling = Polling::new(vec![poller]);
        let watchdog = polling.watchdog();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        tokio::spawn(polling.run(stop));
        sleep(MINUTE).await;
        assert_eq!(watchdog.check(), Ok(()), "a slow answer is none of its business");
        sleep(5 * MINUTE).await;
        let error = watchdog.check().expect_err("nothing goes on");
        assert!(error.contains("stopped advancing"), "{error}");
        simulator.clear_faults();
        sleep(MINUTE).await;
        assert_eq!(watchdog.check(), Ok(()));
        // Waiting for the next cycle is no hanging either, nor is a pause that the API asked for.
        sleep(10 * MINUTE).await;
        assert_eq!(watchdog.check(), Ok(()));
        let busy = Fault::Status { code: 429, retry_after: Some("290".into()) };
        simulator.inject(Rule::new(busy).times(1));
        for _ in 0..30 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(watchdog.check(), Ok(()));
        }
    });
}
