//! What polling costs and how late it finds what happens, in simulated time.

mod account;

use std::time::Duration;

use cortex_workflow_exporter::simulator::RunsCount;

use account::{Figures, Setting, live};

const MINUTE: Duration = Duration::from_secs(60);

fn counted_rightly_and_never_refused(figures: &Figures) {
    let told = (figures.refused, figures.missing, figures.surplus);
    assert_eq!(told, (0, 0, 0), "refused, missing, surplus: {figures:?}");
    assert!(figures.most_sliding <= 410 && figures.most_fixed <= 410, "{figures:?}");
}

#[test]
fn idle_workflows_cost_their_list_and_their_sweeps() {
    let figures = live(&Setting { workflows: 300, measured: 30 * MINUTE, ..Setting::default() });
    counted_rightly_and_never_refused(&figures);
    // Three pages, which overlap, every 30 seconds; one reading each every five minutes.
    assert!(figures.lists <= 8.2, "{figures:?}");
    assert!(figures.requests - figures.lists <= 62.0, "{figures:?}");
    // Without sweeps there is the list alone.
    let sweep_interval = Duration::from_secs(86_400);
    let setting = Setting { workflows: 300, sweep_interval, ..Setting::default() };
    let figures = live(&Setting { measured: 30 * MINUTE, ..setting });
    assert!(figures.requests <= 8.2, "{figures:?}");
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
    let figures = live(&Setting { measured: 20 * MINUTE, ..setting });
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
    let cost = |history| {
        let setting = Setting { workflows: 5, history, measured: MINUTE, ..Setting::default() };
        let figures = live(&setting);
        counted_rightly_and_never_refused(&figures);
        figures.first_requests
    };
    let cost = [cost(200), cost(20_000)];
    // The list of workflows; of each the open runs, which are two lists, and the young end.
    assert_eq!(cost, [16, 16]);
}
