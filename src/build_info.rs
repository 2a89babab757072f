//! Which build this is.

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision, 12 hexadecimal digits; `unknown` if it was built outside of a checkout and
/// without the variable `GIT_REVISION`.
pub const REVISION: &str = env!("BUILD_REVISION");

/// The version of the compiler, such as `1.90.0`.
pub const RUSTC: &str = env!("BUILD_RUSTC");

/// All of it for `--version`.
pub const SUMMARY: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("BUILD_REVISION"),
    ", rustc ",
    env!("BUILD_RUSTC"),
    ")"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_version_revision_and_compiler() {
        for part in [VERSION, REVISION, RUSTC] {
            assert!(!part.is_empty() && SUMMARY.contains(part), "{SUMMARY}");
        }
    }
}
