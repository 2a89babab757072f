//! Clients, and an API, that mean harm: the exporter goes on, in memory that has a bound.

mod api;
mod clients;
mod workflows;

use crate::support::Process;

/// A debug build and what it serves here take less than 40 MiB when nobody means harm.
const MAX_MEMORY_MIB: u64 = 150;

fn assert_small(exporter: &Process, what: &str) {
    let peak = exporter.peak_memory();
    // Shown with --nocapture.
    println!("peak memory: {peak} MiB: {what}");
    assert!(peak < MAX_MEMORY_MIB, "{what}: {peak} MiB");
}
