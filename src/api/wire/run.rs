use super::{
    NO_ID, WireItem,
    leaf::{Context, DecodeRules, Leaf, Object, Several, fields},
    step::{self, FailedStep, WireStep, WireStepCredits, WireStepDefinition},
};
use crate::model::{ErrorClasses, Origin, Run, RunFailure, RunId, RunVersion, Status, Timestamp};

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
        error: Leaf<'a> = "error",
        number: Leaf<'a> = "version",
        version: Object<WireVersion<'a>> = "workflow_version",
        draft: Object<WireVersion<'a>> = "workflow_version_draft",
        usage: Object<WireUsage<'a>> = "usage",
    }
}

fields! {
    struct WireVersion<'a> {
        number: Leaf<'a> = "version",
        created_at: Leaf<'a> = "created_at",
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

    fn from_wire(wire: WireRun<'_>, rules: DecodeRules<'_>) -> Result<Self, &'static str> {
        let id = wire.id.text_or_number().and_then(|id| RunId::new(&id)).ok_or(NO_ID)?;
        let status = wire.status.text().ok_or("its status is not a string")?;
        let mut context = Context::new(rules);
        let ended_at = wire.ended_at.timestamp(&mut context);
        let version = version(&wire, &mut context);
        let usage = wire.usage.0.unwrap_or_default();
        let credits = usage.total.credits(&mut context);
        let (steps, failed_step) = step::read_all(
            wire.output,
            [wire.version, wire.draft].map(|version| version.0.unwrap_or_default().steps),
            usage.steps,
            ended_at,
            &mut context,
        );
        let status = Status::new(&status);
        let failed = status == Status::Failed;
        let failure = failed.then(|| failure(failed_step, wire.error, rules.error_classes));
        Ok(Self {
            id,
            status,
            origin: Origin::new(&wire.origin.text().unwrap_or_default()),
            created_at: wire.created_at.timestamp(&mut context),
            started_at: wire.started_at.timestamp(&mut context),
            ended_at,
            updated_at: wire.updated_at.timestamp(&mut context),
            steps,
            credits,
            version,
            failure,
            anomalies: context.anomalies,
        })
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// The version that the run itself states, or that it was of; the draft where only that is there.
fn version(wire: &WireRun<'_>, context: &mut Context) -> RunVersion {
    let deployed = wire.version.0.as_ref();
    let number = [Some(wire.number), deployed.map(|version| version.number)];
    let number = number.into_iter().flatten().find_map(|leaf| {
        let text = leaf.text_or_number()?;
        let digits = text.trim().trim_start_matches(['v', 'V']);
        digits.parse().ok()
    });
    match number {
        Some(number) => {
            let created_at = deployed.and_then(|version| version.created_at.timestamp(context));
            RunVersion::Number { number, created_ms: created_at.map(Timestamp::earliest) }
        }
        None if deployed.is_none() && wire.draft.0.is_some() => RunVersion::Draft,
        None => RunVersion::Unknown,
    }
}

/// What ended a run that FAILED. The step's own text says more than the run's.
fn failure(step: Option<FailedStep<'_>>, of_run: Leaf<'_>, classes: &ErrorClasses) -> RunFailure {
    let own = step.as_ref().and_then(|step| step.error.error_text());
    let text = own.filter(|text| !text.trim().is_empty()).or_else(|| of_run.error_text());
    let error_class = classes.classify(text.as_deref().unwrap_or_default());
    match step {
        Some(FailedStep { key, step_type, .. }) => RunFailure { step: key, step_type, error_class },
        None => RunFailure { error_class, ..RunFailure::unknown() },
    }
}
