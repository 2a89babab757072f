//! What can happen: random worlds, and random events in them.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{ApiEndpoint, Direction, Fault, Form, OrderBy, RunsCount},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// How the API is, and how it is asked.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an oddity of its own")]
pub(super) struct Conditions {
    pub(super) page_size: u32,
    pub(super) max_take: u32,
    pub(super) workflows: Vec<Character>,
    pub(super) ignore_take: bool,
    pub(super) ignore_status: bool,
    pub(super) omit_pagination: bool,
    pub(super) omit_date: bool,
    pub(super) ignore_page: bool,
    pub(super) etags: bool,
    /// Whether the tags stay the same whatever happens.
    pub(super) frozen_etags: bool,
    pub(super) bare_dates: bool,
    /// Whether hints decide what is read.
    pub(super) hints: bool,
    /// How many Prometheus servers scrape. Where there are none, nothing is held.
    pub(super) servers: usize,
    /// How far the exporter's clock is ahead of the API's.
    pub(super) wrong_by_ms: i64,
    /// Whether there are two exporters with one ledger.
    pub(super) pair: bool,
}

/// How a workflow is, and how the API lists it.
#[derive(Clone, Debug)]
pub(super) struct Character {
    pub(super) by: OrderBy,
    pub(super) direction: Direction,
    pub(super) form: Form,
    pub(super) runs_count: RunsCount,
    /// How many runs finished before the exporter met it.
    pub(super) history: u8,
    /// How many were open then.
    pub(super) open: u8,
}

/// Something that happens in the world. Numbers choose among what is there, modulo how much that is;
/// of runs, 0 is the youngest.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// Runs that wait are created.
    Create { workflow: u8, origin: Origin, count: u8 },
    /// A waiting run starts.
    Start { run: u16 },
    /// An open run finishes.
    Finish { run: u16, status: Status },
    /// Runs are created and finish at once, one after the other.
    Burst { workflow: u8, origin: Origin, status: Status, count: u8, started: bool },
    /// A finished run is replayed.
    Replay { run: u16 },
    /// Runs are deleted.
    Delete { run: u16, count: u8 },
    /// A workflow is made, with its first runs still to come.
    AddWorkflow(Character),
    /// A workflow gets another name.
    Rename { workflow: u8 },
    /// A workflow is switched off, or on again.
    Toggle { workflow: u8 },
    /// A workflow is deleted; the API lists it as such, or no longer.
    DeleteWorkflow { workflow: u8, listed: bool },
    /// Time passes.
    Pass { ms: i64 },
}

/// Something that happens to the exporter, or around it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Something happens between two cycles.
    Happening(Happening),
    /// A poll cycle. These things happen after its first page of runs, its second, …
    Cycle { meanwhile: Vec<Vec<Happening>>, troubles: Vec<Trouble> },
    /// All servers scrape, or fail to.
    Scrape { aborted: bool },
    /// The process dies between two cycles, and starts again.
    Restart,
    /// A poll cycle, in which the process dies soon after the API has seen this number of requests.
    Death { requests: u8, moments: u8, meanwhile: Vec<Vec<Happening>> },
    /// Something happens to the clock of the exporter, to one of two exporters, or to their database.
    Incident(Incident),
}

/// Something that can change which of two exporters leads.
#[derive(Clone, Debug)]
pub(super) enum Incident {
    /// The leader or the other exporter ends, in order or not, and starts again: at once, or when
    /// another one leads.
    End { leader: bool, in_order: bool, at_once: bool },
    /// The leader begins a poll cycle, does nothing for some seconds soon after the API has seen this
    /// number of requests, and goes on. The server may end its session.
    Pause { requests: u8, moments: u8, meanwhile: Vec<Vec<Happening>>, seconds: u8, ended: bool },
    /// The server ends their sessions. Then the leader or the other exporter is first to notice,
    /// or the other one has ended and starts.
    Sessions { of_leader: bool, of_other: bool, leader_first: bool, other_starts: bool },
    /// The server can't be reached for some seconds. Then the leader or the other exporter is first
    /// to notice that it can.
    Outage { seconds: u8, leader_first: bool },
    /// The wall clock of the leader or the other exporter is set.
    Clock { leader: bool, wrong_by_ms: i64 },
}

