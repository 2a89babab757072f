//! Reading the README: its tables and headings.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Where the project lies.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The labels that the families of workflows begin with.
const PER_WORKFLOW: [&str; 2] = ["workflow_id", "workflow"];

/// Its text.
pub(crate) fn readme() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("there is a README")
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

/// The families that its tables tell of, by name.
pub(crate) fn documented_families(readme: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    for (labels, common) in [("more labels", &PER_WORKFLOW[..]), ("labels", &[])] {
        for row in rows(readme, &["family", "type", labels, "meaning"]) {
            let all = common.iter().copied().chain(quoted(row[2]));
            let family = (row[1].to_owned(), all.map(str::to_owned).collect());
            let before = families.insert(row[0].trim_matches('`').to_owned(), family);
            assert!(before.is_none(), "{} is listed twice", row[0]);
        }
    }
    families
}

/// What a heading is linked by, as GitHub makes it.
pub(crate) fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
