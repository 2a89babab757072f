//! What Prometheus computes is what happened: its own samples against a script of runs.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use cortex_workflow_exporter::{
    model::{Clock as _, Origin, Status, SystemClock},
    simulator::StepDefinition,
};
use futures::future::join_all;

use crate::support::{
    Api, History, Postgres, Process, Prometheus, Series, client, ledger_url, scrape, wait_until,
};

/// Every number of a workflow that only grows, but for the sums and buckets.
const GROWING: &str = r#"{__name__=~"cortex_workflow_(runs|runs_submitted|steps|run_credits|step_credits)_total|cortex_workflow_(run|run_queue|step)_duration_seconds_count"}"#;

#[tokio::test]
async fn prometheus_sees_each_run_once_on_sqlite() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut script = Script::begins(ledger_url(directory.path()), 1).await;
    script.ends("work_known", &Status::Failed, 3);
    script.ends("work_known", &Status::Completed, 2);
    script.agrees().await;

    script.api.add_workflow("work_new");
    script.ends("work_new", &Status::Failed, 1);
    script.agrees().await;

    script.crash().await;
    script.api_fails().await;

    script.something_new();
    script.agrees().await;
    script.ends("work_new", &Status::Failed, 2);
    script.agrees().await;
    script.increase_is_within_its_bounds().await;
}

#[tokio::test]
async fn prometheus_sees_each_run_once_on_postgres() {
    let server = Postgres::start();
    let mut script = Script::begins(server.url("public"), 1).await;
    script.ends("work_known", &Status::Failed, 3);
    script.agrees().await;
    script.api.add_workflow("work_new");
    script.ends("work_new", &Status::Failed, 1);
    script.agrees().await;
    script.crash().await;
}

#[tokio::test]
async fn each_of_two_prometheus_servers_sees_the_first_failure_of_a_new_workflow() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut script = Script::begins(ledger_url(directory.path()), 2).await;
    for n in 0..3 {
        let id = script.api.add_workflow(&format!("work_new{n}"));
        script.ends(&id, &Status::Failed, 1);
        script.agrees().await;
    }
}

/// What the script let happen: finished runs by workflow and status.
type Truth = BTreeMap<(String, String), f64>;

struct Script {
    api: Api,
    state_url: String,
    exporter: Process,
    base: String,
    /// One or more; the script waits for the first one.
    servers: Vec<Prometheus>,
    truth: Truth,
}

impl Script {
    /// An exporter that has met a workflow with a history, and this number of Prometheus servers that
    /// know it.
    async fn begins(state_url: String, servers: usize) -> Self {
        let api = Api::start().await;
        api.add_workflow("work_known");
        api.finish_one("work_known", Status::Failed);
        let mut exporter = Process::serve(&api, &state_url, &[]);
        let base = exporter.ready_url().await;
        let servers = (0..servers).map(async |_| {
            let prometheus = Prometheus::start(&base).await;
            let known = "count_over_time(cortex_workflow_runs_total[1h]) >= 2";
            prometheus.wait_for(known).await;
            prometheus
        });
        let servers = join_all(servers).await;
        Self { api, state_url, exporter, base, servers, truth: Truth::new() }
    }

    /// This number of runs end with that status.
    fn ends(&mut self, workflow: &str, status: &Status, count: u32) {
        let key = (workflow.to_owned(), status.as_str().to_owned());
        for _ in 0..count {
            self.api.finish_one(workflow, status.clone());
        }
        *self.truth.entry(key).or_default() += f64::from(count);
    }

    /// The exporter is killed while runs end, and missed by several scrapes.
    async fn crash(&mut self) {
        self.ends("work_known", &Status::Failed, 1);
        self.exporter.kill();
        let killed_ms = SystemClock.now_ms();
        self.ends("work_known", &Status::Failed, 2);
        self.ends("work_new", &Status::Failed, 1);
        self.servers[0].wait_for("count_over_time(up[1h]) - sum_over_time(up[1h]) >= 3").await;
        let (_, address) = self.base.split_once("://").expect("it is a URL");
        let restarted_ms = SystemClock.now_ms();
        self.exporter = Process::serve_on(address, &self.api, &self.state_url, &[]);
        self.exporter.ready_url().await;
        self.agrees().await;
        let selector = r#"cortex_workflow_runs_total{workflow_id="work_new"}"#;
        for (series, samples) in self.servers[0].samples(selector, None).await {
            let before = samples.iter().rfind(|(ms, _)| *ms < killed_ms);
            let after = samples.iter().find(|(ms, _)| *ms >= restarted_ms);
            let [before, after] = [before, after].map(|sample| sample.map(|(_, value)| *value));
            assert!(before.is_some(), "{series} was there before");
            assert_eq!(after, before, "{series} goes on where it was: {samples:?}");
        }
    }

    /// The API is down while runs end.
    async fn api_fails(&mut self) {
        self.api.simulator().outage(Duration::from_secs(3600));
        self.servers[0].wait_for("cortex_workflow_exporter_up == 0").await;
        self.ends("work_known", &Status::Failed, 2);
        self.ends("work_new", &Status::Completed, 1);
        self.servers[0]
            .wait_for("count_over_time((cortex_workflow_exporter_up == 0)[1h:1s]) >= 2")
            .await;
        self.api.simulator().clear_faults();
        self.agrees().await;
    }

