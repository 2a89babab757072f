//! Programs that the tests need besides the exporter.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where a program is: on the `PATH`, or where `tests/run` unpacked it.
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

/// A program of Prometheus 3, if `tests/run` could get it.
pub(crate) fn newest_prometheus(name: &str) -> Option<PathBuf> {
    unpacked("prometheus3", name)
}

/// A program of `VictoriaMetrics`, if `tests/run` could get it.
pub(crate) fn victoria_metrics(name: &str) -> Option<PathBuf> {
    unpacked("victoria-metrics", name)
}

fn unpacked(package: &str, name: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    Some(tools.join(package).join("usr/bin").join(name)).filter(|file| file.is_file())
}

/// Reports what cannot be tested without a program. It is not captured, as `eprintln!` is: everybody
/// who runs the tests must see it.
pub(crate) fn report_missing(program: &str, untested: &str) {
    let message = format!(
        "\n{} IS MISSING (tests/run tries to get it): not tested: {untested}.\n",
        program.to_uppercase()
    );
    fs::write("/dev/stderr", message).expect("standard error can be written");
}
