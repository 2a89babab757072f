//! Two exporters with one ledger on PostgreSQL, of which one leads. Their sessions end when a story
//! says so: the server's own limits take real time, which such a story has none of.

use std::{
    pin::pin,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    Story,
    exporter::Exporter,
    play,
    script::{self, Conditions, Happening, Incident},
};
use crate::support::Postgres;

/// One server for all stories.
static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// How many ledgers there were.
static LEDGERS: AtomicU32 = AtomicU32::new(0);

/// For how many seconds a leader that proves nothing leads, and the server keeps its session.
const LEASE: u8 = 20;

/// For how many seconds one leads whose session has ended, and the next one waits.
const SETTLE: u8 = 5;

/// A schema of its own, and the role that the exporters use.
pub(super) struct Database {
    name: String,
    administrator: PgConnection,
}

impl Database {
    pub(super) async fn new() -> Self {
        let name = format!("ledger_{}", LEDGERS.fetch_add(1, SeqCst));
        let administrator = PgConnection::connect(&SERVER.url("public")).await;
        let administrator = administrator.expect("the server is there");
        let mut database = Self { name, administrator };
        let name = &database.name;
        let create = format!("CREATE ROLE {name} LOGIN; CREATE SCHEMA {name} AUTHORIZATION {name}");
        database.sql(create).await;
        database
    }

    /// The `--state.url` of the exporter at this place.
    pub(super) fn url(&self, at: usize) -> String {
        let Self { name, .. } = self;
        let url = SERVER.url(name).replacen("postgres@", &format!("{name}@"), 1);
        format!("{url}&application_name={name}_{at}")
    }

    /// Ends the sessions of the exporter at this place.
    async fn end_sessions(&mut self, at: usize) {
        let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity";
        self.sql(format!("{end} WHERE application_name = '{}_{at}'", self.name)).await;
    }

    /// Whether exporters can connect.
    async fn set_reachable(&mut self, reachable: bool) {
        let login = if reachable { "LOGIN" } else { "NOLOGIN" };
        self.sql(format!("ALTER ROLE {} {login}", self.name)).await;
    }

    pub(super) async fn drop(mut self) {
        let Self { name, .. } = &self;
        let drop = format!("DROP SCHEMA {name} CASCADE; DROP ROLE {name}");
        self.sql(drop).await;
    }

    async fn sql(&mut self, statements: String) {
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.administrator).await;
        done.expect("PostgreSQL does as it is told");
    }
}

impl Story {
    fn database(&mut self) -> &mut Database {
        self.database.as_mut().expect("two exporters share it")
    }

    /// Where two exporters are, a second passes, in which each one that is awake proves that it leads,
    /// or looks whether it may. At no time do both show workflows.
    pub(super) async fn second(&mut self, first: usize) {
        if self.database.is_none() {
            return;
        }
        self.truth().clock.forward(1_000);
        self.places[0].lease.forward(1_000);
        for at in [first, 1 - first] {
            if let Some(exporter) = &self.exporters[at] {
                exporter.beat().await;
            }
        }
        let showing = self.exporters.iter().flatten().filter(|exporter| {
            let shows = exporter.shows_workflows();
            assert!(exporter.leads() || !shows, "one that stands by shows workflows");
            shows
        });
        assert!(showing.count() <= 1, "both show workflows");
    }

    /// Time passes until one of them leads; this one is always the first to try.
    async fn elect(&mut self, first: usize) {
        let (begun, mut hidden) = (Instant::now(), false);
        let leader = loop {
            self.second(first).await;
            let leads =
                |exporter: &Option<Exporter>| exporter.as_ref().is_some_and(Exporter::leads);
            if let Some(leader) = self.exporters.iter().position(leads) {
                break leader;
            }
            hidden = true;
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody leads");
        };
        if hidden || leader != self.led {
            self.led = leader;
            self.exporter().poller.start_anew();
            self.series_begin_anew();
        }
        self.check(false);
    }

