//! Which part of which list is asked for, and in what order it stands.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::{
    Json,
    http::{HeaderName, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::{
    Simulator,
    refusal::Refusal,
    run::SimulatedRun,
    workflow::{Direction, OrderBy, SimulatedWorkflow},
    world::{Quirk, World},
};

/// What `status` may be, besides `ALL`.
const STATUSES: [&str; 6] = ["PENDING", "RUNNING", "COMPLETED", "SKIPPED", "FAILED", "CANCELLED"];

/// What `origin` may be, besides `ALL`.
const ORIGINS: [&str; 6] = ["WORKFLOW", "RECORD", "TEST", "TRIGGER", "ENDPOINT", "WEBHOOK"];

/// Which runs are asked for.
pub(super) struct RunFilter {
    status: Option<String>,
    origin: Option<String>,
}

impl RunFilter {
    pub(super) fn of(params: &BTreeMap<String, String>, world: &World) -> Result<Self, Refusal> {
        let known_word = |name: &str, known: &[&str], ignore| match params.get(name) {
            None => Ok(None),
            Some(sent) if sent == "ALL" => Ok(None),
            Some(sent) if known.contains(&sent.as_str()) => {
                Ok((!world.quirks.contains(&ignore)).then(|| sent.clone()))
            }
            Some(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("{name} is unknown"))),
        };
        Ok(Self {
            status: known_word("status", &STATUSES, Quirk::IgnoreStatus)?,
            origin: known_word("origin", &ORIGINS, Quirk::IgnoreOrigin)?,
        })
    }

    /// These runs in the order of their workflow's list.
    pub(super) fn runs<'a>(&self, workflow: &'a SimulatedWorkflow) -> Vec<&'a SimulatedRun> {
        let by = |wanted: &Option<String>, word: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == word)
        };
        let wanted = |run: &&SimulatedRun| {
            by(&self.status, run.status.as_str()) && by(&self.origin, run.origin.as_str())
        };
        let mut runs: Vec<&SimulatedRun> = workflow.runs.iter().filter(wanted).collect();
        let at = |run: &SimulatedRun| {
            let at = match workflow.order.by {
                OrderBy::Created => run.created_at,
                OrderBy::Started => run.started_at,
                OrderBy::Updated => run.updated_at,
            };
            at.unwrap_or(i64::MAX)
        };
        match workflow.order.direction {
            // Of two with the same time the one that came into the world later is the younger.
            Direction::NewestFirst => {
                runs.reverse();
                runs.sort_by_key(|run| Reverse(at(run)));
            }
            Direction::OldestFirst => runs.sort_by_key(|run| at(run)),
            Direction::Shuffled => runs.sort_by_key(|run| crc32fast::hash(run.id.as_bytes())),
        }
        runs
    }
}

/// Which part of a list is asked for.
pub(super) struct Paging {
    page: usize,
    take: usize,
}

impl Paging {
    pub(super) fn of(
        params: &BTreeMap<String, String>,
        simulator: &Simulator,
        world: &World,
    ) -> Result<Self, Refusal> {
        let number = |name: &str, default: usize| match params.get(name).map(|text| text.parse()) {
            None => Ok(default),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => {
                let message = format!("{name} must be a positive integer");
                Err(Refusal::new(StatusCode::BAD_REQUEST, message))
            }
        };
        let most = (simulator.0.settings.max_take as usize).max(1);
        let (page, take) = (number("page", 1)?, number("take", 100)?.min(most));
        let ignores = |quirk| world.quirks.contains(&quirk);
        Ok(Self {
            page: if ignores(Quirk::IgnorePage) { 1 } else { page },
            take: if ignores(Quirk::IgnoreTake) { most } else { take },
        })
    }

    pub(super) fn cut<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        let from = (self.page - 1).saturating_mul(self.take).min(items.len());
        let until = from.saturating_add(self.take).min(items.len());
        &items[from..until]
    }

    pub(super) fn answer(&self, items: Vec<Value>, count: usize, world: &World) -> Response {
        let mut response = Json(items).into_response();
        if !world.quirks.contains(&Quirk::OmitPagination) {
            let headers = response.headers_mut();
            for (name, number) in [
                ("pagination-page", self.page),
                ("pagination-take", self.take),
                ("pagination-count", count),
            ] {
                headers.insert(HeaderName::from_static(name), number.into());
            }
        }
        response
    }
}
