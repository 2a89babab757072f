//! Reading the project's Markdown documents: their tables and headings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Where the project lies.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The labels that the families of workflows begin with.
const PER_WORKFLOW: [&str; 2] = ["workflow_id", "workflow"];

/// The text of one document, by its path from the root.
pub(crate) fn document(path: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join(path));
    text.unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// All documents: their paths from the root, and their texts.
pub(crate) fn documents() -> BTreeMap<String, String> {
    let mut documents = BTreeMap::new();
    collect(Path::new(ROOT), "md", &mut documents);
    assert!(documents.len() > 5, "the documents are found: {:?}", documents.keys());
    documents
}

/// The source of the program as one, with what is said in several lines in one.
pub(crate) fn program() -> String {
    let mut sources = BTreeMap::new();
    collect(&Path::new(ROOT).join("src"), "rs", &mut sources);
    let sources: Vec<_> = sources.into_values().collect();
    unwrapped(&sources.join("\n").replace("\\\n", " "))
}

/// Collects the files with this ending below a directory.
fn collect(directory: &Path, ending: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).expect("a directory of the project can be listed") {
        let entry = entry.expect("its entries can be read");
        let path = entry.path();
        if path.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && name != "target" {
                collect(&path, ending, files);
            }
        } else if path.extension().is_some_and(|extension| extension == ending) {
            let relative = path.strip_prefix(ROOT).expect("it is below the root");
            let relative = relative.to_str().expect("paths of the project are UTF-8");
            files.insert(relative.to_owned(), document(relative));
        }
    }
}

/// The texts of all documents as one, for tables that may stand in any of them.
pub(crate) fn all_documents() -> String {
    documents().into_values().collect::<Vec<_>>().join("\n")
}

/// The rows of all tables whose header begins with these cells. A row's cells are trimmed.
pub(crate) fn rows<'t>(text: &'t str, header: &[&str]) -> Vec<Vec<&'t str>> {
    let mut rows = Vec::new();
    let mut wanted = None;
    for line in text.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|'))
        else {
            wanted = None;
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        match wanted {
            None => wanted = Some(cells.starts_with(header)),
            Some(true) if !cells.iter().all(|cell| cell.starts_with("---")) => rows.push(cells),
            Some(_) => {}
        }
    }
    rows
}

/// What stands between backticks.
pub(crate) fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A metric family: its type and the names of its labels.
pub(crate) type Family = (String, BTreeSet<String>);

/// The families listed in the tables of metrics, by name.
pub(crate) fn documented_families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    for (labels, common) in [("more labels", &PER_WORKFLOW[..]), ("labels", &[])] {
        for row in rows(text, &["family", "type", labels, "meaning"]) {
            let all = common.iter().copied().chain(quoted(row[2]));
            let family = (row[1].to_owned(), all.map(str::to_owned).collect());
            let before = families.insert(row[0].trim_matches('`').to_owned(), family);
            assert!(before.is_none(), "{} is listed twice", row[0]);
        }
    }
    families
}

/// The text of a section, without the sections below it.
pub(crate) fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("\n### {heading}\n"));
    let text = start.map_or("", |start| &text[start + heading.len() + 6..]);
    text.split("\n#").next().unwrap_or_default()
}

/// The blocks of code in this language.
pub(crate) fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let begun = format!("\n```{language}\n");
    let blocks = text.split(&begun[..]).skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.collect()
}

/// The lines outside of blocks of code.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The text with each run of white space replaced by one space, so that where a line ends does not
/// matter to what is searched for.
pub(crate) fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the headings of a document are linked by, as GitHub makes it.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
