use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use futures::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    failure::Failure,
    output::print,
    simulate::{KEY, busy_simulator, listen},
};
use crate::{
    app::App,
    config::{self, ApiKey, CommandLine, Config, Poll, RunUrl},
    model::SystemClock,
    simulator::SimulatedWorkflow,
};

/// Somebody who sees the demo's metrics for the first time sees numbers, not their bases, if it has
/// run for a moment; a Prometheus that scrapes every 15 seconds still sees the bases before.
const MAX_HOLD: Duration = Duration::from_secs(20);

/// Serves what the exporter reads from a simulated API, on a ledger that is thrown away.
pub(super) async fn demo(
    config: Config,
    line: CommandLine,
    stop: CancellationToken,
    hangups: impl Stream<Item = ()> + Unpin,
) -> Result<(), Failure> {
    let (listener, simulator) = listen(config.simulator.listen_address).await?;
    let directory = tempfile::Builder::new().prefix("cortex-workflow-exporter-demo-").tempdir();
    let directory = directory.context("cannot make a directory for the demo's ledger")?;
    let world = busy_simulator(config.simulator.seed);
    let ledger = directory.path().join("ledger.db");
    let config = of_demo(config, simulator, &ledger);
    let path = config.web.telemetry_path.clone();
    let scheme = if config.web.config.tls.is_some() { "https" } else { "http" };
    let load_config = move || match config::load(&line) {
        Ok(config) => Ok(of_demo(config, simulator, &ledger)),
        Err(errors) => Err(errors.to_string()),
    };
    let app = App::build(config, Arc::new(load_config), Arc::new(SystemClock)).await?;
    let url = app.addresses().first().map(|address| format!("{scheme}://{}", reachable(*address)));
    let first = world.world(|world| world.workflows.first().cloned());
    if let (Some(url), Some(workflow)) = (url, first) {
        print(&hints(&url, &path, &format!("http://{simulator}/_simulator/"), &workflow))?;
    }
    let simulating = tokio::spawn(world.serve(listener, stop.clone()));
    app.run(stop, hangups).await?;
    simulating.await??;
    Ok(())
}

/// How somebody on this machine reaches an address that is listened on.
fn reachable(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

/// What leads a newcomer: where to look, at which numbers, and what to break. `control` is where the
/// simulated API takes commands, which are about this workflow, its first, if they name none.
fn hints(url: &str, path: &str, control: &str, workflow: &SimulatedWorkflow) -> String {
    let SimulatedWorkflow { id, name, steps, .. } = workflow;
    let step = steps.last().map_or("", |step| &step.key);
    format!(
        "\
Look at:
  {url}/
      the overview: which workflows fail, in which step, with what class of error
  {url}{path}
      the metrics, as Prometheus scrapes them
  {url}/workflows/{id}/last-failed-run
      the run of \"{name}\" that failed last; alerts lead there

Three metrics lead from a failure to its cause, counted from now on:
  # How many runs failed?
  curl -s {url}{path} | grep '^cortex_workflow_runs_total.*{name}.*FAILED'
  # In which step, with what class of error?
  curl -s {url}{path} | grep '^cortex_workflow_run_failures_total.*{name}'
  # In which version?
  curl -s {url}{path} | grep '^cortex_workflow_version_runs_total.*{name}.*FAILED'

Deploy a bad version of \"{name}\", of which more runs fail in step \"{step}\":
  curl -sX POST '{control}deploy?ratio=0.6'
See it in all three within a minute, then roll it back:
  curl -sX POST '{control}rollback'

Make most runs of all workflows fail for a minute:
  curl -sX POST '{control}spike?seconds=60'
What else the simulated API does on request:
  curl -s {control}

End with Ctrl-C.
"
    )
}

/// The same, but for reading the simulated API into this ledger.
fn of_demo(mut config: Config, simulator: SocketAddr, ledger: &Path) -> Config {
    for app in &mut config.apps {
        let url = format!("http://{simulator}").parse();
        app.cortex.api_url = url.expect("an address makes a URL");
        app.cortex.api_key = ApiKey::Value(KEY.into());
        app.cortex.timeout = Duration::from_secs(10);
    }
    // A browser elsewhere, as outside of a container, would not reach the simulated API.
    if config.web.external_url.is_none() {
        config.run_url.get_or_insert_with(|| {
            let template = format!("http://{simulator}/_simulator/runs/{{run_id}}");
            RunUrl::parse(&template).expect("an address makes a template")
        });
    }
    // Shorter than usual: there is somebody watching.
    config.poll =
        Poll { interval: Duration::from_secs(5), sweep_interval: Duration::from_secs(60) };
    config.state.url = format!("sqlite:{}", ledger.display());
    config.metrics.hold_timeout = config.metrics.hold_timeout.min(MAX_HOLD);
    config
}
