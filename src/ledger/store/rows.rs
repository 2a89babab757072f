//! Rows of the database, and what they mean.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{Loaded, Statement};
use crate::{
    ledger::{
        metric::Metric,
        native::NativeHistogram,
        observe::{RunPhase, RunRecord},
        series::{Bounds, Series, SeriesKey, Value},
        state::{AppRecord, AppState, OpenRun, State, WorkflowState},
    },
    model::{AppId, Label, Origin, RunId, Status, WorkflowId},
};

/// Why rows can't be read.
pub(super) enum RowError {
    /// The database said no.
    Database(sqlx::Error),
    /// A row that makes no sense.
    Nonsense(String),
}

impl From<sqlx::Error> for RowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The columns of `series` that are not its key.
pub(super) const SERIES_VALUES: [&str; 8] = [
    "value",
    "bounds",
    "counts",
    "native",
    "start_ms",
    "shown_value",
    "shown_counts",
    "shown_native",
];

/// The columns of `run` that are not its key.
pub(super) const RUN_VALUES: [&str; 7] =
    ["phase", "started_ms", "age_ms", "reading", "status", "origin", "since_ms"];

/// The same, as a list for `SELECT`.
pub(super) const RUN_COLUMNS: &str = "phase, started_ms, age_ms, reading, status, origin, since_ms";

pub(super) fn bind_app<'q>(
    query: Statement<'q>,
    (id, record): &(&'q AppId, &'q AppRecord),
) -> Statement<'q> {
    query.bind(id.as_str()).bind(json(*record))
}

pub(super) fn bind_workflow<'q>(
    query: Statement<'q>,
    (app, id, workflow): &(&'q AppId, &'q WorkflowId, &'q WorkflowState),
) -> Statement<'q> {
    query.bind(workflow.number).bind(app.as_str()).bind(id.as_str()).bind(json(&workflow.record))
}

pub(super) fn bind_series<'q>(
    query: Statement<'q>,
    (workflow, key, series): &(i64, &'q SeriesKey, &'q Series),
) -> Statement<'q> {
    let labels: Vec<_> = key.labels.iter().map(Label::as_str).collect();
    let query = query.bind(*workflow).bind(key.metric.row().id).bind(json(&labels));
    let (value, counts, native) = columns(&series.value);
    let bounds = match &series.value {
        Value::Counter(_) => None,
        Value::Histogram(histogram) => Some(json(&*histogram.bounds)),
    };
    let query = query.bind(value).bind(bounds).bind(counts).bind(native).bind(series.start_ms);
    // sqlx 0.9.0 takes a missing `f64` for an `f32`, which PostgreSQL notices: there is always one.
    let Some(shown) = &series.shown else {
        return query.bind(value).bind(None::<String>).bind(None::<String>);
    };
    let (value, counts, native) = columns(shown);
    query.bind(value).bind(counts).bind(native)
}

/// A value's number, and its buckets of both kinds if it has some.
fn columns(value: &Value) -> (f64, Option<String>, Option<String>) {
    match value {
        Value::Counter(value) => (*value, None, None),
        Value::Histogram(histogram) => {
            (histogram.sum, Some(json(&*histogram.counts)), Some(json(&histogram.native)))
        }
    }
}

pub(super) fn bind_run<'q>(
    query: Statement<'q>,
    (workflow, id, record): &(i64, &'q RunId, &'q RunRecord),
) -> Statement<'q> {
    let (phase, open) = match &record.phase {
        RunPhase::Open(open) if open.replay => ("reopened", Some(open)),
        RunPhase::Open(open) => ("open", Some(open)),
        RunPhase::Finished => ("finished", None),
        RunPhase::Vanished => ("vanished", None),
    };
    query
        .bind(*workflow)
        .bind(id.as_str())
        .bind(phase)
        .bind(record.started_ms)
        .bind(record.age_ms)
        .bind(record.reading)
        .bind(open.map(|open| open.status.as_str()))
        .bind(open.map(|open| open.origin.as_str()))
        .bind(open.and_then(|open| open.since_ms))
}

/// Reads the columns of [`RUN_COLUMNS`], which follow the run's id; `None` if they make no sense.
pub(super) fn run(row: &AnyRow) -> Option<RunRecord> {
    let phase: String = row.try_get(1).ok()?;
    let open = |replay| {
        let status: String = row.try_get(5).ok()?;
        let origin: String = row.try_get(6).ok()?;
        Some(RunPhase::Open(OpenRun {
            status: Status::new(&status),
            origin: Origin::new(&origin),
            since_ms: row.try_get(7).ok()?,
            replay,
        }))
    };
    Some(RunRecord {
        phase: match phase.as_str() {
            "open" => open(false)?,
            "reopened" => open(true)?,
            "finished" => RunPhase::Finished,
            "vanished" => RunPhase::Vanished,
            _ => return None,
        },
        started_ms: row.try_get(2).ok()?,
        age_ms: row.try_get(3).ok()?,
        reading: row.try_get(4).ok()?,
    })
}

