//! Whatever happens, each finished attempt of a run is counted exactly once: random worlds and
//! random events around the real poller, client and ledger, with a simulated API that misbehaves.
//! `PROPTEST_CASES` says how many stories are tried.
//!
//! After every cycle and every restart, nothing is published that did not happen, nothing is missing
//! that happened before the last complete cycle began, and no counter has gone back. After a cycle in
//! which nothing else happens, the gauges are those of the world too.
//!
//! In some stories Prometheus servers scrape. Then what was counted is held until its base has been
//! scraped, and in the end each server's `increase()` is what was counted, although it misses scrapes,
//! and although queries don't look back over the time in which the exporter was away.
//!
//! In the stories of `pair`, two exporters share one ledger. Either ends, dies, pauses amid a cycle and
//! goes on with it, loses its session, or has its clock set, and the database goes away. Then the same
//! holds over both: a counter never goes back from one leader to the next, and the `increase()` of both
//! together is what was counted. Both never show workflows at once; only where an exporter starts just
//! when another one lost its session, that one does so until it beats.
//!
//! A list doesn't show everything, so the stories leave out what no exporter can count:
//! - a run that was deleted before a complete cycle saw its end; where pages are too small to overlap, or
//!   of the server's own size, a cycle in which runs moved from one to another may not have seen it;
//! - a replay that ends, or whose run is deleted, before a complete cycle saw the attempt before it;
//! - a replay in a list ordered by `created_at`, unless it is of the youngest run: the others stand
//!   behind the known region, where nothing is read;
//! - a run that ends while the first reading goes on, within the second of the cold start, or, if it
//!   was open then, before the lists of open runs were read: it can stand behind history. How long a
//!   run from before the cold start waited may be missing for the same reason;
//! - `consecutive_failures` as far as history makes it: the first reading doesn't read all of it;
//! - a `Date` that isn't the clock of the API's timestamps, or none while the local clock is wrong; a
//!   local clock that is set before a complete cycle;
//! - a 404 for what is there: the cycle counts as incomplete;
//! - what an `ETag` hides that stays the same although its answer has changed, for two hours;
//! - where all timestamps are bare dates, replays, durations and what depends on the order of a day's
//!   runs; and what happens before a complete cycle;
//! - where the server ignores `page`, all but that nothing is counted that did not happen; and even
//!   that, if all timestamps are bare dates. No cycle sees all runs there, so none is replayed: that it
//!   waited for nothing could not be known;
//! - a server that missed what the exporter showed last before it was away for long, before another
//!   exporter led, or before it met a workflow's new name: that server's base is then what the exporter
//!   showed, not what it saw;
//! - an exporter that leads again at the same address within the range of a query: that counts what the
//!   other one counted meanwhile twice.

mod checks;
mod exporter;
mod found;
mod pair;
mod script;
mod server;
mod truth;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    poller::CycleResult,
    simulator::{ApiEndpoint, Fault, Quirk, Rule, Simulator, SimulatorSettings, World},
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use exporter::{Exporter, Hand, Named, Place, Scrape, is_counter};
use pair::Database;
use script::{Character, Conditions, Event, Happening, Trouble};
use server::Server;
use truth::{Counts, Truth};

/// 2023-12-25T12:00:00.250Z.
const NOON: i64 = 1_703_505_600_250;

/// How often workflows are read: where something is known to happen, and at the least.
const INTERVAL: Duration = Duration::from_secs(30);
const SWEEP: Duration = Duration::from_secs(300);

/// How often a page of a list of runs is asked for whatever its tag. What lies behind a small one, no
/// story needs: there stands nothing that changed without moving to the newest end of its list.
const ASKED: Duration = Duration::from_secs(2 * 3600);

/// The smallest pages that overlap almost everywhere. Of smaller ones, which begin at multiples of
/// their size too, often none contains both the last run that was read and the next one.
const MIN_OVERLAPPING: u32 = 4;

