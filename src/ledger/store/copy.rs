//! Copies a whole ledger to another place, which may be another engine.

use futures::TryStreamExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _, any::AnyRow};

use super::{
    connect::has_schema,
    inspect::{LedgerStatus, connect_to_look, inspect},
    location::Location,
    rows::Statement,
    statements::placeholders,
};
use crate::ledger::{LedgerError, error::Problem};

/// How many rows one statement writes.
const ROWS: usize = 64;

/// How many rows of a table are reported at once.
const REPORTED: u64 = 100_000;

#[derive(Clone, Copy)]
enum Column {
    Text(&'static str),
    Int(&'static str),
    Float(&'static str),
}

use Column::{Float, Int, Text};

/// A table, or the rows of it for which a condition holds, with the columns that have values there.
struct Part {
    table: &'static str,
    condition: &'static str,
    columns: &'static [Column],
}

/// The columns of a series; the last one is what may be shown of it.
static SERIES: [Column; 11] = [
    Int("workflow"),
    Text("total"),
    Text("labels"),
    Float("value"),
    Text("bounds"),
    Text("counts"),
    Int("start_ms"),
    Text("native"),
    Text("shown_counts"),
    Text("shown_native"),
    Float("shown_value"),
];

/// Everything that a ledger holds.
static PARTS: [Part; 5] = [
    Part { table: "app", condition: "true", columns: &[Text("app_id"), Text("state")] },
    Part {
        table: "workflow",
        condition: "true",
        columns: &[Int("workflow"), Text("app_id"), Text("workflow_id"), Text("state")],
    },
    Part { table: "series", condition: "shown_value IS NOT NULL", columns: &SERIES },
    // Apart, since sqlx 0.9.0 takes a missing `f64` for an `f32`, which PostgreSQL notices.
    Part {
        table: "series",
        condition: "shown_value IS NULL",
        columns: SERIES.split_at(SERIES.len() - 1).0,
    },
    Part {
        table: "run",
        condition: "true",
        columns: &[
            Int("workflow"),
            Text("run_id"),
            Text("phase"),
            Int("started_ms"),
            Int("age_ms"),
            Int("reading"),
            Text("status"),
            Text("origin"),
            Int("since_ms"),
            Int("ended_ms"),
        ],
    },
];

/// Makes sure that there is a ledger to copy, which nobody uses, without changing it.
pub(super) async fn check_source(url: &str) -> Result<(), LedgerError> {
    let location = Location::resolve(url)?;
    let (ledger, status) = inspect(url).await?;
    let problem = match status {
        // Its end may be near; opening it waits for that.
        LedgerStatus::InUse => return Ok(()),
        LedgerStatus::Idle if !holds_nothing(&location).await? => return Ok(()),
        LedgerStatus::Idle | LedgerStatus::New => Problem::NothingToCopy,
        LedgerStatus::InMemory => Problem::NotLasting,
    };
    Err(LedgerError { ledger, problem })
}

/// Makes sure that a copy can go there. Before anything is opened, which would bring the schema of
/// an older ledger up to date.
pub(super) async fn check_target(url: &str) -> Result<(), LedgerError> {
    let location = Location::resolve(url)?;
    let (ledger, status) = inspect(url).await?;
    let problem = match status {
        LedgerStatus::New | LedgerStatus::InUse => return Ok(()),
        LedgerStatus::Idle if holds_nothing(&location).await? => return Ok(()),
        LedgerStatus::Idle => Problem::Occupied,
        LedgerStatus::InMemory => Problem::NotLasting,
    };
    Err(LedgerError { ledger, problem })
}

async fn holds_nothing(location: &Location) -> Result<bool, LedgerError> {
    location.run(async { is_empty(&mut connect_to_look(location).await?).await }).await
}

/// Whether a ledger holds nothing, as one does where a copy did not get to its end.
async fn is_empty(connection: &mut AnyConnection) -> Result<bool, Problem> {
    if !has_schema(connection).await? {
        return Ok(true);
    }
    for table in ["app", "workflow", "series", "run"] {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1) AS first");
        let row = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection);
        let rows: i64 = row.await?;
        if rows > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies everything in one transaction. Reports each table with its number of rows so far. An error
/// names the ledger in which it occurred.
pub(super) async fn copy_rows(
    (source, reader): (&Location, &mut AnyConnection),
    (target, writer): (&Location, &mut AnyConnection),
    report: &mut impl FnMut(&'static str, u64),
) -> Result<(), LedgerError> {
    let begin = async {
        let mut transaction = writer.begin().await?;
        let is_empty = is_empty(&mut transaction).await?;
        if is_empty { Ok(transaction) } else { Err(Problem::Occupied) }
    };
    let mut transaction = target.run(begin).await?;
    let mut copied = 0;
    for (at, Part { table, condition, columns }) in PARTS.iter().enumerate() {
        let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
        let names = names.join(", ");
        let sql = format!("SELECT {names} FROM {table} WHERE {condition}");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *reader);
        let mut pieces = rows.try_chunks(ROWS);
        let mut next_insert = async || {
            let rows = pieces.try_next().await.map_err(|error| error.1)?;
            let Some(rows) = rows else { return Ok(None) };
            let values = placeholders(columns.len(), rows.len());
            let sql = format!("INSERT INTO {table} ({names}) VALUES {values}");
            let insert = sqlx::query(AssertSqlSafe(sql));
            let bound = rows.iter().try_fold(insert, |insert, row| bind(insert, row, columns));
            let insert = bound.map_err(|error| Problem::InvalidRow(format!("{table}: {error}")))?;
            Ok(Some((insert, rows.len() as u64)))
        };
        while let Some((insert, rows)) = source.run(next_insert()).await? {
            target.run(async { Ok(insert.execute(&mut *transaction).await?) }).await?;
            let before = copied;
            copied += rows;
            if copied / REPORTED > before / REPORTED {
                report(table, copied);
            }
        }
        if PARTS.get(at + 1).is_none_or(|next| next.table != *table) {
            report(table, std::mem::take(&mut copied));
        }
    }
    target.run(async { Ok(transaction.commit().await?) }).await
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Text(name) | Int(name) | Float(name) => name,
        }
    }
}

fn bind<'q>(
    query: Statement<'q>,
    row: &AnyRow,
    columns: &[Column],
) -> Result<Statement<'q>, sqlx::Error> {
    columns.iter().enumerate().try_fold(query, |query, (at, column)| {
        Ok(match column {
            Text(_) => query.bind(row.try_get::<Option<String>, _>(at)?),
            Int(_) => query.bind(row.try_get::<Option<i64>, _>(at)?),
            Float(_) => query.bind(row.try_get::<f64, _>(at)?),
        })
    })
}
