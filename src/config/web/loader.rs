//! Reads the values of a web configuration file, and the files that it names.

use std::path::{Path, PathBuf};

use super::keys;
use crate::config::{
    walker::{Entries, Walker},
    yaml::{self, Node, Place},
};

/// A file that is being read.
pub(super) struct Loader<'t> {
    pub(super) walker: Walker,
    entries: Entries<'t>,
    /// The files so far, and what is in them.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    pub(super) warnings: Vec<String>,
}

impl<'t> Loader<'t> {
    /// A file with these contents.
    pub(super) fn new(path: &Path, contents: Vec<u8>, document: &'t Node) -> Self {
        let mut walker = Walker::lenient(path);
        let entries = walker.entries("", document, &keys::paths());
        let files = vec![(path.to_owned(), contents)];
        Self { walker, entries, files, warnings: Vec::new() }
    }

    pub(super) fn warn(&mut self, place: Place, what: &str) {
        self.warnings.push(format!("{}: {what}", self.walker.at(place)));
    }

    /// What a key or a section is set to, if to anything.
    pub(super) fn node(&self, key: &str) -> Option<&'t Node> {
        self.entries.get(key).copied()
    }

    /// Whether anything is set in a section.
    pub(super) fn has_any(&self, section: &str) -> bool {
        let mut keys = self.entries.keys().filter_map(|key| key.strip_prefix(section));
        keys.any(|rest| rest.starts_with('.'))
    }

    /// A string; an empty one counts as absent, as in other exporters.
    pub(super) fn text(&mut self, key: &str) -> Option<(Place, String)> {
        let node = self.node(key)?;
        let text = self.walker.string(key, node, "a string")?;
        (!text.is_empty()).then_some((node.place, text))
    }

    /// A string that `parse` makes something of.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (place, text) = self.text(key)?;
        parse(&text).map_err(|why| self.walker.error(place, key, &why)).ok()
    }

    pub(super) fn bool(&mut self, key: &str, default: bool) -> bool {
        let node = self.node(key);
        node.and_then(|node| self.walker.bool(key, node, "true or false")).unwrap_or(default)
    }

    /// A list of strings that `parse` makes something of; `None` if there is none.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.walker.list(key, self.entries.get(key)?, "a list of strings")?;
        let mut list = Vec::new();
        for item in items {
            let Some(text) = self.walker.string(key, item, "a string") else { continue };
            match parse(&text) {
                Ok(value) => list.push(value),
                Err(why) => self.walker.error(item.place, key, &why),
            }
        }
        Some(list)
    }

    /// What is in a file that is named by its path; with how to call it in messages.
    pub(super) fn named(&mut self, path: &str) -> Result<(String, Vec<u8>), String> {
        let path = self.walker.directory().join(path);
        let bytes = yaml::contents(&path)?;
        self.files.push((path.clone(), bytes.clone()));
        Ok((path.display().to_string(), bytes))
    }
}
