//! Which module may use which. Data flows one way, so a use in the other direction is a mistake.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each module may use. `commands` may use everything; nobody may use it but `main`.
const TABLE: [(&str, &[&str]); 14] = [
    ("build_info", &[]),
    ("shutdown", &[]),
    ("systemd", &[]),
    ("model", &[]),
    ("config", &["build_info", "model"]),
    ("telemetry", &["config"]),
    ("api", &["build_info", "config", "model"]),
    ("ledger", &["config", "model"]),
    ("poller", &["api", "config", "ledger", "model"]),
    ("metrics", &["ledger", "model"]),
    ("http", &["build_info", "config", "metrics", "model"]),
    ("simulator", &["model"]),
    (
        "app",
        &[
            "api",
            "build_info",
            "config",
            "http",
            "ledger",
            "metrics",
            "model",
            "poller",
            "shutdown",
            "systemd",
            "telemetry",
        ],
    ),
    (
        "commands",
        &[
            "api",
            "app",
            "build_info",
            "config",
            "http",
            "ledger",
            "metrics",
            "model",
            "poller",
            "shutdown",
            "simulator",
            "systemd",
            "telemetry",
        ],
    ),
];

#[test]
fn modules_use_only_those_below_them() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&sources, &mut files);
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&sources).expect("it was found there");
        let text = fs::read_to_string(&file).expect("a source file can be read");
        if let Some(place) = Place::of(path) {
            wrong.extend(violations(&place, &text));
            seen.insert(place.module);
        }
    }
    let known = TABLE.map(|(module, _)| module.to_owned());
    assert_eq!(seen, BTreeSet::from(known), "the table has exactly the modules of src");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_use_in_the_wrong_direction_is_found_however_it_is_written() {
    for (file, text) in [
        ("model/run.rs", "use crate::config::Config;"),
        ("model/run.rs", "use crate::{\n    config::{Config, Web},\n};"),
        ("model/run.rs", "fn odd() -> crate::config::Config {}"),
        ("model/run.rs", "use super::super::config::Config;"),
        ("model/mod.rs", "use super::config::Config;"),
        ("shutdown.rs", "use super::{config};"),
        ("ledger/store/mod.rs", "use crate::{model::{A, B}, api::Client};"),
        ("http/server.rs", "use crate::app::App;"),
        ("app.rs", "use crate::commands::serve;"),
        ("app.rs", "use crate::simulator::Simulator;"),
    ] {
        let place = Place::of(Path::new(file)).expect("it is a module's");
        assert_eq!(violations(&place, text).len(), 1, "{file}: {text}");
    }
}

#[test]
fn a_use_in_the_right_direction_is_fine_and_tests_may_use_anything() {
    for (file, text) in [
        ("poller/cycle.rs", "use crate::{api::{Client, Page}, model::Run};"),
        ("http/landing.rs", "use super::Overview;"),
        ("config/args.rs", "pub(in crate::config) key: String,"),
        ("commands/demo.rs", "use crate::{app::App, simulator::Simulator};"),
        ("model/run.rs", "// as crate::config has it"),
        ("model/run.rs", "#[cfg(test)]\nmod tests {\n    use crate::simulator::Simulator;\n}"),
    ] {
        let place = Place::of(Path::new(file)).expect("it is a module's");
        assert_eq!(violations(&place, text), [""; 0], "{file}: {text}");
    }
    for file in ["ledger/tests.rs", "ledger/tests/late.rs", "lib.rs", "main.rs"] {
        assert!(Place::of(Path::new(file)).is_none(), "{file}");
    }
}

/// Where a file stands.
struct Place {
    file: PathBuf,
    /// The module of the crate's root that it belongs to.
    module: String,
    /// How many `super::` lead to the crate's root.
    depth: usize,
}

impl Place {
    /// `None` for what the table doesn't speak of: the root itself and tests.
    fn of(file: &Path) -> Option<Self> {
        let mut path: Vec<String> = file
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        path.pop_if(|last| last == "mod");
        let module = path.first()?.clone();
        let is_root = module == "lib" || module == "main";
        let is_test = path.iter().any(|part| part == "tests");
        (!is_root && !is_test).then(|| Self { file: file.to_owned(), module, depth: path.len() })
    }
}

/// The uses in this file that the table doesn't allow.
fn violations(place: &Place, text: &str) -> Vec<String> {
    let allowed = TABLE.iter().find(|(module, _)| *module == place.module);
    let allowed = allowed.map_or(&[][..], |(_, allowed)| allowed);
    let own = place.module.as_str();
    used(&code(text), place.depth)
        .into_iter()
        .filter(|used| used != own && !allowed.contains(&used.as_str()))
        .map(|used| format!("{}: {own} may not use {used}", place.file.display()))
        .collect()
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = text.unwrap_or_default().lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The names that follow the crate's root in any path.
fn used(code: &str, depth: usize) -> BTreeSet<String> {
    let from_here = "super::".repeat(depth);
    ["crate::", &from_here]
        .iter()
        .flat_map(|root| code.match_indices(root).map(|(at, root)| at + root.len()))
        .flat_map(|at| first_names(&code[at..]))
        .collect()
}

/// The first name of a path, or of each path in the braces.
fn first_names(path: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut depth = 0;
    let mut names = vec![name(inside)];
    for (at, character) in inside.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&inside[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.trim_start().chars().take_while(is_part).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).expect("the sources can be listed");
    for entry in entries {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
