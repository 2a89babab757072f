//! The statements that read and write rows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::future::BoxFuture;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::rows::{
    APP, Columns, RUN, RunRow, SERIES, SeriesRow, Statement, WORKFLOW, bind_run, bind_series, json,
    parse,
};
use crate::{
    ledger::{
        error::Problem,
        hold::Pending,
        identity::{RunPhase, RunRecord},
        series::{Bounds, Series, SeriesKey},
        state::{AppRecord, AppState, State, WorkflowState},
    },
    model::{AppId, RunId, WorkflowId},
};

/// How many rows one statement writes or looks up. Few shapes, so that each is prepared once; not
/// larger, since sqlx has SQLite search for the name of each placeholder among all before it.
const ROWS: [usize; 3] = [16, 4, 1];

/// What one transaction writes.
#[derive(Default)]
pub(in crate::ledger) struct Batch<'a> {
    pub(in crate::ledger) apps: Vec<(&'a AppId, &'a AppRecord)>,
    pub(in crate::ledger) workflows: Vec<(&'a AppId, &'a WorkflowId, &'a WorkflowState)>,
    /// What has no value any more is deleted.
    pub(in crate::ledger) series: Vec<(i64, &'a SeriesKey, Option<&'a Series>)>,
    pub(in crate::ledger) runs: Vec<(i64, &'a RunId, &'a RunRecord)>,
    /// Forgets the runs of an app that are not followed and were created before.
    pub(in crate::ledger) prune: Option<(&'a AppId, i64)>,
}

impl Batch<'_> {
    /// Whether there is nothing to write.
    pub(in crate::ledger) fn is_empty(&self) -> bool {
        let Self { apps, workflows, series, runs, prune } = self;
        let rows = apps.len() + workflows.len() + series.len() + runs.len();
        rows == 0 && prune.is_none()
    }
}

/// What a database holds.
pub(in crate::ledger) struct Loaded {
    pub(in crate::ledger) state: State,
    /// The highest number that a workflow has.
    pub(in crate::ledger) highest_number: i64,
    /// Series that start anew: histograms whose bounds are no longer the configured ones, and
    /// those whose sum is not finite.
    pub(in crate::ledger) restarted: Vec<(i64, SeriesKey)>,
}

type Workflows = BTreeMap<i64, (AppId, WorkflowId, WorkflowState)>;

/// Reads everything but the identities of finished runs.
pub(super) async fn load(
    connection: &mut AnyConnection,
    bounds: &Bounds,
    first_published: u64,
    now_ms: i64,
) -> Result<Loaded, Problem> {
    let mut state = load_apps(connection).await?;
    let mut workflows = load_workflows(connection).await?;
    let restarted =
        load_series(connection, &mut workflows, bounds, first_published, now_ms).await?;
    load_open_runs(connection, &mut workflows).await?;
    let highest_number = workflows.keys().copied().max().unwrap_or(0);
    insert(&mut state, workflows);
    Ok(Loaded { state, highest_number, restarted })
}

/// Reads the apps and workflows, without totals and open runs.
pub(super) async fn load_without_totals(connection: &mut AnyConnection) -> Result<State, Problem> {
    let mut state = load_apps(connection).await?;
    insert(&mut state, load_workflows(connection).await?);
    Ok(state)
}

async fn load_apps(connection: &mut AnyConnection) -> Result<State, Problem> {
    let mut state = State::default();
    let apps = sqlx::query_as::<_, (String, String)>("SELECT app_id, state FROM app");
    for (id, record) in apps.fetch_all(connection).await? {
        let place = || format!("app {id}");
        let app = AppId::new(&id).ok_or_else(|| Problem::InvalidRow(place()))?;
        let record = parse(&record, place)?;
        state.apps.insert(app, AppState { record, ..AppState::default() });
    }
    Ok(state)
}

fn insert(state: &mut State, workflows: Workflows) {
    for (app, id, workflow) in workflows.into_values() {
        state.apps.entry(app).or_default().workflows.insert(id, Arc::new(workflow));
    }
}

