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
        Happening::{self, Burst, Create, Delete, Finish, Pass, Replay, Start},
        Incident, Trouble,
    },
};

/// A world, mostly of one workflow, and what happens in it, step by step.
#[derive(Clone)]
struct Case {
    conditions: Conditions,
    script: Vec<Event>,
}

/// A workflow without runs whose list is ordered like this, read in pages of ten.
fn list(by: OrderBy, direction: Direction) -> Case {
    let character = Character {
        by,
        direction,
        form: Form::Newest,
        runs_count: RunsCount::Absent,
        history: 0,
        open: 0,
    };
    let conditions = Conditions {
        page_size: 10,
        max_take: 100,
        workflows: vec![character],
        ignore_take: false,
        ignore_status: false,
        omit_pagination: false,
        omit_date: false,
        ignore_page: false,
        etags: false,
        frozen_etags: false,
        bare_dates: false,
        hints: false,
        servers: 0,
        wrong_by_ms: 0,
        pair: false,
    };
    Case { conditions, script: Vec::new() }
}

impl Case {
    /// The same under other conditions.
    fn with(mut self, change: impl FnOnce(&mut Conditions)) -> Self {
        change(&mut self.conditions);
        self
    }

    /// The same with another character of the workflow.
    fn whose(self, change: impl FnOnce(&mut Character)) -> Self {
        self.with(|conditions| change(&mut conditions.workflows[0]))
    }

    /// The same with runs that finished before the exporter met them.
    fn history(self, runs: u8) -> Self {
        self.whose(|workflow| workflow.history = runs)
    }

    /// The same, read in pages of another size.
    fn pages_of(self, runs: u32) -> Self {
        self.with(|conditions| conditions.page_size = runs)
    }

    /// Then this happens.
    fn then(self, happening: Happening) -> Self {
        self.event(Now(happening))
    }

    /// Then this happens, again and again.
    fn then_times(self, times: usize, happening: &Happening) -> Self {
        (0..times).fold(self, |case, _| case.then(happening.clone()))
    }

    /// Then workflows are read.
    fn cycle(self) -> Self {
        self.cycle_while(Vec::new())
    }

    /// The same while this happens after the first page, this after the second, and so on.
    fn cycle_while(self, meanwhile: impl Into<Vec<Vec<Happening>>>) -> Self {
        self.event(Event::Cycle { meanwhile: meanwhile.into(), troubles: Vec::new() })
    }

    /// The same while the list of runs is answered like this, a number of times from this page on.
    fn cycle_in_trouble(self, status: u16, page: u8, times: u32) -> Self {
        let (fault, endpoint) = (Fault::status(status), ApiEndpoint::Runs);
        let troubles = vec![Trouble { fault, endpoint, page, times }];
        self.event(Event::Cycle { meanwhile: Vec::new(), troubles })
    }

    /// Then the Prometheus servers scrape.
    fn scrape(self) -> Self {
        self.event(Event::Scrape { aborted: false })
    }

    fn event(mut self, event: Event) -> Self {
        self.script.push(event);
        self
    }

    /// Nothing is lost, and nothing counted that did not happen.
    fn holds(&self) {
        play(&self.conditions, &self.script);
    }
}

/// Runs of the first workflow finish; skipped ones without having been started.
fn burst(status: Status, count: u8) -> Happening {
    let started = status != Status::Skipped;
    Burst { workflow: 0, origin: Origin::Workflow, status, count, started }
}

fn create(count: u8) -> Happening {
    Create { workflow: 0, origin: Origin::Workflow, count }
}

fn finish(run: u16) -> Happening {
    Finish { run, status: Status::Completed }
}

/// The same in another workflow.
fn of(number: u8, mut happening: Happening) -> Happening {
    if let Create { workflow, .. } | Burst { workflow, .. } = &mut happening {
        *workflow = number;
    }
    happening
}

/// The same of runs that were or were not started.
fn started(were: bool, mut happening: Happening) -> Happening {
    if let Burst { started, .. } = &mut happening {
        *started = were;
    }
    happening
}

#[test]
fn runs_that_never_started_hide_none_behind_them() {
    for direction in [NewestFirst, OldestFirst] {
        let list = list(Started, direction);
        let waiting = list.clone().pages_of(2).cycle().then(create(15));
        waiting.cycle().then(burst(Status::Completed, 1)).holds();
        let skipped = list.history(20).cycle().then(burst(Status::Skipped, 15));
        skipped.cycle().then(burst(Status::Failed, 1)).holds();
    }
}