/// The API answers a number of requests badly: for this page, if they are for a list.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    pub(super) endpoint: ApiEndpoint,
    pub(super) page: u8,
    pub(super) times: u32,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub(super) fn conditions() -> impl Strategy<Value = Conditions> {
    let page_size =
        prop_oneof![4 => 1_u32..=12, 3 => 8_u32..=25, 2 => 25_u32..=99, 3 => Just(100_u32)];
    let max_take = prop_oneof![2 => 1_u32..=12, 6 => Just(100_u32)];
    let quirk = || prop::bool::weighted(0.15);
    let rare = || prop::bool::weighted(0.05);
    let servers = prop_oneof![2 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    (
        (page_size, max_take, vec(character(), 1..=3), servers),
        (quirk(), quirk(), quirk(), quirk(), wrong_by_ms()),
        (rare(), rare(), any::<bool>(), any::<bool>(), quirk()),
    )
        .prop_map(|((page_size, max_take, workflows, servers), quirks, rare)| {
            let (ignore_take, ignore_status, omit_pagination, omit_date, wrong_by_ms) = quirks;
            let (ignore_page, bare_dates, hints, etags, frozen_etags) = rare;
            // What such a server hides at first can't be distinguished later from what is new.
            let bare_dates = bare_dates && !ignore_page;
            // Neither is it where the clocks disagree, since the API's may as well be the wrong one.
            // Without the API's clock there is only the exporter's own, so that must be right.
            let wrong_by_ms = if omit_date || ignore_page { 0 } else { wrong_by_ms };
            Conditions {
                page_size,
                max_take,
                workflows,
                ignore_take,
                ignore_status,
                omit_pagination,
                omit_date,
                ignore_page,
                etags,
                frozen_etags,
                bare_dates,
                hints,
                servers,
                wrong_by_ms,
                pair: false,
            }
        })
}

/// The same for two exporters.
pub(super) fn conditions_of_a_pair() -> impl Strategy<Value = Conditions> {
    conditions().prop_map(|conditions| Conditions { pair: true, ..conditions })
}

fn wrong_by_ms() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0),
        1 => -5 * HOUR..5 * HOUR,
        1 => -3_000..3_000_i64,
    ]
}

fn character() -> impl Strategy<Value = Character> {
    let by = select(vec![OrderBy::Created, OrderBy::Started, OrderBy::Updated]);
    let direction = prop_oneof![
        5 => Just(Direction::NewestFirst),
        3 => Just(Direction::OldestFirst),
        1 => Just(Direction::Shuffled),
    ];
    let form = select(vec![Form::First, Form::Newest, Form::Mixed]);
    let runs_count =
        select(vec![RunsCount::Ever, RunsCount::Listed, RunsCount::Absent, RunsCount::Fixed(3)]);
    let history = prop_oneof![Just(0), 1_u8..60];
    let open = prop_oneof![Just(0), 1_u8..12];
    (by, direction, form, runs_count, history, open).prop_map(
        |(by, direction, form, runs_count, history, open)| Character {
            by,
            direction,
            form,
            runs_count,
            history,
            open,
        },
    )
}

fn origin() -> impl Strategy<Value = Origin> {
    select(vec![
        Origin::Workflow,
        Origin::Record,
        Origin::Test,
        Origin::Trigger,
        Origin::Endpoint,
        Origin::Webhook,
    ])
}

fn status() -> impl Strategy<Value = Status> {
    select(Status::FINISHED.to_vec())
}

fn count() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(1_u8), 3 => 1_u8..12, 1 => 12_u8..60]
}

fn pass() -> impl Strategy<Value = i64> {
    prop_oneof![1_i64..1_500, 1_000..30_000_i64, MINUTE..HOUR, HOUR..24 * HOUR]
}

