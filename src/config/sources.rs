//! Where the values of the settings come from: a flag, its variable, the configuration file or the
//! default, in this order. Collects everything that is wrong with them.

use std::{fmt, path::PathBuf};

use super::{
    command_line::CommandLine,
    kind::{ConfigDraft, SettingKind as Kind},
    parse::{self, MAX_LABELS},
    setting::Setting,
    settings::SETTINGS,
    types::Log,
    walker::{Entries, Walker},
    yaml::{self, Node, YamlValue},
};
use crate::model::{ErrorClasses, OwnErrorClass};

/// Maximum number of a team's own classes of errors; each can make new series.
const MAX_ERROR_CLASSES: usize = 16;

/// Everything that is wrong with the configuration; each entry names the flag and its variable, or
/// the file, line and column.
#[derive(Debug)]
pub struct ConfigErrors {
    /// One by one.
    pub errors: Vec<String>,
    /// What to log, as far as that is right.
    pub log: Log,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid:")?;
        self.errors.iter().try_for_each(|error| {
            let error = error.replace('\n', "\n    ");
            write!(f, "\n  {error}")
        })
    }
}

impl std::error::Error for ConfigErrors {}

/// The settings as they are read, and what is wrong with them.
pub(super) struct Sources<'a> {
    pub(super) line: &'a CommandLine,
    pub(super) draft: ConfigDraft,
    /// What is wrong beside the file.
    pub(super) errors: Vec<String>,
    /// What is wrong in the file.
    pub(super) walker: Walker,
    entries: Entries<'a>,
}

/// Reads the configuration file that the command line names, if it does.
pub(super) fn file(line: &CommandLine) -> Result<Option<(PathBuf, Node)>, String> {
    let setting = Setting::named("config.file");
    let Some(texts) = line.given(setting) else { return Ok(None) };
    let read = |texts: Vec<&str>| {
        let path = parse::path(texts.last().copied().unwrap_or_default());
        let node = yaml::document(&path, &yaml::contents(&path)?)?;
        Ok((path, node))
    };
    texts.and_then(read).map(Some).map_err(|why| format!("{setting}: {why}"))
}

impl<'a> Sources<'a> {
    pub(super) fn new(line: &'a CommandLine, file: Option<&'a (PathBuf, Node)>) -> Self {
        let (mut walker, mut entries) = (Walker::default(), Entries::new());
        if let Some((path, root)) = file {
            walker = Walker::strict(path);
            let keys: Vec<_> = SETTINGS.iter().filter_map(Setting::key).collect();
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            entries = walker.entries("", root, &keys);
        }
        let mut sources =
            Self { line, draft: ConfigDraft::default(), errors: Vec::new(), walker, entries };
        for setting in SETTINGS {
            sources.read(setting);
        }
        sources
    }

    /// Whether a setting is set by its flag or its variable.
    pub(super) fn is_given(&self, setting: &Setting) -> bool {
        self.line.given(setting).is_some()
    }

