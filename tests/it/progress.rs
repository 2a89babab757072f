//! What is shown of a reading that takes long.

use std::{process::Command, time::Duration};

use cortex_workflow_exporter::simulator::{ApiEndpoint, Fault, Rule};

use crate::support::{Api, KEY, Process, get, wait_until};

/// An API with forty workflows, each of whose answers takes a while.
async fn slow_api(milliseconds: u64) -> Api {
    let api = Api::start().await;
    for number in 0..40 {
        api.add_workflow(&format!("work_{number:02}"));
    }
    let delay = Fault::Delay(Duration::from_millis(milliseconds));
    api.simulator().inject(Rule::new(delay).on(ApiEndpoint::Runs));
    api
}

#[tokio::test]
async fn the_log_shows_now_and_then_how_far_a_long_reading_has_got() {
    let api = slow_api(3000).await;
    let url = format!("--cortex.api-url={}", api.url());
    let arguments = ["once", &url, "--cortex.rate-limit=100000"];
    let mut once = Process::spawn(&arguments, &[("CORTEX_API_KEY", KEY)]);
    let line = "message=\"Reading for the first time.\" workflows=40 read=";
    let read: usize = once.word_after(line, Process::stderr).await.parse().expect("a number");
    assert!((1..40).contains(&read), "{}", once.log());
    assert!(once.stderr().contains(" seconds_left="), "{}", once.log());
    assert_eq!(once.exit_code().await, 0, "{}", once.log());
    assert!(once.stdout().starts_with("# HELP"), "nothing else is printed");
}

#[tokio::test]
async fn a_terminal_shows_a_bar_that_is_gone_at_the_end() {
    let api = slow_api(400).await;
    let url = format!("--cortex.api-url={}", api.url());
    let mut command = Command::new("script");
    let exporter = env!("CARGO_BIN_EXE_cortex-workflow-exporter");
    let script = format!("{exporter} once {url} --cortex.rate-limit=100000 >/dev/null");
    command.args(["--quiet", "--return", "--command", &script, "/dev/null"]);
    command.env("CORTEX_API_KEY", KEY).env("TERM", "xterm");
    let mut once = Process::start(command);
    assert_eq!(once.exit_code().await, 0, "{}", once.log());
    let shown = once.stdout();
    assert!(shown.contains("of 40 workflows, "), "{shown:?}");
    assert!(shown.contains(" runs read, about "), "{shown:?}");
    let last = shown.rsplit('\r').next().unwrap_or_default();
    assert!(!last.contains("workflows"), "the bar is cleared: {last:?}");
}

#[tokio::test]
async fn the_overview_shows_how_far_the_first_cycle_has_got() {
    let api = slow_api(1000).await;
    let mut exporter = Process::serve(&api, "sqlite::memory:", &[]);
    let url = exporter.url().await;
    let part = async || {
        let (_, page) = get(&url).await;
        let (_, rest) = page.split_once("first poll under way: ")?;
        let (read, rest) = rest.split_once(" of 40 workflows read, about ")?;
        let (seconds, _) = rest.split_once(" s left")?;
        Some((read.parse::<u32>().ok()?, seconds.parse::<u32>().ok()?))
    };
    let (read, seconds) = wait_until("the page shows it", part, || exporter.log()).await;
    assert!((1..40).contains(&read) && seconds < 60, "{read} are read, {seconds} s are left");
    exporter.ready_url().await;
    let (_, page) = get(&url).await;
    assert!(!page.contains("under way"), "{page}");
}