pub(super) async fn load(
    connection: &mut AnyConnection,
    bounds: &Bounds,
    first_published: u64,
    now_ms: i64,
) -> Result<Loaded, RowError> {
    let mut state = State::default();
    for row in sqlx::query("SELECT app_id, state FROM app").fetch_all(&mut *connection).await? {
        let id: String = row.try_get(0)?;
        let record: Option<AppRecord> = parse(&row.try_get::<String, _>(1)?);
        let (Some(app), Some(record)) = (AppId::new(&id), record) else {
            return Err(RowError::Nonsense(format!("app {id}")));
        };
        state.apps.insert(app, AppState { record, ..AppState::default() });
    }
    let mut workflows = load_workflows(connection).await?;
    let restarted =
        load_series(connection, &mut workflows, bounds, first_published, now_ms).await?;
    load_open_runs(connection, &mut workflows).await?;
    let highest_number = workflows.keys().copied().max().unwrap_or(0);
    for (app, id, workflow) in workflows.into_values() {
        state.apps.entry(app).or_default().workflows.insert(id, Arc::new(workflow));
    }
    Ok(Loaded { state, highest_number, restarted })
}

type Workflows = BTreeMap<i64, (AppId, WorkflowId, WorkflowState)>;

async fn load_workflows(connection: &mut AnyConnection) -> Result<Workflows, RowError> {
    let sql = "SELECT workflow, app_id, workflow_id, state FROM workflow";
    let mut workflows = Workflows::new();
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let (number, app): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let (id, record): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let (Some(app), Some(workflow), Some(record)) =
            (AppId::new(&app), WorkflowId::new(&id), parse(&record))
        else {
            return Err(RowError::Nonsense(format!("workflow {id}")));
        };
        let state = WorkflowState::of(number, record);
        workflows.insert(number, (app, workflow, state));
    }
    Ok(workflows)
}

/// Returns the histograms that start anew because the configured bounds are others.
async fn load_series(
    connection: &mut AnyConnection,
    workflows: &mut Workflows,
    bounds: &Bounds,
    first_published: u64,
    now_ms: i64,
) -> Result<Vec<(i64, SeriesKey)>, RowError> {
    let sql = format!("SELECT workflow, total, labels, {} FROM series", SERIES_VALUES.join(", "));
    let mut restarted = Vec::new();
    for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await? {
        let number: i64 = row.try_get(0)?;
        let nonsense = || RowError::Nonsense(format!("a series of workflow {number}"));
        let (_, _, workflow) = workflows.get_mut(&number).ok_or_else(nonsense)?;
        let metric = Metric::parse(&row.try_get::<String, _>(1)?).ok_or_else(nonsense)?;
        let labels: Vec<String> = parse(&row.try_get::<String, _>(2)?).ok_or_else(nonsense)?;
        let labels = labels.iter().map(|label| Label::new(label)).collect();
        let key = SeriesKey { metric, labels };
        let zero = || Series::zero(bounds.zero(metric), first_published, now_ms);
        let mut series = zero();
        series.start_ms = row.try_get(7)?;
        let old_bounds: Option<String> = row.try_get(4)?;
        let old_bounds: Option<Vec<f64>> = old_bounds.as_deref().and_then(parse);
        if old_bounds.as_deref() == bounds.of(metric).map(|bounds| &**bounds) {
            let (counts, native) = (row.try_get(5)?, row.try_get(6)?);
            restore(&mut series.value, row.try_get(3)?, counts, native).ok_or_else(nonsense)?;
            let is_counter = matches!(series.value, Value::Counter(_));
            let (counts, native): (Option<String>, _) = (row.try_get(9)?, row.try_get(10)?);
            if let Some(shown) = row.try_get::<Option<f64>, _>(8)?
                && (is_counter || counts.is_some())
            {
                let mut value = bounds.zero(metric);
                restore(&mut value, shown, counts, native).ok_or_else(nonsense)?;
                series.shown = Some(value).filter(|shown| *shown != series.value);
            }
        } else {
            series = zero();
            restarted.push((number, key.clone()));
        }
        workflow.series.insert(key, series);
    }
    for (_, _, workflow) in workflows.values_mut() {
        workflow.hold_restored(first_published);
    }
    Ok(restarted)
}

/// `None` if the columns don't fit the value. An older version wrote no native buckets.
fn restore(
    value: &mut Value,
    stored: f64,
    counts: Option<String>,
    native: Option<String>,
) -> Option<()> {
    match (value, counts) {
        (Value::Counter(value), None) => *value = stored,
        (Value::Histogram(histogram), Some(counts)) => {
            let counts: Vec<u64> = parse(&counts)?;
            if counts.len() != histogram.counts.len() {
                return None;
            }
            histogram.counts = counts.into();
            histogram.sum = stored;
            histogram.native = match native {
                Some(native) => {
                    parse(&native).filter(|it: &NativeHistogram| it.is_valid(histogram.count()))?
                }
                None => NativeHistogram::of_classic(&histogram.bounds, &histogram.counts),
            };
        }
        _ => return None,
    }
    Some(())
}

async fn load_open_runs(
    connection: &mut AnyConnection,
    workflows: &mut Workflows,
) -> Result<(), RowError> {
    let sql = format!(
        "SELECT run_id, {RUN_COLUMNS}, workflow FROM run WHERE phase IN ('open', 'reopened')"
    );
    for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await? {
        let id: String = row.try_get(0)?;
        let number: i64 = row.try_get(8)?;
        let (Some(run_id), Some(RunPhase::Open(open)), Some((_, _, workflow))) =
            (RunId::new(&id), run(&row).map(|run| run.phase), workflows.get_mut(&number))
        else {
            return Err(RowError::Nonsense(format!("run {id}")));
        };
        workflow.open.insert(run_id, open);
    }
    Ok(())
}

/// Our own types are written as JSON, which can't fail: their maps have text for keys.
fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("maps have text for keys, and nothing else can fail")
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