    /// A step and an origin that were never seen before.
    fn something_new(&mut self) {
        self.api.simulator().world(|world| {
            let workflow = world.workflow_mut("work_known").expect("there is such a workflow");
            workflow.steps.push(StepDefinition::new("late", "code"));
            let run = world.create_run("work_new", Origin::Webhook).expect("likewise");
            assert!(world.start_run(&run) && world.finish_run(&run, Status::Failed));
        });
        self.ends("work_known", &Status::Failed, 1);
        *self.truth.entry(("work_new".into(), "FAILED".into())).or_default() += 1.0;
    }

    async fn agrees(&self) {
        join_all(self.servers.iter().map(|prometheus| self.agrees_with(prometheus))).await;
    }

    /// Waits until Prometheus has seen what happened, and nothing else, on the way there neither.
    async fn agrees_with(&self, prometheus: &Prometheus) {
        let seen = RefCell::new(Truth::new());
        let agrees = async || {
            let history = prometheus.samples(GROWING, None).await;
            is_consistent(&history);
            let now = increases(&history);
            for (key, count) in &now {
                let real = self.truth.get(key).copied().unwrap_or(0.0);
                assert!(*count <= real, "{key:?} grew by {count}, {real} happened");
            }
            let agrees = now == self.truth;
            *seen.borrow_mut() = now;
            agrees.then_some(())
        };
        let evidence = || {
            let seen = seen.borrow();
            let log = self.exporter.log();
            format!("seen: {seen:#?}\nhappened: {:#?}\n{log}\n{}", self.truth, prometheus.log())
        };
        wait_until("Prometheus has seen what happened", agrees, evidence).await;
        // Nothing was counted before the script began: whatever a series shows, it grew to.
        let samples = scrape(&self.base).await;
        assert_eq!(samples.sum("cortex_workflow_exporter_held_increments", &[]), Some(0.0));
        let url = format!("{}/-/healthy", self.base);
        assert!(client().get(url).send().await.is_ok_and(|answer| answer.status() == 200));
    }

    /// `increase()` itself: the exact growth, extrapolated to the end of its window.
    async fn increase_is_within_its_bounds(&self) {
        let selector = "cortex_workflow_runs_total";
        let history = self.servers[0].samples(selector, None).await;
        let last = history.values().filter_map(|samples| samples.last());
        let last_ms = last.map(|(ms, _)| *ms).max().expect("there are samples");
        let history = self.servers[0].samples(selector, Some(last_ms)).await;
        let query = format!("increase({selector}[1h])");
        let computed = self.servers[0].at(&query, last_ms).await;
        let mut grown = 0;
        for (series, samples) in history {
            let exact = growth(&samples);
            let series = Series { name: String::new(), ..series };
            let computed = computed[&series];
            // A series that began at 0 isn't extrapolated backwards, and forwards at most by 1.1
            // of its mean interval.
            let most = exact * (1.0 + 1.1 / (samples.len() - 1) as f64);
            let is_within = exact - 1e-9 <= computed && computed <= most + 1e-9;
            assert!(is_within, "{series}: {computed} is not within {exact} and {most}");
            grown += usize::from(exact > 0.0);
        }
        assert_eq!(grown, self.truth.len() + 1, "of one workflow and status there are two origins");
    }
}

/// How much a counter grew as Prometheus takes it, exactly: a step down is a reset.
pub(crate) fn growth(samples: &[(i64, f64)]) -> f64 {
    let steps = samples.windows(2).map(|pair| {
        let [(_, before), (_, after)] = [pair[0], pair[1]];
        if after < before { after } else { after - before }
    });
    steps.sum()
}

/// How many runs of each workflow ended in each way, as Prometheus takes it.
fn increases(history: &History) -> Truth {
    let mut increases = Truth::new();
    for (series, samples) in history {
        let grown = growth(samples);
        if series.name == "cortex_workflow_runs_total" && grown > 0.0 {
            let label = |name| series.labels[name].clone();
            *increases.entry((label("workflow_id"), label("status"))).or_default() += grown;
        }
    }
    increases
}

/// Every series began at 0 and never fell, and in each scrape the counter and the histograms of the
/// same runs agree.
fn is_consistent(history: &History) {
    let mut runs: BTreeMap<_, f64> = BTreeMap::new();
    let mut durations = runs.clone();
    for (series, samples) in history {
        assert_eq!(samples[0].1, 0.0, "{series} began above 0: {samples:?}");
        let falls = samples.windows(2).any(|pair| pair[1].1 < pair[0].1);
        assert!(!falls, "{series} fell: {samples:?}");
        let side = match series.name.as_str() {
            "cortex_workflow_runs_total" => &mut runs,
            "cortex_workflow_run_duration_seconds_count" => &mut durations,
            _ => continue,
        };
        let label = |name| series.labels[name].clone();
        for (ms, value) in samples.iter().filter(|(_, value)| *value > 0.0) {
            let key = (*ms, label("workflow_id"), label("status"), label("origin"));
            side.insert(key, *value);
        }
    }
    assert_eq!(runs, durations, "counters and histograms disagree");
}
