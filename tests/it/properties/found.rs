//! What the random scripts once found, made small.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{
        ApiEndpoint,
        Direction::{self, NewestFirst, OldestFirst, Shuffled},
        Fault, Form,
        OrderBy::{self, Created, Started, Updated},
        RunsCount,
    },
};

use super::{
    play,
    script::{
        Character, Conditions,
        Event::{self, Happening as Now},
        Happening::{self, Create, Delete, Finish, Replay, Start},
        Trouble,
    },
};

/// One workflow with such a list, read in pages of this size.
fn one(by: OrderBy, direction: Direction, page_size: u32, history: u8) -> Conditions {
    let character = Character {
        by,
        direction,
        form: Form::Newest,
        runs_count: RunsCount::Absent,
        history,
        open: 0,
    };
    Conditions {
        page_size,
        max_take: 100,
        workflows: vec![character],
        ignore_take: false,
        ignore_status: false,
        omit_pagination: false,
        omit_date: false,
        ignore_page: false,
        bare_dates: false,
        hints: false,
        servers: 0,
        wrong_by_ms: 0,
    }
}

const CYCLE: Event = Event::Cycle { meanwhile: Vec::new(), troubles: Vec::new() };

fn burst(status: Status, count: u8) -> Happening {
    let started = status != Status::Skipped;
    Happening::Burst { workflow: 0, origin: Origin::Workflow, status, count, started }
}

fn create(count: u8) -> Happening {
    Create { workflow: 0, origin: Origin::Workflow, count }
}

fn finish() -> Happening {
    Finish { run: 0, status: Status::Completed }
}

fn cycle(meanwhile: Vec<Vec<Happening>>) -> Event {
    Event::Cycle { meanwhile, troubles: Vec::new() }
}

#[test]
fn runs_that_never_started_hide_none_behind_them() {
    let script = [CYCLE, Now(create(15)), CYCLE, Now(burst(Status::Completed, 1))];
    play(&one(Started, NewestFirst, 2, 0), &script);
    play(&one(Started, OldestFirst, 2, 0), &script);
    let script = [CYCLE, Now(burst(Status::Skipped, 15)), CYCLE, Now(burst(Status::Failed, 1))];
    play(&one(Started, NewestFirst, 10, 20), &script);
    play(&one(Started, OldestFirst, 10, 20), &script);
}

#[test]
fn a_missed_replay_of_a_run_that_ended_without_a_start_is_counted() {
    let script =
        [CYCLE, Now(burst(Status::Skipped, 1)), CYCLE, Now(Replay { run: 0 }), Now(finish())];
    play(&one(Created, Shuffled, 2, 0), &script);
}

#[test]
fn the_replay_of_a_run_from_before_the_cold_start_waited_for_nothing() {
    let script = [CYCLE, Now(Replay { run: 0 }), Now(finish())];
    play(&one(Started, NewestFirst, 10, 1), &script);
    let script = [CYCLE, Now(Replay { run: 0 }), CYCLE, Now(finish())];
    play(&one(Started, NewestFirst, 10, 1), &script);
}

#[test]
fn what_changes_behind_the_reading_of_a_list_with_the_oldest_first_is_met_by_the_next() {
    // 35 runs fill seven pages. Once the last one was read, a run moves to its end, and another
    // joins behind it, on a page of its own.
    let later = vec![Replay { run: 0 }, burst(Status::Completed, 1)];
    let script = [CYCLE, Now(burst(Status::Completed, 4)), CYCLE, CYCLE, cycle(vec![later])];
    play(&one(Updated, OldestFirst, 5, 40), &script);
}

#[test]
fn a_deletion_while_a_list_with_the_oldest_first_is_read_upwards_hides_none() {
    for quiet in 0..4 {
        let mut meanwhile = vec![Vec::new(); quiet];
        meanwhile.push(vec![Delete { run: 30, count: 2 }]);
        let news = Now(burst(Status::Completed, 23));
        let script = [CYCLE, news.clone(), CYCLE, news, cycle(meanwhile)];
        play(&one(Created, OldestFirst, 5, 40), &script);
    }
}

#[test]
fn followed_runs_that_a_broken_off_reading_counted_hide_none_behind_them() {
    let broken_off = Event::Cycle {
        meanwhile: Vec::new(),
        troubles: vec![Trouble {
            fault: Fault::status(500),
            endpoint: ApiEndpoint::Runs,
            page: 2,
            times: 9,
        }],
    };
    let mut script = vec![CYCLE, Now(create(8))];
    script.extend([0; 8].map(|_| Now(Start { run: 0 })));
    script.extend([CYCLE, Now(burst(Status::Completed, 8))]);
    script.extend([0; 8].map(|_| Now(finish())));
    script.push(broken_off);
    play(&one(Updated, NewestFirst, 8, 40), &script);
}

#[test]
fn a_run_that_ends_within_the_second_of_the_cold_start_is_counted_whatever_the_clock() {
    for wrong_by_ms in [-300_400, -400, 0, 400, 300_400] {
        let conditions = Conditions { wrong_by_ms, ..one(Created, NewestFirst, 10, 3) };
        play(&conditions, &[CYCLE, Now(burst(Status::Failed, 1))]);
    }
}

