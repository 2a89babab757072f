//! How a process takes the lead, proves that it has it, and gives it up.

use std::time::Duration;

use super::{
    error::{LedgerError, Problem},
    leadership::SETTLE,
    state::State,
    writer::Writer,
};

impl Writer {
    /// Makes sure of what the database holds, and that no other process uses it.
    pub(super) async fn recover(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        if !self.leadership.is_held() {
            self.stand_by();
        } else if !self.needs_reload {
            return Ok(());
        }
        let begun_ms = self.leadership.steady_ms();
        let has_lock = self.reconnect().await.inspect_err(|_| {
            self.leads_from_ms = None;
            self.leadership.disconnected();
        })?;
        if !has_lock {
            self.leadership.end();
            self.stand_by();
        }
        if has_lock && self.may_lead().await? {
            return self.lead(begun_ms, now_ms).await;
        }
        Err(self.store.error(Problem::StandingBy))
    }

    /// Proves that this process leads, or takes the lead if it may.
    pub(super) async fn beat(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        if self.leadership.is_held() && !self.needs_reload {
            let sent_ms = self.leadership.steady_ms();
            self.needs_reload = true;
            if self.store.ping().await.is_ok() {
                self.needs_reload = false;
                self.leadership.proved(sent_ms);
                return Ok(());
            }
        }
        let recovered = self.recover(now_ms).await;
        recovered.or_else(|error| if error.stands_by() { Ok(()) } else { Err(error) })
    }

    /// Returns whether this process has the lock. One that was taken while standing by is kept.
    async fn reconnect(&mut self) -> Result<bool, LedgerError> {
        if self.leads_from_ms.is_some() {
            return self.store.ping().await.map(|()| true);
        }
        self.store.reconnect().await
    }

    /// Whether a process that has the lock may lead at once. One that stood by gives the one before
    /// time to notice that it has lost the lock, unless that one has ended.
    async fn may_lead(&mut self) -> Result<bool, LedgerError> {
        let now_ms = self.leadership.steady_ms();
        if self.leadership.is_held() {
            return Ok(true);
        }
        if self.leads_from_ms.is_none() {
            let (state, _) = self.store.peek(None).await?;
            let mut apps = self.settings.apps.iter().map(|(app, _)| state.apps.get(app));
            let ended = apps.all(|app| app.is_some_and(|app| app.record.leader_ended));
            let settle = if ended { Duration::ZERO } else { SETTLE };
            self.leads_from_ms = Some(now_ms + settle.as_millis() as i64);
        }
        Ok(self.leads_from_ms.is_some_and(|from_ms| from_ms <= now_ms))
    }

    /// Notes whether the process that led last has ended, and publishes the state.
    async fn note_end(&mut self, ended: bool) -> Result<(), LedgerError> {
        let mut changes = self.begin();
        for (id, _) in &self.settings.apps {
            let app = changes.state.apps.get_mut(id);
            let Some(app) = app.filter(|app| app.record.leader_ended != ended) else { continue };
            app.record.leader_ended = ended;
            changes.rows.apps.insert(id.clone());
        }
        self.commit(changes).await
    }

    /// Ends in order. Nothing must be shown any more, since another process may lead at once.
    pub(super) async fn close(&mut self) -> Result<(), LedgerError> {
        let leads = self.leadership.is_held() && !self.needs_reload;
        if self.store.is_shared() && leads {
            self.note_end(true).await?;
        }
        self.store.close().await
    }

    /// Publishes what the database holds, of which the lock was known to be ours after this moment.
    pub(super) async fn lead(&mut self, begun_ms: i64, now_ms: i64) -> Result<(), LedgerError> {
        self.load(now_ms).await?;
        (self.needs_reload, self.leads_from_ms) = (false, None);
        self.note_end(false).await?;
        if !self.leadership.is_held() {
            tracing::info!("Leads from now on: it polls and shows workflows.");
        }
        self.leadership.proved(begun_ms);
        Ok(())
    }

    /// Shows nothing of what may be another process' by now.
    fn stand_by(&mut self) {
        self.needs_reload = true;
        if !self.state.apps.is_empty() {
            tracing::warn!("Stands by from now on: it neither polls nor shows workflows.");
            self.overflowed = 0;
            self.metrics.folded_workflows.set(0);
            self.publish(State { version: self.state.version, ..State::default() });
        }
    }
}
