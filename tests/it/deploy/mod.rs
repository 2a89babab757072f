//! What is under `deploy/`: the files as shipped, held against the real program and the tools that will
//! read them.

mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file of the project by its path from the root.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// What is in it.
fn read(relative: &str) -> String {
    let text = fs::read_to_string(path(relative));
    text.unwrap_or_else(|error| panic!("{relative} cannot be read: {error}"))
}

/// Runs a tool to its end: whether it was content, and all that it wrote.
fn verdict(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), text.concat())
}
