//! Which app shows a workflow that several list. Two would give the same series twice, which
//! Prometheus refuses. It is the one whose list was read first, and that app keeps it, so that no
//! counter decreases. The poller ensures that new apps are read in the order of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{changes::WorkflowKey, metrics::LedgerMetrics, state::State};
use crate::{
    config::WorkflowFilter,
    model::{Anomaly, AppId, WorkflowId},
};

/// The workflows that other apps than this one show, and which.
pub(super) fn shown_by_others(state: &State, app: &AppId) -> BTreeMap<WorkflowId, AppId> {
    let others = state.apps.iter().filter(|(other, _)| *other != app);
    let shown = others.flat_map(|(other, state)| state.published().map(move |(id, _)| (id, other)));
    shown.map(|(id, other)| (id.clone(), other.clone())).collect()
}

/// What the filters no longer let through isn't shown from the start on, before any list was read:
/// with another shard, another exporter shows it. Where apps that were read one at a time are now
/// read together, the first of them keeps showing what they share. Returns what was dropped.
pub(super) fn drop_unfollowed(
    state: &mut State,
    apps: &[(AppId, WorkflowFilter)],
) -> Vec<WorkflowKey> {
    let mut shown = BTreeSet::new();
    let mut dropped = Vec::new();
    for (app, filter) in apps {
        let Some(app_state) = state.apps.get_mut(app) else { continue };
        let published = app_state.published();
        let unfollowed = published.filter(|(id, workflow)| {
            !filter.admits(id, &workflow.record.listed.name) || !shown.insert((*id).clone())
        });
        let unfollowed: Vec<_> = unfollowed.map(|(id, _)| id.clone()).collect();
        for id in unfollowed {
            if let Some(workflow) = app_state.workflows.get_mut(&id) {
                Arc::make_mut(workflow).record.followed = false;
                dropped.push((app.clone(), id));
            }
        }
    }
    dropped
}

/// Reports workflows of this app that another app shows already, each once.
pub(super) fn report_shared<'a>(
    app: &AppId,
    workflows: impl Iterator<Item = &'a WorkflowId>,
    elsewhere: &BTreeMap<WorkflowId, AppId>,
    reported: &mut BTreeSet<(AppId, WorkflowId)>,
    metrics: &LedgerMetrics,
) {
    for id in workflows {
        let Some(shown_by) = elsewhere.get(id) else { continue };
        if reported.insert((app.clone(), id.clone())) {
            metrics.anomaly(Anomaly::SharedWorkflow);
            tracing::warn!(
                app_id = %app,
                workflow_id = %id,
                %shown_by,
                "Two apps list this workflow; only the other one shows it. Exclude \
                 it from one of them."
            );
        }
    }
}
