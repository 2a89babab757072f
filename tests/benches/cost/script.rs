//! The same poll and scrape by a Python script with the library `prometheus_client`.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    api::{Api, KEY},
    measure::{Samples, peak_memory, row},
    scraping::Connection,
};

const SCRAPES: usize = 5;

pub(crate) fn measure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/tools/python/bin/python");
    if !python.exists() {
        println!(
            "\nThere is no {}, so no script is compared; tests/run makes it.",
            python.display()
        );
        return;
    }
    let script = root.join("tests/benches/cost/script.py");
    let api = Api::start("one-large");
    let poll = Samples::of(5, || {
        let output = Command::new(&python)
            .arg(&script)
            .args(["poll", &api.url, KEY, "40"])
            .stderr(Stdio::inherit())
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
    });
    row("a Python script: processor time per listed run that is known", poll, "µs");
    let mut server = Command::new(&python)
        .arg(&script)
        .args(["serve", "1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut address = String::new();
    let output = server.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut address).expect("it says where it is");
    for (how, gzip) in [("compressed", true), ("plain", false)] {
        let mut bytes = 0;
        let scrapes = Samples::of(SCRAPES, || {
            let begun = Instant::now();
            bytes = Connection::to(address.trim()).scrape("text/plain", gzip);
            begun.elapsed().as_secs_f64() * 1e3
        });
        let what = format!("a Python script: a scrape, {how} ({} KB)", bytes / 1000);
        row(&what, scrapes, "ms");
    }
    let peak = peak_memory(server.id());
    row("a Python script: peak memory with these series", format!("{peak:.0}"), "MiB");
    let _ = server.kill();
    let _ = server.wait();
}
