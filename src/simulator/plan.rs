//! How a generated run will go, decided when it is created.

use std::ops::Range;

use rand::{RngExt as _, rngs::StdRng};

use super::{
    profiles::Profile,
    step::{SimulatedStep, StepDefinition},
};
use crate::model::{Origin, Status};

/// A run's future.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunPlan {
    pub(super) status: Status,
    /// `None` if it ends without having been started.
    pub(super) start: Option<i64>,
    pub(super) end: i64,
    /// As they will be at the end.
    pub(super) steps: Vec<SimulatedStep>,
}

impl RunPlan {
    /// A future for a run created now, in keeping with its workflow's habits.
    pub(super) fn new(profile: &Profile, now_ms: i64, random: &mut StdRng) -> Self {
        let status = pick(&profile.outcomes, random).unwrap_or(Status::Completed);
        let start = now_ms + between(&profile.queue, random);
        let never_started = match status {
            Status::Skipped => true,
            Status::Cancelled => random.random_bool(0.3),
            _ => false,
        };
        if never_started {
            return Self { status, start: None, end: start, steps: Vec::new() };
        }
        Self::work(profile, status, start, random)
    }

    /// The future of a run that starts now and will end well, as a replayed one does here.
    pub(super) fn replay(profile: &Profile, now_ms: i64, random: &mut StdRng) -> Self {
        Self::work(profile, Status::Completed, now_ms, random)
    }

    fn work(profile: &Profile, status: Status, start: i64, random: &mut StdRng) -> Self {
        let definitions = &profile.workflow.steps;
        let broken_off = status != Status::Completed && !definitions.is_empty();
        let reached =
            if broken_off { random.random_range(1..=definitions.len()) } else { definitions.len() };
        let share = between(&profile.work, random) / definitions.len().max(1) as i64;
        let mut at = start;
        let mut steps = Vec::new();
        for (index, definition) in definitions[..reached].iter().enumerate() {
            let last = index + 1 == reached;
            let fate = if last && broken_off {
                status.clone()
            } else {
                step_status(profile, definition, random)
            };
            let skipped = fate == Status::Skipped;
            let factor = if skipped { 0.0 } else { random.random_range(0.4..1.6) };
            let mut step = SimulatedStep::new(definition, fate, at);
            at += (share as f64 * factor) as i64;
            step.end = Some(at);
            step.credits = credits(&step);
            steps.push(step);
        }
        Self { status, start: Some(start), end: at, steps }
    }

    /// Its steps as they stand at this time, and when the last of them changed.
    pub(super) fn steps_at(&self, now_ms: i64) -> (Vec<SimulatedStep>, Option<i64>) {
        let begun = self.steps.iter().filter(|step| step.start <= now_ms);
        let as_seen = |step: &SimulatedStep| {
            let mut step = step.clone();
            if step.end.is_some_and(|end| end > now_ms) {
                step.status = Status::Running;
                step.end = None;
                step.credits = None;
            }
            step
        };
        let steps: Vec<SimulatedStep> = begun.map(as_seen).collect();
        let changed = steps.iter().map(|step| step.end.unwrap_or(step.start)).max();
        (steps, changed)
    }

    /// Has it fail after all, in its last step.
    pub(super) fn fail(&mut self) {
        self.status = Status::Failed;
        if let Some(last) = self.steps.last_mut() {
            last.status = Status::Failed;
        }
    }

    /// What its steps use, if any uses anything.
    pub(super) fn credits(&self) -> Option<f64> {
        self.steps.iter().filter_map(|step| step.credits).reduce(|sum, more| sum + more)
    }
}

/// What started a run of this workflow.
pub(super) fn origin(profile: &Profile, random: &mut StdRng) -> Origin {
    pick(&profile.origins, random).unwrap_or(Origin::Workflow)
}

/// A whole number out of a range in which each power of ten is as likely as the next.
pub(super) fn between(range: &Range<i64>, random: &mut StdRng) -> i64 {
    let (low, high) = (range.start.max(1) as f64, range.end.max(1) as f64);
    let part: f64 = random.random();
    (low * (high / low).powf(part)) as i64
}

pub(super) fn pick<T: Clone>(weighted: &[(T, u32)], random: &mut StdRng) -> Option<T> {
    let total: u32 = weighted.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut left = random.random_range(0..total);
    let mut picked = weighted.iter().filter(|(_, weight)| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    });
    picked.next().map(|(value, _)| value.clone())
}

fn step_status(profile: &Profile, step: &StepDefinition, random: &mut StdRng) -> Status {
    if step.conditional.is_some() && random.random_bool(0.5) {
        return Status::Skipped;
    }
    let tolerated = profile.tolerated == Some(step.key.as_str());
    if tolerated && random.random_bool(0.25) {
        return Status::Failed;
    }
    Status::Completed
}

/// Credits are used by what costs the platform something, by time.
fn credits(step: &SimulatedStep) -> Option<f64> {
    let paid = matches!(step.step_type.as_str(), "model" | "browser" | "service");
    let took = step.end? - step.start;
    (paid && took > 0).then(|| (0.05 + took as f64 / 20_000.0 * 1000.0).round() / 1000.0)
}