    pub(super) async fn incident(&mut self, incident: &Incident) {
        let (leader, other) = (self.led, 1 - self.led);
        let place = |of_leader: bool| if of_leader { leader } else { other };
        match incident {
            Incident::End { leader, in_order, at_once } => {
                let at = place(*leader);
                self.stop(at, *in_order).await;
                if *at_once {
                    self.start(at).await;
                }
                if *leader {
                    self.series_begin_anew();
                }
                self.elect(other).await;
                if !at_once {
                    self.start(at).await;
                }
            }
            Incident::Pause { requests, moments, meanwhile, seconds, ended } => {
                self.pause((*requests, *moments), meanwhile, (*seconds, *ended)).await;
            }
            Incident::Sessions { of_leader, of_other, leader_first, other_starts } => {
                // Before, since two may show workflows after it, for no longer than one scrape.
                self.catch_up().await;
                if *other_starts {
                    self.stop(other, false).await;
                }
                for (at, ends) in [(leader, of_leader), (other, of_other)] {
                    if *ends {
                        self.database().end_sessions(at).await;
                    }
                }
                if *other_starts {
                    self.start(other).await;
                    if *of_leader {
                        // It is new, so it waits for nobody.
                        self.led = other;
                        self.series_begin_anew();
                    }
                } else if !leader_first && let Some(exporter) = &self.exporters[other] {
                    exporter.beat().await;
                }
                self.try_to_lead(leader).await;
                self.elect(place(*leader_first)).await;
            }
            Incident::Outage { seconds, leader_first } => {
                self.catch_up().await;
                self.database().set_reachable(false).await;
                for at in [leader, other] {
                    self.database().end_sessions(at).await;
                }
                self.try_to_lead(leader).await;
                for _ in 0..*seconds {
                    self.second(place(*leader_first)).await;
                }
                self.database().set_reachable(true).await;
                self.elect(place(*leader_first)).await;
            }
            Incident::Clock { leader, wrong_by_ms } => {
                let Conditions { omit_date, ignore_page, .. } = self.conditions;
                if self.complete && !omit_date && !ignore_page {
                    self.places[place(*leader)].clock.set_wrong_by(*wrong_by_ms);
                }
            }
        }
    }

    /// This exporter, which has led and doesn't know that its session has ended, is scraped and goes
    /// through a cycle.
    async fn try_to_lead(&mut self, at: usize) {
        self.scrape(false).await;
        self.begin(&[]);
        if let Some(exporter) = &self.exporters[at] {
            exporter.poller.cycle().await;
        }
        self.breaks_off();
    }

    /// The leader does nothing for some seconds amid a cycle, and goes on with it. The server may have
    /// ended its session: at first, of which it learns in time, or when it was silent for too long, so
    /// that the other one leads.
    async fn pause(
        &mut self,
        (requests, moments): (u8, u8),
        meanwhile: &[Vec<Happening>],
        (seconds, ended): (u8, bool),
    ) {
        self.catch_up().await;
        self.begin(meanwhile);
        let (at, other) = (self.led, 1 - self.led);
        let soon = self.soon(requests, moments);
        let sleeper = self.exporters[at].take().expect("it leads");
        {
            let mut cycle = pin!(sleeper.poller.cycle());
            let over = tokio::select! {
                _ = &mut cycle => true,
                () = soon => false,
            };
            self.note(&sleeper.look());
            if ended && seconds < SETTLE {
                self.database().end_sessions(at).await;
            }
            for _ in 0..seconds {
                self.second(other).await;
            }
            let leads = seconds < LEASE;
            if ended && !leads {
                self.database().end_sessions(at).await;
                self.elect(other).await;
                self.cycle(&[], &[]).await;
                self.scrape(false).await;
            }
            assert!(leads || !sleeper.shows_workflows(), "it wakes up and shows workflows");
            if !leads {
                for server in &mut self.servers {
                    server.scrape(at, &sleeper, true).await;
                }
            }
            if !over {
                cycle.await;
            }
            assert!(leads || !sleeper.shows_workflows(), "it goes on and shows workflows");
        }
        self.exporters[at] = Some(sleeper);
        self.breaks_off();
        self.elect(other).await;
    }
}

/// How many stories are played at once: most of the time they wait for the server, and for as long as
/// an exporter that starts waits for the lock.
const AT_ONCE: u32 = 24;

#[test]
fn of_two_exporters_one_leads_and_each_finished_attempt_is_counted_exactly_once() {
    let config = super::config(48);
    let config = ProptestConfig { cases: config.cases.div_ceil(AT_ONCE), ..config };
    std::thread::scope(|threads| {
        for number in 0..AT_ONCE {
            let mut config = config.clone();
            // Each has stories of its own.
            if let RngSeed::Fixed(seed) = &mut config.rng_seed {
                *seed = seed.wrapping_mul(AT_ONCE.into()).wrapping_add(number.into());
            }
            threads.spawn(|| {
                let story = (script::conditions_of_a_pair(), script::script_of_a_pair());
                let played = TestRunner::new(config).run(&story, |(conditions, script)| {
                    play(&conditions, &script);
                    Ok(())
                });
                played.unwrap_or_else(|error| panic!("{error}"));
            });
        }
    });
}
