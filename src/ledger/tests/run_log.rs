//! Which runs are logged, and when.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value as Json;
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::{
    config::LoggedRuns,
    model::{RunFailure, RunVersion},
};

/// What is logged on this thread while it is there.
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let written = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true);
        let subscriber = subscriber.with_writer(move || Writer(Arc::clone(&target))).finish();
        Self { written, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines about runs since the last time.
    fn take(&self) -> Vec<Json> {
        let written = std::mem::take(&mut *self.written.lock().expect("no writer panicked"));
        let lines = String::from_utf8(written).expect("a log is text");
        let lines = lines.lines().map(|line| serde_json::from_str(line).expect("one object"));
        lines.filter(|line: &Json| line["message"] == "A run ended.").collect()
    }

    /// The ids of the runs that were logged since the last time.
    fn ids(&self) -> Vec<String> {
        let ids = self.take();
        ids.iter().map(|line| line["run_id"].as_str().expect("an id").to_owned()).collect()
    }
}

async fn book(place: &Place, log_runs: LoggedRuns) -> Book {
    let settings = Settings { log_runs, ..settings(&place.lasting_url().await) };
    let mut book = Book::open(settings).await;
    book.list(&[workflow("w")]).await;
    book.read(&[ended("history", "FAILED", -MINUTE)]).await;
    book.now_ms += MINUTE;
    book
}

#[tokio::test]
async fn only_the_runs_that_are_wanted_are_logged() {
    for (log_runs, expected) in [
        (LoggedRuns::Off, &[][..]),
        (LoggedRuns::Failed, &["f"]),
        (LoggedRuns::All, &["c", "f", "s", "x"]),
    ] {
        let (log, place) = (Log::start(), Place::sqlite());
        let mut book = book(&place, log_runs).await;
        book.read(&[
            fresh("x", "CANCELLED", 40 * SECOND),
            fresh("s", "SKIPPED", 30 * SECOND),
            fresh("f", "FAILED", 20 * SECOND),
            fresh("c", "COMPLETED", 10 * SECOND),
            run("r", "RUNNING"),
        ])
        .await;
        assert_eq!(log.ids(), expected, "{log_runs:?}");
    }
}

#[tokio::test]
async fn a_line_has_what_an_operator_asks_for_and_nothing_that_garbles_it() {
    let (log, place) = (Log::start(), Place::sqlite());
    let mut book = book(&place, LoggedRuns::All).await;
    let name = "a\nlevel=error \u{202E}b";
    book.list(&[Workflow { name: name.into(), ..workflow("w") }]).await;
    let failure = RunFailure {
        step: Label::new("ask"),
        step_type: Label::new("model"),
        error_class: Label::new("timeout"),
    };
    let version = RunVersion::Number { number: 3, created_ms: None };
    let failed = Run {
        failure: Some(failure),
        version,
        credits: Some(1.5),
        ..fresh("f", "FAILED", 20 * SECOND)
    };
    let completed = Run { started_at: None, ..fresh("c", "COMPLETED", 10 * SECOND) };
    book.read(&[failed, completed]).await;
    let lines = log.take();
    let [completed, failed] = &lines[..] else { panic!("{lines:?}") };
    for (field, expected) in [
        ("level", "INFO".into()),
        ("run_id", "f".into()),
        ("workflow_id", "w".into()),
        ("workflow", "a\u{FFFD}level=error \u{FFFD}b".into()),
        ("app_id", "c".into()),
        ("version", "3".into()),
        ("status", "FAILED".into()),
        ("origin", "WORKFLOW".into()),
        ("step", "ask".into()),
        ("error_class", "timeout".into()),
        ("duration", "8s".into()),
        ("credits", Json::from(1.5)),
    ] {
        assert_eq!(failed[field], expected, "{field} of {failed}");
    }
    assert_eq!(completed["version"], "unknown");
    for absent in ["step", "error_class", "duration", "credits"] {
        assert!(completed.get(absent).is_none(), "{absent} of {completed}");
    }
}

#[tokio::test]
async fn an_attempt_is_logged_once_and_only_once_it_is_durable() {
    let (log, place) = (Log::start(), Place::sqlite());
    let mut book = book(&place, LoggedRuns::Failed).await;
    for _ in 0..3 {
        book.read(&[fresh("a", "FAILED", 20 * SECOND)]).await;
    }
    assert_eq!(log.ids(), ["a"]);
    book.ledger.writer.lock().await.store.fill_up().await;
    let many: Vec<_> = (0..500).map(|n| fresh(&format!("b{n}"), "FAILED", 30 * SECOND)).collect();
    let (read_at, stop_when) = (book.at(), StopWhen::Always);
    let read = RunsRead { runs: &many, read_at, newest_first: true, stop_when, old_end: false };
    let full = book.ledger.record_runs(&app(), &book.workflow, read).await;
    full.expect_err("there is no room");
    assert_eq!(log.ids(), [""; 0], "they are not durable");
    book.read(&many).await;
    assert_eq!(log.ids().len(), 500, "there is room again");
    book = book.reopened().await;
    book.read(&many).await;
    assert_eq!(log.ids(), [""; 0], "they were logged before the restart");
    // A replay.
    book.read(&[fresh("a", "FAILED", 50 * SECOND)]).await;
    assert_eq!(log.ids(), ["a"]);
}
