//! What is under `deploy/`: the files as shipped, held against each other, the real program, and the
//! tools that will read them. `tests/package` tests what needs a machine of its own.

mod compose;
mod docker;
mod helm;
mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// A file of the project by its path from the root.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// What is in it.
fn read(relative: &str) -> String {
    let text = fs::read_to_string(path(relative));
    text.unwrap_or_else(|error| panic!("{relative} cannot be read: {error}"))
}

/// What is in a YAML file.
fn yaml(relative: &str) -> Value {
    let value = serde_saphyr::from_str(&read(relative));
    value.unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// The items of a list; none if it isn't there.
fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text"))
}

/// Runs a tool to its end: whether it was content, and all that it wrote.
fn verdict(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), text.concat())
}

/// The same, of a tool that must be content: what it wrote.
fn output(command: &mut Command) -> String {
    let (content, text) = verdict(command);
    assert!(content, "{command:?}: {text}");
    text
}

/// Whether git leaves a file alone, as it does with secrets.
fn is_ignored(file: &str) -> bool {
    let mut git = Command::new("git");
    verdict(git.current_dir(path("")).args(["check-ignore", file])).0
}

#[test]
fn the_files_that_the_document_says_to_use_are_there() {
    let document = read("deploy/README.md");
    let words = document.split(|c: char| c.is_whitespace() || "`()[]<>".contains(c));
    let files: Vec<_> = words.filter(|word| word.starts_with("deploy/")).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        // What the reader makes holds secrets.
        assert!(path(file).exists() || is_ignored(file), "{file} is not there");
    }
}