#[test]
fn failures_at_the_old_end_of_a_list_are_not_the_latest() {
    let (status, origin) = (Status::Skipped, Origin::Workflow);
    let skipped = Happening::Burst { workflow: 0, origin, status, count: 1, started: true };
    play(&one(Created, OldestFirst, 2, 20), &[Now(skipped)]);
    // Those of a workflow that is younger than the ledger are, whichever end they are met at.
    let young = Character { history: 0, ..one(Created, OldestFirst, 2, 0).workflows.remove(0) };
    let failed = Happening::Burst {
        workflow: 1,
        origin: Origin::Workflow,
        status: Status::Failed,
        count: 14,
        started: true,
    };
    let script = [CYCLE, Now(Happening::AddWorkflow(young)), Now(failed)];
    play(&one(Created, NewestFirst, 2, 0), &script);
}

#[test]
fn runs_that_are_open_at_the_cold_start_are_met_although_their_list_is_said_to_be_gone() {
    let gone =
        Trouble { fault: Fault::status(404), endpoint: ApiEndpoint::Runs, page: 1, times: 1 };
    let mut conditions = one(Created, NewestFirst, 10, 6);
    conditions.workflows[0].open = 10;
    let first = Event::Cycle { meanwhile: Vec::new(), troubles: vec![gone] };
    play(&conditions, &[Now(burst(Status::Completed, 30)), first]);
}

#[test]
fn what_only_the_second_of_two_servers_was_shown_is_not_lost_when_a_workflow_is_renamed() {
    let mut conditions = one(Created, NewestFirst, 1, 0);
    conditions.workflows.push(Character { open: 1, ..conditions.workflows[0].clone() });
    let conditions = Conditions { max_take: 1, servers: 2, ..conditions };
    let create = || Create { workflow: 1, origin: Origin::Workflow, count: 1 };
    let scrape = || Event::Scrape { aborted: false };
    let script = [
        scrape(),
        scrape(),
        CYCLE,
        scrape(),
        cycle(vec![vec![create(), create()]]),
        scrape(),
        Now(Happening::Rename { workflow: 1 }),
    ];
    play(&conditions, &script);
}

#[test]
fn an_idle_workflow_is_still_shown_after_a_restart_an_hour_later() {
    let counted = |it: Character| Character { runs_count: RunsCount::Ever, ..it };
    let workflows = one(Created, NewestFirst, 1, 0).workflows;
    let workflows = [workflows.clone(), workflows.clone(), workflows].concat();
    let conditions = Conditions {
        hints: true,
        max_take: 1,
        workflows: workflows.into_iter().map(counted).collect(),
        ..one(Created, NewestFirst, 1, 0)
    };
    let later = Now(Happening::Pass { ms: 1_196_000 });
    let script = [cycle(vec![vec![create(1)]]), CYCLE, CYCLE, CYCLE, CYCLE, later, CYCLE, CYCLE];
    play(&conditions, &script);
}

#[test]
fn runs_without_a_start_among_others_show_that_a_list_has_no_order() {
    // Of the first workflow's runs, few have started. Eight of those happen to stand in order.
    let workflow = |direction, history, open| Character {
        form: Form::First,
        runs_count: RunsCount::Ever,
        open,
        ..one(Created, direction, 1, history).workflows.remove(0)
    };
    let workflows =
        vec![workflow(Shuffled, 0, 5), workflow(NewestFirst, 58, 4), workflow(NewestFirst, 0, 3)];
    let conditions = Conditions { workflows, ..one(Created, NewestFirst, 6, 0) };
    let (status, origin) = (Status::Completed, Origin::Workflow);
    let burst = |workflow, count| {
        let (status, origin) = (status.clone(), origin.clone());
        Happening::Burst { workflow, origin, status, count, started: false }
    };
    let create = |workflow, count| Create { workflow, origin: origin.clone(), count };
    let finish = |run| Finish { run, status: status.clone() };
    let script = [
        Now(burst(1, 3)),
        cycle(vec![vec![create(0, 52)]]),
        CYCLE,
        cycle(vec![
            vec![Start { run: 2 }, Start { run: 2 }],
            vec![burst(0, 6), create(1, 1), finish(2)],
            vec![burst(1, 1)],
        ]),
        cycle(vec![vec![Start { run: 7 }], vec![burst(0, 1)], vec![burst(1, 1), finish(5)]]),
        Now(burst(0, 3)),
    ];
    play(&conditions, &script);
}

#[test]
fn a_list_that_is_deleted_but_for_its_young_end_while_it_is_read_has_not_been_read() {
    let conditions = Conditions { omit_pagination: true, ..one(Created, OldestFirst, 10, 0) };
    // The next page begins behind what is left.
    let deleted = vec![Delete { run: 0, count: 10 }];
    let script = [
        CYCLE,
        Now(burst(Status::Completed, 10)),
        CYCLE,
        Now(burst(Status::Failed, 4)),
        cycle(vec![deleted]),
        Now(Replay { run: 0 }),
    ];
    play(&conditions, &script);
}

#[test]
fn runs_that_push_the_first_one_from_page_to_page_do_not_end_the_reading() {
    let mut conditions = Conditions { max_take: 9, ..one(Updated, NewestFirst, 9, 0) };
    conditions.workflows[0].form = Form::First;
    let finished = |count| burst(Status::Completed, count);
    let joining = vec![vec![create(8)], vec![create(7)], vec![finished(9)]];
    play(&conditions, &[CYCLE, Now(finished(10)), cycle(joining)]);
}
