use serde::Deserialize;

use super::{
    Listed, NO_ID, fits_a_path,
    leaf::{Leaf, Object, Several},
    step::{self, StepCredits, StepDefinition, WireStep},
};
use crate::model::{Origin, Run, RunId, Status};

/// A run in both known forms; see the API's page "Get Workflow Runs". What it was given and what
/// came out of it is skipped unread.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(in crate::api) struct WireRun<'a> {
    #[serde(borrow, default)]
    id: Leaf<'a>,
    #[serde(borrow, default)]
    status: Leaf<'a>,
    #[serde(borrow, default)]
    origin: Leaf<'a>,
    #[serde(borrow, default)]
    created_at: Leaf<'a>,
    #[serde(borrow, default)]
    started_at: Leaf<'a>,
    #[serde(borrow, default)]
    ended_at: Leaf<'a>,
    #[serde(borrow, default)]
    updated_at: Leaf<'a>,
    #[serde(borrow, default)]
    output: Several<'a, Object<WireStep<'a>>>,
    #[serde(borrow, default)]
    workflow_version: Object<WireVersion<'a>>,
    #[serde(borrow, default)]
    workflow_version_draft: Object<WireVersion<'a>>,
    #[serde(borrow, default)]
    usage: Object<WireUsage<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireVersion<'a> {
    #[serde(borrow, default)]
    steps: Several<'a, Object<StepDefinition<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct WireUsage<'a> {
    #[serde(borrow, default)]
    total: Leaf<'a>,
    #[serde(borrow, default)]
    steps: Several<'a, Object<StepCredits<'a>>>,
}

impl Listed for Run {
    type Wire<'a> = WireRun<'a>;

    fn from_wire(wire: WireRun<'_>) -> Result<Self, &'static str> {
        let id = wire.id.text().filter(|id| fits_a_path(id));
        let id = id.and_then(|id| RunId::new(&id)).ok_or(NO_ID)?;
        let status = wire.status.text().ok_or("its status is no text")?;
        let mut anomalies = Vec::new();
        let ended_at = wire.ended_at.timestamp(&mut anomalies);
        let usage = wire.usage.0.unwrap_or_default();
        let credits = usage.total.credits(&mut anomalies);
        let steps = step::read_all(
            wire.output,
            [wire.workflow_version, wire.workflow_version_draft]
                .map(|version| version.0.unwrap_or_default().steps),
            usage.steps,
            ended_at,
            &mut anomalies,
        );
        Ok(Self {
            id,
            status: Status::new(&status),
            origin: Origin::new(&wire.origin.text().unwrap_or_default()),
            created_at: wire.created_at.timestamp(&mut anomalies),
            started_at: wire.started_at.timestamp(&mut anomalies),
            ended_at,
            updated_at: wire.updated_at.timestamp(&mut anomalies),
            steps,
            credits,
            anomalies,
        })
    }
}
