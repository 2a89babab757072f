use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use futures::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{failure::Failure, output::print};
use crate::{
    config,
    model::SystemClock,
    simulator::{Simulator, SimulatorSettings},
};

/// Serves the simulated API until stopped, by a SIGHUP too: there is nothing to reload.
pub(super) async fn simulate(
    config: &config::Simulate,
    stop: CancellationToken,
    mut hangups: impl Stream<Item = ()> + Unpin,
) -> Result<(), Failure> {
    let (listener, address) = listen(config.listen_address).await?;
    print(&format!(
        "The simulated Cortex API is at http://{address}\n\
         Its key is {KEY}; what it can do on command: http://{address}/_simulator/\n"
    ))?;
    let serving = busy_simulator(config.seed).serve(listener, stop);
    tokio::select! {
        served = serving => served?,
        _ = hangups.next() => {}
    }
    Ok(())
}

/// The key that the simulated API takes. No secret.
pub(super) const KEY: &str = "demo-key";

/// A simulated API whose workflows run by themselves.
pub(super) fn busy_simulator(seed: u64) -> Simulator {
    let settings = SimulatorSettings {
        api_key: KEY.into(),
        seed,
        generate_runs: true,
        ..SimulatorSettings::default()
    };
    Simulator::new(settings, Arc::new(SystemClock))
}

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "the simulated API cannot listen on {address}; \
             choose another address with --simulator.listen-address"
        )
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
