//! The simulated API inside the test's own process, where a test can see and change its world.

use std::sync::Arc;

use cortex_workflow_exporter::{
    model::{Clock, Origin, Status, SystemClock},
    simulator::{SimulatedWorkflow, Simulator, SimulatorSettings},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The key that it takes. Whatever shows this has leaked it.
pub(crate) const KEY: &str = "key-8f2c41d9a7-never-to-be-shown";

/// A simulated API on loopback with a world that changes only on command.
pub(crate) struct Api {
    simulator: Simulator,
    url: String,
    _stop: DropGuard,
}

impl Api {
    /// An empty world by the system's clock.
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(SystemClock)).await
    }

    /// An empty world by this clock.
    pub(crate) async fn start_with(clock: Arc<dyn Clock>) -> Self {
        Self::serve(KEY, false, clock).await
    }

    /// An empty world of an API that takes this key.
    pub(crate) async fn start_with_key(key: &str) -> Self {
        Self::serve(key, false, Arc::new(SystemClock)).await
    }

    /// The demo's world, whose runs are generated, by the system's clock.
    pub(crate) async fn busy() -> Self {
        Self::serve(KEY, true, Arc::new(SystemClock)).await
    }

    async fn serve(key: &str, generate_runs: bool, clock: Arc<dyn Clock>) -> Self {
        let settings = SimulatorSettings {
            api_key: key.into(),
            rate_limit: None,
            generate_runs,
            ..SimulatorSettings::default()
        };
        let simulator = Simulator::new(settings, clock);
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let stop = CancellationToken::new();
        let serving = simulator.clone().serve(listener, stop.clone());
        tokio::spawn(serving);
        Self { simulator, url: format!("http://{address}"), _stop: stop.drop_guard() }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// To change its world or have it misbehave.
    pub(crate) fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Adds a workflow with two steps; its id.
    pub(crate) fn add_workflow(&self, id: &str) -> String {
        let name = format!("Workflow {id}");
        let workflow = SimulatedWorkflow::new(&name)
            .with_id(id)
            .with_step("prepare", "code")
            .with_step("answer", "model");
        self.simulator.world(|world| world.add_workflow(workflow))
    }

    /// Creates a run and lets it end at once with this status; its id.
    pub(crate) fn finish_one(&self, workflow: &str, status: Status) -> String {
        self.simulator.world(|world| {
            let run = world.create_run(workflow, Origin::Workflow);
            let run = run.expect("there is such a workflow");
            world.start_run(&run);
            assert!(world.finish_run(&run, status), "an open run can end");
            run
        })
    }
}
