//! What the rows of the database mean.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Any, FromRow, any::AnyArguments, query::Query};

use crate::{
    ledger::{
        error::Problem,
        identity::{RunPhase, RunRecord},
        metric::Metric,
        native::NativeHistogram,
        series::{Bounds, Series, SeriesKey, Value},
        state::OpenRun,
    },
    model::{Label, Origin, RunId, Status},
};

/// A statement with some of its values.
pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

/// A table's columns, in the order in which they are bound.
pub(super) struct Columns {
    pub(super) table: &'static str,
    pub(super) keys: &'static str,
    pub(super) values: &'static str,
}

pub(super) const APP: Columns = Columns { table: "app", keys: "app_id", values: "state" };

pub(super) const WORKFLOW: Columns =
    Columns { table: "workflow", keys: "workflow", values: "app_id, workflow_id, state" };

pub(super) const SERIES: Columns = Columns {
    table: "series",
    keys: "workflow, total, labels",
    values: "value, bounds, counts, native, start_ms, shown_value, shown_counts, shown_native",
};

pub(super) const RUN: Columns = Columns {
    table: "run",
    keys: "workflow, run_id",
    values: "phase, started_ms, ended_ms, age_ms, reading, status, origin, since_ms",
};

/// A row of `series`.
#[derive(FromRow)]
pub(super) struct SeriesRow {
    pub(super) workflow: i64,
    total: String,
    labels: String,
    value: f64,
    bounds: Option<String>,
    counts: Option<String>,
    native: Option<String>,
    pub(super) start_ms: i64,
    shown_value: Option<f64>,
    shown_counts: Option<String>,
    shown_native: Option<String>,
}

/// A row of `run`.
#[derive(FromRow)]
pub(super) struct RunRow {
    pub(super) workflow: i64,
    pub(super) run_id: String,
    phase: String,
    started_ms: Option<i64>,
    ended_ms: Option<i64>,
    age_ms: i64,
    reading: i64,
    status: Option<String>,
    origin: Option<String>,
    since_ms: Option<i64>,
}

pub(super) fn bind_series<'q>(
    query: Statement<'q>,
    (workflow, key, series): &(i64, &'q SeriesKey, &'q Series),
) -> Statement<'q> {
    let query = query.bind(*workflow).bind(key.metric.row().id).bind(json(&key.texts()));
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
        .bind(record.ended_ms)
        .bind(record.age_ms)
        .bind(record.reading)
        .bind(open.map(|open| open.status.as_str()))
        .bind(open.map(|open| open.origin.as_str()))
        .bind(open.and_then(|open| open.since_ms))
}

impl SeriesRow {
    /// What it is a series of. A metric that this version doesn't know is a newer one's.
    pub(super) fn key(&self) -> Result<SeriesKey, Problem> {
        let metric = Metric::parse(&self.total);
        let metric = metric.ok_or_else(|| Problem::Newer(format!("metric {:?}", self.total)))?;
        let labels: Vec<String> = parse(&self.labels, || self.place())?;
        let labels = labels.iter().map(|label| Label::new(label)).collect();
        Ok(SeriesKey { metric, labels })
    }

    /// What it has come to, and how much of that may be shown, where that isn't all; `None` if it
    /// is a histogram with other bounds than those configured, or its sum is not finite.
    pub(super) fn values(
        &self,
        metric: Metric,
        bounds: &Bounds,
    ) -> Result<Option<(Value, Option<Value>)>, Problem> {
        let stored = self.bounds.as_deref().map(|stored| parse(stored, || self.place()));
        let stored: Option<Vec<f64>> = stored.transpose()?;
        if stored.as_deref() != bounds.of(metric).map(|bounds| &**bounds) {
            return Ok(None);
        }
        let restore = |value, counts: &Option<_>, native: &Option<_>| {
            self.restore(bounds.zero(metric), value, counts.as_deref(), native.as_deref())
        };
        let value = restore(self.value, &self.counts, &self.native)?;
        let shown = match self.shown_value {
            Some(shown) if self.counts.is_some() == self.shown_counts.is_some() => {
                Some(restore(shown, &self.shown_counts, &self.shown_native)?)
            }
            _ => None,
        };
        let is_finite = value.is_finite() && shown.as_ref().is_none_or(Value::is_finite);
        let shown = shown.filter(|shown| *shown != value);
        Ok(is_finite.then_some((value, shown)))
    }

    /// A value of the same kind as `zero`. Schema 1 had no native buckets.
    fn restore(
        &self,
        zero: Value,
        value: f64,
        counts: Option<&str>,
        native: Option<&str>,
    ) -> Result<Value, Problem> {
        let (mut histogram, counts) = match (zero, counts) {
            (Value::Counter(_), None) => return Ok(Value::Counter(value)),
            (Value::Histogram(histogram), Some(counts)) => (histogram, counts),
            _ => return Err(Problem::InvalidRow(self.place())),
        };
        let counts: Box<[u64]> = parse(counts, || self.place())?;
        if counts.len() != histogram.counts.len() {
            return Err(Problem::InvalidRow(self.place()));
        }
        histogram.counts = counts;
        histogram.sum = value;
        histogram.native = match native {
            Some(native) => parse(native, || self.place())?,
            None => NativeHistogram::of_classic(&histogram.bounds, &histogram.counts),
        };
        if histogram.native.is_valid(histogram.count()) {
            Ok(Value::Histogram(histogram))
        } else {
            Err(Problem::InvalidRow(self.place()))
        }
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        format!("a series of {:?} of workflow {}", self.total, self.workflow)
    }
}

impl RunRow {
    /// What it says about the run. A phase that this version doesn't know is a newer one's.
    pub(super) fn record(self) -> Result<RunRecord, Problem> {
        let phase = match (self.phase.as_str(), self.status, self.origin) {
            ("finished", ..) => RunPhase::Finished,
            ("vanished", ..) => RunPhase::Vanished,
            (phase @ ("open" | "reopened"), Some(status), Some(origin)) => {
                RunPhase::Open(OpenRun {
                    status: Status::new(&status),
                    origin: Origin::new(&origin),
                    since_ms: self.since_ms,
                    replay: phase == "reopened",
                })
            }
            ("open" | "reopened", ..) => {
                return Err(Problem::InvalidRow(format!("run {}", self.run_id)));
            }
            (phase, ..) => {
                return Err(Problem::Newer(format!("run {} is {phase:?}", self.run_id)));
            }
        };
        let Self { started_ms, ended_ms, age_ms, reading, .. } = self;
        Ok(RunRecord { phase, started_ms, ended_ms, age_ms, reading })
    }
}

/// Our own types are written as JSON, which can't fail: their maps have text for keys.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("maps have text for keys, and nothing else can fail")
}

/// Reads what [`json`] wrote, in this version or an earlier one. JSON that doesn't fit was written
/// by a newer one; `place` says where it is.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    place: impl FnOnce() -> String,
) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() { Problem::Newer(place()) } else { Problem::InvalidRow(place()) }
    })
}
