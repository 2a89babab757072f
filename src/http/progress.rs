//! What a connection is at, and how long that may take.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To send a request's headers, from its first byte (a new connection: from its start, and the
    /// same again for TLS).
    pub head: Duration,
    /// To take an answer, from the end of the request's headers.
    pub answer: Duration,
    /// To begin with the next request.
    pub idle: Duration,
}

impl Default for Patience {
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

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for a request.
    Idle,
    /// Some of a request's headers have come.
    Head,
    /// A request is being answered.
    Answering,
    /// All of the answer is on its way to the socket.
    Flushing,
    /// The last answer is with the client, which is to close the connection.
    Closing,
}

/// The stage of a connection, and when the client's patience with it ends.
#[derive(Clone)]
pub(super) struct Progress {
    now: Arc<watch::Sender<(Stage, Instant)>>,
    patience: Patience,
}

impl Progress {
    pub(super) fn new(patience: Patience) -> Self {
        let start = (Stage::Idle, Instant::now() + patience.head);
        Self { now: Arc::new(watch::Sender::new(start)), patience }
    }

    /// The first request may come from now on.
    pub(super) fn begin(&self) {
        self.turn(&[Stage::Idle], Stage::Idle, Some(self.patience.head));
    }

    pub(super) fn stage(&self) -> Stage {
        self.now.borrow().0
    }

    /// A request's headers begin.
    pub(super) fn head_begins(&self) {
        self.turn(&[Stage::Idle], Stage::Head, Some(self.patience.head));
    }

    /// A request's headers are there.
    pub(super) fn answer_begins(&self) {
        let any = [Stage::Idle, Stage::Head, Stage::Answering, Stage::Flushing];
        self.turn(&any, Stage::Answering, Some(self.patience.answer));
    }

    /// All of an answer is on its way, or it was given up.
    pub(super) fn answer_ends(&self) {
        self.turn(&[Stage::Head, Stage::Answering], Stage::Flushing, None);
    }

    /// What was on its way has gone out.
    pub(super) fn flushed(&self) {
        self.turn(&[Stage::Flushing], Stage::Idle, Some(self.patience.idle));
    }

    /// There will be no more requests.
    pub(super) fn closing(&self) {
        self.turn(&[Stage::Idle], Stage::Closing, Some(self.patience.head));
    }

    /// Until when a request and its headers are waited for, if none is being answered.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        let (stage, deadline) = *self.now.borrow();
        matches!(stage, Stage::Idle | Stage::Head).then_some(deadline)
    }

    /// They aren't waited for any longer.
    pub(super) fn hurry(&self) {
        for stage in [Stage::Idle, Stage::Head] {
            self.turn(&[stage], stage, Some(Duration::ZERO));
        }
    }

    /// Goes on to `stage` if the present one is right for that. Without a limit, the present one
    /// goes on.
    fn turn(&self, from: &[Stage], stage: Stage, limit: Option<Duration>) {
        self.now.send_if_modified(|now| {
            let turns = from.contains(&now.0);
            if turns {
                *now = (stage, limit.map_or(now.1, |limit| Instant::now() + limit));
            }
            turns
        });
    }

    /// Ends when a stage has taken too long.
    pub(super) async fn expired(&self) -> Stage {
        let mut stages = self.now.subscribe();
        loop {
            let (stage, deadline) = *stages.borrow_and_update();
            tokio::select! {
                () = sleep_until(deadline) => return stage,
                changed = stages.changed() => if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Notes that hyper has taken all of an answer, where it sends one after the other.
pub(super) struct Ending(pub(super) Progress);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.answer_ends();
    }
}
