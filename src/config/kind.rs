//! What settings are set to, and how that is read.

use std::{
    collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration,
};

use regex::Regex;

use super::{
    parse,
    types::{AppConfig, Config},
};
use crate::model::ErrorClasses;

/// A configuration while its settings are read one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigDraft {
    /// Without the apps.
    pub(super) config: Config,
    /// What every app has unless it is listed with something else. Without its key.
    pub(super) app: AppConfig,
    /// Whether plain http is allowed to hosts other than loopback.
    pub(super) allow_http: bool,
    /// The file that holds the key.
    pub(super) key_file: Option<PathBuf>,
}

/// What a setting is set to, within which range, and where the value goes.
pub(super) enum SettingKind {
    Bool(fn(&mut ConfigDraft, bool)),
    Int(RangeInclusive<u64>, fn(&mut ConfigDraft, u64)),
    Duration(RangeInclusive<Duration>, fn(&mut ConfigDraft, Duration)),
    /// A string, with the name that the help has for it.
    String(&'static str, fn(&mut ConfigDraft, &str) -> Result<(), String>),
    /// A path; in the configuration file a relative one starts at the directory of that.
    File(fn(&mut ConfigDraft, PathBuf)),
    /// A ledger's URL; a relative path in it likewise.
    Ledger(fn(&mut ConfigDraft, String)),
    /// Any number of regular expressions, one per line.
    Patterns(fn(&mut ConfigDraft) -> &mut Vec<Regex>),
    /// Any number of addresses, separated by commas or lines.
    Addresses(fn(&mut ConfigDraft) -> &mut Vec<SocketAddr>),
    // What follows has no flag.
    /// The upper bounds of buckets.
    Bounds(fn(&mut ConfigDraft) -> &mut Vec<f64>),
    /// Names of labels, and their values.
    Labels(fn(&mut ConfigDraft) -> &mut BTreeMap<String, String>),
    /// A team's own classes of errors.
    ErrorClasses(fn(&mut ConfigDraft) -> &mut ErrorClasses),
    /// The apps.
    Apps,
}

/// Puts a value in its place, if it is one.
pub(super) fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *field = value)
}

impl SettingKind {
    /// What the help calls a value, and what the configuration file expects, in words.
    pub(super) fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Bool(_) => ("true|false", "true or false"),
            Self::Int(..) => ("NUMBER", "a whole number"),
            Self::Duration(..) => ("DURATION", "a string"),
            Self::String(placeholder, _) => (placeholder, "a string"),
            Self::File(_) => ("FILE", "the name of a file"),
            Self::Ledger(_) => ("URL", "a string"),
            Self::Patterns(_) => ("REGEX", "a string, or a list of strings"),
            Self::Addresses(_) => ("[HOST]:PORT", "a string, or a list of strings"),
            Self::Bounds(_) => ("", "a list of numbers"),
            Self::Labels(_) => ("", "names and strings"),
            Self::ErrorClasses(_) => ("", "a list of names and patterns"),
            Self::Apps => ("", "a list of apps"),
        }
    }

    /// Whether there may be several values.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Patterns(_) | Self::Addresses(_))
    }

    /// Puts values, as they were written, where they go. A setting that is not repeatable has
    /// exactly one. Returns what is wrong, each with the index of its value; then nothing is
    /// changed.
    pub(super) fn set(&self, draft: &mut ConfigDraft, texts: &[&str]) -> Vec<(usize, String)> {
        let raw = texts.first().copied().unwrap_or_default();
        let text = raw.trim();
        let result = match self {
            Self::Bool(set) => parse::bool(text).map(|on| set(draft, on)),
            Self::Int(range, set) => parse::int(text, range).map(|number| set(draft, number)),
            Self::Duration(range, set) => parse::duration(text, range).map(|time| set(draft, time)),
            Self::String(_, set) => set(draft, text),
            Self::File(set) => {
                set(draft, parse::path(raw));
                Ok(())
            }
            Self::Ledger(set) => parse::state_url(text).map(|url| set(draft, url)),
            Self::Patterns(field) => {
                return each(texts, &['\n', '\r'], parse::pattern, field(draft));
            }
            Self::Addresses(field) => {
                return each(texts, &[',', '\n', '\r'], parse::listen_address, field(draft));
            }
            Self::Bounds(_) | Self::Labels(_) | Self::ErrorClasses(_) | Self::Apps => {
                unreachable!("it has neither a flag nor a default")
            }
        };
        result.err().map(|why| (0, why)).into_iter().collect()
    }
}

fn each<T>(
    texts: &[&str],
    separators: &[char],
    parse: impl Fn(&str) -> Result<T, String>,
    field: &mut Vec<T>,
) -> Vec<(usize, String)> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for (index, texts) in texts.iter().enumerate() {
        for text in texts.split(separators).map(str::trim).filter(|text| !text.is_empty()) {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(why) => errors.push((index, why)),
            }
        }
    }
    if errors.is_empty() {
        *field = values;
    }
    errors
}