async fn load_workflows(connection: &mut AnyConnection) -> Result<Workflows, Problem> {
    let sql = "SELECT workflow, app_id, workflow_id, state FROM workflow";
    let rows = sqlx::query_as::<_, (i64, String, String, String)>(sql);
    let mut workflows = Workflows::new();
    for (number, app, id, record) in rows.fetch_all(connection).await? {
        let place = || format!("workflow {id}");
        let (Some(app), Some(workflow)) = (AppId::new(&app), WorkflowId::new(&id)) else {
            return Err(Problem::InvalidRow(place()));
        };
        let state = WorkflowState::of(number, parse(&record, place)?);
        workflows.insert(number, (app, workflow, state));
    }
    Ok(workflows)
}

/// Loads the series into their workflows. Returns those that start anew: histograms whose bounds
/// are no longer the configured ones, and series whose sum is not finite.
async fn load_series(
    connection: &mut AnyConnection,
    workflows: &mut Workflows,
    bounds: &Bounds,
    first_published: u64,
    now_ms: i64,
) -> Result<Vec<(i64, SeriesKey)>, Problem> {
    let mut restarted = Vec::new();
    let rows = sqlx::query_as::<_, SeriesRow>("SELECT * FROM series");
    for row in rows.fetch_all(connection).await? {
        let (_, _, workflow) =
            workflows.get_mut(&row.workflow).ok_or_else(|| Problem::InvalidRow(row.place()))?;
        let key = row.key()?;
        let mut series = Series::zero(bounds.zero(key.metric), first_published, now_ms);
        match row.values(key.metric, bounds)? {
            Some((value, shown)) => {
                series = Series { value, shown, start_ms: row.start_ms, ..series };
            }
            None => restarted.push((row.workflow, key.clone())),
        }
        workflow.series_mut().insert(key, series);
    }
    for (_, _, workflow) in workflows.values_mut() {
        workflow.pending = Pending::restored(&workflow.series, first_published);
    }
    Ok(restarted)
}

async fn load_open_runs(
    connection: &mut AnyConnection,
    workflows: &mut Workflows,
) -> Result<(), Problem> {
    let sql = "SELECT * FROM run WHERE phase IN ('open', 'reopened')";
    for row in sqlx::query_as::<_, RunRow>(sql).fetch_all(connection).await? {
        let (id, number) = (RunId::new(&row.run_id), row.workflow);
        let place = format!("run {}", row.run_id);
        let (Some(id), RunPhase::Open(open), Some((_, _, workflow))) =
            (id, row.record()?.phase, workflows.get_mut(&number))
        else {
            return Err(Problem::InvalidRow(place));
        };
        workflow.open.insert(id, open);
    }
    Ok(())
}

/// What is remembered of these runs of a workflow.
pub(super) async fn look_up(
    connection: &mut AnyConnection,
    workflow: i64,
    ids: &[&RunId],
) -> Result<HashMap<RunId, RunRecord>, Problem> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in chunks(ids) {
        let marks: Vec<_> = (2..ids.len() + 2).map(|n| format!("${n}")).collect();
        let marks = marks.join(", ");
        let sql = format!("SELECT * FROM run WHERE workflow = $1 AND run_id IN ({marks})");
        let query = sqlx::query_as::<_, RunRow>(AssertSqlSafe(sql)).bind(workflow);
        let query = ids.iter().fold(query, |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(&mut *connection).await? {
            if let Some(id) = RunId::new(&row.run_id) {
                found.insert(id, row.record()?);
            }
        }
    }
    Ok(found)
}

/// One look into the primary key for each workflow: an index on the id alone would cost space, and
/// another page to write for each run. CROSS is what keeps SQLite to this order.
pub(super) const FIND: &str = "SELECT run.* FROM workflow CROSS JOIN run \
                    WHERE run.workflow = workflow.workflow AND run.run_id = $1";

