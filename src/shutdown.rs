//! How the process is told to stop, and to read its configuration anew.

use std::io;

use futures::{Stream, StreamExt, stream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Returns a token that SIGINT and SIGTERM cancel. A second such signal ends the process at once,
/// with the exit code that shells give to one killed by it (130, 143). Fails if the system refuses
/// the handlers. Must be called within a tokio runtime.
pub fn on_signals() -> io::Result<CancellationToken> {
    let of = |kind: SignalKind, name| {
        signal(kind).map(|signals| arrivals(signals).map(move |()| (name, kind.as_raw_value())))
    };
    let signals = stream::select(
        of(SignalKind::interrupt(), "SIGINT")?,
        of(SignalKind::terminate(), "SIGTERM")?,
    );
    let stop = CancellationToken::new();
    tokio::spawn(obey(signals, stop.clone(), |code| std::process::exit(code)));
    Ok(stop)
}

/// An item for each SIGHUP, which asks to read the configuration anew. Fails if the system refuses
/// the handler. Must be called within a tokio runtime.
pub fn hangups() -> io::Result<impl Stream<Item = ()> + Send + Unpin> {
    signal(SignalKind::hangup()).map(|signals| Box::pin(arrivals(signals)))
}

fn arrivals(signals: Signal) -> impl Stream<Item = ()> + Send {
    stream::unfold(
        signals,
        |mut signals| async move { signals.recv().await.map(|()| ((), signals)) },
    )
}

/// Cancels `stop` at the first signal, calls `exit` at the second.
async fn obey(
    signals: impl Stream<Item = (&'static str, i32)>,
    stop: CancellationToken,
    exit: impl Fn(i32),
) {
    let mut signals = std::pin::pin!(signals);
    if let Some((signal, _)) = signals.next().await {
        info!(signal, "Stopping; another signal ends the process at once.");
        stop.cancel();
    }
    if let Some((signal, number)) = signals.next().await {
        warn!(signal, "A second signal: ending at once.");
        exit(128 + number);
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
            obey(stream::iter(signals), stop.clone(), exit).await;
            assert!(stop.is_cancelled());
            assert_eq!(code.get(), expected);
        }
    }
}
