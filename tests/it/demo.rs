//! The demo: what its hints say to do, done.

use std::process::Command;

use serde_json::Value;

use crate::support::{Process, client, get, tool, wait_until};

/// The workflow that the hints are about.
const WORKFLOW: &str = "Answer support ticket";

/// The commands among the hints, in their order.
async fn commands(demo: &Process) -> Vec<String> {
    let complete = async || demo.stdout().contains("End with Ctrl-C.\n").then(|| demo.stdout());
    let hints = wait_until("the hints are printed", complete, || demo.log()).await;
    let commands = hints.lines().map(str::trim).filter(|line| line.starts_with("curl "));
    commands.map(str::to_owned).collect()
}

/// The one of these commands that holds this text.
fn command<'a>(commands: &'a [String], part: &str) -> &'a str {
    let found = commands.iter().find(|command| command.contains(part));
    found.unwrap_or_else(|| panic!("no command has {part}: {commands:?}"))
}

/// Does what a hint says, with the real curl; what it shows.
async fn follow(command: &str) -> String {
    assert!(tool("curl").is_file());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("no_proxy", "*");
    let mut process = Process::start(shell);
    process.exit_code().await;
    process.stdout()
}

/// The sum of the samples that a command shows of which the line has this text.
fn sum(shown: &str, part: &str) -> f64 {
    let lines = shown.lines().filter(|line| line.contains(part));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Follows all of them, once a run has failed.
async fn every_hint_leads_somewhere(demo: &Process, commands: &[String]) {
    for command in commands {
        let answer = follow(command).await;
        // Only a spike has nothing to tell.
        assert_eq!(answer.is_empty(), command.contains("/spike?"), "{command}: {}", demo.log());
        assert!(!answer.contains("\"message\""), "{command} is refused: {answer}");
    }
    let hints = demo.stdout();
    let pages = hints.lines().map(str::trim).filter(|line| line.starts_with("http://"));
    let pages: Vec<_> = pages.collect();
    assert_eq!(pages.len(), 3, "{hints}");
    for page in pages {
        assert!([200, 302].contains(&get(page).await.0), "{page}");
    }
}

#[tokio::test]
async fn the_hints_lead_from_a_bad_version_to_the_step_that_fails_and_back() {
    let mut demo = Process::demo();
    let base = demo.ready_url().await;
    let commands = commands(&demo).await;
    let [runs, failures, versions] = ["runs_total", "run_failures_total", "version_runs_total"]
        .map(|metric| command(&commands, &format!("^cortex_workflow_{metric}")));
    let step = demo.word_after("of which more runs fail in step ", Process::stdout).await;
    let step = format!("step={}", step.trim_end_matches(':'));
    let (runs_before, before) = (sum(&follow(runs).await, ""), sum(&follow(failures).await, &step));

    let bad = follow(command(&commands, "/deploy?")).await;
    let bad: Value = serde_json::from_str(&bad).unwrap_or_else(|_| panic!("{bad}"));
    assert_eq!(bad["workflow"], WORKFLOW);
    let version = format!("version=\"{}\"", bad["version"]);
    for number in 1..=3 {
        let shown = async || {
            let of_version = sum(&follow(versions).await, &version);
            let of_step = sum(&follow(failures).await, &step) - before;
            (of_version.min(of_step) >= f64::from(number)).then_some(())
        };
        let what = format!("version and step of {number} failures are shown");
        wait_until(&what, shown, || demo.log()).await;
    }
    assert!(sum(&follow(runs).await, "") >= runs_before + 3.0, "{}", demo.log());

    // Where alerts lead is a run that failed.
    let hints = demo.stdout();
    let last = hints.lines().find(|line| line.ends_with("/last-failed-run")).expect("a hint");
    let answer = client().get(last.trim()).send().await.expect("it answers");
    let target = answer.headers().get("location").and_then(|target| target.to_str().ok());
    let (code, page) = get(target.unwrap_or_else(|| panic!("{last} leads nowhere"))).await;
    assert!(code == 200 && page.contains("<p>FAILED"), "{page}");

    let good = follow(command(&commands, "/rollback")).await;
    let good: Value = serde_json::from_str(&good).unwrap_or_else(|_| panic!("{good}"));
    assert!(good["version"].as_u64() < bad["version"].as_u64(), "{good} after {bad}");
    every_hint_leads_somewhere(&demo, &commands).await;
    // Some of the errors hold what looks like a customer's data, which goes no further.
    let shown =
        format!("{}{}{}", get(&format!("{base}/metrics")).await.1, get(&base).await.1, demo.log());
    assert!(!shown.to_lowercase().contains("keller"), "{shown}");
}
