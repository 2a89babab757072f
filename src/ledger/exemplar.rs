use crate::model::{Run, RunId, Timestamp};

/// A run that is an example of what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// The run.
    pub run: RunId,
    /// When it ended: milliseconds since the Unix epoch.
    pub ended_ms: i64,
    /// What it added.
    pub value: f64,
}

/// OpenMetrics allows an exemplar's labels 128 characters, six of which are `run_id`.
const MAX_RUN_ID_CHARS: usize = 122;

impl Exemplar {
    /// `None` for a run that can't be one: when it ended is unknown, or its id is too long.
    pub(super) fn of(run: &Run) -> Option<Self> {
        let ended_ms = run.ended_at.and_then(Timestamp::instant)?;
        let fits = run.id.as_str().chars().count() <= MAX_RUN_ID_CHARS;
        fits.then(|| Self { run: run.id.clone(), ended_ms, value: 0.0 })
    }

    pub(super) fn with_value(&self, value: f64) -> Self {
        Self { value, ..self.clone() }
    }
}

/// The latest example for each bucket that has one, by the bucket's place; a counter has one
/// bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exemplars(Vec<(usize, Exemplar)>);

impl Exemplars {
    pub(super) fn as_slice(&self) -> &[(usize, Exemplar)] {
        &self.0
    }
}

impl Extend<(usize, Exemplar)> for Exemplars {
    fn extend<T: IntoIterator<Item = (usize, Exemplar)>>(&mut self, more: T) {
        for (bucket, exemplar) in more {
            match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
                Err(at) => self.0.insert(at, (bucket, exemplar)),
                Ok(at) if self.0[at].1.ended_ms <= exemplar.ended_ms => self.0[at].1 = exemplar,
                Ok(_) => {}
            }
        }
    }
}
