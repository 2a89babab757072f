//! What is said about the chart's values: the table in its README, and the schema.

use std::fmt::Write as _;

use super::*;

/// A value that can be set.
#[derive(Debug)]
pub(super) struct Documented {
    /// Its path, dotted.
    pub(super) path: String,
    /// What is said about it.
    text: String,
}

/// The values that have a comment, which begins with `# -- `, in the order of `values.yaml`.
pub(super) fn values() -> Vec<Documented> {
    let mut values = Vec::new();
    let mut section = String::new();
    let mut comment: Option<String> = None;
    for line in read(&format!("{CHART}/values.yaml")).lines() {
        let indented = line.starts_with("  ");
        let line = line.strip_prefix("  ").unwrap_or(line);
        if let Some(text) = line.strip_prefix("# -- ") {
            comment = Some(text.to_owned());
        } else if let (Some(text), Some(more)) = (&mut comment, line.strip_prefix("# ")) {
            *text += " ";
            *text += more;
        } else if let Some((key, _)) = line.split_once(':') {
            let path = if indented { format!("{section}.{key}") } else { key.to_owned() };
            if let Some(text) = comment.take() {
                values.push(Documented { path, text });
            } else if !indented {
                key.clone_into(&mut section);
            }
        }
    }
    values
}

/// The default of a value, as JSON.
fn default_of(path: &str) -> Value {
    let all = yaml(&format!("{CHART}/values.yaml"));
    path.split('.').fold(all, |place, key| place[key].clone())
}

/// The table as the README has it.
fn table() -> String {
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for Documented { path, text } in values() {
        let default = default_of(&path);
        let default = match &default {
            Value::Object(map) if map.values().any(|value| !value.is_string()) => {
                "see `values.yaml`".to_owned()
            }
            _ => format!("`{default}`"),
        };
        writeln!(table, "| `{path}` | {default} | {text} |").expect("a string takes everything");
    }
    table
}

#[test]
fn the_table_of_values_is_the_one_of_the_chart() {
    let file = format!("{CHART}/README.md");
    let document = read(&file);
    let (before, rest) = document.split_once("<!-- values -->\n").expect("it has such a part");
    let (documented, after) = rest.split_once("<!-- /values -->").expect("it has an end");
    let table = table();
    if documented != table && env::var_os("UPDATE_DOCS").is_some() {
        let document = format!("{before}<!-- values -->\n{table}<!-- /values -->{after}");
        fs::write(path(&file), document).expect("the document can be written");
        return;
    }
    assert_eq!(documented, table, "UPDATE_DOCS=1 puts it into {file}");
}

/// The keys of a schema's object that admits no others, with references followed.
fn closed<'s>(schema: &'s Value, part: &'s Value) -> Option<&'s serde_json::Map<String, Value>> {
    let part = match part["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).expect("it is there"),
        None => part,
    };
    let closed = part["additionalProperties"] == false;
    closed.then(|| part["properties"].as_object().expect("it lists them"))
}

#[test]
fn the_schema_knows_exactly_the_values_that_have_a_meaning() {
    let schema: Value =
        serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).expect("it is JSON");
    let mut known = BTreeSet::new();
    for (key, part) in closed(&schema, &schema).expect("unknown values are refused") {
        match closed(&schema, part) {
            Some(keys) => known.extend(keys.keys().map(|inner| format!("{key}.{inner}"))),
            None => drop(known.insert(key.clone())),
        }
    }
    // What a chart that this one is part of shares with all its parts.
    assert!(known.remove("global"));
    let documented: BTreeSet<_> = values().into_iter().map(|value| value.path).collect();
    assert_eq!(known, documented);
    let defaults = yaml(&format!("{CHART}/values.yaml"));
    for (key, value) in defaults.as_object().expect("it has sections") {
        let inner = value.as_object().into_iter().flat_map(|section| section.keys());
        let mut paths = inner.map(|inner| format!("{key}.{inner}"));
        let whole = documented.contains(key);
        assert!(whole || paths.all(|path| documented.contains(&path)), "{key} has no comment");
    }
}
