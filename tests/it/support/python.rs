//! Python with the parsers of other people.

use std::path::{Path, PathBuf};

/// The interpreter of the environment that `tests/run` makes.
pub(crate) fn python() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/python");
    assert!(path.exists(), "{} is missing; tests/run makes it", path.display());
    path
}
