//! The command line: help, exit codes, and what is said about mistakes.

use std::net::TcpListener;

use crate::support::{Api, KEY, ledger_url, run};

#[tokio::test]
async fn each_command_has_help_and_ends_well_after_it() {
    for command in ["", "serve", "check", "demo", "simulate", "once"] {
        let arguments: Vec<_> =
            [command, "--help"].into_iter().filter(|argument| !argument.is_empty()).collect();
        let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
        assert!(stdout.contains("Usage:"), "{command}: {stdout}");
        assert!(!stdout.contains(KEY), "{command}");
    }
}

#[tokio::test]
async fn the_version_is_told() {
    let (code, stdout, _) = run(&["--version"], &[]).await;
    assert_eq!(code, 0);
    let expected = format!("cortex-workflow-exporter {}", env!("CARGO_PKG_VERSION"));
    assert!(stdout.starts_with(&expected), "{stdout}");
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_ends_with_2() {
    for arguments in [
        &["--no.such-flag"][..],
        &["no-such-command"],
        &["once", "--poll.interval=1s"],
        &["--cortex.api-key=a-key"],
    ] {
        let (code, stdout, stderr) = run(arguments, &[]).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains("error:"), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn all_mistakes_in_the_configuration_are_told_at_once() {
    let arguments =
        ["--poll.interval=soon", "--web.listen-address=nowhere", "--workflows.include=("];
    let variables =
        [("CORTEX_API_URL", "http://api.example.com"), ("CORTEX_EXPORTER_LOG_LEVEL", "loud")];
    let (code, stdout, stderr) = run(&arguments, &variables).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    for named in [
        "--poll.interval",
        "--web.listen-address",
        "--workflows.include",
        "CORTEX_API_URL",
        "CORTEX_EXPORTER_LOG_LEVEL",
        "CORTEX_API_KEY",
    ] {
        assert!(stderr.contains(named), "{named} is missing: {stderr}");
    }
}

#[tokio::test]
async fn checking_the_configuration_neither_starts_nor_writes_anything() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let state = format!("--state.url={}", ledger_url(directory.path()));
    let arguments = ["--config.check", &state];
    let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("valid"), "{stdout}");
    let written = directory.path().read_dir().expect("it can be listed");
    assert_eq!(written.count(), 0);
    let wrong = ["--config.check", &state, "--cortex.rate-limit=none"];
    let (code, _, stderr) = run(&wrong, &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("--cortex.rate-limit"), "{stderr}");
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_address() {
    let api = Api::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("a listener has an address");
    let web = format!("--web.listen-address={address}");
    let url = format!("--cortex.api-url={}", api.url());
    let arguments = ["serve", &url, &web, "--state.url=sqlite::memory:"];
    let (code, _, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
    assert_eq!(code, 1);
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&address.to_string()), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}