/// What is remembered of the runs with this id, and the number of the workflow of each.
pub(super) async fn find(
    connection: &mut AnyConnection,
    id: &RunId,
) -> Result<Vec<(i64, RunRecord)>, Problem> {
    let rows = sqlx::query_as::<_, RunRow>(FIND).bind(id.as_str()).fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok((row.workflow, row.record()?))).collect()
}

/// Writes a batch in one transaction.
///
/// Boxed, or else the compiler can't see that it can move between threads.
pub(super) fn write<'a>(
    connection: &'a mut AnyConnection,
    batch: &'a Batch<'_>,
) -> BoxFuture<'a, Result<(), Problem>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        put(&mut transaction, &APP, &batch.apps, |query, (id, record)| {
            query.bind(id.as_str()).bind(json(*record))
        })
        .await?;
        put(&mut transaction, &WORKFLOW, &batch.workflows, |query, (app, id, workflow)| {
            let query = query.bind(workflow.number).bind(app.as_str()).bind(id.as_str());
            query.bind(json(&workflow.record))
        })
        .await?;
        let there = |(number, key, series): &(i64, _, Option<_>)| Some((*number, *key, (*series)?));
        let there: Vec<_> = batch.series.iter().filter_map(there).collect();
        put(&mut transaction, &SERIES, &there, bind_series).await?;
        for (number, key, _) in batch.series.iter().filter(|(_, _, series)| series.is_none()) {
            let sql = "DELETE FROM series WHERE workflow = $1 AND total = $2 AND labels = $3";
            let query = sqlx::query(sql).bind(*number).bind(key.metric.row().id);
            query.bind(json(&key.texts())).execute(&mut *transaction).await?;
        }
        put(&mut transaction, &RUN, &batch.runs, bind_run).await?;
        if let Some((app, before_ms)) = batch.prune {
            let sql = "DELETE FROM run WHERE age_ms < $1 AND phase IN ('finished', 'vanished') \
                       AND workflow IN (SELECT workflow FROM workflow WHERE app_id = $2)";
            let query = sqlx::query(sql).bind(before_ms).bind(app.as_str());
            query.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    })
}

async fn put<'q, T>(
    transaction: &mut AnyConnection,
    columns: &Columns,
    rows: &'q [T],
    bind: impl Fn(Statement<'q>, &'q T) -> Statement<'q>,
) -> Result<(), Problem> {
    for rows in chunks(rows) {
        let query = sqlx::query(AssertSqlSafe(upsert(columns, rows.len())));
        rows.iter().fold(query, &bind).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// An `INSERT … ON CONFLICT … DO UPDATE` of a number of rows.
fn upsert(columns: &Columns, rows: usize) -> String {
    let Columns { table, keys, values } = columns;
    let width = keys.split(", ").chain(values.split(", ")).count();
    let updates = values.split(", ").map(|name| format!("{name} = excluded.{name}"));
    let updates: Vec<_> = updates.collect();
    format!(
        "INSERT INTO {table} ({keys}, {values}) VALUES {} ON CONFLICT ({keys}) DO UPDATE SET {}",
        placeholders(width, rows),
        updates.join(", ")
    )
}

/// The placeholders of a number of rows with this number of columns.
pub(super) fn placeholders(width: usize, rows: usize) -> String {
    let row = |row| {
        let marks: Vec<_> = (1..=width).map(|n| format!("${}", row * width + n)).collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// Cuts a slice into pieces of the lengths in [`ROWS`].
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_exactly_one_chunk() {
        let rows: Vec<_> = (0..77).collect();
        let sizes: Vec<_> = chunks(&rows).map(<[_]>::len).collect();
        assert_eq!(sizes, [16, 16, 16, 16, 4, 4, 4, 1]);
        assert_eq!(chunks(&rows).flatten().copied().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn an_upsert_numbers_its_values_row_by_row() {
        let sql = upsert(&Columns { table: "t", keys: "a", values: "b, c" }, 2);
        let expected = "INSERT INTO t (a, b, c) VALUES ($1, $2, $3), ($4, $5, $6) \
                        ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c";
        assert_eq!(sql, expected);
    }
}
