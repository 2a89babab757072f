use std::{sync::Arc, time::Duration};

use anyhow::Context;

use super::{
    Failure,
    simulate::{KEY, listen, lively},
};
use crate::{
    app::App,
    config::{self, ApiKey, Config, Cortex, Poll, State, WorkflowFilter},
    model::{AppId, SystemClock},
    shutdown,
};

/// Whoever looks at the demo's metrics for the first time sees numbers, not their bases, if it has run
/// for a moment; a Prometheus that scrapes every 15 seconds still sees the bases before.
const LONGEST_HOLD: Duration = Duration::from_secs(20);

/// Serves what the exporter reads from a simulated API, on a ledger that is thrown away.
pub async fn demo(demo: config::Demo) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    let (listener, simulator) = listen(demo.simulator.listen_address).await?;
    let directory = tempfile::Builder::new().prefix("cortex-workflow-exporter-demo-").tempdir();
    let directory = directory.context("cannot make a directory for the demo's ledger")?;
    let ledger = directory.path().join("ledger.db");
    let mut config = Config {
        apps: vec![config::App {
            cortex: Cortex {
                api_url: format!("http://{simulator}").parse()?,
                app_id: AppId::new("c").context("the app id is a plain one")?,
                api_key: ApiKey::Value(KEY.into()),
                timeout: Duration::from_secs(10),
                page_size: 100,
                verbose: false,
            },
            workflows: WorkflowFilter::default(),
        }],
        rate_limit: 400,
        // Shorter than usual: there is somebody watching.
        poll: Poll { interval: Duration::from_secs(5), sweep_interval: Duration::from_secs(60) },
        history_lookback: Duration::ZERO,
        state: State {
            url: format!("sqlite:{}", ledger.display()),
            retention: Duration::from_secs(30 * 86_400),
        },
        metrics: demo.metrics,
        log: demo.simulator.log,
        check_only: false,
        web: demo.web,
    };
    config.metrics.hold_timeout = config.metrics.hold_timeout.min(LONGEST_HOLD);
    let path = config.web.telemetry_path.clone();
    let scheme = if config.web.config.tls.is_some() { "https" } else { "http" };
    let fixed = config.clone();
    let reread = Arc::new(move || fixed.with_web_config_read_anew());
    let app = App::build(config, reread, Arc::new(SystemClock)).await?;
    for address in app.addresses() {
        let port = address.port();
        println!("Metrics:   {scheme}://localhost:{port}{path}");
        println!("Overview:  {scheme}://localhost:{port}/");
    }
    println!("Simulated API and what it can do on command: http://{simulator}/_simulator/");
    println!("A spike of failures: curl -X POST 'http://{simulator}/_simulator/spike?seconds=60'");
    println!("End with Ctrl-C.");
    let simulating = tokio::spawn(lively(demo.simulator.seed).serve(listener, stop.clone()));
    app.run(stop).await?;
    simulating.await??;
    Ok(())
}
