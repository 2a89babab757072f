use std::collections::BTreeMap;

use super::{
    run::SimulatedRun,
    workflow::{Form, SimulatedWorkflow},
};
use crate::model::{Origin, Status};

/// Numbers of runs by workflow id, status and origin.
pub type Totals = BTreeMap<(String, Status, Origin), u64>;

/// What an exporter is to find: all that has happened since the world began, each replay being one
/// more, whatever was deleted since.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The attempts that have finished.
    pub finished: Totals,
    /// The runs that were created, by workflow id and origin; replays add nothing.
    pub created: BTreeMap<(String, Origin), u64>,
    /// The attempts that FAILED, by workflow id, key of the step that failed last and kind of its
    /// error ([`super::StepError::kind`]); `none` for what the API does not tell.
    pub failures: BTreeMap<(String, String, &'static str), u64>,
    /// The attempts that have finished, by workflow id, version (`None` is the draft) and status.
    pub versions: BTreeMap<(String, Option<u32>, Status), u64>,
}

impl Truth {
    pub(super) fn created(&mut self, workflow: &str, run: &SimulatedRun) {
        *self.created.entry((workflow.into(), run.origin.clone())).or_default() += 1;
    }

    pub(super) fn finished(&mut self, workflow: &SimulatedWorkflow, run: &SimulatedRun) {
        let (id, status) = (&workflow.id, &run.status);
        let key = (id.clone(), status.clone(), run.origin.clone());
        *self.finished.entry(key).or_default() += 1;
        let key = (id.clone(), run.version, status.clone());
        *self.versions.entry(key).or_default() += 1;
        if *status == Status::Failed {
            let step = run.failed_step();
            // The first form has no errors.
            let told = step.filter(|_| workflow.form_of(&run.id) != Form::First);
            let kind = told.and_then(|step| step.error.as_ref()).map_or("none", |error| error.kind);
            let key = step.map_or("none", |step| &step.key);
            *self.failures.entry((id.clone(), key.into(), kind)).or_default() += 1;
        }
    }
}
