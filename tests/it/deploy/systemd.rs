//! The unit and its settings, and what the exporter reports to systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cortex_workflow_exporter::simulator::{Fault, Rule};
use tokio::net::UnixDatagram;

use super::{read, verdict};
use crate::support::{Api, KEY, Process, get, ledger_url, run, tool, wait_until};

const UNIT: &str = "deploy/systemd/cortex-workflow-exporter.service";
const SETTINGS: &str = "deploy/systemd/cortex-workflow-exporter.default";
const INSTALLED: &str = "/usr/bin/cortex-workflow-exporter";

/// Stands in for systemd at the other end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    address: PathBuf,
}

impl Manager {
    fn listen(directory: &Path) -> Self {
        let address = directory.join("notify");
        let socket = UnixDatagram::bind(&address).expect("a socket fits into a new directory");
        Self { socket, address }
    }

    /// Starts the exporter as systemd would, with a watchdog that wants an answer every so many
    /// microseconds.
    fn start(&self, api: &Api, ledger: &str, watchdog_us: &str) -> Process {
        let url = format!("--cortex.api-url={}", api.url());
        let state = format!("--state.url={ledger}");
        let arguments =
            ["serve", &url, &state, "--web.listen-address=127.0.0.1:0", "--poll.interval=1s"];
        let address = self.address.to_str().expect("its name is text");
        let variables =
            [("CORTEX_API_KEY", KEY), ("NOTIFY_SOCKET", address), ("WATCHDOG_USEC", watchdog_us)];
        Process::spawn(&arguments, &variables)
    }

    /// The next message.
    async fn reported(&self, exporter: &Process) -> String {
        let mut message = [0; 256];
        let next = async || self.socket.try_recv(&mut message).ok();
        let length = wait_until("something is reported to systemd", next, || exporter.log()).await;
        String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
    }
}

#[tokio::test]
async fn systemd_is_told_that_it_serves_that_it_lives_and_that_it_stops() {
    let api = Api::start().await;
    // It serves from the start, whatever the API does.
    api.simulator().inject(Rule::new(Fault::Hang));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let manager = Manager::listen(directory.path());
    let mut exporter = manager.start(&api, &ledger_url(directory.path()), "200000");
    assert_eq!(manager.reported(&exporter).await, "READY=1");
    let url = exporter.url().await;
    assert_eq!(get(&format!("{url}/-/ready")).await.0, 503, "nothing was read yet");
    for _ in 0..3 {
        assert_eq!(manager.reported(&exporter).await, "WATCHDOG=1");
    }
    exporter.terminate();
    let mut message = manager.reported(&exporter).await;
    while message == "WATCHDOG=1" {
        message = manager.reported(&exporter).await;
    }
    assert_eq!(message, "STOPPING=1");
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    assert!(manager.socket.try_recv(&mut [0; 256]).is_err(), "that was the last word");
}

#[tokio::test]
async fn a_watchdog_that_asks_for_nothing_gets_nothing() {
    let api = Api::start().await;
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let manager = Manager::listen(directory.path());
    let mut exporter = manager.start(&api, "sqlite::memory:", "0");
    assert_eq!(manager.reported(&exporter).await, "READY=1");
    exporter.ready_url().await;
    exporter.terminate();
    assert_eq!(manager.reported(&exporter).await, "STOPPING=1");
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

/// A copy of the unit, changed only so that the program is found here.
fn copy_of_the_unit(directory: &Path) -> PathBuf {
    let unit = read(UNIT);
    assert!(unit.contains(&format!("ExecStart={INSTALLED} serve\n")), "{unit}");
    let copy = directory.join("cortex-workflow-exporter.service");
    let here = env!("CARGO_BIN_EXE_cortex-workflow-exporter");
    fs::write(&copy, unit.replace(INSTALLED, here)).expect("there is room for temporary files");
    copy
}

/// What systemd has against a unit.
fn verified(unit: &Path) -> (bool, String) {
    let program = tool("systemd-analyze");
    verdict(Command::new(program).args(["verify", "--man=no"]).arg(unit))
}

/// Whether systemd finds a unit exposed to at most this much, in tenths.
fn exposed(unit: &Path, tenths: &str) -> (bool, String) {
    let threshold = format!("--threshold={tenths}");
    let arguments = ["security", "--offline=true", "--no-pager", &threshold];
    verdict(Command::new(tool("systemd-analyze")).args(arguments).arg(unit))
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_protected() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let unit = copy_of_the_unit(directory.path());
    assert_eq!(verified(&unit), (true, String::new()));
    let (content, details) = exposed(&unit, "20");
    assert!(content, "{details}");
    // The same judges speak up about what is wrong.
    let text = read(UNIT);
    fs::write(&unit, text.replace("WatchdogSec=60s", "WatchdogSec=often")).expect("there is room");
    assert!(verified(&unit).1.contains("often"), "{:?}", verified(&unit));
    let bare: String =
        text.split_inclusive('\n').filter(|line| !line.contains("Protect")).collect();
    fs::write(&unit, bare).expect("there is room");
    assert!(!exposed(&unit, "20").0, "{:?}", exposed(&unit, "20"));
}

/// The variables that the unit's `Environment=` lines set, with its directories in this one.
fn set_by_the_unit(directory: &Path) -> Vec<(String, String)> {
    let unit = read(UNIT);
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let here = directory.display().to_string();
    let filled = |(name, value): (&str, &str)| {
        (name.to_owned(), value.replace("%d", &here).replace("%S", &here))
    };
    lines.map(filled).collect()
}

/// The variables in the file of settings: those that are set, or also those that are only shown.
fn settings(also_shown: bool) -> Vec<(String, String)> {
    let text = read(SETTINGS);
    let pairs = text.lines().filter_map(|line| {
        let shown = line.strip_prefix('#').filter(|_| also_shown);
        let (name, value) = shown.unwrap_or(line).split_once('=')?;
        let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_name.then(|| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

#[tokio::test]
async fn what_the_unit_and_its_settings_say_is_a_valid_configuration() {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    fs::write(directory.path().join("api-key"), KEY).expect("there is room");
    for also_shown in [false, true] {
        let mut all = set_by_the_unit(directory.path());
        assert!(all.len() >= 2, "{all:?}");
        // systemd lets the file win.
        let later = settings(also_shown);
        all.retain(|(name, _)| later.iter().all(|(other, _)| other != name));
        all.extend(later);
        let variables: Vec<_> = all.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let (code, stdout, stderr) = run(&["serve", "--config.check"], &variables).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{variables:?}");
        assert!(stdout.contains("valid"), "{stdout}");
    }
}

#[tokio::test]
async fn every_setting_that_is_shown_is_a_variable_of_serve() {
    let (_, help, _) = run(&["serve", "--help"], &[]).await;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = settings(true);
    assert!(shown.len() > 5, "{shown:?}");
    for (name, _) in shown.into_iter().chain(set_by_the_unit(Path::new("/"))) {
        assert!(help.contains(&format!("[env: {name}]")), "{name}");
    }
}
