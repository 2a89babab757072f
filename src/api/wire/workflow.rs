use std::borrow::Cow;

use super::{
    NO_ID, WireItem,
    leaf::{Context, DecodeRules, Leaf, Object, fields},
};
use crate::model::{TestResults, Workflow, WorkflowId};

fields! {
    /// A workflow as the list of workflows has it.
    pub(in crate::api) struct WireWorkflow<'a> {
        id: Leaf<'a> = "id",
        name: Leaf<'a> = "name",
        key: Leaf<'a> = "key",
        app: Object<WireApp<'a>> = "app",
        version: Object<WireVersionNumber<'a>> = "version",
        enabled: Leaf<'a> = "enabled",
        deleted: Leaf<'a> = "deleted",
        created_at: Leaf<'a> = "created_at",
        runs_count: Leaf<'a> = "runs_count",
        tests: Object<WireTests<'a>> = "tests_stats",
    }
}

fields! {
    struct WireApp<'a> {
        name: Leaf<'a> = "name",
    }
}

fields! {
    struct WireVersionNumber<'a> {
        version: Leaf<'a> = "version",
    }
}

fields! {
    struct WireTests<'a> {
        running: Leaf<'a> = "running_count",
        cancelled: Leaf<'a> = "cancelled_count",
        passing: Leaf<'a> = "passing_count",
        failing: Leaf<'a> = "failing_count",
    }
}

impl WireItem for Workflow {
    type Wire<'a> = WireWorkflow<'a>;

    fn from_wire(wire: WireWorkflow<'_>, rules: DecodeRules<'_>) -> Result<Self, &'static str> {
        let id = wire.id.text_or_number().and_then(|id| WorkflowId::new(&id)).ok_or(NO_ID)?;
        let text = |leaf: Leaf<'_>| leaf.text_or_number().unwrap_or_default().into_owned();
        let version = wire.version.0;
        // Only runs have anomalies.
        let mut context = Context::new(rules);
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
            created_at: wire.created_at.timestamp(&mut context),
            runs_count: wire.runs_count.count(),
            tests: wire.tests.0.map(|tests| TestResults {
                running: tests.running.count(),
                cancelled: tests.cancelled.count(),
                passing: tests.passing.count(),
                failing: tests.failing.count(),
            }),
        })
    }
    fn id(&self) -> &str {
        self.id.as_str()
    }
}
