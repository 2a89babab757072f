//! Tells the compiler what `build_info` shows: the git revision and the version of rustc.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GIT_REVISION");
    // Builds without a checkout (a container, a tarball) can name their revision in the variable.
    let revision = env::var("GIT_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(revision_of_checkout);
    let rustc = env::var("RUSTC").ok().and_then(|rustc| run(&rustc, &["--version"]));
    let rustc = rustc.as_deref().and_then(|text| text.split(' ').nth(1));
    println!("cargo::rustc-env=BUILD_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=BUILD_RUSTC={}", rustc.unwrap_or("unknown"));
}

fn revision_of_checkout() -> Option<String> {
    // Inside another project's checkout, git would tell that project's revision.
    if !run("git", &["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    // The log of HEAD grows with each commit, checkout and reset, so this one file is enough. A
    // path that doesn't exist would make cargo run this anew for every build.
    if let Some(log) = run("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    run("git", &["rev-parse", "--short=12", "HEAD"])
}

/// What a program prints, without the line break; `None` if it can't be run or fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
