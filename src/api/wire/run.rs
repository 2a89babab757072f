use super::{
    NO_ID, WireItem,
    leaf::{Context, Leaf, Object, Several, fields},
    step::{self, WireStep, WireStepCredits, WireStepDefinition},
};
use crate::model::{Origin, Run, RunId, Status};

fields! {
    /// A run in both known forms; see the API's page "Get Workflow Runs". Its input and its steps'
    /// output are skipped unread.
    pub(in crate::api) struct WireRun<'a> {
        id: Leaf<'a> = "id",
        status: Leaf<'a> = "status",
        origin: Leaf<'a> = "origin",
        created_at: Leaf<'a> = "created_at",
        started_at: Leaf<'a> = "started_at",
        ended_at: Leaf<'a> = "ended_at",
        updated_at: Leaf<'a> = "updated_at",
        output: Several<'a, Object<WireStep<'a>>> = "output",
        version: Object<WireVersion<'a>> = "workflow_version",
        draft: Object<WireVersion<'a>> = "workflow_version_draft",
        usage: Object<WireUsage<'a>> = "usage",
    }
}

fields! {
    struct WireVersion<'a> {
        steps: Several<'a, Object<WireStepDefinition<'a>>> = "steps",
    }
}

fields! {
    struct WireUsage<'a> {
        total: Leaf<'a> = "total",
        steps: Several<'a, Object<WireStepCredits<'a>>> = "steps",
    }
}

impl WireItem for Run {
    type Wire<'a> = WireRun<'a>;

    fn from_wire(wire: WireRun<'_>, latest_ms: i64) -> Result<Self, &'static str> {
        let id = wire.id.text_or_number().and_then(|id| RunId::new(&id)).ok_or(NO_ID)?;
        let status = wire.status.text().ok_or("its status is not a string")?;
        let mut context = Context { latest_ms, anomalies: Vec::new() };
        let ended_at = wire.ended_at.timestamp(&mut context);
        let usage = wire.usage.0.unwrap_or_default();
        let credits = usage.total.credits(&mut context);
        let steps = step::read_all(
            wire.output,
            [wire.version, wire.draft].map(|version| version.0.unwrap_or_default().steps),
            usage.steps,
            ended_at,
            &mut context,
        );
        Ok(Self {
            id,
            status: Status::new(&status),
            origin: Origin::new(&wire.origin.text().unwrap_or_default()),
            created_at: wire.created_at.timestamp(&mut context),
            started_at: wire.started_at.timestamp(&mut context),
            ended_at,
            updated_at: wire.updated_at.timestamp(&mut context),
            steps,
            credits,
            anomalies: context.anomalies,
        })
    }
    fn id(&self) -> &str {
        self.id.as_str()
    }
}
