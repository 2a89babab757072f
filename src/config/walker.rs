//! Reads the parts of a YAML document and collects everything that is wrong with them. Both files
//! are read with it. It repeats no value: some are secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    parse::quote,
    yaml::{Node, Place, YamlValue},
};

/// The nodes of a document by their dotted keys: the values, and the sections that they are in.
pub(super) type Entries<'t> = BTreeMap<String, &'t Node>;

/// Collects what is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Walker {
    path: PathBuf,
    /// Takes what Go's YAML readers take: numbers as strings, `yes` as true, an empty value as an
    /// absent key, and `${…}` as it is.
    lenient: bool,
    errors: Vec<(Place, String)>,
}

impl Walker {
    /// Reads strictly: each value has the type that is expected.
    pub(super) fn strict(path: &Path) -> Self {
        Self { path: path.to_owned(), lenient: false, errors: Vec::new() }
    }

    /// Reads files that are written for other exporters, too.
    pub(super) fn lenient(path: &Path) -> Self {
        Self { lenient: true, ..Self::strict(path) }
    }

    /// The directory of the file, where relative paths begin.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// A place in the file, for messages.
    pub(super) fn at(&self, Place { line, column }: Place) -> String {
        format!("{}:{line}:{column}", self.path.display())
    }

    /// How many errors there are so far.
    pub(super) fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// All errors in the order of their places.
    pub(super) fn into_errors(mut self) -> Vec<String> {
        self.errors.sort_by_key(|(place, _)| *place);
        self.errors.into_iter().map(|(_, error)| error).collect()
    }

    /// Records what is wrong with the value of a key.
    pub(super) fn error(&mut self, place: Place, key: &str, why: &str) {
        let colon = if key.is_empty() { "" } else { ": " };
        self.error_in(place, &self.at(place), &format!("{key}{colon}{why}"));
    }

    /// Records what is wrong with something that this place names.
    pub(super) fn error_in(&mut self, place: Place, origin: &str, why: &str) {
        self.errors.push((place, format!("{origin}: {why}")));
    }

