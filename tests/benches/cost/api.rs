//! A simulated API in a process of its own, so that what it uses isn't counted.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use cortex_workflow_exporter::{
    model::{Origin, Status, SystemClock},
    simulator::{
        RunsCount, SimulatedRun, SimulatedStep, SimulatedWorkflow, Simulator, SimulatorSettings,
        StepDefinition,
    },
};
use tokio_util::sync::CancellationToken;

/// The customer's data that makes a run about 9 KB.
const PADDING: usize = 7_200;
/// Runs of the one large workflow.
pub(crate) const RUNS: usize = 10_000;
pub(crate) const KEY: &str = "bench-key";

/// A simulated API.
pub(crate) struct Api {
    process: Child,
    pub(crate) url: String,
}

impl Api {
    /// Starts this program again, to serve a world.
    pub(crate) fn start(world: &str) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new(this)
            .arg(world)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut address = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut address).expect("it says where it is");
        Self { process, url: format!("http://{}", address.trim()) }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves a world until the process is killed; says where. `None` if there is no such world.
pub(crate) fn world(name: &str) -> Option<fn(&Simulator)> {
    match name {
        "one-large" => Some(one_large_workflow),
        "thousand-idle" => Some(|simulator| thousand_workflows(simulator, 150, false)),
        "thousand-busy" => Some(|simulator| thousand_workflows(simulator, 20, true)),
        _ => None,
    }
}

pub(crate) async fn serve(make: fn(&Simulator)) {
    let settings =
        SimulatorSettings { api_key: KEY.into(), rate_limit: None, ..SimulatorSettings::default() };
    let simulator = Simulator::new(settings, Arc::new(SystemClock));
    make(&simulator);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    simulator.serve(listener, CancellationToken::new()).await.expect("it serves");
}

fn one_large_workflow(simulator: &Simulator) {
    simulator.world(|world| {
        let steps = ["fetch", "ask", "check", "tell"];
        let mut workflow = SimulatedWorkflow::new("large");
        // Then it is read in every cycle.
        workflow.runs_count = RunsCount::Absent;
        let workflow =
            steps.iter().fold(workflow, |workflow, key| workflow.with_step(key, "model"));
        let id = world.add_workflow(workflow);
        let now_ms = world.now_ms();
        for n in 0..RUNS as i64 {
            let start = now_ms + n * 10;
            let mut run = SimulatedRun::new(Status::Completed, Origin::Workflow).with_times(
                start - 500,
                Some(start),
                Some(start + 4_000),
            );
            run.padding = PADDING;
            run.credits = Some(1.5);
            run.steps = (0..).zip(steps).map(|(n, key)| step(key, start + n * 1_000)).collect();
            world.add_run(&id, run);
        }
    });
}

/// Workflows that differ in nothing but their names; one run in ten failed.
fn thousand_workflows(simulator: &Simulator, runs: i64, with_steps: bool) {
    simulator.world(|world| {
        let now_ms = world.now_ms();
        for n in 0..1_000_i64 {
            let workflow = SimulatedWorkflow::new(&format!("Workflow number {n}"));
            let workflow = if with_steps { workflow.with_step("ask", "model") } else { workflow };
            let id = world.add_workflow(workflow);
            for run in 0..runs {
                let start = now_ms - 80_000_000 + run * 500_000;
                let status = if run % 10 == 0 { Status::Failed } else { Status::Completed };
                let mut run = SimulatedRun::new(status, Origin::Workflow).with_times(
                    start,
                    Some(start + 100),
                    Some(start + 4_000),
                );
                run.padding = 500;
                if with_steps {
                    run.steps = vec![step("ask", start + 100)];
                    run.credits = Some(1.5);
                }
                world.add_run(&id, run);
            }
        }
    });
}

/// A step of a second.
fn step(key: &str, start: i64) -> SimulatedStep {
    let mut step = SimulatedStep::new(&StepDefinition::new(key, "model"), Status::Completed, start);
    step.end = Some(start + 1_000);
    step
}
