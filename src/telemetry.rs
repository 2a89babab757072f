//! The exporter's own log, on standard error.

mod json_escapes;

use std::{
    io::{self, IsTerminal as _},
    sync::{LazyLock, OnceLock},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::MakeWriter,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{Log, LogFormat};
use json_escapes::JsonEscapes;

/// Changes the level of what is logged.
type LevelHandle = Handle<Targets, Registry>;

/// What was installed.
static INSTALLED: OnceLock<(LevelHandle, LogFormat)> = OnceLock::new();

/// Sends what is logged to standard error from now on. Fails if something else is installed already.
pub fn init(log: &Log) -> Result<(), TryInitError> {
    let (subscriber, level) = subscriber(log, || Stderr);
    subscriber.try_init()?;
    INSTALLED.get_or_init(|| (level, log.format));
    Ok(())
}

/// What is drawn on standard error, below the messages.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error, for messages: a bar makes room for them.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bar for workflows that are read, if standard error is a terminal.
pub fn progress_bar() -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} workflows, {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    Some(BARS.add(ProgressBar::new(0).with_style(style)))
}

/// Whether messages are written in JSON by now.
pub fn is_json() -> bool {
    INSTALLED.get().is_some_and(|(_, format)| *format == LogFormat::Json)
}

/// Shows messages of this level, and more important ones, from now on.
pub fn set_level(level: tracing::Level) {
    if let Some((handle, _)) = INSTALLED.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::error!(%error, "The log's level stays as it was; this is a bug.");
    }
}

fn subscriber<W>(log: &Log, writer: W) -> (impl Subscriber + Send + Sync + use<W>, LevelHandle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // What cannot be written is lost. By default it would be reported on standard error, which is
    // where it could not be written, and that panics.
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Logfmt => {
            let layer = tracing_logfmt::builder().layer().with_writer(JsonEscapes(writer));
            layer.log_internal_errors(false).boxed()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            layer.with_writer(writer).log_internal_errors(false).boxed()
        }
    };
    let (filter, level) = reload::Layer::new(filter(log.level));
    (tracing_subscriber::registry().with(layer.with_filter(filter)), level)
}

/// The level is for this crate only: below warnings, libraries print headers, SQL and URLs with
/// passwords in them.
fn filter(level: tracing::Level) -> Targets {
    Targets::new()
        .with_default(level.min(tracing::Level::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level)
        // Slow statements are warnings that show the whole SQL.
        .with_target("sqlx::query", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Level, debug, info, warn};

    use super::*;

    fn logged(level: Level, format: LogFormat, work: impl FnOnce(&LevelHandle)) -> String {
        let sink = Arc::new(Mutex::new(Vec::new()));
        let log = Log { level, format, ..Log::default() };
        let target = Arc::clone(&sink);
        let writer = move || Sink(Arc::clone(&target));
        let (subscriber, handle) = subscriber(&log, writer);
        tracing::subscriber::with_default(subscriber, || work(&handle));
        let bytes = sink.lock().expect("no writer panicked").clone();
        String::from_utf8(bytes).expect("a log is text")
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut sink = self.0.lock().expect("no writer panicked");
            sink.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_logfmt_line_holds_level_message_and_fields_whatever_is_in_them() {
        let log = logged(Level::INFO, LogFormat::Logfmt, |_| {
            info!(workflow = "a\nlevel=error", "Counted a run.");
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("level=info"), "{log}");
        assert!(log.contains(r#""Counted a run.""#), "{log}");
        assert!(log.contains(r#"workflow="a\nlevel=error""#), "{log}");
    }

    #[test]
    fn a_quoted_value_in_logfmt_is_a_json_string() {
        let names = [
            "two \u{1f469}\u{200d}\u{1f4bb}",
            "no\u{a0}break, =",
            "\u{301} accent",
            "\0 \u{1b}[0m \u{7f}",
            "O'Brien's \"best\" \\ \\u{41}\t\r\n",
            "tag \u{e0067}",
        ];
        for name in names {
            let log = logged(Level::INFO, LogFormat::Logfmt, |_| info!(name, "Counted."));
            let (_, value) = log.trim_end().split_once(" name=").expect("the last field");
            assert_eq!(serde_json::from_str::<String>(value).expect(value), name);
        }
        let bare = r"\u{41}\'";
        let log = logged(Level::INFO, LogFormat::Logfmt, |_| info!(bare, "Counted."));
        assert!(log.contains(r"bare=\u{41}\'"), "{log}");
    }

    #[test]
    fn a_json_line_is_one_object_with_the_message_beside_the_fields() {
        let log = logged(Level::INFO, LogFormat::Json, |_| {
            info!(runs = 3, "Counted.");
        });
        let line: serde_json::Value = serde_json::from_str(&log).expect("one object");
        assert_eq!(line["message"], "Counted.");
        assert_eq!(line["runs"], 3);
    }

    #[test]
    fn the_level_is_for_this_crate_and_libraries_only_warn() {
        let work = |_: &LevelHandle| {
            debug!("own detail");
            debug!(target: "hyper::proto", "foreign detail");
            info!(target: "reqwest::connect", "foreign news");
            warn!(target: "sqlx::query", "select secrets");
            warn!(target: "hyper::proto", "foreign warning");
        };
        let log = logged(Level::TRACE, LogFormat::Logfmt, work);
        assert!(log.contains("own detail") && log.contains("foreign warning"));
        assert_eq!(log.lines().count(), 2, "{log}");
        assert_eq!(logged(Level::ERROR, LogFormat::Logfmt, work), "");
    }

    #[test]
    fn the_level_can_change_while_it_runs() {
        let log = logged(Level::INFO, LogFormat::Logfmt, |handle| {
            debug!("before");
            handle.reload(filter(Level::DEBUG)).expect("the subscriber is there");
            debug!("between");
            handle.reload(filter(Level::INFO)).expect("the subscriber is there");
            debug!("after");
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("between"), "{log}");
    }
}
