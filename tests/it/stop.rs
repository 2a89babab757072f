//! How the exporter ends when it is asked to.

use std::{fs, process::Command};

use cortex_workflow_exporter::{
    model::Status,
    simulator::{Fault, Rule},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Api, Process, get, ledger_url, parse, wait_until};

#[tokio::test]
async fn a_scrape_under_way_does_not_keep_sigterm_from_ending_it_well() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let mut exporter = Process::serve(&api, "sqlite::memory:", &[]);
    let url = exporter.ready_url().await;
    let address = url.trim_start_matches("http://");
    let mut scraper = TcpStream::connect(address).await.expect("it listens");
    // A request that has begun and whose last line is missing.
    let begun = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n";
    scraper.write_all(begun).await.expect("it reads");
    get(&format!("{url}/-/healthy")).await;
    exporter.terminate();
    exporter.word_after("msg=", stopping).await;
    // Whether it is still answered is up to the exporter, so neither may fail the test.
    let _ = scraper.write_all(b"\r\n").await;
    let mut answer = String::new();
    let _ = scraper.read_to_string(&mut answer).await;
    if let Some((head, body)) = answer.split_once("\r\n\r\n") {
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(!body.is_empty(), "an answer that begins is whole");
    }
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

#[tokio::test]
async fn a_poll_under_way_does_not_keep_sigterm_from_ending_it_well() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let mut exporter = Process::serve(&api, "sqlite::memory:", &[]);
    exporter.ready_url().await;
    api.simulator().take_requests();
    api.simulator().inject(Rule::new(Fault::Hang));
    let hanging = async || (!api.simulator().requests().is_empty()).then_some(());
    wait_until("a request hangs", hanging, || exporter.log()).await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

#[tokio::test]
async fn sigterm_before_the_first_answer_ends_it_well() {
    let api = Api::start().await;
    api.simulator().inject(Rule::new(Fault::Hang));
    let mut exporter = Process::serve(&api, "sqlite::memory:", &[]);
    let url = exporter.url().await;
    let (status, _) = get(&format!("{url}/-/ready")).await;
    assert_eq!(status, 503, "nothing was read yet");
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

#[tokio::test]
async fn what_was_counted_before_sigterm_is_there_after_the_next_start() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let ledger = ledger_url(directory.path());
    let mut exporter = Process::serve(&api, &ledger, &[]);
    let url = exporter.ready_url().await;
    api.finish_one("work_one", Status::Completed);
    let counted = async |url: &str| {
        let samples = parse(&get(&format!("{url}/metrics")).await.1);
        let labels = [("status", "COMPLETED")];
        let sum = samples.sum("cortex_workflow_runs_total", &labels);
        (sum == Some(1.0)).then_some(())
    };
    wait_until("the run is counted", async || counted(&url).await, || exporter.log()).await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    // The API answers nothing now: what is shown comes out of the ledger.
    api.simulator().inject(Rule::new(Fault::status(503)));
    let mut exporter = Process::serve(&api, &ledger, &[]);
    let url = exporter.url().await;
    assert_eq!(counted(&url).await, Some(()), "{}", exporter.log());
}

#[tokio::test]
async fn the_demo_ends_well_and_cleans_up_its_ledger() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let room = directory.path().to_str().expect("its name is text");
    let arguments =
        ["demo", "--web.listen-address=127.0.0.1:0", "--simulator.listen-address=127.0.0.1:0"];
    let mut demo = Process::spawn(&arguments, &[("TMPDIR", room)]);
    demo.ready_url().await;
    demo.terminate();
    assert_eq!(demo.exit_code().await, 0, "{}", demo.log());
    let left = directory.path().read_dir().expect("it can be listed");
    assert_eq!(left.count(), 0);
}

/// Its log from the moment on when it was asked to end.
fn stopping(exporter: &Process) -> String {
    let log = exporter.stderr();
    let from = log.find("Stopping").unwrap_or(log.len());
    format!("msg={}", &log[from..])
}

/// The signals that a process catches, as a set of bits.
fn caught(exporter: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.id()));
    let status = status.unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default()
}

/// Waits until it catches SIGHUP, SIGINT and SIGTERM.
async fn catches_signals(exporter: &Process) {
    let wanted = [1, 2, 15].iter().fold(0, |set, number| set | 1_u64 << (number - 1));
    let catches = async || (caught(exporter) & wanted == wanted).then_some(());
    wait_until("it catches signals", catches, || exporter.log()).await;
}

#[tokio::test]
async fn signals_are_obeyed_while_the_configuration_is_still_being_read() {
    for (arguments, signal, code) in [
        (&["serve"][..], "TERM", 0),
        (&["serve"], "INT", 0),
        (&["check"], "TERM", 143),
        (&["check"], "HUP", 129),
        (&["once"], "INT", 130),
    ] {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        // Reading a pipe lasts until somebody writes to it.
        let pipe = directory.path().join("config.yml");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "there is a pipe");
        let file = format!("--config.file={}", pipe.display());
        let arguments: Vec<_> = arguments.iter().copied().chain([file.as_str()]).collect();
        let mut exporter = Process::spawn(&arguments, &[]);
        catches_signals(&exporter).await;
        if arguments[0] == "serve" {
            exporter.signal("HUP");
        }
        exporter.signal(signal);
        assert_eq!(exporter.exit_code().await, code, "{arguments:?} {signal}: {}", exporter.log());
    }
}

#[tokio::test]
async fn signals_are_obeyed_while_the_ledger_is_locked_by_another_process() {
    let api = Api::start().await;
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let ledger = ledger_url(directory.path());
    let mut first = Process::serve(&api, &ledger, &[]);
    first.ready_url().await;
    let mut second = Process::serve(&api, &ledger, &[]);
    second.word_after("Starting", Process::stderr).await;
    second.signal("HUP");
    second.terminate();
    assert_eq!(second.exit_code().await, 0, "{}", second.log());
    assert!(!second.stderr().contains("in use"), "it did not wait to the end: {}", second.log());
    // What came too early for a reload is one as soon as there is something to reload.
    let mut third = Process::serve(&api, &ledger, &[]);
    third.word_after("Starting", Process::stderr).await;
    third.signal("HUP");
    first.terminate();
    assert_eq!(first.exit_code().await, 0, "{}", first.log());
    third.ready_url().await;
    third.word_after("message=\"Reloaded", Process::stderr).await;
    third.terminate();
    assert_eq!(third.exit_code().await, 0, "{}", third.log());
}
