//! Two exporters on one PostgreSQL ledger: one leads, the other stands by and takes over.

mod times;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use cortex_workflow_exporter::model::Status;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinHandle;

use crate::{
    increase::growth,
    links::lead,
    support::{
        Api, Postgres, Process, Prometheus, Proxy, Samples, documents::document, get, scrape,
        wait_until,
    },
};

const RUNS: &str = "cortex_workflow_runs_total";
const LEADER: &str = "cortex_workflow_exporter_leader";

/// An API and a server, and how many runs of its one workflow failed.
struct World {
    api: Api,
    server: Postgres,
    failed: u32,
}

/// An exporter of the pair.
struct Exporter {
    process: Process,
    base: String,
}

impl World {
    async fn new() -> Self {
        let api = Api::start().await;
        api.add_workflow("work_one");
        Self { api, server: Postgres::start(), failed: 0 }
    }

    async fn exporter(&self) -> Exporter {
        self.exporter_at(&self.server.url("public")).await
    }

    async fn exporter_at(&self, state_url: &str) -> Exporter {
        self.exporter_on("127.0.0.1:0", state_url).await
    }

    async fn exporter_on(&self, address: &str, state_url: &str) -> Exporter {
        let flags = ["--links.run-url=https://cortex.test/{workflow_id}?run={run_id}"];
        let mut process = Process::serve_on(address, &self.api, state_url, &flags);
        let base = process.ready_url().await;
        Exporter { process, base }
    }

    /// One that leads and one that stands by.
    async fn pair(&self) -> [Exporter; 2] {
        let first = self.exporter().await;
        first.leads().await;
        let second = self.exporter().await;
        second.stands_by().await;
        [first, second]
    }

    /// A run fails; this exporter, which leads or takes over, counts it.
    async fn fails(&mut self, leader: &Exporter) {
        self.api.finish_one("work_one", Status::Failed);
        self.failed += 1;
        leader.shows(self.failed).await;
    }

    async fn sql(&self, statement: &str) {
        let connection = PgConnection::connect(&self.server.url("public")).await;
        let mut connection = connection.expect("the server is there");
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
        done.expect("PostgreSQL does as it is told");
    }
}

impl Exporter {
    async fn leads(&self) {
        let leads = async || (scrape(&self.base).await.sum(LEADER, &[]) == Some(1.0)).then_some(());
        wait_until("it leads", leads, || self.process.log()).await;
    }

    /// It shows that it stands by, and that it is well.
    async fn stands_by(&self) {
        let stands =
            async || (scrape(&self.base).await.sum(LEADER, &[]) == Some(0.0)).then_some(());
        wait_until("it stands by", stands, || self.process.log()).await;
        for check in ["healthy", "ready"] {
            assert_eq!(get(&format!("{}/-/{check}", self.base)).await.0, 200, "{check}");
        }
        shows_nothing(&scrape(&self.base).await);
    }

    /// Waits until it shows that so many runs failed, and never more.
    async fn shows(&self, failed: u32) {
        let shows = async || {
            let shown = scrape(&self.base).await.sum(RUNS, &[("status", "FAILED")]);
            assert!(shown <= Some(f64::from(failed)), "{shown:?} are shown, {failed} failed");
            (shown == Some(f64::from(failed))).then_some(())
        };
        wait_until(&format!("{failed} failures are shown"), shows, || self.process.log()).await;
    }
}

/// No workflow, and nothing that says how the API is.
fn shows_nothing(samples: &Samples) {
    shows_no_workflow(samples);
    assert_eq!(samples.sum("cortex_workflow_exporter_up", &[]), None);
}

