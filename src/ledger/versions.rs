//! What the versions of a workflow are called in its series. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::RunVersion;

/// The newest versions that runs were of, by their numbers, each with when it was made (milliseconds
/// since the Unix epoch), as far as runs said so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Versions(BTreeMap<u32, Option<i64>>);

/// How many versions have series of their own.
const MOST: usize = 3;

impl Versions {
    /// Takes note of the version of a run. Returns the version that has no series of its own from
    /// now on, if this made one too many.
    pub(super) fn met(&mut self, version: RunVersion) -> Option<String> {
        let RunVersion::Number { number, created_ms } = version else { return None };
        let is_old = self.0.len() == MOST && self.0.keys().next().is_some_and(|it| number < *it);
        if is_old {
            return None;
        }
        let known = self.0.entry(number).or_default();
        *known = created_ms.or(*known);
        let retired = (self.0.len() > MOST).then(|| self.0.pop_first()).flatten();
        retired.map(|(number, _)| number.to_string())
    }

    /// What the version of a run is called: its number if it is one of the newest, else `older`,
    /// `draft` or `unknown`.
    pub(super) fn label(&self, version: RunVersion) -> String {
        match version {
            RunVersion::Number { number, .. } if self.0.contains_key(&number) => number.to_string(),
            RunVersion::Number { .. } => "older".into(),
            RunVersion::Draft => "draft".into(),
            RunVersion::Unknown => "unknown".into(),
        }
    }

    /// Those of which it is known when they were made: milliseconds since the Unix epoch.
    pub fn created(&self) -> impl Iterator<Item = (u32, i64)> {
        self.0.iter().filter_map(|(number, created_ms)| Some((*number, (*created_ms)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> RunVersion {
        RunVersion::Number { number, created_ms: Some(i64::from(number) * 1000) }
    }

    #[test]
    fn the_newest_three_have_names_of_their_own() {
        let mut versions = Versions::default();
        for (run, retired, label) in [
            (number(4), None, "4"),
            (RunVersion::Draft, None, "draft"),
            (RunVersion::Unknown, None, "unknown"),
            (number(5), None, "5"),
            // One that is seen late.
            (number(3), None, "3"),
            (number(2), None, "older"),
            // A new one.
            (number(6), Some("3"), "6"),
            (number(3), None, "older"),
            // A rollback.
            (number(5), None, "5"),
            (number(u32::MAX), Some("4"), "4294967295"),
        ] {
            assert_eq!(versions.met(run).as_deref(), retired, "{run:?}");
            assert_eq!(versions.label(run), label, "{run:?}");
        }
        let created: Vec<_> = versions.created().map(|(number, _)| number).collect();
        assert_eq!(created, [5, 6, u32::MAX]);
    }

    #[test]
    fn when_a_version_was_made_is_not_forgotten_by_a_run_that_does_not_say() {
        let mut versions = Versions::default();
        let silent = RunVersion::Number { number: 4, created_ms: None };
        versions.met(silent);
        assert_eq!(versions.created().count(), 0);
        versions.met(number(4));
        versions.met(silent);
        assert_eq!(versions.created().collect::<Vec<_>>(), [(4, 4000)]);
    }
}
