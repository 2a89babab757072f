//! What may not be compiled in.

use std::{env, process::Command};

/// Two implementations of cryptography at once make rustls panic when it is first used, which no
/// compiler tells.
#[test]
fn aws_lc_is_the_only_cryptography_compiled_in() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let listed = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--prefix=none"])
        .args(["--edges=normal,build", "--format={p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let packages = String::from_utf8(listed.stdout).expect("names of packages are text");
    let errors = String::from_utf8_lossy(&listed.stderr);
    let has = |name: &str| {
        let mut names = packages.lines().filter_map(|line| line.split(' ').next());
        names.any(|known| known == name)
    };
    assert!(has("aws-lc-rs"), "the list is not to be trusted: {errors}");
    assert!(!has("ring"), "see `cargo tree --invert ring`");
    assert!(!has("openssl"), "see `cargo tree --invert openssl`");
}
