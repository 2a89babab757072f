//! What a connection is doing, and how long that may take.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// To send a request's headers, from their first byte (on a new connection: from its start, and
    /// the same again for TLS).
    pub head: Duration,
    /// To take an answer, from the end of the request's headers.
    pub answer: Duration,
    /// To begin the next request.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            // Prometheus itself closes what was idle for 5 minutes. It must be the first to do so:
            // a connection that is closed while a scrape is being sent fails that scrape.
            idle: Duration::from_secs(360),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// It waits for a request.
    Idle,
    /// Some of a request's headers have arrived.
    Head,
    /// A request is being answered.
    Answering,
}

/// The phase of a connection, and when it times out.
#[derive(Clone)]
pub(super) struct ConnectionState {
    now: Arc<watch::Sender<(ConnectionPhase, Instant)>>,
    timeouts: Timeouts,
}

impl ConnectionState {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let start = (ConnectionPhase::Idle, Instant::now() + timeouts.head);
        Self { now: Arc::new(watch::Sender::new(start)), timeouts }
    }

    /// TLS is established; the first request may come from now on.
    pub(super) fn established(&self) {
        self.turn(&[ConnectionPhase::Idle], ConnectionPhase::Idle, self.timeouts.head);
    }

    /// A request's headers begin to arrive.
    pub(super) fn head_begins(&self) {
        self.turn(&[ConnectionPhase::Idle], ConnectionPhase::Head, self.timeouts.head);
    }

    /// A request's headers have arrived.
    pub(super) fn answer_begins(&self) {
        let any = [ConnectionPhase::Idle, ConnectionPhase::Head, ConnectionPhase::Answering];
        self.turn(&any, ConnectionPhase::Answering, self.timeouts.answer);
    }

    /// The answer has been sent, or was given up.
    pub(super) fn answer_ends(&self) {
        self.turn(&[ConnectionPhase::Answering], ConnectionPhase::Idle, self.timeouts.idle);
    }

    /// Until when it may wait for a request, unless one is being answered.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        let (phase, deadline) = *self.now.borrow();
        (phase != ConnectionPhase::Answering).then_some(deadline)
    }

    /// Makes it time out now, unless a request is being answered.
    pub(super) fn expire(&self) {
        for phase in [ConnectionPhase::Idle, ConnectionPhase::Head] {
            self.turn(&[phase], phase, Duration::ZERO);
        }
    }

    fn turn(&self, from: &[ConnectionPhase], to: ConnectionPhase, timeout: Duration) {
        self.now.send_if_modified(|now| {
            let turns = from.contains(&now.0);
            if turns {
                *now = (to, Instant::now() + timeout);
            }
            turns
        });
    }

    /// Returns when it has timed out, with the phase that took too long.
    pub(super) async fn expired(&self) -> ConnectionPhase {
        let mut changes = self.now.subscribe();
        loop {
            let (phase, deadline) = *changes.borrow_and_update();
            tokio::select! {
                () = sleep_until(deadline) => return phase,
                // It can't fail: the sender is in `self`.
                _ = changes.changed() => {}
            }
        }
    }
}

/// Ends an answer when hyper has sent all of it, or given it up.
pub(super) struct AnswerGuard(pub(super) ConnectionState);

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.0.answer_ends();
    }
}
