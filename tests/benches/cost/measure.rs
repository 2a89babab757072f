//! Measurements, and how they are reported.

use std::{fmt, fs};

/// Several measurements of one thing.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Measures a number of times.
    pub(crate) fn of(times: usize, mut measure: impl FnMut() -> f64) -> Self {
        let mut samples: Vec<_> = (0..times).map(|_| measure()).collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }
}

/// The median, the least and the most.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        let digits = usize::from(most < 100.0);
        let median = self.0[self.0.len() / 2];
        write!(f, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

/// One row of the table.
pub(crate) fn row(what: &str, measured: impl fmt::Display, unit: &str) {
    println!("| {what} | {measured} {unit} |");
}

/// Processor time that this process has used, those of its threads that have ended included.
pub(crate) fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// The most memory that a process ever had, in MiB.
pub(crate) fn peak_memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux reports it");
    let kib = peak.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    kib.expect("a number") / 1024.0
}
