//! A simulated Cortex API with a world behind it. `simulate` and `demo` generate its runs; tests
//! script a world and have the API misbehave on command. It speaks both wire forms, as documented
//! and no further. Uses `model`.

mod control;
mod errors;
mod etag;
mod fault_response;
mod faults;
mod generator;
mod listing;
mod page;
mod plan;
mod profiles;
mod refusal;
mod request_log;
mod routes;
mod run;
mod script;
mod server;
mod step;
mod tamper;
mod truth;
mod wire;
mod workflow;
mod world;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use faults::{Fault, Rule};
pub use request_log::{ApiEndpoint, RequestCounts, RequestSeen};
pub use run::SimulatedRun;
pub use step::{SimulatedStep, StepDefinition, StepError};
pub use tamper::Tamper;
pub use truth::{Totals, Truth};
pub use workflow::{Direction, Form, OrderBy, RunOrder, RunsCount, SimulatedWorkflow};
pub use world::{AfterPage, Quirk, World};

use crate::model::Clock;
use generator::RunGenerator;

/// How the simulated API and its world are to be.
#[derive(Clone)]
pub struct SimulatorSettings {
    /// The only key that the API takes.
    pub api_key: String,
    /// The same seed and start time make the same world.
    pub seed: u64,
    /// Requests that the API answers in any sliding minute, 429 beyond; `None` is no limit.
    pub rate_limit: Option<u32>,
    /// The most items on a page, whatever `take` says.
    pub max_take: u32,
    /// Whether runs are generated: some hours of history, and new ones as time goes by. What is old
    /// is then forgotten. Otherwise the world is empty, and changes only on command.
    pub generate_runs: bool,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            api_key: "demo-key".into(),
            seed: 1,
            rate_limit: Some(500),
            max_take: 100,
            generate_runs: false,
        }
    }
}

/// A handle to a simulated API; cheap to clone.
#[derive(Clone)]
pub struct Simulator(Arc<SimulatorInner>);

struct SimulatorInner {
    settings: SimulatorSettings,
    clock: Arc<dyn Clock>,
    world: Mutex<(World, Option<RunGenerator>)>,
    faults: Mutex<faults::ActiveFaults>,
    faults_cleared: Notify,
    request_log: Mutex<request_log::RequestLog>,
}

impl Simulator {
    /// A simulator whose time is this clock's.
    pub fn new(settings: SimulatorSettings, clock: Arc<dyn Clock>) -> Self {
        let mut world = World::new(Arc::clone(&clock), settings.seed);
        let generator =
            settings.generate_runs.then(|| RunGenerator::new(&mut world, settings.seed));
        Self(Arc::new(SimulatorInner {
            world: Mutex::new((world, generator)),
            clock,
            faults: Mutex::default(),
            faults_cleared: Notify::new(),
            request_log: Mutex::new(request_log::RequestLog::new(settings.generate_runs)),
            settings,
        }))
    }

    /// Looks at the world as it is now, or changes it. Not to be called from within itself.
    pub fn world<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let (world, generator) = &mut *self.0.world.lock();
        if let Some(generator) = generator {
            generator.advance(world);
        }
        change(world)
    }

    /// For this long, this part (0 to 1) of the generated runs that would complete fail: those of
    /// one workflow, or of all. `false` if no runs are generated or there is no such workflow.
    pub fn spike(&self, workflow: Option<&str>, duration: Duration, ratio: f64) -> bool {
        let (world, generator) = &mut *self.0.world.lock();
        let Some(generator) = generator else { return false };
        generator.advance(world);
        let until_ms = world.now_ms().saturating_add(duration.as_millis() as i64);
        let id = workflow.map(|id_or_name| world.workflow(id_or_name).map(|it| it.id.clone()));
        if id == Some(None) {
            return false;
        }
        generator.spike(id.flatten(), until_ms, ratio);
        true
    }

    /// Deploys a new version of a workflow; answers its number. Of its runs that would complete this
    /// part (0 to 1) fails, in the last step. If it is more than 0 the version is bad: no other takes
    /// its place until it is rolled back. `None` if there is no such workflow, or if runs are to fail
    /// and none are generated.
    pub fn deploy(&self, workflow: &str, ratio: f64) -> Option<u32> {
        let (is_bad, are_generated) = (ratio > 0.0, self.0.settings.generate_runs);
        if is_bad && !are_generated {
            return None;
        }
        self.world(|world| {
            let version = world.deploy(workflow)?;
            if is_bad {
                world.workflow_mut(workflow)?.bad.insert(version, ratio.min(1.0));
            }
            Some(version)
        })
    }

    /// Makes the newest good version before the published one the published one again; answers its
    /// number. `None` if there is no such workflow or version.
    pub fn roll_back(&self, workflow: &str) -> Option<u32> {
        self.world(|world| world.roll_back(workflow))
    }

    /// Has the API misbehave. Where several rules apply the oldest does.
    pub fn inject(&self, rule: Rule) {
        self.0.faults.lock().add(rule);
    }

    /// Has the API answer 503 to everything for this duration.
    pub fn outage(&self, duration: Duration) {
        let until_ms = self.now_ms().saturating_add(duration.as_millis() as i64);
        self.0.faults.lock().outage(until_ms);
    }

    /// Ends every misbehaviour and every outage, and lets hanging requests be answered.
    pub fn clear_faults(&self) {
        self.0.faults.lock().clear();
        self.0.faults_cleared.notify_waiters();
    }

    /// The requests that the API saw, the oldest first. Where runs are generated, the latest 10,000.
    pub fn requests(&self) -> Vec<RequestSeen> {
        self.0.request_log.lock().seen()
    }

    /// The same, and forgets them.
    pub fn take_requests(&self) -> Vec<RequestSeen> {
        self.0.request_log.lock().take()
    }

    /// What all requests come to, those taken included.
    pub fn request_counts(&self) -> RequestCounts {
        self.0.request_log.lock().counts()
    }

    fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }
}
