//! The command line: help, exit codes, and what is said about mistakes.

use std::{fs, net::TcpListener, process::Command};

use crate::support::{Api, KEY, Process, ledger_url, run};

#[tokio::test]
async fn each_command_has_help_and_ends_well_after_it() {
    for command in ["", "serve", "check", "demo", "simulate", "once", "state copy"] {
        let words: Vec<_> = command.split_whitespace().collect();
        let mut shown = Vec::new();
        for arguments in [[&words[..], &["--help"]].concat(), [&["help"], &words[..]].concat()] {
            let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
            assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
            assert!(stdout.contains("Usage:"), "{arguments:?}: {stdout}");
            assert!(!stdout.contains(KEY), "{arguments:?}");
            shown.push(stdout);
        }
        assert_eq!(shown[0], shown[1], "{command}");
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
    for command in ["serve", "check"] {
        let nobody = "--cortex.api-url=http://127.0.0.1:1";
        let arguments = [command, "--config.check", &state, nobody];
        let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
        assert_eq!(stdout, "The configuration is valid.\n", "{command}");
    }
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

/// What cannot be written was asked for all the same.
#[tokio::test]
async fn what_cannot_be_printed_is_an_error_and_no_panic() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let url = format!("--cortex.api-url={}", api.url());
    let (simulator, web) =
        ("--simulator.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0");
    let memory = "--state.url=sqlite::memory:";
    for arguments in [
        &["--help"][..],
        &["once", "--help"],
        &["--version"],
        &["--config.check"],
        &["check", &url, memory],
        &["once", &url],
        &["simulate", simulator],
        &["demo", simulator, web],
    ] {
        let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
        let (code, _, stderr) = shell(&format!("{} >/dev/full", words.join(" "))).await;
        assert_eq!(code, 1, "{arguments:?}: {stderr}");
        let said = "cannot write to standard output: No space left on device";
        assert!(stderr.contains(said) && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

/// As `head` does to what writes more than it wants.
#[tokio::test]
async fn who_closes_the_pipe_is_told_nothing() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let url = format!("--cortex.api-url={}", api.url());
    for arguments in [
        &["--help"][..],
        &["help", "once"],
        &["--version"],
        &["--config.check"],
        &["check", &url, "--state.url=sqlite::memory:"],
        &["once", &url, "--log.level=warn"],
    ] {
        let (reader, closed) = std::io::pipe().expect("there is room for a pipe");
        drop(reader);
        let exporter = env!("CARGO_BIN_EXE_cortex-workflow-exporter");
        let mut command = tokio::process::Command::new(exporter);
        let command = command.args(arguments).env("CORTEX_API_KEY", KEY).stdout(closed);
        let ended = command.output().await.expect("it starts");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*stderr), (Some(0), ""), "{arguments:?}");
    }
}

/// Where the log cannot be written, the rest goes on as if it could.
#[tokio::test]
async fn a_log_that_cannot_be_written_changes_nothing_else() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let url = format!("--cortex.api-url={}", api.url());
    for (arguments, expected) in [
        ("--no.such-flag", 2),
        ("--poll.interval=soon", 1),
        (&format!("check {url} --state.url=sqlite::memory: --workflows.include=none"), 0),
        (&format!("once {url} --log.level=trace --log.format=json"), 0),
        (&format!("once {url} --log.level=trace"), 0),
    ] {
        let (code, stdout, _) = shell(&format!("{arguments} 2>/dev/full")).await;
        assert_eq!(code, expected, "{arguments}: {stdout}");
    }
}

/// Runs the exporter by a shell, which opens what it writes to.
async fn shell(arguments: &str) -> (i32, String, String) {
    let mut command = Command::new("sh");
    let script = format!("exec '{}' {arguments}", env!("CARGO_BIN_EXE_cortex-workflow-exporter"));
    command.args(["-c", &script]).env("CORTEX_API_KEY", KEY);
    let mut process = Process::start(command);
    let code = process.exit_code().await;
    (code, process.stdout(), process.stderr())
}