fn change_of_runs() -> impl Strategy<Value = Happening> {
    // Most often one of the youngest.
    let run = || prop_oneof![3 => 0_u16..8, 1 => any::<u16>()];
    prop_oneof![
        3 => (any::<u8>(), origin(), count())
            .prop_map(|(workflow, origin, count)| Happening::Create { workflow, origin, count }),
        3 => run().prop_map(|run| Happening::Start { run }),
        4 => (run(), status()).prop_map(|(run, status)| Happening::Finish { run, status }),
        3 => (any::<u8>(), origin(), status(), count(), any::<bool>()).prop_map(
            |(workflow, origin, status, count, started)| {
                Happening::Burst { workflow, origin, status, count, started }
            }
        ),
        2 => run().prop_map(|run| Happening::Replay { run }),
        2 => (run(), count()).prop_map(|(run, count)| Happening::Delete { run, count }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => change_of_runs(),
        3 => pass().prop_map(|ms| Happening::Pass { ms }),
        1 => character().prop_map(Happening::AddWorkflow),
        1 => any::<u8>().prop_map(|workflow| Happening::Rename { workflow }),
        1 => any::<u8>().prop_map(|workflow| Happening::Toggle { workflow }),
        1 => (any::<u8>(), any::<bool>())
            .prop_map(|(workflow, listed)| Happening::DeleteWorkflow { workflow, listed }),
    ]
}

/// What happens between the pages of one cycle.
fn meanwhile() -> impl Strategy<Value = Vec<Vec<Happening>>> {
    let short = (1_i64..5_000).prop_map(|ms| Happening::Pass { ms });
    let one = prop_oneof![4 => change_of_runs(), 1 => short];
    vec(vec(one, 0..4), 0..5)
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let fault = select(vec![
        Fault::status(500),
        Fault::Truncate,
        Fault::html(),
        Fault::not_json(),
        Fault::Disconnect,
        Fault::status(404),
        Fault::status(401),
    ]);
    let times = prop_oneof![3 => Just(1_u32), 1 => Just(4_u32)];
    let endpoint = prop_oneof![
        6 => Just(ApiEndpoint::Runs),
        2 => Just(ApiEndpoint::Workflows),
        2 => Just(ApiEndpoint::Run),
    ];
    (fault, endpoint, 1_u8..5, times).prop_map(|(fault, endpoint, page, times)| {
        // A run that is said to be gone is no longer followed; that is no trouble but its end.
        let gone = endpoint == ApiEndpoint::Run && fault == Fault::status(404);
        let fault = if gone { Fault::status(503) } else { fault };
        Trouble { fault, endpoint, page, times }
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => happening().prop_map(Event::Happening),
        4 => Just(Event::Cycle { meanwhile: Vec::new(), troubles: Vec::new() }),
        2 => meanwhile()
            .prop_map(|meanwhile| Event::Cycle { meanwhile, troubles: Vec::new() }),
        1 => (meanwhile(), vec(trouble(), 1..3))
            .prop_map(|(meanwhile, troubles)| Event::Cycle { meanwhile, troubles }),
        4 => prop::bool::weighted(0.2).prop_map(|aborted| Event::Scrape { aborted }),
        1 => Just(Event::Restart),
        1 => wrong_by_ms().prop_map(|wrong_by_ms| {
            Event::Incident(Incident::Clock { leader: true, wrong_by_ms })
        }),
        1 => moment().prop_map(|(requests, moments, meanwhile)| {
            Event::Death { requests, moments, meanwhile }
        }),
    ]
}

/// A moment of a cycle, and what happens in the cycle.
fn moment() -> impl Strategy<Value = (u8, u8, Vec<Vec<Happening>>)> {
    (0_u8..25, any::<u8>(), meanwhile())
}

fn incident() -> impl Strategy<Value = Incident> {
    let flag = any::<bool>;
    prop_oneof![
        2 => (prop::bool::weighted(0.7), flag(), flag())
            .prop_map(|(leader, in_order, at_once)| Incident::End { leader, in_order, at_once }),
        3 => (moment(), prop_oneof![0_u8..5, 5_u8..40], flag()).prop_map(|(moment, seconds, ended)| {
            let (requests, moments, meanwhile) = moment;
            Incident::Pause { requests, moments, meanwhile, seconds, ended }
        }),
        2 => (flag(), flag(), flag(), flag()).prop_map(|flags| {
            let (of_leader, of_other, leader_first, other_starts) = flags;
            Incident::Sessions { of_leader, of_other, leader_first, other_starts }
        }),
        1 => (1_u8..40, flag())
            .prop_map(|(seconds, leader_first)| Incident::Outage { seconds, leader_first }),
        1 => (flag(), wrong_by_ms())
            .prop_map(|(leader, wrong_by_ms)| Incident::Clock { leader, wrong_by_ms }),
    ]
}

pub(super) fn script() -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 1..30)
}

/// The same for two exporters.
pub(super) fn script_of_a_pair() -> impl Strategy<Value = Vec<Event>> {
    vec(prop_oneof![4 => event(), 1 => incident().prop_map(Event::Incident)], 1..30)
}
