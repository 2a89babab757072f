//! Programs that the tests need besides the exporter.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Where a program lies: on the `PATH`, or where `tests/run` unpacked it.
pub(crate) fn tool(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let unpacked = ["prometheus/usr/bin", "prometheus/bin", "python/bin"];
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        env::split_paths(&path).chain(unpacked.map(|directory| installed.join(directory)));
    candidates
        .find_map(|directory| Some(directory.join(name)).filter(|file| file.is_file()))
        .unwrap_or_else(|| panic!("{name} is missing; tests/run installs it"))
}

/// Prometheus 3, if `tests/run` could get it.
pub(crate) fn newest_prometheus() -> Option<PathBuf> {
    let unpacked = "target/tools/prometheus3/usr/bin/prometheus";
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(unpacked)).filter(|file| file.is_file())
}
