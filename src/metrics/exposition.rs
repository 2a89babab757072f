use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use prometheus::{
    Registry,
    proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use tokio::sync::watch;

use super::{
    encoding::{self, Encoding, Part},
    families::{FAMILIES, Now},
};
use crate::{ledger::State, model::Clock};

/// What Prometheus reads: the ledger's families, rendered once per state, and the exporter's own,
/// rendered at each scrape.
pub struct Exposition {
    states: watch::Receiver<Arc<State>>,
    /// The exporter's own families.
    own: Registry,
    clock: Arc<dyn Clock>,
    /// What every series has besides its own labels.
    labels: Vec<LabelPair>,
    rendered: Mutex<Option<Rendered>>,
}

/// A state and its rendering.
#[derive(Clone)]
struct Rendered {
    state: Arc<State>,
    part: Part,
    samples: usize,
}

impl Exposition {
    /// An exposition of these states. `own` has the exporter's own families.
    pub fn new(states: watch::Receiver<Arc<State>>, own: Registry, clock: Arc<dyn Clock>) -> Self {
        Self { states, own, clock, labels: Vec::new(), rendered: Mutex::new(None) }
    }

    /// The same with these labels, by name, on every series. No family may have one of them.
    #[must_use]
    pub fn with_labels(self, labels: &BTreeMap<String, String>) -> Self {
        let pair = |(name, value): (&String, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        Self { labels: labels.iter().map(pair).collect(), ..self }
    }

    /// The exposition as of now, in the text format 0.0.4, and the version of the state in it. Takes
    /// milliseconds of processor time when the state is new.
    pub fn render(&self, encoding: Encoding) -> (Bytes, u64) {
        let rendered = self.rendered();
        let mut text = self.text(self.own.gather());
        text += &self.families(&rendered.state, true);
        let samples = rendered.samples + encoding::samples(&text) + 1;
        text += &self.text([series(samples)]);
        let body = encoding::join(&[&rendered.part, &Part::new(text)], encoding);
        (body, rendered.state.version)
    }

    /// The state's rendering, made if it is new. Whoever comes meanwhile waits for it rather than
    /// making it too.
    fn rendered(&self) -> Rendered {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Arc::clone(&self.states.borrow());
        if let Some(rendered) = &*rendered
            && Arc::ptr_eq(&rendered.state, &state)
        {
            return rendered.clone();
        }
        // The old one goes first, so that there are never two.
        *rendered = None;
        let text = self.families(&state, false);
        let samples = encoding::samples(&text);
        let new = Rendered { state, part: Part::new(text), samples };
        *rendered = Some(new.clone());
        new
    }

    /// The text of the ledger's families: of those that move with the clock, or of all others.
    fn families(&self, state: &State, live: bool) -> String {
        let now = Now { ms: self.clock.now_ms() };
        let families = FAMILIES.iter().filter(|family| family.is_live() == live);
        self.text(families.map(|family| family.collect(state, now)))
    }

    /// The families as text, with the labels that all series have.
    fn text(&self, families: impl IntoIterator<Item = MetricFamily>) -> String {
        encoding::text(families.into_iter().map(|mut family| {
            for metric in family.mut_metric().iter_mut().filter(|_| !self.labels.is_empty()) {
                metric.set_label([metric.get_label(), &self.labels].concat());
            }
            family
        }))
    }
}

/// The family that counts the others, and so can only be written when they are.
fn series(samples: usize) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(samples as f64);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    let mut family = MetricFamily::default();
    family.set_name("cortex_workflow_exporter_series".into());
    family.set_help("Series in this exposition.".into());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(vec![metric]);
    family
}