#[tokio::test]
async fn variables_that_libraries_would_ignore_are_errors() {
    for (name, value, part) in [
        ("HTTPS_PROXY", "http://user:hunter2@[bad", "HTTPS_PROXY: it is not a URL"),
        ("all_proxy", "socks5://proxy:1080", "all_proxy: socks5 is not a proxy"),
        ("NO_PROXY", "10.0.0.0/99", "NO_PROXY: \"10.0.0.0/99\" is not a network"),
        ("SSL_CERT_FILE", "/no/such/file", "SSL_CERT_FILE: cannot read /no/such/file"),
        ("PGSSLMODE", "verify-ful", "PGSSLMODE: \"verify-ful\" is not one of"),
    ] {
        let variables = [("CORTEX_API_KEY", KEY), (name, value)];
        let state = "--state.url=postgres://db/exporter";
        for arguments in [&["--config.check", state][..], &["check", state]] {
            let (code, stdout, stderr) = run(arguments, &variables).await;
            assert_eq!((code, stdout.as_str()), (1, ""), "{name}={value}: {stderr}");
            assert!(stderr.contains(part) && !stderr.contains("hunter2"), "{stderr}");
        }
        // They mean nothing to what makes no such request.
        let flags = ["simulate", "--simulator.listen-address=127.0.0.1:0"];
        let mut simulator = Process::spawn(&flags, &variables);
        simulator.word_after("is at ", Process::stdout).await;
    }
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named_with_its_flag_and_absolute_path_also_in_json() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let here = fs::canonicalize(directory.path()).expect("it is there");
    let here = here.display().to_string();
    fs::write(directory.path().join("diary.db"), "dear diary, ".repeat(100)).expect("writable");
    fs::write(directory.path().join("web.yml"), "tls_server_config: {cert_file: c, key_file: k}")
        .expect("writable");
    fs::write(directory.path().join("config.yml"), "poll: {interval: soon}").expect("writable");
    fs::write(directory.path().join("bad.yml"), "poll: [").expect("writable");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let taken = taken.local_addr().expect("a listener has an address").to_string();
    let (web, simulator) =
        (format!("--web.listen-address={taken}"), format!("--simulator.listen-address={taken}"));
    for (arguments, flag, path) in [
        (&["--config.file=none.yml"][..], "--config.file", "/none.yml"),
        (&["--config.file=bad.yml"], "--config.file", "/bad.yml:1:"),
        (&["--config.file=config.yml"], "", "/config.yml:1:18: poll.interval"),
        (&["--cortex.api-key-file=none"], "--cortex.api-key-file", "/none"),
        (&["--web.config.file=none.yml"], "--web.config.file", "/none.yml"),
        (&["--web.config.file=web.yml"], "--web.config.file", "/web.yml:1:32: "),
        (&["--web.config.file=web.yml"], "--web.config.file", "cannot read HERE/c: "),
        (&["--state.url=sqlite:none/ledger.db"], "--state.url", "/none/ledger.db"),
        (&["--state.url=sqlite:diary.db"], "--state.url", "/diary.db"),
        (&["--state.url=sqlite::memory:", &web], "--web.listen-address", ""),
        (&["simulate", &simulator], "--simulator.listen-address", ""),
        (&["demo", &simulator], "--simulator.listen-address", ""),
        (&["--no-such"], "--no-such", ""),
    ] {
        let key = if arguments[0].contains("api-key-file") { "" } else { KEY };
        for format in ["--log.format=logfmt", "--log.format=json"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cortex-workflow-exporter"));
            command.args(arguments).arg(format).current_dir(directory.path());
            let mut process = {
                command.env("CORTEX_API_KEY", key);
                // Something else may listen on the default port.
                command.env("CORTEX_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0");
                Process::start(command)
            };
            let code = process.exit_code().await;
            let stderr = process.stderr();
            assert_eq!(code, if flag == "--no-such" { 2 } else { 1 }, "{arguments:?}: {stderr}");
            assert!(stderr.contains(flag), "{flag} is not in: {stderr}");
            let path = path.replace("HERE", &here);
            let path = if path.starts_with('/') { format!("{here}{path}") } else { path };
            assert!(stderr.contains(&path), "{path} is not in: {stderr}");
            let is_json = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
            let all_json = stderr.lines().all(is_json);
            assert_eq!(all_json, format.ends_with("json"), "{arguments:?}: {stderr}");
        }
    }
}
