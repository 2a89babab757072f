use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::net::TcpListener;

use super::Failure;
use crate::{
    config,
    model::SystemClock,
    shutdown,
    simulator::{Simulator, SimulatorSettings},
};

/// Serves the simulated API until SIGTERM or SIGINT.
pub async fn simulate(config: config::Simulate) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    let (listener, address) = listen(config.listen_address).await?;
    println!("The simulated Cortex API is at http://{address}");
    println!("Its key is {KEY}; what it can do on command: http://{address}/_simulator/");
    lively(config.seed).serve(listener, stop).await?;
    Ok(())
}

/// The key that the simulated API takes. No secret.
pub(super) const KEY: &str = "demo-key";

/// A simulated API whose world lives by itself.
pub(super) fn lively(seed: u64) -> Simulator {
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
