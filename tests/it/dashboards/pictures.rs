//! The pictures of the dashboards that grafana/README.md shows, and what draws them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use super::model::{all, text};
use crate::support::documents::{ROOT, document, unwrapped};

/// The command that draws them all.
const DRAW: &str = "grafana/pictures/draw";

/// The maximum size of a picture in bytes: the pages are to load fast.
const MOST: usize = 300_000;

#[test]
fn the_document_shows_a_picture_of_every_dashboard_and_says_what_it_is() {
    let document = document("grafana/README.md");
    for dashboard in all() {
        let file = format!("pictures/{}.png", dashboard.file.trim_end_matches(".json"));
        assert!(document.contains(&format!("]({file})")), "the document shows {file}");
        let picture =
            fs::read(Path::new(ROOT).join("grafana").join(&file)).expect("the picture is there");
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"), "{file} is a PNG");
        assert!((20_000..MOST).contains(&picture.len()), "{file}: {} bytes", picture.len());
    }
    assert!(unwrapped(&document).contains("not screenshots of Grafana"));
    assert!(document.contains(&format!("`{DRAW}`")), "the document says how they are made");
}

#[test]
fn whatever_a_dashboard_holds_can_be_drawn() {
    let page = fs::read_to_string(Path::new(ROOT).join("grafana/pictures/page.js"));
    let page = page.expect("the page is there");
    let kinds = page.split("const KINDS = {").nth(1).and_then(|rest| rest.split('}').next());
    let kinds: Vec<_> = kinds.expect("it lists kinds").split([',', ':']).map(str::trim).collect();
    for dashboard in all() {
        for panel in dashboard.panels() {
            let kind = text(panel, "type");
            let known = kinds.iter().any(|known| known.trim_matches('"') == kind);
            assert!(known, "{}: {kind}", dashboard.file);
        }
    }
}

#[test]
fn the_command_that_draws_is_a_program() {
    let draw = Path::new(ROOT).join(DRAW);
    let mode = fs::metadata(&draw).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "all may run it");
    let help = Command::new(&draw).arg("--help").output().expect("it runs");
    let usage = String::from_utf8_lossy(&help.stderr);
    assert!(usage.contains(DRAW) && usage.contains("--again"), "{usage}");
}
