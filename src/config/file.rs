//! The configuration file: its keys, and what it sets them to. Whether the values make sense is for
//! `validate` to tell, as it is for flags.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::yaml::{self, Node, Place, Value};

/// What a key is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A path; a relative one starts at the configuration file's directory.
    File,
    /// A ledger's URL; a relative path in it likewise.
    Ledger,
    Whole,
    Switch,
    Texts,
    Numbers,
    /// Names and their values.
    Pairs,
    Apps,
}

impl Kind {
    /// What is expected, in words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Text | Self::Ledger => "a text",
            Self::File => "the name of a file",
            Self::Whole => "a whole number",
            Self::Switch => "true or false",
            Self::Texts => "a text, or a list of texts",
            Self::Numbers => "a list of numbers",
            Self::Pairs => "names and texts",
            Self::Apps => "a list of apps",
        }
    }
}

/// The keys that there are, dotted, and what each is set to.
pub(super) type Schema = BTreeMap<String, Kind>;

/// The keys beside those that the flags give.
pub(super) const MORE_KEYS: [(&str, Kind); 5] = [
    (APPS, Kind::Apps),
    ("metrics.buckets.run_duration", Kind::Numbers),
    ("metrics.buckets.queue_duration", Kind::Numbers),
    ("metrics.buckets.step_duration", Kind::Numbers),
    (LABELS, Kind::Pairs),
];
pub(super) const APPS: &str = "apps";
pub(super) const LABELS: &str = "metrics.labels";

/// The keys of each of the apps.
pub(super) const APP_KEYS: [(&str, Kind); 6] = [
    ("app_id", Kind::Text),
    ("api_url", Kind::Text),
    ("api_key_file", Kind::File),
    ("api_key_env", Kind::Text),
    ("workflows.include", Kind::Texts),
    ("workflows.exclude", Kind::Texts),
];

/// What a key is set to, and where.
#[derive(Clone, Debug)]
pub(super) enum Setting {
    Texts(Vec<(Place, String)>),
    Numbers(Place, Vec<f64>),
    Pairs(Vec<(Place, String, String)>),
    Apps(Place, Vec<Section>),
}

/// Keys and what they are set to.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) settings: BTreeMap<String, Setting>,
}

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub(super) struct File {
    path: PathBuf,
    settings: BTreeMap<String, Setting>,
}

/// The key of a flag.
pub(super) fn key(flag: &str) -> String {
    flag.replace('-', "_")
}

impl File {
    /// Reads a file that may have these keys. The errors name the file, line and column.
    pub(super) fn read(path: &Path, schema: &Schema) -> Result<Self, Vec<String>> {
        let root = yaml::read(path).map_err(|error| vec![error])?;
        let mut walk = Walk { path, errors: Vec::new() };
        let mut settings = BTreeMap::new();
        walk.section(&Keys { schema, shown: "", path: "" }, &root, &mut settings);
        if walk.errors.is_empty() {
            Ok(Self { path: path.to_owned(), settings })
        } else {
            Err(walk.errors)
        }
    }

    /// What a key is set to, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// The texts that a flag's key is set to; one, but for repeatable flags.
    pub(super) fn texts(&self, flag: &str) -> Option<&[(Place, String)]> {
        match self.get(&key(flag))? {
            Setting::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// Says what is wrong at a place.
    pub(super) fn error(&self, place: Place, key: &str, why: &str) -> String {
        error(&self.path, place, key, why)
    }
}

fn error(path: &Path, Place { line, column }: Place, key: &str, why: &str) -> String {
    let colon = if key.is_empty() { "" } else { ": " };
    format!("{}:{line}:{column}: {key}{colon}{why}", path.display())
}

/// A walk through the tree, which collects what is wrong.
struct Walk<'a> {
    path: &'a Path,
    errors: Vec<String>,
}

/// The keys at one place in the tree.
#[derive(Clone, Copy)]
struct Keys<'a> {
    schema: &'a Schema,
    /// What is shown before each key.
    shown: &'a str,
    /// The keys that led here, each with a dot behind it.
    path: &'a str,
}