#[test]
fn a_missed_replay_of_a_run_that_ended_without_a_start_is_counted() {
    let list = list(Created, Shuffled).pages_of(2);
    let ended = list.cycle().then(burst(Status::Skipped, 1));
    ended.cycle().then(Replay { run: 0 }).then(finish(0)).holds();
}

#[test]
fn the_replay_of_a_run_from_before_the_cold_start_waited_for_nothing() {
    let replayed = list(Started, NewestFirst).history(1).cycle().then(Replay { run: 0 });
    replayed.clone().then(finish(0)).holds();
    replayed.cycle().then(finish(0)).holds();
}

#[test]
fn what_changes_behind_the_reading_of_a_list_with_the_oldest_first_is_met_by_the_next() {
    // 35 runs fill seven pages. Once the last one was read, a run moves to its end, and another
    // joins behind it, on a page of its own.
    let list = list(Updated, OldestFirst).pages_of(5).history(40);
    let later = vec![Replay { run: 0 }, burst(Status::Completed, 1)];
    list.cycle().then(burst(Status::Completed, 4)).cycle().cycle().cycle_while([later]).holds();
}

#[test]
fn a_deletion_while_a_list_with_the_oldest_first_is_read_upwards_hides_none() {
    let news = burst(Status::Completed, 23);
    let list = list(Created, OldestFirst).pages_of(5).history(40);
    let list = list.cycle().then(news.clone()).cycle().then(news);
    for quiet in 0..4 {
        let mut meanwhile = vec![Vec::new(); quiet];
        meanwhile.push(vec![Delete { run: 30, count: 2 }]);
        list.clone().cycle_while(meanwhile).holds();
    }
}

#[test]
fn followed_runs_that_a_broken_off_reading_counted_hide_none_behind_them() {
    let list = list(Updated, NewestFirst).pages_of(8).history(40);
    let running = list.cycle().then(create(8)).then_times(8, &Start { run: 0 });
    let ended = running.cycle().then(burst(Status::Completed, 8)).then_times(8, &finish(0));
    ended.cycle_in_trouble(500, 2, 9).holds();
}

#[test]
fn a_run_that_ends_within_the_second_of_the_cold_start_is_counted_whatever_the_clock() {
    for wrong_by_ms in [-300_400, -400, 0, 400, 300_400] {
        let list = list(Created, NewestFirst).history(3);
        let list = list.with(|conditions| conditions.wrong_by_ms = wrong_by_ms);
        list.cycle().then(burst(Status::Failed, 1)).holds();
    }
}

#[test]
fn what_happens_during_the_first_reading_is_counted_whatever_the_clock() {
    for wrong_by_ms in [-1_472_168, -1_748, 0, 1_748, 1_472_168] {
        let list = list(Created, NewestFirst).pages_of(1).history(4);
        let list = list.with(|conditions| conditions.wrong_by_ms = wrong_by_ms);
        let later = || vec![Pass { ms: 2_505 }, create(2), burst(Status::Failed, 1)];
        list.cycle_while([later(), later(), later(), later()]).cycle().holds();
    }
}

#[test]
fn failures_at_the_old_end_of_a_list_are_not_the_latest() {
    let known = list(Created, OldestFirst).pages_of(2).history(20);
    known.then(started(true, burst(Status::Skipped, 1))).holds();
    // Those of a workflow that is younger than the ledger are, whichever end they are met at.
    let young = list(Created, OldestFirst).conditions.workflows.remove(0);
    let known = list(Created, NewestFirst).pages_of(2).cycle();
    known.then(Happening::AddWorkflow(young)).then(of(1, burst(Status::Failed, 14))).holds();
}

#[test]
fn runs_that_are_open_at_the_cold_start_are_met_although_their_list_is_said_to_be_gone() {
    let list = list(Created, NewestFirst).history(6).whose(|workflow| workflow.open = 10);
    list.then(burst(Status::Completed, 30)).cycle_in_trouble(404, 1, 1).holds();
}

