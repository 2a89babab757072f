//! How the families look: their buckets, and the labels that all series have.

use std::collections::BTreeMap;

use super::{
    super::{
        Buckets, TAKEN_LABELS,
        file::{self, Setting, quote},
    },
    Checks,
};

/// The most bounds that a histogram may have; each is a series.
const MOST_BOUNDS: usize = 100;

/// The longest value of a label; the API's own are cut to this length.
const LONGEST_VALUE: usize = 128;

/// The most labels of the operator's.
const MOST_LABELS: usize = 20;

impl Checks<'_> {
    pub(super) fn buckets(&mut self) -> Option<Buckets> {
        let Buckets { runs, queues, steps } = Buckets::default();
        let runs = self.bounds("metrics.buckets.run_duration", runs);
        let queues = self.bounds("metrics.buckets.queue_duration", queues);
        let steps = self.bounds("metrics.buckets.step_duration", steps);
        Some(Buckets { runs: runs?, queues: queues?, steps: steps? })
    }

    fn bounds(&mut self, key: &str, default: Vec<f64>) -> Option<Vec<f64>> {
        let Some((file, Setting::Numbers(place, bounds))) = self.setting(key) else {
            return Some(default);
        };
        let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let why = if bounds.is_empty() || bounds.len() > MOST_BOUNDS {
            format!("{} upper bounds are not 1 to {MOST_BOUNDS}", bounds.len())
        } else if !ascending || bounds[0] <= 0.0 {
            "upper bounds are seconds above 0, each larger than the one before; +Inf is added to \
             them"
                .into()
        } else {
            return Some(bounds.clone());
        };
        self.errors.push(file.error(*place, key, &why));
        None
    }

    pub(super) fn labels(&mut self) -> Option<BTreeMap<String, String>> {
        let Some((file, Setting::Pairs(pairs))) = self.setting(file::LABELS) else {
            return Some(BTreeMap::new());
        };
        let before = self.errors.len();
        for (place, name, value) in pairs {
            if let Err(why) = label(name, value) {
                self.errors.push(file.error(*place, file::LABELS, &why));
            }
        }
        if let Some((place, ..)) = pairs.get(MOST_LABELS) {
            let why = format!("more than {MOST_LABELS} labels");
            self.errors.push(file.error(*place, file::LABELS, &why));
        }
        let labels = pairs.iter().map(|(_, name, value)| (name.clone(), value.clone()));
        (self.errors.len() == before).then(|| labels.collect())
    }
}

/// What is wrong with a label, if anything is.
fn label(name: &str, value: &str) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let plain = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    let shown = quote(name);
    if !plain || name.len() > LONGEST_VALUE {
        return Err(format!("{shown} is no label: letters, digits and _, and no digit first"));
    }
    if name.starts_with("__") {
        return Err(format!("{shown} is Prometheus' own: labels do not begin with __"));
    }
    if TAKEN_LABELS.contains(&name) {
        return Err(format!(
            "{shown} is taken: series or targets have a label of this name already"
        ));
    }
    if value.is_empty() {
        return Err(format!("{shown} is empty, which Prometheus takes for no label"));
    }
    if value.chars().count() > LONGEST_VALUE || value.chars().any(char::is_control) {
        return Err(format!(
            "the value of {shown} has more than {LONGEST_VALUE} characters, or control characters"
        ));
    }
    Ok(())
}
