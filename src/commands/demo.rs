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
    let first = world.world(|world| world.workflows.first().map(|it| it.id.clone()));
    let last_failed = format!("/workflows/{}/last-failed-run", first.unwrap_or_default());
    let ledger = directory.path().join("ledger.db");
    let config = of_demo(config, simulator, &ledger);
    let path = config.web.telemetry_path.clone();
    let scheme = if config.web.config.tls.is_some() { "https" } else { "http" };
    let load_config = move || match config::load(&line) {
        Ok(config) => Ok(of_demo(config, simulator, &ledger)),
        Err(errors) => Err(errors.to_string()),
    };
    let app = App::build(config, Arc::new(load_config), Arc::new(SystemClock)).await?;
    for address in app.addresses() {
        let url = format!("{scheme}://localhost:{}", address.port());
        print(&format!(
            "Metrics:   {url}{path}\nOverview:  {url}/\nLast failed run: {url}{last_failed}\n"
        ))?;
    }
    print(&format!(
        "Simulated API and what it can do on command: http://{simulator}/_simulator/\n\
         A spike of failures: curl -X POST 'http://{simulator}/_simulator/spike?seconds=60'\n\
         A bad version: curl -X POST 'http://{simulator}/_simulator/deploy?ratio=0.6'\n\
         The one before it again: curl -X POST 'http://{simulator}/_simulator/rollback'\n\
         End with Ctrl-C.\n"
    ))?;
    let simulating = tokio::spawn(world.serve(listener, stop.clone()));
    app.run(stop, hangups).await?;
    simulating.await??;
    Ok(())
}

/// The same, but for reading the simulated API into this ledger.
fn of_demo(mut config: Config, simulator: SocketAddr, ledger: &Path) -> Config {
    for app in &mut config.apps {
        let url = format!("http://{simulator}").parse();
        app.cortex.api_url = url.expect("an address makes a URL");
        app.cortex.api_key = ApiKey::Value(KEY.into());
        app.cortex.timeout = Duration::from_secs(10);
    }
    config.run_url.get_or_insert_with(|| {
        let template = format!("http://{simulator}/_simulator/runs/{{run_id}}");
        RunUrl::parse(&template).expect("an address makes a template")
    });
    // Shorter than usual: there is somebody watching.
    config.poll =
        Poll { interval: Duration::from_secs(5), sweep_interval: Duration::from_secs(60) };
    config.state.url = format!("sqlite:{}", ledger.display());
    config.metrics.hold_timeout = config.metrics.hold_timeout.min(MAX_HOLD);
    config
}
