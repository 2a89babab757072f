use std::{io, sync::Arc};

use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::watch;

use super::{
    encoding::{Body, Encoder, Encoding, FirstPart},
    families::{FAMILIES, Family, Now},
    format::{ExpositionOptions, Format, Formatter},
    sample::{Head, MetricType, Sample, Sink},
    self_metrics,
};
use crate::{
    ledger::{Leadership, Ledger, State},
    model::Clock,
};

/// What content negotiation resulted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The format.
    pub format: Format,
    /// The encoding of the body.
    pub encoding: Encoding,
}

impl Negotiated {
    /// For a client without preferences.
    pub const PLAIN: Self = Self { format: Format::Text, encoding: Encoding::Identity };
}

/// What Prometheus reads: the ledger's families, rendered once per state, and the exporter's own,
/// rendered at each scrape.
pub struct Exposition {
    states: watch::Receiver<Arc<State>>,
    leadership: Leadership,
    /// The exporter's own families.
    own: Registry,
    clock: Arc<dyn Clock>,
    /// When the exporter's own counters were 0.
    start_ms: i64,
    options: Arc<ExpositionOptions>,
    /// By format.
    compressed: [Mutex<Option<Rendered>>; Format::ALL.len()],
    /// Of the format that was requested last: it takes twenty times the memory.
    plain: Mutex<Option<Rendered>>,
}

/// The ledger's families in one format and encoding.
#[derive(Clone)]
struct Rendered {
    format: Format,
    /// Of the state.
    version: u64,
    part: Arc<FirstPart>,
    series: usize,
}

impl Exposition {
    /// An exposition of this ledger. `own` has the exporter's own families.
    pub fn new(ledger: &Ledger, own: Registry, clock: Arc<dyn Clock>) -> Self {
        let (states, leadership) = (ledger.states(), ledger.leadership().clone());
        let start_ms = clock.now_ms();
        let (options, compressed, plain) = Default::default();
        Self { states, leadership, own, clock, start_ms, options, compressed, plain }
    }

    /// The same with these options.
    #[must_use]
    pub fn with_options(self, options: ExpositionOptions) -> Self {
        Self { options: Arc::new(options), ..self }
    }

    /// The exposition as of now, and the version of the state in it. Takes tens of milliseconds of
    /// processor time if the state is new.
    pub fn render(&self, negotiated: Negotiated) -> (Body, u64) {
        let (rendered, state) = self.ledger_families(negotiated);
        let (live, _) = self.live_families(&state, negotiated.format, rendered.series);
        (rendered.part.followed_by(live), rendered.version)
    }

    /// How many series it has now.
    pub fn series(&self) -> usize {
        let (rendered, state) = self.ledger_families(Negotiated::PLAIN);
        self.live_families(&state, Negotiated::PLAIN.format, rendered.series).1
    }

    /// The exposition as of now in the text format.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.render(Negotiated::PLAIN).0.concat()).into_owned()
    }

    /// The families of the current state but for the live ones. Of scrapes that come at once, one
    /// renders and the others wait for it.
    fn ledger_families(
        &self,
        Negotiated { format, encoding }: Negotiated,
    ) -> (Rendered, Arc<State>) {
        let slot = match encoding {
            Encoding::Gzip => &self.compressed[format as usize],
            Encoding::Identity => &self.plain,
        };
        let mut slot = slot.lock();
        // At this moment: who was stopped, or cut off, and has lost the lead shows no workflow again.
        let leads = self.leadership.is_held();
        let state = if leads { Arc::clone(&self.states.borrow()) } else { Arc::default() };
        slot.take_if(|rendered| (rendered.version, rendered.format) != (state.version, format));
        let rendered = slot.get_or_insert_with(|| {
            self.discard_all_but(state.version);
            let mut writer = self.writer(format, Encoder::new(encoding));
            for family in FAMILIES.iter().filter(|family| !family.is_live()) {
                writer.ledger_family(family, &state, self.now());
            }
            let series = writer.series;
            Rendered { format, version: state.version, part: Arc::new(writer.out.finish()), series }
        });
        (rendered.clone(), state)
    }

    /// What was rendered of other states is never sent again.
    fn discard_all_but(&self, version: u64) {
        for slot in self.compressed.iter().chain([&self.plain]) {
            // One that is locked is being renewed.
            if let Some(mut slot) = slot.try_lock() {
                slot.take_if(|rendered| rendered.version != version);
            }
        }
    }

    /// The families that differ at each scrape: the exporter's own, those that move with the clock,
    /// and the one that counts the others. Ends the exposition. Also returns the number of all series.
    fn live_families(&self, state: &State, format: Format, series: usize) -> (Vec<u8>, usize) {
        let mut writer = self.writer(format, Vec::new());
        for family in self.own.gather() {
            let head = self_metrics::head(&family);
            writer.family(&head, |sink| self_metrics::samples(&family, self.start_ms, sink));
        }
        for family in FAMILIES.iter().filter(|family| family.is_live()) {
            writer.ledger_family(family, state, self.now());
        }
        let series = series + writer.series + 1;
        writer.family(&SERIES, |sink| sink(&[], &Sample::Gauge(series as f64)));
        writer.out.extend_from_slice(writer.formatter.end());
        (writer.out, series)
    }

    fn writer<O>(&self, format: Format, out: O) -> FamilyWriter<O> {
        let formatter = Formatter { format, options: Arc::clone(&self.options) };
        FamilyWriter { formatter, out, buffer: Vec::new(), series: 0 }
    }

    fn now(&self) -> Now {
        Now { ms: self.clock.now_ms(), leads: self.leadership.is_held() }
    }
}

/// Writes families.
struct FamilyWriter<O> {
    formatter: Formatter,
    out: O,
    /// What is written next.
    buffer: Vec<u8>,
    /// How many series have been written.
    series: usize,
}

/// The buffer's usual length.
const BUFFER: usize = 64 << 10;

impl<O: io::Write> FamilyWriter<O> {
    fn ledger_family(&mut self, family: &Family, state: &State, now: Now) {
        self.family(&family.head(), |sink| family.collect(state, now, sink));
    }

    /// Writes a family, unless it has no samples.
    fn family(&mut self, head: &Head<'_>, collect: impl FnOnce(&mut Sink<'_>)) {
        let Self { formatter, out, buffer, series } = self;
        // In protocol buffers a family begins with its length, so all of it is buffered.
        let is_text = formatter.format != Format::Protobuf;
        let mut is_first = true;
        collect(&mut |labels, sample| {
            if is_text && std::mem::take(&mut is_first) {
                formatter.head(buffer, head, 0);
            }
            formatter.sample(buffer, head, labels, sample);
            *series += sample.series();
            if is_text && buffer.len() >= BUFFER {
                write(out, buffer);
            }
        });
        if !is_text && !buffer.is_empty() {
            let mut beginning = Vec::new();
            formatter.head(&mut beginning, head, buffer.len());
            write(out, &mut beginning);
        }
        write(out, buffer);
    }
}

fn write(out: &mut impl io::Write, buffer: &mut Vec<u8>) {
    out.write_all(buffer).expect("memory takes everything");
    buffer.clear();
}

/// The family that counts the others, and so can only be written when they are. It counts what the
/// text format has, whatever the format.
const SERIES: Head<'static> = Head {
    name: "cortex_workflow_exporter_series",
    help: "Series in this exposition.",
    kind: MetricType::Gauge,
};
