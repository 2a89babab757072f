//! The signals of the process: stop, and read the configuration anew.

use std::{io, pin::Pin};

use futures::{Stream, StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Signals as they arrive, each with its name and number.
type Arrivals = Pin<Box<dyn Stream<Item = (&'static str, i32)> + Send>>;

/// The signals of the process, from the moment on when they are caught. None is lost until it is
/// asked for.
pub struct Signals {
    stops: Arrivals,
    hangups: Arrivals,
}

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP, none of which ends the process from now on. Fails if the
    /// system refuses the handlers. Must be called within a tokio runtime.
    pub fn catch() -> io::Result<Self> {
        let interrupts = arrivals(SignalKind::interrupt(), "SIGINT")?;
        let terminations = arrivals(SignalKind::terminate(), "SIGTERM")?;
        let stops = Box::pin(stream::select(interrupts, terminations));
        Ok(Self { stops, hangups: arrivals(SignalKind::hangup(), "SIGHUP")? })
    }

    /// For a command that drains: a token that SIGINT and SIGTERM cancel, and an item for each
    /// SIGHUP. A second signal to stop ends the process at once.
    pub fn draining(self) -> (CancellationToken, impl Stream<Item = ()> + Send + Unpin + use<>) {
        let stop = CancellationToken::new();
        tokio::spawn(end_on_signals(self.stops, stop.clone(), |code| std::process::exit(code)));
        (stop, self.hangups.map(|_| ()))
    }

    /// For a command that has nothing to drain: any of the signals ends the process at once.
    pub fn ending(self) {
        let mut all = stream::select(self.stops, self.hangups);
        tokio::spawn(async move {
            if let Some((_, number)) = all.next().await {
                std::process::exit(exit_code(number));
            }
        });
    }
}

/// The exit code that shells give to a process killed by a signal.
fn exit_code(signal: i32) -> i32 {
    128 + signal
}

fn arrivals(kind: SignalKind, name: &'static str) -> io::Result<Arrivals> {
    let signals = stream::unfold(signal(kind)?, move |mut signals| async move {
        signals.recv().await.map(|()| ((name, kind.as_raw_value()), signals))
    });
    Ok(Box::pin(signals))
}

/// Cancels `stop` at the first signal, calls `exit` at the second.
async fn end_on_signals(
    mut signals: impl Stream<Item = (&'static str, i32)> + Unpin,
    stop: CancellationToken,
    exit: impl Fn(i32),
) {
    if let Some((signal, _)) = signals.next().await {
        info!(signal, "Stopping; another signal ends the process at once.");
        stop.cancel();
    }
    if let Some((signal, number)) = signals.next().await {
        warn!(signal, "A second signal: ending at once.");
        exit(exit_code(number));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_stops_and_the_second_exits_with_its_code() {
        for (signals, expected) in [
            (vec![("SIGTERM", 15)], None),
            (vec![("SIGTERM", 15), ("SIGINT", 2)], Some(130)),
            (vec![("SIGINT", 2), ("SIGTERM", 15)], Some(143)),
        ] {
            let stop = CancellationToken::new();
            let code = Cell::new(None);
            let exit = |number| code.set(Some(number));
            end_on_signals(stream::iter(signals), stop.clone(), exit).await;
            assert!(stop.is_cancelled());
            assert_eq!(code.get(), expected);
        }
    }
}
