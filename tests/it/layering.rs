//! Which module may use which, and which file which. Data flows one way, so a use in the other
//! direction is a mistake, and so are files that use each other. A type name means one thing.

mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use source::{Source, Sources};

#[test]
fn modules_use_what_the_map_of_the_code_states_and_nothing_else() {
    let sources = Sources::read();
    let modules: BTreeSet<_> = sources.0.values().map(|file| file.module[0].as_str()).collect();
    let map = map();
    assert_eq!(modules, map.keys().copied().collect(), "src/lib.rs has a row for each module");
    let wrong = wrong_directions(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, stated) in map {
        let files = sources.0.values().filter(|file| file.module[0] == module);
        let used: BTreeSet<_> = files.flat_map(|file| used_modules(&sources, file)).collect();
        let unused: Vec<_> = stated.into_iter().filter(|other| !used.contains(*other)).collect();
        assert_eq!(unused, [""; 0], "{module} does not use these");
    }
}

#[test]
fn no_files_use_each_other() {
    let sources = Sources::read();
    let circles: Vec<_> = circles(&sources).into_values().map(|way| way.join(" → ")).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn no_two_types_have_one_name() {
    let sources = Sources::read();
    let named = |(name, files): (_, Vec<_>)| format!("{name}: {}", files.join(" and "));
    let ambiguous: Vec<_> = ambiguous(&sources).into_iter().map(named).collect();
    assert!(ambiguous.is_empty(), "{}", ambiguous.join("\n"));
}

/// What each module uses, as the table in `src/lib.rs` states it. Only `main` uses `commands`.
fn map() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = include_str!("../../src/lib.rs").lines().filter_map(|line| {
        let row = line.strip_prefix("//! | [`")?;
        let (module, row) = row.split_once('`')?;
        let (_, uses) = row.trim_end_matches(" |").rsplit_once('|')?;
        Some((module, uses.split('`').skip(1).step_by(2).collect()))
    });
    rows.collect()
}

/// The other modules that a file uses.
fn used_modules(sources: &Sources, file: &Source) -> BTreeSet<String> {
    let named = sources.named(file, true).into_iter();
    let used = named.filter_map(|item| item.into_iter().next());
    used.filter(|used| *used != file.module[0]).collect()
}

/// The uses that the map doesn't state.
fn wrong_directions(sources: &Sources) -> Vec<String> {
    let map = map();
    let mut wrong = Vec::new();
    for (path, file) in &sources.0 {
        let own = file.module[0].as_str();
        let allowed = map.get(own).map_or(&[][..], Vec::as_slice);
        let used = used_modules(sources, file).into_iter();
        let others = used.filter(|used| !allowed.contains(&used.as_str()));
        wrong.extend(others.map(|used| format!("{path}: {own} may not use {used}")));
    }
    wrong
}

/// The files that stand in a circle, each with the shortest way back to itself.
fn circles(sources: &Sources) -> BTreeMap<String, Vec<&str>> {
    let used = |(path, file)| {
        let named = sources.named(file, false);
        let owners: BTreeSet<_> = named.iter().filter_map(|item| sources.owner(item)).collect();
        (path, owners.into_iter().filter(|owner| *owner != path).collect())
    };
    let files = sources.0.iter().map(|(path, file)| (path.as_str(), file));
    let used: BTreeMap<&str, Vec<&str>> = files.map(used).collect();
    let files = used.keys();
    files.filter_map(|file| Some(((*file).to_owned(), way_back(&used, file)?))).collect()
}

/// The shortest way from a file to itself, by the files that each uses.
fn way_back<'a>(used: &BTreeMap<&'a str, Vec<&'a str>>, file: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in &used[way[way.len() - 1]] {
            let longer = [&way[..], &[*next]].concat();
            if *next == file {
                return Some(longer);
            }
            if seen.insert(*next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// The names of types that are defined more than once, with the files.
fn ambiguous(sources: &Sources) -> BTreeMap<&str, Vec<&str>> {
    let mut defined: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, file) in &sources.0 {
        for name in &file.types {
            defined.entry(name).or_default().push(path);
        }
    }
    defined.retain(|_, files| files.len() > 1);
    defined
}

