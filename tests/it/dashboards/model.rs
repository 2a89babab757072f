//! Reading the dashboards.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::documents::ROOT;

/// A dashboard as it lies in its file.
#[derive(Clone)]
pub(super) struct Dashboard {
    /// The file's name.
    pub(super) file: String,
    /// What is in it.
    pub(super) json: Value,
}

/// A query of a panel.
pub(super) struct Question<'d> {
    /// Where it stands, for people.
    pub(super) place: String,
    /// The panel that asks.
    pub(super) panel: &'d Value,
    /// The query with what Grafana needs to know about it.
    pub(super) target: &'d Value,
}

/// All dashboards, by the names of their files.
pub(super) fn all() -> Vec<Dashboard> {
    let directory = Path::new(ROOT).join("grafana/dashboards");
    let entries = fs::read_dir(&directory).expect("there are dashboards");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("the directory can be listed").path();
        let text = fs::read_to_string(&path).expect("a dashboard is a text file");
        let json = serde_json::from_str(&text);
        let json = json.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.file_name().expect("it was listed").to_string_lossy().into_owned();
        Dashboard { file, json }
    };
    let mut all: Vec<_> = entries.map(read).collect();
    all.sort_by(|one, other| one.file.cmp(&other.file));
    assert!(all.len() >= 4, "fleet, workflow, steps, exporter");
    all
}

impl Dashboard {
    /// What its address has after `/d/`.
    pub(super) fn uid(&self) -> &str {
        text(&self.json, "uid")
    }

    /// Its panels, rows included.
    pub(super) fn panels_and_rows(&self) -> &[Value] {
        list(&self.json, "panels")
    }

    /// Its panels, without rows.
    pub(super) fn panels(&self) -> impl Iterator<Item = &Value> {
        self.panels_and_rows().iter().filter(|panel| text(panel, "type") != "row")
    }

    /// What it draws into graphs, beside what Grafana itself adds.
    pub(super) fn annotations(&self) -> &[Value] {
        list(&self.json["annotations"], "list")
    }

    /// Its variables, in the order in which Grafana fills them.
    pub(super) fn variables(&self) -> &[Value] {
        list(&self.json["templating"], "list")
    }

    /// Whether it has a variable of this name.
    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.variables().iter().any(|variable| text(variable, "name") == name)
    }

    /// All queries of all panels.
    pub(super) fn questions(&self) -> Vec<Question<'_>> {
        let of = |panel| {
            let targets = list(panel, "targets").iter();
            targets.map(move |target| {
                let (title, reference) = (text(panel, "title"), text(target, "refId"));
                let place = format!("{}: {title}: {reference}", self.file);
                Question { place, panel, target }
            })
        };
        self.panels().flat_map(of).collect()
    }
}

/// The expressions that a variable's query sends: `label_values(series, label)` has a label too.
pub(super) enum VariableQuery<'q> {
    /// The values of a label, of the series that match.
    LabelValues { series: &'q str, label: &'q str },
    /// What an expression comes to, as text that the variable's regular expression reads.
    Result(&'q str),
}

/// Reads a variable's query; `None` if it is of no kind that these dashboards should use.
pub(super) fn variable_query(variable: &Value) -> Option<VariableQuery<'_>> {
    let query = text(&variable["query"], "query");
    let inside = |name: &str| query.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(arguments) = inside("label_values") {
        let (series, label) = arguments.rsplit_once(", ")?;
        return Some(VariableQuery::LabelValues { series, label });
    }
    inside("query_result").map(VariableQuery::Result)
}

/// What a key holds if that is text, else nothing.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// What a key holds if that is a list, else nothing.
pub(super) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The data links of a panel: those of its fields, and those of single fields.
pub(super) fn data_links(panel: &Value) -> Vec<&str> {
    let config = &panel["fieldConfig"];
    let of_all = list(&config["defaults"], "links").iter().map(|link| text(link, "url"));
    of_all.chain(list(config, "overrides").iter().flat_map(links_of)).collect()
}

/// The data links of a single field.
pub(super) fn links_of(overridden: &Value) -> impl Iterator<Item = &str> {
    let properties = list(overridden, "properties").iter();
    let links = properties.filter(|property| text(property, "id") == "links");
    links.flat_map(|property| list(property, "value")).map(|link| text(link, "url"))
}