#[test]
fn what_only_the_second_of_two_servers_was_shown_is_not_lost_when_a_workflow_is_renamed() {
    let list = list(Created, NewestFirst).pages_of(1).with(|conditions| {
        conditions.workflows.push(Character { open: 1, ..conditions.workflows[0].clone() });
        (conditions.max_take, conditions.servers) = (1, 2);
    });
    let created = vec![of(1, create(1)), of(1, create(1))];
    let shown = list.scrape().scrape().cycle().scrape().cycle_while([created]).scrape();
    shown.then(Happening::Rename { workflow: 1 }).holds();
}

#[test]
fn an_idle_workflow_is_still_shown_after_a_restart_an_hour_later() {
    let list = list(Created, NewestFirst).pages_of(1).whose(|it| it.runs_count = RunsCount::Ever);
    let list = list.with(|conditions| {
        conditions.workflows = vec![conditions.workflows[0].clone(); 3];
        (conditions.max_take, conditions.hints) = (1, true);
    });
    let idle = list.cycle_while([vec![create(1)]]).cycle().cycle().cycle().cycle();
    idle.then(Pass { ms: 1_196_000 }).cycle().cycle().holds();
}

#[test]
fn runs_without_a_start_among_others_show_that_a_list_has_no_order() {
    // Of the first workflow's runs, few have started. Eight of those happen to stand in order.
    let list = list(Created, Shuffled).pages_of(6).whose(|workflow| {
        (workflow.form, workflow.runs_count) = (Form::First, RunsCount::Ever);
    });
    let list = list.with(|conditions| {
        let workflow = |direction, history, open| Character {
            direction,
            history,
            open,
            ..conditions.workflows[0].clone()
        };
        conditions.workflows = vec![
            workflow(Shuffled, 0, 5),
            workflow(NewestFirst, 58, 4),
            workflow(NewestFirst, 0, 3),
        ];
    });
    let burst = |workflow, count| started(false, of(workflow, burst(Status::Completed, count)));
    let met = list.then(burst(1, 3)).cycle_while([vec![create(52)]]).cycle();
    let moved = met.cycle_while([
        vec![Start { run: 2 }, Start { run: 2 }],
        vec![burst(0, 6), of(1, create(1)), finish(2)],
        vec![burst(1, 1)],
    ]);
    let ended = [vec![Start { run: 7 }], vec![burst(0, 1)], vec![burst(1, 1), finish(5)]];
    moved.cycle_while(ended).then(burst(0, 3)).holds();
}

#[test]
fn a_list_that_is_deleted_but_for_its_newest_end_while_it_is_read_has_not_been_read() {
    let list = list(Created, OldestFirst).with(|conditions| conditions.omit_pagination = true);
    let known = list.cycle().then(burst(Status::Completed, 10)).cycle();
    // The next page begins behind what is left.
    let deleted = vec![Delete { run: 0, count: 10 }];
    let read = known.then(burst(Status::Failed, 4)).cycle_while([deleted]);
    read.then(Replay { run: 0 }).holds();
}

#[test]
fn runs_that_push_the_first_one_from_page_to_page_do_not_end_the_reading() {
    let list = list(Updated, NewestFirst).pages_of(9).with(|conditions| conditions.max_take = 9);
    let list = list.whose(|workflow| workflow.form = Form::First);
    let finished = |count| burst(Status::Completed, count);
    let joining = [vec![create(8)], vec![create(7)], vec![finished(9)]];
    list.cycle().then(finished(10)).cycle_while(joining).holds();
}

#[test]
fn what_is_held_of_a_workflow_that_is_not_shown_after_a_step_of_the_clock_stays_held() {
    let list = list(Created, NewestFirst).pages_of(1).with(|conditions| {
        (conditions.servers, conditions.pair) = (1, true);
    });
    let clock = Incident::Clock { leader: true, wrong_by_ms: -10_000_000 };
    let known = list.scrape().scrape().cycle().event(Event::Incident(clock));
    let counted = known.then(burst(Status::Completed, 5));
    let death = Event::Death { requests: 4, moments: 0, meanwhile: Vec::new() };
    counted.event(death).scrape().scrape().holds();
}

#[test]
fn a_workflow_that_joins_behind_a_page_that_stays_the_same_is_met() {
    // The server gives one workflow for each page, and a page is named by what is on it.
    let list = list(Created, NewestFirst).pages_of(2).with(|conditions| {
        (conditions.max_take, conditions.etags) = (1, true);
    });
    let other = list.conditions.workflows[0].clone();
    list.cycle().then(Happening::AddWorkflow(other)).cycle().holds();
}