/// A world, an exporter that polls it, and what each has counted.
struct Story {
    conditions: Conditions,
    simulator: Simulator,
    truth: Arc<Mutex<Truth>>,
    /// Where each exporter is, and what runs there.
    places: Vec<Place>,
    exporters: Vec<Option<Exporter>>,
    /// The place of the exporter that led last.
    led: usize,
    servers: Vec<Server>,
    /// Whether the next cycle meets a new name.
    renamed: bool,
    /// What must be counted, because a complete cycle has begun since.
    floor: Counts,
    /// Whether a cycle was complete yet.
    complete: bool,
    /// The counters as published last.
    published: BTreeMap<Named, f64>,
    /// The ledger's database, if two exporters share it.
    database: Option<Database>,
    _directory: TempDir,
    _stop: DropGuard,
}

impl Story {
    async fn new(conditions: &Conditions) -> Self {
        let clock = Hand::new(NOON);
        let settings = SimulatorSettings {
            rate_limit: None,
            max_take: conditions.max_take,
            ..SimulatorSettings::default()
        };
        let simulator = Simulator::new(settings, Arc::new(clock.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let api = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        tokio::spawn(simulator.clone().serve(listener, stop.clone()));
        // In memory where there is such a place: waiting for a disk tests nothing here.
        let shared = std::path::Path::new("/dev/shm");
        let temporary = if shared.is_dir() { shared.into() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(temporary).expect("a directory");
        let database = if conditions.pair { Some(Database::new().await) } else { None };
        let place = |ledger, wrong_by_ms, lease: &Hand| Place {
            api,
            ledger,
            page_size: conditions.page_size,
            clock: clock.wrong_by(wrong_by_ms),
            lease: lease.clone(),
            hold: conditions.servers > 0,
            sweep: if conditions.hints { SWEEP } else { INTERVAL },
        };
        let lease = Hand::new(0);
        let wrong_by_ms = conditions.wrong_by_ms;
        let places = if let Some(database) = &database {
            vec![
                place(database.url(0), wrong_by_ms, &lease),
                place(database.url(1), wrong_by_ms, &lease),
            ]
        } else {
            let file = directory.path().join("ledger.db");
            vec![place(format!("sqlite:{}", file.display()), wrong_by_ms, &lease)]
        };
        let mut truth = Truth::new(clock);
        truth.bare_dates = conditions.bare_dates;
        simulator.world(|world| {
            let quirks = [
                (conditions.ignore_take, Quirk::IgnoreTake),
                (conditions.ignore_status, Quirk::IgnoreStatus),
                (conditions.omit_pagination, Quirk::OmitPagination),
                (conditions.omit_date, Quirk::OmitDate),
                (conditions.ignore_page, Quirk::IgnorePage),
                (conditions.etags, Quirk::Etags),
                (conditions.frozen_etags, Quirk::FrozenEtags),
                (conditions.bare_dates, Quirk::BareDates),
            ];
            world.quirks =
                quirks.into_iter().filter(|(on, _)| *on).map(|(_, quirk)| quirk).collect();
            for (at, character) in (0..).zip(&conditions.workflows) {
                truth.add_workflow(world, character);
                prehistory(&mut truth, world, at, character);
                truth.workflows[usize::from(at)].failures = (!conditions.bare_dates).then_some(0);
            }
        });
        let mut exporters = Vec::new();
        for place in &places {
            exporters.push(Some(Exporter::start(place).await));
        }
        let mut story = Self {
            conditions: conditions.clone(),
            simulator,
            truth: Arc::new(Mutex::new(truth)),
            places,
            exporters,
            led: 0,
            servers: (0..conditions.servers).map(|_| Server::default()).collect(),
            renamed: false,
            floor: Counts::new(),
            complete: false,
            published: BTreeMap::new(),
            database,
            _directory: directory,
            _stop: stop.drop_guard(),
        };
        if conditions.bare_dates {
            story.cycle(&[], &[]).await;
        }
        story
    }

    fn truth(&self) -> std::sync::MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After how long everything has been looked at, where not every cycle does so: where workflows
    /// that seem unchanged are left to their sweeps, and where tags hide what has changed.
    fn looked_at_after(&self) -> Option<Duration> {
        let swept = self.places[0].sweep > INTERVAL;
        if self.conditions.frozen_etags { Some(ASKED) } else { swept.then_some(SWEEP) }
    }

    /// Whether pages overlap, so that no run is skipped where the list moves while it is read.
    fn pages_overlap(&self) -> bool {
        let Conditions { ignore_take, page_size, max_take, .. } = self.conditions;
        !ignore_take && page_size.min(max_take) >= MIN_OVERLAPPING
    }

    /// The exporter that led last.
    fn exporter(&self) -> &Exporter {
        self.exporters[self.led].as_ref().expect("it is running")
    }

    async fn play(&mut self, event: &Event) {
        self.second(self.led).await;
        match event {
            Event::Happening(happening) => {
                self.renamed |= matches!(happening, Happening::Rename { .. });
                self.simulator.world(|world| {
                    let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
                    truth.happen(world, happening);
                });
            }
            Event::Cycle { meanwhile, troubles } => self.cycle(meanwhile, troubles).await,
            Event::Scrape { aborted } => self.scrape(*aborted).await,
            Event::Restart => self.restart().await,
            Event::Death { requests, moments, meanwhile } => {
                self.death(*requests, *moments, meanwhile).await;
            }
            Event::Incident(incident) => self.incident(incident).await,
        }
    }

    /// What is to be known before a cycle begins.
    fn begin(&self, meanwhile: &[Vec<Happening>]) {
        let mut truth = self.truth();
        if !truth.met {
            // Times are known to the second only, and no better than the two clocks agree; so nothing
            // happens in the second of the cold start, nor where the local clock still shows the
            // time after it.
            let behind_ms = self.places.iter().map(|place| place.clock.behind_ms()).max();
            let behind_ms = behind_ms.unwrap_or(0);
            truth.clock.forward(2_000 + behind_ms);
            truth.forget_counts();
        }
        drop(truth);
        let mut pages = Vec::from(meanwhile).into_iter();
        let mut first = !self.complete && !meanwhile.is_empty();
        let truth = Arc::clone(&self.truth);
        self.simulator.world(|world| {
            world.after_page = Some(Box::new(move |world, _| {
                let mut truth = truth.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::take(&mut first) {
                    truth.clock.forward(2_000);
                }
                for happening in pages.next().unwrap_or_default() {
                    truth.happen(world, &happening);
                }
            }));
        });
    }

    async fn cycle(&mut self, meanwhile: &[Vec<Happening>], troubles: &[Trouble]) {
        self.catch_up().await;
        let calm = meanwhile.is_empty() && troubles.is_empty();
        if let Some(after) = self.looked_at_after().filter(|_| calm) {
            self.truth().clock.forward(after.as_millis() as i64);
        }
        self.begin(meanwhile);
        let counts = self.truth().counts.clone();
        let versions = self.truth().versions();
        for trouble in troubles {
            let rule = Rule::new(trouble.fault.clone()).on(trouble.endpoint).times(trouble.times);
            self.simulator.inject(match trouble.endpoint {
                ApiEndpoint::Run => rule,
                _ => rule.containing(&format!("page={}&", trouble.page)),
            });
        }
        let cycle = self.exporter().poller.cycle().await;
        self.simulator.clear_faults();
        self.simulator.world(|world| world.after_page = None);
        if calm {
            assert_eq!(cycle.result, CycleResult::Success, "{:?}", cycle.error);
        }
        // A list that is said to be gone is not read, and that is no failure.
        let gone = troubles.iter().any(|trouble| trouble.fault == Fault::status(404));
        // Nor are workflows of which a hint or a tag says that nothing happened, until that isn't
        // asked.
        let looked = calm || self.looked_at_after().is_none();
        if cycle.result == CycleResult::Success && !gone && looked {
            // What changes during a cycle can move onto a page that was read already; the next
            // cycle meets it.
            if meanwhile.is_empty() {
                self.floor = counts;
            }
            self.complete = true;
            self.renamed = false;
            self.truth().complete = true;
            if !self.conditions.ignore_page && (meanwhile.is_empty() || self.pages_overlap()) {
                self.truth().seen(&versions);
            }
        }
        if !self.complete {
            self.truth().clock.forward(2_000);
        }
        self.check(calm);
    }

    /// The exporter that leads dies, and starts again at once.
    async fn restart(&mut self) {
        let at = self.led;
        self.stop(at, false).await;
        self.start(at).await;
        self.series_begin_anew();
        self.check(false);
    }

    /// An exporter ends.
    async fn stop(&mut self, at: usize, in_order: bool) {
        if let Some(exporter) = self.exporters[at].take() {
            if in_order {
                exporter.end().await;
            } else {
                exporter.die(&self.places[at]).await;
            }
        }
        for server in &mut self.servers {
            server.disconnected(at);
        }
    }

    /// An exporter starts.
    async fn start(&mut self, at: usize) {
        self.exporters[at] = Some(Exporter::start(&self.places[at]).await);
    }

    /// What is published from now on are other series, or it was away for long. Of two servers, the
    /// second may not have seen what the first was shown last.
    fn series_begin_anew(&mut self) {
        if let [server] = &mut self.servers[..] {
            server.begins_anew();
        }
    }

    /// Under a new name, a workflow's series begin at 0 with what was not shown yet, so nobody must
    /// have missed what was shown. Of two servers, the second may have been shown more than the first.
    async fn catch_up(&mut self) {
        let mut seen_by_all = !self.renamed || self.servers.len() < 2;
        while self.renamed && !(seen_by_all && self.servers.iter().all(Server::is_up_to_date)) {
            let before = self.exporter().look();
            self.scrape(false).await;
            seen_by_all = self.exporter().look() == before;
        }
    }

    /// All servers scrape, one after the other; the first of them may fail. Of two, only one that is
    /// known to come again is waited for.
    async fn scrape(&mut self, aborted: bool) {
        let alone = self.servers.len() == 1;
        let mut fails = aborted;
        for server in &mut self.servers {
            let fails = std::mem::take(&mut fails) && (alone || server.is_regular(self.led));
            for (at, exporter) in self.exporters.iter().enumerate() {
                if let Some(exporter) = exporter {
                    server.scrape(at, exporter, fails && exporter.leads()).await;
                }
            }
        }
        self.check(false);
    }

    /// Each server's `increase()` is what was counted.
    async fn check_increases(&mut self) {
        // The first scrape may bring bases, the second shows that they were received. On a busy
        // machine a scrape doesn't wait for what it releases.
        let given_up = Instant::now() + Duration::from_secs(60);
        while !self.exporter().shows_everything() {
            assert!(Instant::now() < given_up, "something is held for ever");
            self.scrape(false).await;
        }
        self.scrape(false).await;
        let scrape = self.look();
        let truth = self.truth();
        let deleted: Vec<_> =
            truth.workflows.iter().filter(|known| known.deleted).map(|known| &known.id).collect();
        for server in &self.servers {
            let increases = server.increases();
            for (sample, counted) in scrape.samples().filter(|(sample, _)| is_counter(sample)) {
                if !deleted.contains(&&sample.1) {
                    let increase = increases.get(sample).copied();
                    assert_eq!(increase, Some(counted), "increase() of {sample:?}");
                }
            }
        }
        checks::floor(&truth, &scrape, &self.floor);
    }

    async fn death(&mut self, requests: u8, moments: u8, meanwhile: &[Vec<Happening>]) {
        self.catch_up().await;
        self.begin(meanwhile);
        let soon = self.soon(requests, moments);
        tokio::select! {
            _ = self.exporter().poller.cycle() => {}
            () = soon => {}
        }
        self.breaks_off();
        // What was published last must survive.
        self.look();
        self.restart().await;
    }

    /// A cycle ends before its end.
    fn breaks_off(&self) {
        self.simulator.world(|world| world.after_page = None);
        if !self.complete {
            self.truth().clock.forward(2_000);
        }
    }

    /// Returns soon after the API has seen this number of requests from now on.
    fn soon(&self, requests: u8, moments: u8) -> impl Future<Output = ()> + use<> {
        let until = self.simulator.request_counts().total + u64::from(requests);
        let simulator = self.simulator.clone();
        async move {
            while simulator.request_counts().total < until {
                tokio::task::yield_now().await;
            }
            for _ in 0..moments {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Compares what is published with the truth. After a calm cycle they are the same.
    fn check(&mut self, calm: bool) {
        let scrape = self.look();
        let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
        truth.met |= scrape.has_workflows();
        if !truth.met {
            return;
        }
        checks::counts(&truth, &scrape);
        checks::sums(&scrape);
        if self.servers.is_empty() && !self.conditions.ignore_page {
            checks::floor(&truth, &scrape, &self.floor);
        }
        if calm && !self.conditions.ignore_page {
            self.simulator.world(|world| {
                for known in truth.workflows.iter().filter(|known| !known.deleted) {
                    checks::gauges(known, &truth::open(world, &known.id), &scrape);
                    if let Some(failed) = &known.last_failed {
                        let noted = self.exporter().last_failed(&known.id);
                        assert_eq!(noted.as_ref(), Some(failed), "last failed of {}", known.name);
                    }
                }
            });
        }
    }

    /// What is published, of which nothing may have gone back. Counters are sums over all names that
    /// their workflow had.
    fn look(&mut self) -> Scrape {
        let mut scrape = self.exporter().look();
        self.note(&scrape);
        scrape.add_former_names(&self.published);
        scrape
    }

    /// This was published.
    fn note(&mut self, scrape: &Scrape) {
        for (named, value) in scrape.growing() {
            let before = self.published.insert(named.clone(), value).unwrap_or(0.0);
            assert!(value >= before, "{named:?} went from {before} back to {value}");
        }
    }
}

/// What was before the exporter.
fn prehistory(truth: &mut Truth, world: &mut World, workflow: u8, character: &Character) {
    let burst = |status, count, started| Happening::Burst {
        workflow,
        origin: Origin::Workflow,
        status,
        count,
        started,
    };
    truth.happen(world, &burst(Status::Failed, character.history / 2, true));
    truth.happen(world, &burst(Status::Skipped, character.history / 4, false));
    truth.happen(world, &burst(Status::Completed, character.history.min(1), true));
    let count = character.open;
    truth.happen(world, &Happening::Create { workflow, origin: Origin::Record, count });
    for _ in 0..count / 2 {
        truth.happen(world, &Happening::Start { run: u16::from(count / 2) });
    }
}

/// Plays a script, then lets the world be.
fn play(conditions: &Conditions, script: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut story = Story::new(conditions).await;
        for event in script {
            story.play(event).await;
        }
        for _ in 0..2 {
            story.cycle(&[], &[]).await;
        }
        story.restart().await;
        story.cycle(&[], &[]).await;
        if !story.servers.is_empty() && !conditions.ignore_page {
            story.check_increases().await;
        }
        if let Some(database) = story.database.take() {
            database.drop().await;
        }
    });
}

/// As many cases as a minute has room for, unless specified. What is found becomes a test in
/// `found`, not a file of seeds.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let specified = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if specified { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, max_shrink_time: 120_000, ..default }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn each_finished_attempt_is_counted_exactly_once(
        conditions in script::conditions(),
        script in script::script(),
    ) {
        play(&conditions, &script);
    }
}
