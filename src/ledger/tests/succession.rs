//! From one leader to the next.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::*;

/// A clock that is set by hand.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_ms(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

/// Another process with this ledger.
async fn exporter(settings: &Settings, clock: &Arc<Hand>) -> Ledger {
    let metrics = LedgerMetrics::new(&Registry::new()).expect("a new registry");
    let clock = Arc::<Hand>::clone(clock);
    Ledger::open(settings.clone(), metrics, |_| GAUGES, clock).await.expect("it opens")
}

fn leads(ledger: &Ledger) -> bool {
    ledger.leadership().is_held()
}

/// Tries until the server has noticed that the one before is gone.
async fn takes_the_lock(ledger: &Ledger) {
    while ledger.writer.lock().await.store.waits() {
        ledger.beat().await.expect("the server answers");
    }
}

#[tokio::test]
async fn only_after_one_that_ended_in_order_the_next_one_leads_at_once() {
    let settings = settings(&Place::postgres().lasting_url().await);
    let clock = Arc::new(Hand(AtomicI64::new(COLD)));
    let first = exporter(&settings, &clock).await;
    let read_at = ReadAt::new(COLD, COLD);
    let listed = first.record_workflows(&app(), &[workflow("w")], read_at).await;
    listed.expect("the list is recorded");
    let second = exporter(&settings, &clock).await;
    assert!(leads(&first) && !leads(&second));

    first.close().await.expect("it closes");
    takes_the_lock(&second).await;
    assert!(leads(&second));
    assert!(second.state().apps[&app()].workflows.contains_key(&workflow("w").id));

    let third = exporter(&settings, &clock).await;
    // As a crash ends it.
    drop(second);
    takes_the_lock(&third).await;
    for (after_ms, expected) in [(0, false), (4_999, false), (5_000, true)] {
        clock.0.store(COLD + after_ms, SeqCst);
        third.beat().await.expect("the server answers");
        assert_eq!(leads(&third), expected, "after {after_ms} ms");
    }
}