    /// What the file sets a setting to, if that counts.
    pub(super) fn node(&self, setting: &Setting) -> Option<&'a Node> {
        let counts = setting.commands.contains(&self.line.command) && !self.is_given(setting);
        self.entries.get(&setting.key()?).copied().filter(|_| counts)
    }

    fn read(&mut self, setting: &'static Setting) {
        if !setting.default.is_empty() {
            // A wrong value leaves it in place, so that no other setting is judged by nothing.
            setting.kind.set(&mut self.draft, &[setting.default]);
        }
        if let Some(given) = self.line.given(setting) {
            let errors = match given {
                Ok(texts) => setting.kind.set(&mut self.draft, &texts),
                Err(why) => vec![(0, why)],
            };
            self.errors.extend(errors.into_iter().map(|(_, why)| format!("{setting}: {why}")));
        } else if let Some(node) = self.node(setting) {
            let key = setting.key().unwrap_or_default();
            self.read_node(&setting.kind, &key, node);
        }
    }

    /// Reads what the file sets a key to.
    pub(super) fn read_node(&mut self, kind: &Kind, key: &str, node: &Node) {
        match kind {
            Kind::Apps => {}
            Kind::Bounds(field) => {
                let Some(bounds) = self.walker.numbers(key, node, kind.words().1) else { return };
                match parse::bounds(&bounds) {
                    Ok(()) => *field(&mut self.draft) = bounds,
                    Err(why) => self.walker.error(node.place, key, &why),
                }
            }
            Kind::ErrorClasses(field) => {
                if let Some(classes) = self.error_classes(key, node) {
                    *field(&mut self.draft) = classes;
                }
            }
            Kind::Labels(field) => {
                let labels = self.labels(key, node);
                field(&mut self.draft).extend(labels);
            }
            _ => {
                let items = match &node.value {
                    YamlValue::List(items) if kind.is_repeatable() => &items[..],
                    _ => std::slice::from_ref(node),
                };
                let texts: Option<Vec<_>> =
                    items.iter().map(|item| self.text(kind, key, item)).collect();
                let Some(texts) = texts else { return };
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                for (index, why) in kind.set(&mut self.draft, &texts) {
                    self.walker.error(items[index].place, key, &why);
                }
            }
        }
    }

    /// A value as a flag would have it.
    fn text(&mut self, kind: &Kind, key: &str, node: &Node) -> Option<String> {
        let (walker, expected) = (&mut self.walker, kind.words().1);
        match kind {
            Kind::Bool(_) => walker.bool(key, node, expected).map(|on| on.to_string()),
            Kind::Int(..) => walker.int(key, node, expected),
            Kind::File(_) => {
                let path = walker.string(key, node, expected)?;
                Some(walker.directory().join(path).display().to_string())
            }
            Kind::Ledger(_) => {
                let url = walker.string(key, node, expected)?;
                Some(match parse::ledger_path(&url) {
                    Some(path) if !path.is_empty() && !path.starts_with("file:") => {
                        format!("sqlite:{}", walker.directory().join(path).display())
                    }
                    _ => url,
                })
            }
            _ => walker.string(key, node, expected),
        }
    }

    fn labels(&mut self, key: &str, node: &Node) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for (number, (name, place, value)) in self.walker.map(key, node).into_iter().enumerate() {
            let Some(value) = self.walker.string(key, value, "a string") else { continue };
            if let Err(why) = parse::label(name, &value) {
                self.walker.error(place, key, &why);
            }
            if number == MAX_LABELS {
                self.walker.error(place, key, &format!("more than {MAX_LABELS} labels"));
            }
            labels.push((name.to_owned(), value));
        }
        labels
    }

    /// Nothing if any of them is wrong.
    fn error_classes(&mut self, key: &str, node: &Node) -> Option<ErrorClasses> {
        let errors_before = self.walker.error_count();
        let expected = "a list of names and patterns";
        let mut classes = Vec::new();
        for (index, item) in self.walker.list(key, node, expected)?.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let entries = self.walker.entries(&key, item, &["name", "pattern"]);
            let [name, pattern] = ["name", "pattern"].map(|part| {
                let Some(node) = entries.get(part) else {
                    self.walker.error(item.place, &key, &format!("its {part} is missing"));
                    return String::new();
                };
                let key = format!("{key}.{part}");
                let text = self.walker.string(&key, node, "a string").unwrap_or_default();
                let right = match part {
                    "name" => parse::error_class(&text),
                    _ => parse::pattern(&text).map(drop),
                };
                if let Err(why) = right {
                    self.walker.error(node.place, &key, &why);
                }
                text
            });
            if index == MAX_ERROR_CLASSES {
                self.walker.error(item.place, &key, "more than 16 classes; join some of them");
            }
            classes.push(OwnErrorClass { name, pattern });
        }
        let classes = ErrorClasses::new(classes);
        if let Err(why) = &classes
            && self.walker.error_count() == errors_before
        {
            self.walker.error(node.place, key, &format!("the patterns are too large: {why}"));
        }
        classes.ok().filter(|_| self.walker.error_count() == errors_before)
    }

    /// Records what is wrong with a setting, where it is set.
    pub(super) fn error(&mut self, name: &str, why: &str) {
        let setting = Setting::named(name);
        match self.node(setting) {
            Some(node) => {
                self.walker.error(node.place, &setting.key().unwrap_or_default(), why);
            }
            None => self.errors.push(format!("{setting}: {why}")),
        }
    }

    /// What is wrong, if anything is.
    pub(super) fn finish(self) -> Result<ConfigDraft, ConfigErrors> {
        let Self { draft, mut errors, walker, .. } = self;
        errors.extend(walker.into_errors());
        if errors.is_empty() {
            Ok(draft)
        } else {
            Err(ConfigErrors { errors, log: draft.config.log })
        }
    }
}
