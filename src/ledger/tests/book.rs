//! A ledger to test the rules with, and what is recorded in it.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::*;

/// How many gauges a workflow is taken to have.
pub(super) const GAUGES: usize = 22;

/// A ledger, and the time at which things are recorded in it.
pub(super) struct Book {
    pub(super) ledger: Ledger,
    pub(super) registry: Registry,
    pub(super) settings: Settings,
    pub(super) now_ms: i64,
    /// How far the API's clock and the local one are ahead.
    pub(super) ahead_ms: (i64, i64),
    pub(super) workflow: WorkflowId,
}

/// A clock that stands.
struct At(i64);

impl Clock for At {
    fn now_ms(&self) -> i64 {
        self.0
    }
}

pub(super) fn settings(url: &str) -> Settings {
    Settings {
        apps: vec![all_of(app())],
        url: url.into(),
        retention: Some(Duration::from_secs(30 * 86_400)),
        lookback: Some(Duration::ZERO),
        buckets: Buckets::default(),
        max_series: usize::MAX,
        hold: false,
        log_runs: LoggedRuns::Off,
    }
}

pub(super) fn app() -> AppId {
    AppId::new("c").expect("a plain id")
}

/// An app all of whose workflows are followed.
pub(super) fn all_of(app: AppId) -> (AppId, WorkflowFilter) {
    (app, WorkflowFilter::default())
}

pub(super) fn workflow(id: &str) -> Workflow {
    Workflow {
        id: WorkflowId::new(id).expect("a plain id"),
        name: format!("Workflow {id}"),
        app: "App".into(),
        key: String::new(),
        version: None,
        enabled: true,
        deleted: false,
        created_at: Some(Timestamp::Instant(COLD - DAY_MS)),
        runs_count: None,
        tests: None,
    }
}

pub(super) fn run(id: &str, status: &str) -> Run {
    Run {
        status: Status::new(status),
        created_at: Some(Timestamp::Instant(COLD - MINUTE)),
        started_at: Some(Timestamp::Instant(COLD - 30 * SECOND)),
        ..Run::completed(id)
    }
}

/// A run that was created and started before the cold start and ended `after_ms` after it.
pub(super) fn ended(id: &str, status: &str, after_ms: i64) -> Run {
    Run { ended_at: Some(Timestamp::Instant(COLD + after_ms)), ..run(id, status) }
}

/// Begun and ended `after_ms` after the cold start.
pub(super) fn fresh(id: &str, status: &str, after_ms: i64) -> Run {
    Run {
        created_at: Some(Timestamp::Instant(COLD + after_ms - 10 * SECOND)),
        started_at: Some(Timestamp::Instant(COLD + after_ms - 8 * SECOND)),
        ..ended(id, status, after_ms)
    }
}

/// The run with one step, which completed.
pub(super) fn with_step(key: &str, run: Run) -> Run {
    let steps = vec![Step {
        key: Label::new(key),
        step_type: Label::new("model"),
        status: Status::Completed,
        duration: StepDuration::Seconds(1.0),
        credits: None,
    }];
    Run { steps, ..run }
}

impl Book {
    pub(super) async fn open(settings: Settings) -> Self {
        Self::open_at(settings, COLD).await
    }

    async fn open_at(settings: Settings, now_ms: i64) -> Self {
        let registry = Registry::new();
        let metrics = LedgerMetrics::new(&registry).expect("a new registry");
        let ledger = Ledger::open(settings.clone(), metrics, |_| GAUGES, Arc::new(At(now_ms)))
            .await
            .expect("it opens");
        let workflow = workflow("w").id;
        Self { ledger, registry, settings, now_ms, ahead_ms: (0, 0), workflow }
    }

    /// A ledger that has met its app, and read the list of runs once.
    pub(super) async fn met(place: &Place, history: &[Run]) -> Self {
        let mut book = Self::open(settings(&place.url().await)).await;
        book.list(&[workflow("w")]).await;
        book.read(history).await;
        book.now_ms += MINUTE;
        book
    }

    pub(super) fn at(&self) -> ReadAt {
        let (api, local) = self.ahead_ms;
        ReadAt::new(self.now_ms + api, self.now_ms + local)
    }

    pub(super) async fn list(&mut self, workflows: &[Workflow]) {
        let listed = self.ledger.record_workflows(&app(), workflows, self.at()).await;
        listed.expect("the list is recorded");
    }

    /// A month goes by, after which another run ends and the runs until now are forgotten.
    pub(super) async fn forget(&mut self) {
        self.now_ms += 31 * DAY_MS;
        let later = fresh("a month later", "SKIPPED", self.now_ms - COLD);
        self.read(&[Run { started_at: None, ..later }]).await;
        self.list(&[workflow("w")]).await;
    }

    /// A whole reading of the list, in one page.
    pub(super) async fn read(&mut self, runs: &[Run]) -> bool {
        self.page(runs, StopWhen::Always).await
    }

    pub(super) async fn page(&mut self, runs: &[Run], stop_when: StopWhen) -> bool {
        let read =
            RunsRead { runs, read_at: self.at(), newest_first: true, stop_when, old_end: false };
        let recorded = self.ledger.record_runs(&app(), &self.workflow, read).await;
        recorded.expect("the runs are recorded").closed
    }

    /// Opens the same file again, as after a crash.
    pub(super) async fn reopened(self) -> Self {
        let Self { ledger, settings, now_ms, .. } = self;
        drop(ledger);
        Self { now_ms, ..Self::open(settings).await }
    }

    /// Opens it again after this statement has changed the database.
    pub(super) async fn altered(self, sql: &str) -> Self {
        let Self { ledger, settings, now_ms, .. } = self;
        ledger.close().await.expect("it closes");
        drop(ledger);
        let mut connection = AnyConnection::connect(&settings.url).await.expect("it is there");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it is valid");
        connection.close().await.expect("it closes");
        Self { now_ms, ..Self::open_at(settings, now_ms).await }
    }

    pub(super) fn state(&self) -> Arc<WorkflowState> {
        Arc::clone(&self.ledger.state().apps[&app()].workflows[&self.workflow])
    }

    pub(super) fn series(&self, metric: Metric, labels: &[&str]) -> Option<Series> {
        self.state().series.get(&SeriesKey::new(metric, labels)).cloned()
    }

    pub(super) fn total(&self, metric: Metric, labels: &[&str]) -> f64 {
        match self.series(metric, labels).map(|series| series.value) {
            None => 0.0,
            Some(Value::Counter(value)) => value,
            Some(Value::Histogram(histogram)) => histogram.count() as f64,
        }
    }

    pub(super) fn counted(&self, status: &str) -> f64 {
        self.total(Metric::Runs, &[status, "WORKFLOW"])
    }

    pub(super) fn submitted(&self) -> f64 {
        self.total(Metric::RunsSubmitted, &["WORKFLOW"])
    }

    pub(super) fn anomalies(&self, anomaly: Anomaly) -> f64 {
        let families = self.registry.gather();
        let name = "cortex_workflow_exporter_anomalies_total";
        let family = families.iter().find(|family| family.name() == name).expect("registered");
        let metric = family.get_metric().iter();
        let mut of = metric.filter(|metric| metric.get_label()[0].value() == anomaly.as_str());
        of.next().expect("pre-set").get_counter().get_value()
    }

    pub(super) fn open_runs(&self) -> Vec<String> {
        let state = self.state();
        state.open.iter().map(|(id, run)| format!("{id} {}", run.status.as_str())).collect()
    }
}
