//! The real binary as a process.

use std::{
    env, fs,
    io::{self, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Api, KEY, Samples, wait_until};

/// A running exporter, or another command of it. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

/// What a process has written so far.
type Captured = Arc<Mutex<Vec<u8>>>;

/// The `--state.url` of a ledger in this directory.
pub(crate) fn ledger_url(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("ledger.db").display())
}

/// Runs a command of the exporter to its end: the exit code, and what it wrote.
pub(crate) async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut process = Process::spawn(arguments, variables);
    let code = process.exit_code().await;
    (code, process.stdout(), process.stderr())
}

impl Process {
    /// Starts the binary with these arguments, and no variable of its own but these.
    pub(crate) fn spawn(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Self::command(arguments);
        command.envs(variables.iter().copied());
        Self::start(command)
    }

    /// The binary with these arguments and no variable of its own, to be started.
    pub(crate) fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cortex-workflow-exporter"));
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CORTEX_") {
                command.env_remove(name);
            }
        }
        command.args(arguments);
        command
    }

    /// The same with room for only this number of open files and connections.
    pub(crate) fn spawn_limited(files: u64, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_cortex-workflow-exporter"))
            .args(arguments)
            .env("CORTEX_API_KEY", KEY);
        Self::start(command)
    }

    /// Starts any program in the same way.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_owned();
        let started = command.spawn();
        let mut child =
            started.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let stdout = capture(child.stdout.take());
        let stderr = capture(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// Starts `serve` for this API on a free port, polling every second.
    pub(crate) fn serve(api: &Api, state_url: &str, more: &[&str]) -> Self {
        Self::serve_on("127.0.0.1:0", api, state_url, more)
    }

    /// The same on this address.
    pub(crate) fn serve_on(address: &str, api: &Api, state_url: &str, more: &[&str]) -> Self {
        let address = format!("--web.listen-address={address}");
        let url = format!("--cortex.api-url={}", api.url());
        let state = format!("--state.url={state_url}");
        let mut arguments = vec![
            "serve",
            &url,
            &state,
            &address,
            "--poll.interval=1s",
            "--cortex.rate-limit=100000",
        ];
        arguments.extend(more);
        Self::spawn(&arguments, &[("CORTEX_API_KEY", KEY)])
    }

    /// Starts `serve` with an API that is not there.
    pub(crate) fn serve_without_api(state_url: &str, more: &[&str]) -> Self {
        let state = format!("--state.url={state_url}");
        let nowhere = "--cortex.api-url=http://127.0.0.1:9";
        let arguments = ["serve", "--web.listen-address=127.0.0.1:0", nowhere, &state];
        Self::spawn(&[&arguments, more].concat(), &[("CORTEX_API_KEY", KEY)])
    }

    /// Starts `demo` on free ports.
    pub(crate) fn demo() -> Self {
        Self::demo_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn demo_with(flags: &[&str]) -> Self {
        let arguments =
            ["demo", "--web.listen-address=127.0.0.1:0", "--simulator.listen-address=127.0.0.1:0"];
        Self::spawn(&[&arguments, flags].concat(), &[])
    }

    /// Its base URL, without a slash at the end, as soon as it has logged it.
    pub(crate) async fn url(&mut self) -> String {
        let address = self.word_after("address=", Self::stderr).await;
        format!("http://{address}")
    }

    /// The same once its first poll cycle has ended.
    pub(crate) async fn ready_url(&mut self) -> String {
        let url = self.url().await;
        let ready = format!("{url}/-/ready");
        let is_ready = async || (super::get(&ready).await.0 == 200).then_some(());
        wait_until("the exporter is ready", is_ready, || self.log()).await;
        url
    }

    /// What it shows once that is so many failures, and never more.
    pub(crate) async fn shows_failures(&self, url: &str, failures: f64) -> Samples {
        let shows = async || {
            let samples = super::scrape(url).await;
            let shown = samples.sum("cortex_workflow_runs_total", &[("status", "FAILED")]);
            assert!(shown <= Some(failures), "{shown:?} failures are shown, not {failures}");
            (shown == Some(failures)).then_some(samples)
        };
        wait_until(&format!("{failures} failures are shown"), shows, || self.log()).await
    }

    /// The word after `mark` in what it wrote, as soon as it is there with its line's end.
    pub(crate) async fn word_after(&mut self, mark: &str, of: impl Fn(&Self) -> String) -> String {
        let what = format!("the process logs what follows {mark:?}");
        let find = || {
            let text = of(self);
            let complete = text.rsplit_once('\n')?.0;
            let (_, rest) = complete.split_once(mark)?;
            rest.split_whitespace().next().map(str::to_owned)
        };
        let evidence = || self.log();
        wait_until(&what, async || find(), evidence).await
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// All that it wrote so far.
    pub(crate) fn log(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
    }

    /// The most memory that it has had so far, in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs, on Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.expect("the system reports the peak") / 1024
    }

    /// How many files and connections it has open.
    pub(crate) fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.expect("it runs, on Linux").count()
    }

    /// Lowers the number of files and connections that it may have open.
    pub(crate) fn limit_open_files(&self, limit: u64) {
        let id = Pid::from_raw(self.child.id() as i32);
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        prlimit(id, Resource::Nofile, limit).expect("it may be lowered");
    }

    /// Kills it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The number that the system has for it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        // The shell has `kill` built in; a small Debian has no such program.
        let script = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &script]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{}", self.log());
    }

    /// Waits for its end. -1 stands for being killed.
    pub(crate) async fn exit_code(&mut self) -> i32 {
        let Self { child, stdout, stderr } = self;
        let ended = async || child.try_wait().expect("a child can be waited for");
        let evidence = || format!("stdout:\n{}\nstderr:\n{}", text(stdout), text(stderr));
        let status = wait_until("the process ends", ended, evidence).await;
        // Its last words may still be on their way; the readers drop their share when done.
        let read = async || {
            let alone = |captured: &Captured| Arc::strong_count(captured) == 1;
            (alone(stdout) && alone(stderr)).then_some(())
        };
        wait_until("the pipes of an ended process close", read, String::new).await;
        status.code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn capture(pipe: Option<impl Read + Send + 'static>) -> Captured {
    let captured = Captured::default();
    let target = Arc::clone(&captured);
    let mut pipe = pipe.expect("it was asked for");
    thread::spawn(move || {
        let mut part = [0; 4096];
        loop {
            match pipe.read(&mut part) {
                Ok(0) => break,
                Ok(length) => {
                    let mut target = target.lock().expect("no reader panics");
                    target.extend_from_slice(&part[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    captured
}

fn text(captured: &Captured) -> String {
    String::from_utf8_lossy(&captured.lock().expect("no reader panics")).into_owned()
}