fn shows_no_workflow(samples: &Samples) {
    let of_workflows = |(series, _): &(&_, &f64)| {
        let series: &crate::support::Series = series;
        series.labels.contains_key("workflow_id")
            || !series.name.starts_with("cortex_workflow_exporter_")
                && !series.name.starts_with("process_")
    };
    let shown: Vec<_> = samples.values.iter().filter(of_workflows).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

/// Looks at both exporters again and again. The task never ends; the number is how often both showed
/// workflows at once.
fn watch(bases: [&str; 2]) -> (JoinHandle<()>, Arc<AtomicU32>) {
    let (bases, both) = (bases.map(|base| format!("{base}/metrics")), Arc::<AtomicU32>::default());
    let count = Arc::clone(&both);
    let watching = tokio::spawn(async move {
        let client = crate::support::client();
        loop {
            let mut shown = 0;
            for base in &bases {
                // One that was killed does not answer.
                let answer = client.get(base).timeout(Duration::from_secs(1)).send().await;
                if let Ok(answer) = answer {
                    shown += u32::from(answer.text().await.is_ok_and(|text| text.contains(RUNS)));
                }
            }
            count.fetch_add(shown / 2, SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    (watching, both)
}

#[tokio::test]
async fn the_other_takes_over_from_one_that_ends_or_is_killed_and_prometheus_sees_each_run_once() {
    let mut world = World::new().await;
    let [mut first, second] = world.pair().await;
    let asked = scrape(&second.base).await.sum("cortex_workflow_exporter_api_requests_total", &[]);
    assert_eq!(asked.unwrap_or(0.0), 0.0, "it asks Cortex nothing");
    let third = world.exporter().await;
    let targets = [&first, &second, &third].map(|exporter| exporter.base.clone());
    let prometheus = Prometheus::start_for(&targets, "").await;
    prometheus.wait_for(&format!("count_over_time({RUNS}[1h]) >= 2")).await;
    prometheus.wait_for(&format!("sum(count_over_time({LEADER}[1h])) >= 6")).await;

    world.fails(&first).await;
    world.fails(&first).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 2")).await;
    first.process.kill();
    world.api.finish_one("work_one", Status::Failed);
    world.api.finish_one("work_one", Status::Failed);
    world.failed += 2;
    let leader = async || {
        for exporter in [&second, &third] {
            if scrape(&exporter.base).await.sum(LEADER, &[]) == Some(1.0) {
                return Some(exporter.base == second.base);
            }
        }
        None
    };
    let second_leads = wait_until("one takes over", leader, || second.process.log()).await;
    let (mut leader, last) = if second_leads { (second, third) } else { (third, second) };
    last.stands_by().await;
    leader.shows(4).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 4")).await;
    leader.process.terminate();
    world.api.finish_one("work_one", Status::Failed);
    world.failed += 1;
    assert_eq!(leader.process.exit_code().await, 0, "{}", leader.process.log());
    world.fails(&last).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 6")).await;

    let history = prometheus.samples(&format!("{RUNS}{{status=\"FAILED\"}}"), None).await;
    let grown: f64 = history.values().map(|samples| growth(samples)).sum();
    assert_eq!(grown, 6.0, "{history:?}");
    let mut samples: Vec<_> = history
        .iter()
        .filter(|(series, _)| series.labels["origin"] == "WORKFLOW")
        .flat_map(|(series, samples)| {
            samples.iter().map(|sample| (*sample, &series.labels["instance"]))
        })
        .collect();
    samples.sort_by_key(|((ms, _), _)| *ms);
    assert!(samples.is_sorted_by_key(|((_, value), _)| *value), "steps back: {samples:?}");
    let changes = samples.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert_eq!(changes, 2, "two show workflows at once: {samples:?}");
}

/// What a scrape configuration for a pair has more than another one, as it is shipped.
fn series_of_the_leader() -> String {
    let config = document("deploy/compose.pair.prometheus.yml");
    let (_, relabelling) = config.split_once("metric_relabel_configs:").expect("it relabels");
    // Two spaces less, as the other lines of this job have.
    format!("  metric_relabel_configs:{}\n", relabelling.trim_end().replace("\n  ", "\n"))
}

#[tokio::test]
async fn one_that_leads_again_goes_on_where_the_other_ended_in_the_same_series() {
    let mut world = World::new().await;
    let [mut first, mut second] = world.pair().await;
    let targets = [first.base.clone(), second.base.clone()];
    let prometheus = Prometheus::start_for(&targets, &series_of_the_leader()).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 0")).await;
    world.fails(&first).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 1")).await;

    first.process.terminate();
    assert_eq!(first.process.exit_code().await, 0, "{}", first.process.log());
    for failed in 2..=3 {
        world.fails(&second).await;
        prometheus.wait_for(&format!("sum({RUNS}) == {failed}")).await;
    }
    let address = first.base.trim_start_matches("http://");
    let first = world.exporter_on(address, &world.server.url("public")).await;
    first.stands_by().await;
    second.process.terminate();
    assert_eq!(second.process.exit_code().await, 0, "{}", second.process.log());
    world.fails(&first).await;
    prometheus.wait_for(&format!("sum({RUNS}) == 4")).await;

    let history = prometheus.samples(&format!("{RUNS}{{status=\"FAILED\"}}"), None).await;
    assert!(history.keys().all(|series| series.labels["instance"] == "leader"), "{history:?}");
    let grown: f64 = history.values().map(|samples| growth(samples)).sum();
    assert_eq!(grown, 4.0, "{history:?}");
    let leaders = prometheus.samples(LEADER, None).await;
    let instances = leaders.keys().map(|series| format!("http://{}", series.labels["instance"]));
    assert_eq!(instances.collect::<BTreeSet<_>>(), BTreeSet::from(targets));
}

#[tokio::test]
async fn a_leader_that_is_stopped_is_replaced_and_shows_no_workflow_when_it_goes_on() {
    let mut world = World::new().await;
    let [first, second] = world.pair().await;
    world.fails(&first).await;
    first.process.signal("STOP");
    // It is received when the process goes on.
    let url = format!("{}/metrics", first.base);
    let waiting = tokio::spawn(async move { get(&url).await });
    world.fails(&second).await;
    first.process.signal("CONT");
    let (status, text) = waiting.await.expect("it is answered");
    assert_eq!(status, 200, "{text}");
    // Whether it reads the API is corrected a moment later, when it stands by.
    shows_no_workflow(&crate::support::parse(&text));
    first.stands_by().await;
    world.fails(&second).await;
    drop(second);
    world.fails(&first).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_server_hides_before_the_other_takes_over() {
    let mut world = World::new().await;
    let proxy = Proxy::to(world.server.socket()).await;
    let through = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    let first = world.exporter_at(&through).await;
    first.leads().await;
    let second = world.exporter().await;
    second.stands_by().await;
    let (watching, both) = watch([&first.base, &second.base]);
    world.fails(&first).await;
    proxy.cut(true);
    world.fails(&second).await;
    first.stands_by().await;
    proxy.cut(false);
    world.fails(&second).await;
    first.stands_by().await;
    drop(second);
    world.fails(&first).await;
    assert_eq!(both.load(SeqCst), 0, "both show workflows");
    assert!(!watching.is_finished(), "it looked all the time");
}

#[tokio::test]
async fn one_of_two_leads_whatever_becomes_of_the_server_and_its_sessions() {
    let mut world = World::new().await;
    let pair = world.pair().await;
    world.fails(&pair[0]).await;
    let (watching, both) = watch([&pair[0].base, &pair[1].base]);
    for trouble in ["sessions are ended", "a restart", "a crash", "the lock's session is ended"] {
        match trouble {
            "sessions are ended" => {
                world
                    .sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                          WHERE pid <> pg_backend_pid() AND datname IS NOT NULL",
                    )
                    .await;
            }
            "a restart" => world.server.restart(),
            "a crash" => {
                world.server.crash();
                world.server.come_back();
            }
            _ => {
                world
                    .sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
                    .await;
            }
        }
        world.api.finish_one("work_one", Status::Failed);
        world.failed += 1;
        let expected = f64::from(world.failed);
        let one_shows_it = async || {
            let mut shown = Vec::new();
            for exporter in &pair {
                let samples = scrape(&exporter.base).await;
                shown.extend(samples.sum(RUNS, &[("status", "FAILED")]));
            }
            assert!(shown.iter().all(|shown| *shown <= expected), "{shown:?} of {expected}");
            (shown == [expected]).then_some(())
        };
        let evidence = || format!("{}\n{}", pair[0].process.log(), pair[1].process.log());
        wait_until(trouble, one_shows_it, evidence).await;
    }
    assert_eq!(both.load(SeqCst), 0, "both show workflows");
    assert!(!watching.is_finished(), "it looked all the time");
}

#[tokio::test]
async fn a_link_leads_to_the_run_through_either_of_them_as_soon_as_the_server_answers() {
    let mut world = World::new().await;
    let pair = world.pair().await;
    let completed = world.api.finish_one("work_one", Status::Completed);
    let failed = world.api.finish_one("work_one", Status::Failed);
    world.failed += 1;
    pair[0].shows(1).await;
    let run_at = |run: &str| (302, format!("https://cortex.test/work_one?run={run}"));
    let expected = [
        ("/runs/".to_owned() + &completed, run_at(&completed)),
        ("/runs/".to_owned() + &failed, run_at(&failed)),
        ("/workflows/work_one/last-failed-run".to_owned(), run_at(&failed)),
        ("/runs/run_none".to_owned(), (404, String::new())),
        ("/workflows/work_none/last-failed-run".to_owned(), (404, String::new())),
    ];
    let both_lead = async || {
        for Exporter { process, base } in &pair {
            for (path, expected) in &expected {
                let answer = lead(&format!("{base}{path}")).await;
                if answer.0 == 503 {
                    return None;
                }
                assert_eq!(answer, *expected, "{path}\n{}", process.log());
            }
        }
        Some(())
    };
    let evidence = || format!("{}\n{}", pair[0].process.log(), pair[1].process.log());
    assert!(both_lead().await.is_some(), "{}", evidence());
    pair[1].stands_by().await;
    world.server.crash();
    let (status, why) = get(&format!("{}/runs/{failed}", pair[1].base)).await;
    assert_eq!(status, 503, "{why}");
    world.server.come_back();
    wait_until("both lead to runs again", both_lead, evidence).await;
}
