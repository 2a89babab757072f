use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::Registry;
use tokio::sync::watch;

use super::{
    encoding::{Body, Deflater, Encoding, Joined},
    families::{FAMILIES, Now, Scope},
    format::{Encoder, Format},
    rendering::Rendering,
    sample::{Head, Kind, Sample, Sink},
    self_metrics,
};
use crate::{ledger::State, model::Clock};

/// How a client wants the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// In which format.
    pub format: Format,
    /// How encoded.
    pub encoding: Encoding,
}

impl Negotiated {
    /// For whoever asks for nothing in particular.
    pub const PLAIN: Self = Self { format: Format::Text, encoding: Encoding::Identity };
}

/// What Prometheus reads: the ledger's families, rendered when the ledger changes, and the
/// exporter's own, rendered at each scrape.
pub struct Exposition {
    states: watch::Receiver<Arc<State>>,
    /// The exporter's own families.
    own: Registry,
    clock: Arc<dyn Clock>,
    /// When the exporter's own counters were 0.
    start_ms: i64,
    created_lines: bool,
    /// What every series has besides its own labels.
    labels: Arc<[(String, String)]>,
    /// By format.
    kept: [Mutex<Kept>; Format::ALL.len()],
}

/// What is kept of a format from one state to the next. Nothing while nobody wants it.
#[derive(Default)]
struct Kept {
    rendering: Option<Rendering>,
    /// The state that is rendered.
    state: Arc<State>,
    /// By encoding: the state's families joined, and how many series they have.
    joined: [Option<(Joined, usize)>; Encoding::ALL.len()],
    /// When it was last asked for, by encoding.
    wanted: [Option<Instant>; Encoding::ALL.len()],
}

/// What wasn't asked for so long isn't kept ready. Longer than anybody's scrape interval.
const FORGET: Duration = Duration::from_secs(600);

/// How long changes of the ledger are gathered before they are rendered: a poll cycle changes it
/// many times.
const GATHER: Duration = Duration::from_millis(200);

impl Exposition {
    /// An exposition of these states. `own` has the exporter's own families; `interval_ms` is how
    /// often each workflow is to be read.
    pub fn new(states: watch::Receiver<Arc<State>>, own: Registry, clock: Arc<dyn Clock>) -> Self {
        let start_ms = clock.now_ms();
        let kept = std::array::from_fn(|_| Mutex::default());
        let (created_lines, labels) = (false, Arc::default());
        Self { states, own, clock, start_ms, created_lines, labels, kept }
    }

    /// The same with these labels, by name, on every series. No family may have one of them.
    #[must_use]
    pub fn with_labels(self, labels: &BTreeMap<String, String>) -> Self {
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self { labels: labels.collect(), ..self }
    }

    /// Whether OpenMetrics tells the start times of counters and histograms as samples of their own.
    #[must_use]
    pub fn with_created_lines(self, created_lines: bool) -> Self {
        Self { created_lines, ..self }
    }

    /// The exposition as of now, and the version of the state in it. Takes milliseconds of
    /// processor time if the state is new.
    pub fn render(&self, wanted: Negotiated) -> (Body, u64) {
        let Negotiated { format, encoding } = wanted;
        let (state, joined, series) = {
            let mut kept = self.kept(format);
            kept.wanted[encoding as usize] = Some(Instant::now());
            self.bring_up_to_date(&mut kept, format);
            let (joined, series) = kept.joined(encoding, &mut Deflater::default());
            (Arc::clone(&kept.state), joined, series)
        };
        (joined.ending_with(self.rest(&state, format, series)), state.version)
    }