    /// The entries of a section that may have these dotted keys. `name` is that of the section in
    /// messages; empty for the whole file.
    pub(super) fn entries<'t>(
        &mut self,
        name: &str,
        section: &'t Node,
        keys: &[&str],
    ) -> Entries<'t> {
        let mut found = Entries::new();
        for (key, place, value) in self.map(name, section) {
            let within = format!("{key}.");
            let below: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix(&within)).collect();
            if key.contains('.') || below.is_empty() && !keys.contains(&key) {
                self.error(place, name, &unknown(key, keys));
            } else if below.is_empty() {
                if !(self.lenient && matches!(value.value, YamlValue::Nothing)) {
                    found.insert(key.to_owned(), value);
                }
            } else {
                let inner = self.entries(&dotted(name, key), value, &below);
                found.extend(inner.into_iter().map(|(rest, node)| (dotted(key, &rest), node)));
                found.insert(key.to_owned(), value);
            }
        }
        found
    }

    /// The entries of a section with any names in it; each name is a string and comes once.
    pub(super) fn map<'t>(
        &mut self,
        name: &str,
        section: &'t Node,
    ) -> Vec<(&'t str, Place, &'t Node)> {
        let entries = match &section.value {
            YamlValue::Map(entries) => &entries[..],
            YamlValue::Nothing => &[],
            _ => {
                self.wrong(name, section, "a section of keys with values", "");
                &[]
            }
        };
        let mut seen = BTreeMap::new();
        let mut found = Vec::new();
        for (key, value) in entries {
            let YamlValue::String(own) = &key.value else {
                self.wrong(name, key, "the name of a key", "; put it in quotes");
                continue;
            };
            if let Some(first) = seen.insert(own, key.place) {
                let why = format!("the key {} is there since line {}", quote(own), first.line);
                self.error(key.place, name, &why);
                continue;
            }
            found.push((own.as_str(), key.place, value));
        }
        found
    }

    /// A string; `expected` is what it stands for.
    pub(super) fn string(&mut self, name: &str, node: &Node, expected: &str) -> Option<String> {
        match &node.value {
            YamlValue::String(text) if !self.lenient && has_variable(text) => {
                let why = "variables are not expanded here; a setting that has a flag can be set by \
                           its own variable, and a key comes from api_key_file or api_key_env";
                self.error(node.place, name, why);
                return None;
            }
            YamlValue::String(text) => return Some(text.clone()),
            YamlValue::Int(number) if self.lenient => return Some(number.clone()),
            YamlValue::Bool(_) => self.wrong(name, node, expected, "; put it in quotes"),
            YamlValue::Int(_) | YamlValue::Float(_) => {
                let hint = "; a duration needs its unit, anything else quotes";
                self.wrong(name, node, expected, hint);
            }
            _ => self.wrong(name, node, expected, ""),
        }
        None
    }

    /// A whole number, as it is written.
    pub(super) fn int(&mut self, name: &str, node: &Node, expected: &str) -> Option<String> {
        match &node.value {
            YamlValue::Int(number) => Some(number.clone()),
            _ => self.unquoted(name, node, expected),
        }
    }

    /// A boolean.
    pub(super) fn bool(&mut self, name: &str, node: &Node, expected: &str) -> Option<bool> {
        match &node.value {
            YamlValue::Bool(on) => return Some(*on),
            // Before version 1.2, YAML had more words for these.
            YamlValue::String(word) if self.lenient => match &*word.to_ascii_lowercase() {
                "yes" | "on" | "y" => return Some(true),
                "no" | "off" | "n" => return Some(false),
                _ => {}
            },
            _ => {}
        }
        self.unquoted(name, node, expected)
    }

    fn unquoted<T>(&mut self, name: &str, node: &Node, expected: &str) -> Option<T> {
        let quoted = matches!(node.value, YamlValue::String(_));
        self.wrong(
            name,
            node,
            expected,
            if quoted { "; remove quotes, if it has any" } else { "" },
        );
        None
    }

    /// The items of a list.
    pub(super) fn list<'t>(
        &mut self,
        name: &str,
        node: &'t Node,
        expected: &str,
    ) -> Option<&'t [Node]> {
        if let YamlValue::List(items) = &node.value {
            return Some(items);
        }
        self.wrong(name, node, expected, "");
        None
    }

    /// A list of numbers.
    pub(super) fn numbers(&mut self, name: &str, node: &Node, expected: &str) -> Option<Vec<f64>> {
        let mut numbers = Vec::new();
        let items = self.list(name, node, expected)?;
        for item in items {
            match &item.value {
                YamlValue::Int(number) => numbers.extend(number.parse::<f64>()),
                YamlValue::Float(number) => numbers.push(*number),
                _ => self.wrong(name, item, expected, ""),
            }
        }
        (numbers.len() == items.len()).then_some(numbers)
    }

    fn wrong(&mut self, name: &str, node: &Node, expected: &str, hint: &str) {
        let why = format!("{expected} is expected, and this is {}{hint}", node.value.kind());
        self.error(node.place, name, &why);
    }
}

/// A key within a section.
fn dotted(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn has_variable(text: &str) -> bool {
    text.split_once("${").is_some_and(|(_, rest)| rest.contains('}'))
}

/// What is wrong with a key that there is not.
fn unknown(own: &str, keys: &[&str]) -> String {
    let known: BTreeSet<_> = keys.iter().filter_map(|known| known.split('.').next()).collect();
    let (shown, underlined) = (quote(own), own.replace('-', "_"));
    if known.contains(&*underlined) {
        format!("there is no key {shown}; write {underlined}")
    } else if matches!(own, "api_key" | "api-key" | "key" | "token") {
        format!(
            "there is no key {shown}: the API key is never written here; name a file that holds it \
             with api_key_file"
        )
    } else if own.contains('.') {
        format!("there is no key {shown}: a dot leads to a section")
    } else {
        let known: Vec<_> = known.into_iter().collect();
        format!("there is no key {shown}; known here: {}", known.join(", "))
    }
}