fn parse(files: &[(&str, &str)]) -> Sources {
    Sources::parse(files.iter().map(|(path, text)| (path.into(), *text)))
}

#[test]
fn a_use_in_the_wrong_direction_is_found_however_it_is_written() {
    for (file, text) in [
        ("model/run.rs", "use crate::config::Config;"),
        ("model/run.rs", "use crate::{\n    config::{Config, Web},\n};"),
        ("model/run.rs", "fn odd() -> crate::config::Config {}"),
        ("model/run.rs", "fn odd() { println!(\"{}\", crate::config::NAME) }"),
        ("model/run.rs", "use super::super::config::Config;"),
        ("model/mod.rs", "pub use super::config::Config;"),
        ("shutdown.rs", "use super::{config};"),
        ("ledger/store/mod.rs", "use crate::{model::{A, B}, api::Client};"),
        ("http/server.rs", "use crate::app::App;"),
        ("app.rs", "use crate::commands::serve;"),
        ("app.rs", "use crate::simulator::Simulator;"),
    ] {
        assert_eq!(wrong_directions(&parse(&[(file, text)])).len(), 1, "{file}: {text}");
    }
}

#[test]
fn a_use_in_the_right_direction_is_fine_and_tests_may_use_anything() {
    for (file, text) in [
        ("poller/cycle.rs", "use crate::{api::{Client, Page}, model::Run};"),
        ("http/landing.rs", "use super::Overview;"),
        ("config/args.rs", "struct Args { pub(in crate::config) key: String }"),
        ("commands/demo.rs", "use crate::{app::App, simulator::Simulator};"),
        ("model/run.rs", "// as crate::config has it"),
        ("model/run.rs", "#[cfg(test)]\nmod tests {\n    use crate::simulator::*;\n}"),
        ("ledger/tests.rs", "use crate::simulator::Simulator;"),
        ("ledger/tests/late.rs", "use crate::simulator::Simulator;"),
    ] {
        assert_eq!(wrong_directions(&parse(&[(file, text)])), [""; 0], "{file}: {text}");
    }
}

#[test]
fn a_circle_is_found_however_long_it_is_and_through_whatever_passes_on() {
    let parent = ("a/mod.rs", "mod b; mod c; mod d; pub use b::B; pub struct A;");
    for (files, circle) in [
        // The parent only passes the child's type on.
        (vec![("a/b.rs", "use super::A; pub struct B;")], &[][..]),
        (vec![("a/b.rs", "pub struct B;"), ("a/c.rs", "use super::B;")], &[]),
        (
            vec![
                ("a/b.rs", "use super::c::C; pub struct B;"),
                ("a/c.rs", "use super::B; struct C;"),
            ],
            &["a/b.rs", "a/c.rs"],
        ),
        (
            vec![
                ("a/b.rs", "pub struct B(super::c::C);"),
                ("a/c.rs", "use super::d; struct C; fn c() { let _ = vec![d::D]; }"),
                ("a/d.rs", "use crate::a::B as It; struct D(It);"),
            ],
            &["a/b.rs", "a/c.rs", "a/d.rs"],
        ),
    ] {
        let sources = parse(&[&[parent], &files[..]].concat());
        let found: Vec<_> = circles(&sources).into_keys().collect();
        assert_eq!(found, circle, "{files:?}");
    }
    let parent = ("a/mod.rs", "mod b; use b::B; pub struct A(B);");
    let sources = parse(&[parent, ("a/b.rs", "pub struct B; fn b(_: super::A) {}")]);
    assert_eq!(circles(&sources)["a/b.rs"], ["a/b.rs", "a/mod.rs", "a/b.rs"]);
}

#[test]
fn a_type_name_with_two_meanings_is_found_but_not_one_of_tests() {
    let sources = parse(&[
        ("a.rs", "struct One; enum Two {} type Three = u8;"),
        ("b.rs", "trait Three {} fn One() {} #[cfg(test)] mod tests { struct Two; }"),
        ("c/tests.rs", "struct Two;"),
    ]);
    assert_eq!(ambiguous(&sources), BTreeMap::from([("Three", vec!["a.rs", "b.rs"])]));
}
