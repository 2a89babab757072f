//! Reads the parts of the tree, collecting what is wrong with them. Texts that may be secret are
//! never repeated.

use std::collections::BTreeMap;

use super::keys;
use crate::config::yaml::{Node, Place, Value};

/// The entries of a section by their names.
pub(super) type Section<'t> = BTreeMap<&'t str, &'t Node>;

/// Collects what is wrong with a file.
pub(super) struct Reader {
    /// How the file is called in messages.
    shown: String,
    errors: Vec<(Place, String)>,
    warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(shown: String) -> Self {
        Self { shown, errors: Vec::new(), warnings: Vec::new() }
    }

    /// A place in the file, for messages.
    pub(super) fn at(&self, place: Place) -> String {
        format!("{}:{}:{}", self.shown, place.line, place.column)
    }

    /// The warnings; or the errors, in the order of their places.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Vec<String>> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        self.errors.sort_by_key(|(place, _)| *place);
        Err(self.errors.into_iter().map(|(_, error)| error).collect())
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.len()
    }

    pub(super) fn error(&mut self, place: Place, why: &str) {
        self.error_in(place, &self.at(place), why);
    }

    /// An error in something that this place names.
    pub(super) fn error_in(&mut self, place: Place, origin: &str, why: &str) {
        self.errors.push((place, format!("{origin}: {why}")));
    }

    pub(super) fn warn(&mut self, place: Place, what: &str) {
        self.warnings.push(format!("{}: {what}", self.at(place)));
    }

    /// A section whose keys are known, without those that nothing is said of; `path` is its own name
    /// with those above it.
    pub(super) fn section<'t>(&mut self, node: Option<&'t Node>, path: &str) -> Section<'t> {
        let known = keys::names(path);
        let name = if path.is_empty() { "the file" } else { path };
        let mut section = self.entries(node, name, |key| {
            if known.contains(&key) {
                return Ok(());
            }
            Err(format!("{name} has no key {key:?}; its keys are {}", known.join(", ")))
        });
        section.retain(|_, node| !matches!(node.value, Value::Nothing));
        section
    }

    /// A section with any names in it, also ones that nothing is said of.
    pub(super) fn names<'t>(&mut self, node: Option<&'t Node>, name: &str) -> Section<'t> {
        self.entries(node, name, |_| Ok(()))
    }

    fn entries<'t>(
        &mut self,
        node: Option<&'t Node>,
        name: &str,
        judge: impl Fn(&str) -> Result<(), String>,
    ) -> Section<'t> {
        let mut section = Section::new();
        let Some(node) = node else { return section };
        let entries = match &node.value {
            Value::Nothing => return section,
            Value::Map(entries) => entries,
            other => {
                let why = format!("{name} is {}, but must be a section", other.kind());
                self.error(node.place, &why);
                return section;
            }
        };
        for (key, value) in entries {
            let judged = match &key.value {
                Value::Text(text) if section.contains_key(text.as_str()) => {
                    Err(format!("{text:?} stands twice in {name}"))
                }
                Value::Text(text) => judge(text).map(|()| text),
                other => Err(format!("a name in {name} is {}; put it in quotes", other.kind())),
            };
            match judged {
                Ok(text) => drop(section.insert(text, value)),
                Err(why) => self.error(key.place, &why),
            }
        }
        section
    }

    /// A text; an empty one counts as absent, as in other exporters.
    pub(super) fn text(&mut self, section: &Section<'_>, key: &str) -> Option<(Place, String)> {
        let node = section.get(key)?;
        let text = self.scalar(node, key)?;
        (!text.is_empty()).then_some((node.place, text))
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, section: &Section<'_>, key: &str) -> Option<String> {
        let node = section.get(key)?;
        let text = self.scalar(node, key)?;
        if text.is_empty() {
            self.error(node.place, &format!("{key} is empty"));
        }
        Some(text)
    }

    fn scalar(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Whole(number) => Some(number.clone()),
            other => {
                let quotes = matches!(other, Value::Switch(_) | Value::Fraction(_));
                let hint = if quotes { "; put it in quotes" } else { "" };
                let why = format!("{key} is {}, but must be a text{hint}", other.kind());
                self.error(node.place, &why);
                None
            }
        }
    }

    /// A text that `read` makes something of.
    pub(super) fn value<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (place, text) = self.text(section, key)?;
        read(&text).map_err(|why| self.error(place, &format!("{key}: {why}"))).ok()
    }

    pub(super) fn switch(&mut self, section: &Section<'_>, key: &str, default: bool) -> bool {
        let Some(node) = section.get(key) else { return default };
        // YAML before version 1.2, which other exporters read, had more words for these.
        let word = match &node.value {
            Value::Switch(on) => return *on,
            Value::Text(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "yes" | "on" | "y" => true,
            "no" | "off" | "n" => false,
            _ => {
                let kind = node.value.kind();
                self.error(node.place, &format!("{key} is {kind}, but must be true or false"));
                default
            }
        }
    }

    /// A list of texts that `read` makes something of; `None` if there is none.
    pub(super) fn list<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let node = section.get(key)?;
        let Value::List(items) = &node.value else {
            let why = format!("{key} is {}, but must be a list", node.value.kind());
            self.error(node.place, &why);
            return None;
        };
        let mut list = Vec::new();
        for item in items {
            let Some(text) = self.scalar(item, key) else { continue };
            match read(&text) {
                Ok(value) => list.push(value),
                Err(why) => self.error(item.place, &format!("{key}: {why}")),
            }
        }
        Some(list)
    }
}