    /// The exposition as of now in the text format.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.render(Negotiated::PLAIN).0.concat()).into_owned()
    }

    /// Renders the ledger's changes as they come, for whoever asks for them again and again. Never
    /// ends.
    pub async fn keep_ready(self: Arc<Self>) {
        let mut states = self.states.clone();
        while states.changed().await.is_ok() {
            tokio::time::sleep(GATHER).await;
            states.mark_unchanged();
            let this = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || this.get_ready()).await;
            if let Err(error) = done {
                tracing::error!(%error, "The metrics could not be rendered; this is a bug.");
            }
        }
    }

    fn get_ready(&self) {
        for format in Format::ALL {
            let mut kept = self.kept(format);
            for wanted in &mut kept.wanted {
                *wanted = wanted.filter(|at| at.elapsed() < FORGET);
            }
            if kept.wanted == [None; 2] {
                *kept = Kept::default();
                continue;
            }
            self.bring_up_to_date(&mut kept, format);
            let mut deflater = Deflater::default();
            for encoding in Encoding::ALL {
                if kept.wanted[encoding as usize].is_some() {
                    kept.joined(encoding, &mut deflater);
                }
            }
        }
    }

    /// Whoever comes while somebody renders waits rather than doing it too.
    fn kept(&self, format: Format) -> MutexGuard<'_, Kept> {
        self.kept[format as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bring_up_to_date(&self, kept: &mut Kept, format: Format) {
        let state = Arc::clone(&self.states.borrow());
        if kept.rendering.is_some() && Arc::ptr_eq(&kept.state, &state) {
            return;
        }
        kept.joined = Default::default();
        let rendering = kept.rendering.get_or_insert_with(|| Rendering::new(self.encoder(format)));
        rendering.update(&state, self.now());
        kept.state = state;
    }

    /// What is different at each scrape: the exporter's own families, and those that move with the
    /// clock.
    fn rest(&self, state: &State, format: Format, series: usize) -> Vec<u8> {
        let bytes = Vec::with_capacity(16 << 10);
        let mut rest = Rest { encoder: self.encoder(format), bytes, series };
        for family in self.own.gather() {
            rest.add(&self_metrics::head(&family), |sink| {
                self_metrics::samples(&family, self.start_ms, sink);
            });
        }
        for live in FAMILIES.iter().filter(|family| family.scope() == Scope::Clock) {
            rest.add(&live.head(), |sink| live.of_state(state, self.now(), sink));
        }
        let series = (rest.series + 1) as f64;
        rest.add(&SERIES, |sink| sink(&[], &Sample::Gauge(series)));
        rest.bytes.extend_from_slice(rest.encoder.end());
        rest.bytes
    }

    fn encoder(&self, format: Format) -> Encoder {
        let labels = Arc::clone(&self.labels);
        Encoder { format, created_lines: self.created_lines, labels }
    }

    fn now(&self) -> Now {
        Now { ms: self.clock.now_ms() }
    }
}

/// The end of an exposition, being written.
struct Rest {
    encoder: Encoder,
    bytes: Vec<u8>,
    /// How many series there are, those before included.
    series: usize,
}

impl Rest {
    fn add(&mut self, head: &Head<'_>, collect: impl FnOnce(&mut Sink<'_>)) {
        let mut samples = Vec::new();
        collect(&mut |labels, sample| {
            self.encoder.sample(&mut samples, head, labels, sample);
            self.series += sample.series();
        });
        if !samples.is_empty() {
            self.encoder.head(&mut self.bytes, head, samples.len());
            self.bytes.extend_from_slice(&samples);
        }
    }
}

impl Kept {
    /// What was brought up to date, joined.
    fn joined(&mut self, encoding: Encoding, deflater: &mut Deflater) -> (Joined, usize) {
        let Self { rendering, joined, .. } = self;
        let join = || {
            let rendering = rendering.as_ref().expect("it was brought up to date");
            rendering.join(encoding, deflater)
        };
        joined[encoding as usize].get_or_insert_with(join).clone()
    }
}

/// The family that counts the others, and so can only be written when they are. It counts what the
/// text format has, whatever the format.
const SERIES: Head<'static> = Head {
    name: "cortex_workflow_exporter_series",
    help: "Series in this exposition.",
    kind: Kind::Gauge,
};
