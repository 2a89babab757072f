//! Whether this process leads: of those that share a ledger, only one may poll and show workflows.
//!
//! On PostgreSQL, the process that holds the lock leads. The server ends the leader's session, and
//! with it the lock, when it has heard nothing from it for [`LEASE`]. The leader counts the same
//! time from the moment *before* it sent what was last answered, so it has stopped showing
//! workflows by then, even if it is stopped or cut off and can't learn that it lost the lock. A
//! session can also end at once. So a process that takes over waits for [`SETTLE`] first, unless the
//! one before has noted that it ended; and one that finds its session gone shows workflows for no
//! longer than that, unless it gets the lock back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::model::Clock;

/// How long a leader that proves nothing still leads.
pub(super) const LEASE: Duration = Duration::from_secs(20);

/// How long a leader whose session has ended still leads, and how long the next one waits.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// Whether this process leads. Clones share it.
#[derive(Clone)]
pub struct Leadership {
    clock: Arc<dyn Clock>,
    /// When it was last certain that no other process leads, by [`Clock::steady_ms`].
    proved_ms: Arc<AtomicI64>,
    lease: Arc<watch::Sender<Lease>>,
}

/// For how long a process leads.
#[derive(Clone, Copy, Debug)]
struct Lease {
    until_ms: i64,
    /// How often it has begun to lead: another process can have led in between unnoticed.
    term: u64,
}

/// Stands by.
const NEVER: i64 = i64::MIN;

/// Nobody else can lead.
const FOREVER: i64 = i64::MAX;

impl Leadership {
    /// Stands by, until it is proved that this process leads.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let lease = Lease { until_ms: NEVER, term: 0 };
        Self { clock, proved_ms: Arc::default(), lease: Arc::new(watch::Sender::new(lease)) }
    }

    /// Whether this process leads at this moment.
    pub fn is_held(&self) -> bool {
        self.steady_ms() < self.lease.borrow().until_ms
    }

    /// Returns once this process leads.
    pub async fn gained(&self) {
        // It fails only when there is no sender.
        let _ = self.lease.subscribe().wait_for(|lease| self.steady_ms() < lease.until_ms).await;
    }

    /// Returns once this process stands by, or has stood by and leads again.
    pub async fn lost(&self) {
        let mut lease = self.lease.subscribe();
        let term = lease.borrow().term;
        let _ = lease.wait_for(|lease| lease.until_ms == NEVER || lease.term != term).await;
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(super) fn steady_ms(&self) -> i64 {
        self.clock.steady_ms()
    }

    /// The ledger is one that nobody else can use.
    pub(super) fn hold_forever(&self) {
        self.lease.send_modify(|lease| lease.until_ms = FOREVER);
    }

    /// Whether others can't use the ledger.
    pub(super) fn is_forever(&self) -> bool {
        self.lease.borrow().until_ms == FOREVER
    }

    /// The server has answered something that was sent at this moment or later, on the connection
    /// that has the lock.
    pub(super) fn proved(&self, sent_ms: i64) {
        if !self.is_forever() {
            self.proved_ms.store(sent_ms, SeqCst);
            let begins = !self.is_held();
            self.lease.send_modify(|lease| {
                lease.until_ms = sent_ms + LEASE.as_millis() as i64;
                lease.term += u64::from(begins);
            });
        }
    }

    /// The connection is gone, and with it the lock.
    pub(super) fn disconnected(&self) {
        let settled_ms = self.proved_ms.load(SeqCst) + SETTLE.as_millis() as i64;
        self.lease.send_if_modified(|lease| {
            let shortened = lease.until_ms != FOREVER && settled_ms < lease.until_ms;
            if shortened {
                lease.until_ms = settled_ms;
            }
            shortened
        });
        self.expire();
    }

    /// Another process leads.
    pub(super) fn end(&self) {
        self.lease.send_modify(|lease| lease.until_ms = NEVER);
    }

    /// Stands by if the time is up.
    pub(super) fn expire(&self) {
        let now_ms = self.steady_ms();
        self.lease.send_if_modified(|lease| {
            let expired = lease.until_ms != NEVER && lease.until_ms <= now_ms;
            if expired {
                lease.until_ms = NEVER;
            }
            expired
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// A clock that is set by hand.
    #[derive(Default)]
    struct Watch(AtomicI64);

    impl Clock for Watch {
        fn now_ms(&self) -> i64 {
            self.0.load(SeqCst)
        }
    }

    fn standing_by() -> (Arc<Watch>, Leadership) {
        let clock = Arc::new(Watch::default());
        (Arc::clone(&clock), Leadership::new(clock))
    }

    #[test]
    fn a_leader_leads_for_as_long_as_the_server_keeps_a_silent_session_and_no_longer() {
        let (clock, leadership) = standing_by();
        assert!(!leadership.is_held());
        leadership.proved(1_000);
        for (ms, leads) in [(1_000, true), (20_999, true), (21_000, false), (90_000, false)] {
            clock.0.store(ms, SeqCst);
            assert_eq!(leadership.is_held(), leads, "at {ms}");
        }
        assert!(leadership.lost().now_or_never().is_none(), "nobody has noticed yet");
        leadership.expire();
        assert!(leadership.lost().now_or_never().is_some());
        assert!(leadership.gained().now_or_never().is_none());
        leadership.proved(90_000);
        assert!(leadership.is_held() && leadership.gained().now_or_never().is_some());
    }

    #[test]
    fn that_the_lead_was_lost_is_noticed_also_by_one_that_looks_only_when_it_is_back() {
        let (clock, leadership) = standing_by();
        leadership.proved(1_000);
        let mut lost = std::pin::pin!(leadership.lost());
        for proved_ms in [2_000, 21_999] {
            clock.0.store(proved_ms, SeqCst);
            leadership.proved(proved_ms);
            assert!(lost.as_mut().now_or_never().is_none(), "it leads at {proved_ms}");
        }
        clock.0.store(90_000, SeqCst);
        leadership.proved(90_000);
        assert!(leadership.is_held() && lost.now_or_never().is_some());
    }

    #[test]
    fn a_leader_whose_session_ended_leads_until_the_next_one_may() {
        let (clock, leadership) = standing_by();
        leadership.proved(1_000);
        clock.0.store(2_000, SeqCst);
        for (ms, leads) in [(2_000, true), (5_999, true), (6_000, false)] {
            clock.0.store(ms, SeqCst);
            // However often it tries to connect again.
            leadership.disconnected();
            assert_eq!(leadership.is_held(), leads, "at {ms}");
        }
        leadership.disconnected();
        assert!(!leadership.is_held(), "one that stands by stays so");
    }

    #[test]
    fn a_ledger_that_nobody_else_can_use_is_led_for_ever() {
        let (clock, leadership) = standing_by();
        leadership.hold_forever();
        leadership.proved(0);
        leadership.disconnected();
        clock.0.store(i64::MAX - 1, SeqCst);
        leadership.expire();
        assert!(leadership.is_held());
    }
}
