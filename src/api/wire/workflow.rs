use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Listed, NO_ID, fits_a_path,
    leaf::{Leaf, Object},
};
use crate::model::{TestResults, Workflow, WorkflowId};

/// A workflow as the list of workflows has it.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(in crate::api) struct WireWorkflow<'a> {
    #[serde(borrow, default)]
    id: Leaf<'a>,
    #[serde(borrow, default)]
    name: Leaf<'a>,
    #[serde(borrow, default)]
    key: Leaf<'a>,
    #[serde(borrow, default)]
    app: Object<WireApp<'a>>,
    #[serde(borrow, default)]
    version: Object<WireVersion<'a>>,
    #[serde(borrow, default)]
    enabled: Leaf<'a>,
    #[serde(borrow, default)]
    deleted: Leaf<'a>,
    #[serde(borrow, default)]
    created_at: Leaf<'a>,
    #[serde(borrow, default)]
    runs_count: Leaf<'a>,
    #[serde(borrow, default)]
    tests_stats: Object<WireTests<'a>>,
}

#[derive(Deserialize)]
struct WireApp<'a> {
    #[serde(borrow, default)]
    name: Leaf<'a>,
}

#[derive(Deserialize)]
struct WireVersion<'a> {
    #[serde(borrow, default)]
    version: Leaf<'a>,
}

#[derive(Deserialize)]
struct WireTests<'a> {
    #[serde(borrow, default, rename = "total_count")]
    total: Leaf<'a>,
    #[serde(borrow, default, rename = "running_count")]
    running: Leaf<'a>,
    #[serde(borrow, default, rename = "cancelled_count")]
    cancelled: Leaf<'a>,
    #[serde(borrow, default, rename = "passing_count")]
    passing: Leaf<'a>,
    #[serde(borrow, default, rename = "failing_count")]
    failing: Leaf<'a>,
}

impl Listed for Workflow {
    type Wire<'a> = WireWorkflow<'a>;

    fn from_wire(wire: WireWorkflow<'_>) -> Result<Self, &'static str> {
        let id = wire.id.text().filter(|id| fits_a_path(id));
        let id = id.and_then(|id| WorkflowId::new(&id)).ok_or(NO_ID)?;
        let text = |leaf: Leaf<'_>| leaf.text().unwrap_or_default().into_owned();
        let version = wire.version.0;
        Ok(Self {
            id,
            name: text(wire.name),
            app: wire.app.0.map(|app| text(app.name)).unwrap_or_default(),
            key: text(wire.key),
            version: version
                .and_then(|version| version.version.text_or_number())
                .map(Cow::into_owned),
            enabled: wire.enabled.bool().unwrap_or(true),
            deleted: wire.deleted.bool().unwrap_or(false),
            // A workflow is no run: there is nothing to hang an anomaly on.
            created_at: wire.created_at.timestamp(&mut Vec::new()),
            runs_count: wire.runs_count.count(),
            tests: wire.tests_stats.0.map(|tests| TestResults {
                total: tests.total.count(),
                running: tests.running.count(),
                cancelled: tests.cancelled.count(),
                passing: tests.passing.count(),
                failing: tests.failing.count(),
            }),
        })
    }
}
