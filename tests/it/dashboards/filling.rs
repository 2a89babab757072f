//! Putting values in the place of variables, as Grafana does before it asks Prometheus.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use regex::{Captures, Regex};

/// What Prometheus is said to scrape in, where the data source specifies nothing else.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

/// A variable, in any of the three ways to write it.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = Regex::new(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}|\[\[(\w+)(?::\w+)?\]\]");
    pattern.expect("it is one")
});

/// Values by the names of variables.
#[derive(Clone, Default)]
pub(super) struct Filling(BTreeMap<String, String>);

impl Filling {
    /// What Grafana itself knows, for a time range and the least step of a panel.
    pub(super) fn built_in(range: Duration, least_step: Option<Duration>) -> Self {
        let interval = step(least_step);
        let rate = (interval + SCRAPE_INTERVAL).max(4 * SCRAPE_INTERVAL);
        let mut filling = Self::default();
        for (name, value) in [("range", range), ("interval", interval), ("rate_interval", rate)] {
            filling.set(&format!("__{name}"), format!("{}s", value.as_secs()));
        }
        filling.set("__interval_ms", interval.as_millis().to_string());
        filling
    }

    /// Takes a value as it is.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes chosen values, as the data source Prometheus puts them into a regular expression
    /// within quotes.
    pub(super) fn choose(&mut self, name: &str, values: &[String]) {
        let escaped = |value: &String| regex::escape(value).replace('\\', "\\\\");
        let values: Vec<_> = values.iter().map(escaped).collect();
        let joined = values.join("|");
        self.set(name, if values.len() == 1 { joined } else { format!("({joined})") });
    }

    /// The same with the values of another one added.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(other.0.clone());
        all
    }

    /// Puts the values in. The error names the variables that have none.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut unknown = Vec::new();
        let value = |found: &Captures<'_>| {
            let name = found.iter().skip(1).flatten().next().map_or("", |name| name.as_str());
            self.0.get(name).cloned().unwrap_or_else(|| {
                unknown.push(name.to_owned());
                String::new()
            })
        };
        let filled = VARIABLE.replace_all(text, value).into_owned();
        if unknown.is_empty() {
            Ok(filled)
        } else {
            Err(format!("unknown variables {unknown:?} in {text}"))
        }
    }
}

/// The step of a panel that is so short that its least step decides.
pub(super) fn step(least: Option<Duration>) -> Duration {
    least.unwrap_or(SCRAPE_INTERVAL).max(SCRAPE_INTERVAL)
}

mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_variable_is_filled() {
        let mut filling = Filling::built_in(Duration::from_secs(1800), None);
        filling.set("workflow", ".*");
        filling.choose("step", &["a.b".into(), "c".into()]);
        for (text, expected) in [
            ("x[$__range]", "x[1800s]"),
            ("x[$__interval]", "x[15s]"),
            ("$__interval_ms / 1000", "15000 / 1000"),
            ("x[$__rate_interval]", "x[60s]"),
            ("{a=~\"$workflow\", b=~\"${step}\"}", "{a=~\".*\", b=~\"(a\\\\.b|c)\"}"),
            ("${workflow:regex}[[workflow]]", ".*.*"),
        ] {
            assert_eq!(filling.fill(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_variable_that_nobody_fills_is_refused() {
        let filling = Filling::built_in(Duration::from_secs(60), Some(Duration::from_secs(120)));
        assert_eq!(filling.fill("x[$__rate_interval]").as_deref(), Ok("x[135s]"));
        for text in ["$workflow", "x[$__ranges]", "${work:regex}", "[[w]]"] {
            assert!(filling.fill(text).is_err(), "{text}");
        }
    }
}