impl Walk<'_> {
    fn error(&mut self, place: Place, key: &str, why: &str) {
        self.errors.push(error(self.path, place, key, why));
    }

    fn section(&mut self, keys: &Keys<'_>, node: &Node, found: &mut BTreeMap<String, Setting>) {
        let name = format!("{}{}", keys.shown, keys.path);
        let name = name.trim_end_matches('.');
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Nothing => return,
            other => {
                let why = format!("this is {}; keys with values are expected here", other.kind());
                return self.error(node.place, name, &why);
            }
        };
        let mut seen = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(own) = &key.value else {
                let why = format!("this is {}; the name of a key is expected", key.value.kind());
                self.error(key.place, name, &why);
                continue;
            };
            if let Some(first) = seen.insert(own, key.place) {
                let why = format!("the key {} is there since line {}", quote(own), first.line);
                self.error(key.place, name, &why);
                continue;
            }
            let path = format!("{}{own}", keys.path);
            let section = format!("{path}.");
            if own.contains('.') {
                let why = format!("there is no key {}: a dot leads to a section", quote(own));
                self.error(key.place, name, &why);
            } else if let Some(kind) = keys.schema.get(&path) {
                let setting = self.setting(*kind, &format!("{}{path}", keys.shown), value);
                found.extend(setting.map(|setting| (path, setting)));
            } else if keys.schema.keys().any(|known| known.starts_with(&section)) {
                self.section(&Keys { path: &section, ..*keys }, value, found);
            } else {
                self.error(key.place, name, &unknown(own, keys));
            }
        }
    }

    fn setting(&mut self, kind: Kind, name: &str, node: &Node) -> Option<Setting> {
        match (kind, &node.value) {
            (Kind::Text | Kind::Texts | Kind::File | Kind::Ledger, Value::Text(_))
            | (Kind::Whole, Value::Whole(_))
            | (Kind::Switch, Value::Switch(_)) => {
                Some(Setting::Texts(vec![self.text(kind, name, node)?]))
            }
            (Kind::Texts, Value::List(items)) => {
                let texts = items.iter().map(|item| self.text(kind, name, item));
                let texts: Vec<_> = texts.collect();
                Some(Setting::Texts(texts.into_iter().collect::<Option<_>>()?))
            }
            (Kind::Numbers, Value::List(items)) => {
                let numbers: Vec<_> = items.iter().map(|item| self.number(name, item)).collect();
                Some(Setting::Numbers(node.place, numbers.into_iter().collect::<Option<_>>()?))
            }
            (Kind::Pairs, Value::Map(entries)) => Some(self.pairs(name, entries)),
            (Kind::Apps, Value::List(items)) => {
                let schema = APP_KEYS.map(|(key, kind)| (key.to_owned(), kind)).into();
                let mut apps = Vec::new();
                for (number, item) in items.iter().enumerate() {
                    let shown = format!("{name}[{number}].");
                    let mut settings = BTreeMap::new();
                    let keys = Keys { schema: &schema, shown: &shown, path: "" };
                    self.section(&keys, item, &mut settings);
                    apps.push(Section { place: item.place, settings });
                }
                Some(Setting::Apps(node.place, apps))
            }
            (_, other) => {
                self.wrong(kind, name, node.place, other);
                None
            }
        }
    }

    fn wrong(&mut self, kind: Kind, name: &str, place: Place, value: &Value) {
        let quotes = match (kind, value) {
            (Kind::Text, Value::Whole(_) | Value::Fraction(_)) => {
                "; a duration needs its unit, anything else quotes"
            }
            (Kind::Text | Kind::Texts, Value::Switch(_))
            | (Kind::Texts, Value::Whole(_) | Value::Fraction(_)) => "; it may lack quotes",
            (Kind::Whole | Kind::Switch, Value::Text(_)) => "; remove quotes, if it has any",
            _ => "",
        };
        let why = format!("{} is expected, and this is {}{quotes}", kind.as_str(), value.kind());
        self.error(place, name, &why);
    }

    /// One text, or what stands for it.
    fn text(&mut self, kind: Kind, name: &str, node: &Node) -> Option<(Place, String)> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Whole(number) if kind == Kind::Whole => number.clone(),
            Value::Switch(on) if kind == Kind::Switch => on.to_string(),
            other => {
                self.wrong(kind, name, node.place, other);
                return None;
            }
        };
        if text.split_once("${").is_some_and(|(_, rest)| rest.contains('}')) {
            let why = "variables are not expanded here; a setting that has a flag can be set by its \
                       own variable, and a key comes from api_key_file or api_key_env";
            self.error(node.place, name, why);
            return None;
        }
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let text = match kind {
            Kind::File => directory.join(text).display().to_string(),
            Kind::Ledger => ledger(directory, text),
            _ => text,
        };
        Some((node.place, text))
    }

    fn number(&mut self, name: &str, node: &Node) -> Option<f64> {
        match &node.value {
            Value::Whole(number) => number.parse().ok(),
            Value::Fraction(number) => Some(*number),
            other => {
                self.wrong(Kind::Numbers, name, node.place, other);
                None
            }
        }
    }

    fn pairs(&mut self, name: &str, entries: &[(Node, Node)]) -> Setting {
        let mut seen = BTreeSet::new();
        let mut pairs = Vec::new();
        for (key, value) in entries {
            let Value::Text(own) = &key.value else {
                self.wrong(Kind::Text, name, key.place, &key.value);
                continue;
            };
            if !seen.insert(own) {
                self.error(key.place, name, &format!("{} is there twice", quote(own)));
            }
            let text = self.text(Kind::Text, name, value);
            pairs.extend(text.map(|(_, text)| (key.place, own.clone(), text)));
        }
        Setting::Pairs(pairs)
    }
}

/// A relative path in a URL of SQLite starts at the file's directory.
fn ledger(directory: &Path, url: String) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with([':', '/']) => {
            format!("sqlite:{}", directory.join(path).display())
        }
        _ => url,
    }
}

/// What to say about a key that there is not.
fn unknown(own: &str, keys: &Keys<'_>) -> String {
    let there = keys.schema.keys().filter_map(|known| known.strip_prefix(keys.path));
    let there: BTreeSet<_> = there.filter_map(|known| known.split('.').next()).collect();
    let own_shown = quote(own);
    if there.contains(&*key(own)) {
        return format!("there is no key {own_shown}; write {}", key(own));
    }
    if matches!(own, "api_key" | "api-key" | "key" | "token") {
        return format!(
            "there is no key {own_shown}: the API key is never written here; name a file that \
             holds it with api_key_file"
        );
    }
    let there: Vec<_> = there.into_iter().collect();
    format!("there is no key {own_shown}; known here: {}", there.join(", "))
}

/// A text of the file as it may be shown.
pub(super) fn quote(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

#[cfg(test)]
mod tests;
