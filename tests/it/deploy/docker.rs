//! The image: what goes into it, and whether the program and its health check run on no more than that.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{path, read, verdict};
use crate::support::{Api, KEY, Process, get, run, tool, wait_until};

const DOCKERFILE: &str = "deploy/Dockerfile";
const PROGRAM: &str = env!("CARGO_BIN_EXE_cortex-workflow-exporter");

/// The instructions of the Dockerfile, in one line each and without comments.
fn instructions() -> Vec<String> {
    let text = read(DOCKERFILE);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let words = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|line| !line.is_empty()).collect()
}

/// What follows this instruction, wherever it stands.
fn all(instruction: &str) -> Vec<String> {
    let rest = |line: &String| Some(line.strip_prefix(instruction)?.trim().to_owned());
    instructions().iter().filter_map(rest).collect()
}

/// What follows this instruction, which is there once.
fn the(instruction: &str) -> String {
    let mut found = all(instruction);
    assert_eq!(found.len(), 1, "{instruction}: {found:?}");
    found.remove(0)
}

/// An instruction's list of words in JSON.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|error| panic!("{list}: {error}"))
}

/// What is copied from the project.
fn copied() -> BTreeSet<String> {
    let own = all("COPY ").into_iter().filter(|copy| !copy.starts_with("--from"));
    let sources = own.flat_map(|copy| {
        let mut words: Vec<_> = copy.split(' ').map(str::to_owned).collect();
        words.pop();
        words
    });
    sources.collect()
}

#[test]
fn the_linter_has_nothing_against_the_dockerfile() {
    let linter = tool("hadolint");
    let judge = |file: &Path| verdict(Command::new(&linter).arg("--no-color").arg(file));
    assert_eq!(judge(&path(DOCKERFILE)), (true, String::new()));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let bad = directory.path().join("Dockerfile");
    fs::write(&bad, "FROM debian\nRUN cd /tmp\n").expect("there is room");
    let (content, why) = judge(&bad);
    assert!(!content && why.contains("DL3006"), "{why}");
}

/// The files of the project that the compiler says it has read for the library or the program.
fn read_by_the_compiler() -> BTreeSet<PathBuf> {
    let beside = Path::new(PROGRAM).with_file_name("deps");
    let entries = fs::read_dir(&beside).expect("cargo leaves its records there");
    let records = entries.map(|entry| entry.expect("it can be listed").path()).filter(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("cortex_workflow_exporter-")
            && file.extension().is_some_and(|extension| extension == "d")
    });
    let records = records.map(|file| fs::read_to_string(file).expect("it can be read"));
    let all = records.collect::<Vec<_>>().join("\n");
    let root = path("");
    // One line for each file: its name and a colon.
    all.lines()
        .filter_map(|line| line.strip_suffix(':'))
        .map(|file| Path::new(file).strip_prefix(&root).unwrap_or(Path::new(file)).to_owned())
        .filter(|file| file.is_relative() && root.join(file).exists())
        // Those of tools begin with a dot.
        .filter(|file| !file.starts_with("target") && !file.to_string_lossy().starts_with('.'))
        .collect()
}

#[test]
fn all_that_the_build_reads_is_copied_and_nothing_else_is_sent() {
    let copied = copied();
    for source in &copied {
        assert!(path(source).exists(), "{source} is copied and does not exist");
    }
    let compiled = read_by_the_compiler();
    assert!(compiled.len() > 50, "{compiled:?}");
    for file in compiled {
        let covered = copied.iter().any(|source| file.starts_with(source));
        assert!(covered, "{} is not copied into the build", file.display());
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        assert!(copied.contains(file), "{file}");
    }
    let ignored = read(".dockerignore");
    let rules = ignored.lines().filter(|line| !line.starts_with('#'));
    let (sent, rest): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.starts_with('!'));
    assert_eq!(rest, ["*"]);
    let sent: BTreeSet<_> = sent.iter().map(|rule| rule[1..].to_owned()).collect();
    assert_eq!(sent, copied);
}

/// The libraries that a program links, with their paths here.
fn linked(program: &Path) -> Vec<(String, PathBuf)> {
    let (_, listed) = verdict(Command::new("ldd").arg(program));
    let lines = listed.lines().filter(|line| line.contains('/') && !line.contains("not a dynamic"));
    let library = |line: &str| {
        let found = line.split_whitespace().find(|word| word.starts_with('/'))?;
        let name = Path::new(found).file_name()?.to_str()?.to_owned();
        Some((name, PathBuf::from(found)))
    };
    lines.filter_map(library).collect()
}

/// A root file system with what the last stage has, as far as the exporter is concerned.
fn image() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let root = directory.path();
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let put = |file: &Path, to: &str| {
        let to = inside(to);
        fs::create_dir_all(to.parent().expect("it has a directory")).expect("there is room");
        fs::copy(file, to).expect("there is room");
    };
    let entry = words(&the("ENTRYPOINT "));
    put(Path::new(PROGRAM), &entry[0]);
    let busybox = tool("busybox");
    put(&busybox, "/usr/bin/busybox");
    for (_, library) in linked(Path::new(PROGRAM)).into_iter().chain(linked(&busybox)) {
        put(&library, library.to_str().expect("its name is text"));
    }
    // Without any of them there is no HTTPS, and the exporter does not start.
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    put(Path::new(certificates), certificates);
    for empty in ["/tmp", "/var/lib/cortex-workflow-exporter"] {
        fs::create_dir_all(inside(empty)).expect("there is room");
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("it is ours");
    directory
}

/// A command within the image, as its user. Needs no privileges: the user is another one only in a
/// namespace of its own.
fn within(image: &Path, command: &[String]) -> Command {
    let user = the("USER ");
    let (user, group) = user.split_once(':').expect("it has a user and a group");
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", &format!("--map-user={user}"), &format!("--map-group={group}")])
        .arg(format!("--root={}", image.display()))
        .args(command)
        .env_clear();
    for variable in all("ENV ") {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        unshare.env(name, value);
    }
    unshare
}

/// The health check, for an exporter that listens elsewhere.
fn health_check(url: &str) -> Vec<String> {
    let check = the("HEALTHCHECK ");
    let (_, command) = check.split_once("CMD ").expect("it is a command");
    let usual = "http://127.0.0.1:10058";
    assert!(command.contains(usual), "{command}");
    words(&command.replace(usual, url))
}

#[test]
fn the_build_uses_the_oldest_compiler_that_is_supported() {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let oldest = line.expect("the manifest names it").trim_matches('"');
    let bases = all("FROM ");
    assert!(bases[0].starts_with(&format!("rust:{oldest}-")), "{oldest}: {bases:?}");
}

#[test]
fn the_image_has_the_libraries_that_the_program_links() {
    // What gcr.io/distroless/cc has: the C library's, and GCC's runtime.
    let there = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"];
    let linked = linked(Path::new(PROGRAM));
    assert!(linked.len() > 1, "{linked:?}");
    for (name, _) in linked {
        assert!(there.contains(&name.as_str()) || name.starts_with("ld-linux"), "{name}");
    }
}

#[tokio::test]
async fn what_the_image_starts_serves_and_its_health_check_tells_well_from_ill() {
    let api = Api::start().await;
    let image = image();
    let mut command = words(&the("ENTRYPOINT "));
    command.extend(words(&the("CMD ")));
    let mut exporter = within(image.path(), &command);
    exporter
        .args(["--web.listen-address=127.0.0.1:0", "--poll.interval=1s"])
        .env("CORTEX_API_KEY", KEY)
        .env("CORTEX_API_URL", api.url());
    let mut exporter = Process::start(exporter);
    let url = exporter.ready_url().await;
    let checked = |url: &str| verdict(&mut within(image.path(), &health_check(url)));
    assert_eq!(checked(&url), (true, "healthy\n".into()));
    assert!(!checked(&format!("{url}/no-such-page")).0, "404 is not well");
    let ledger = image.path().join("var/lib/cortex-workflow-exporter/ledger.db");
    assert!(ledger.exists(), "it is where a volume would be: {}", exporter.log());
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    let (well, _) = checked(&url);
    assert!(!well, "nothing answers any more");
}

#[tokio::test]
async fn the_image_runs_the_demo_whose_spike_can_be_asked_for_from_within() {
    let image = image();
    let mut command = words(&the("ENTRYPOINT "));
    let demo =
        ["demo", "--web.listen-address=127.0.0.1:0", "--simulator.listen-address=127.0.0.1:0"];
    command.extend(demo.map(str::to_owned));
    let mut demo = Process::start(within(image.path(), &command));
    let url = demo.ready_url().await;
    let simulator = demo.word_after("on request:\n  curl -s ", Process::stdout).await;
    // As the document has it, but for the port.
    let documented =
        "busybox wget -qO- --post-data= 'http://127.0.0.1:10059/_simulator/spike?seconds=60'";
    assert!(
        read("deploy/README.md").contains(documented),
        "the document no longer says: {documented}"
    );
    let spike =
        documented.replace("http://127.0.0.1:10059/_simulator/", &simulator).replace('\'', "");
    let spike: Vec<_> =
        spike.split(' ').map(|word| word.replace("busybox", "/usr/bin/busybox")).collect();
    let (done, answer) = verdict(&mut within(image.path(), &spike));
    assert!(done, "{answer}");
    let failed = async || {
        let (_, metrics) = get(&format!("{url}/metrics")).await;
        metrics.contains("status=\"FAILED\"").then_some(())
    };
    wait_until("the demo has runs that failed", failed, || demo.log()).await;
}

#[tokio::test]
async fn the_port_of_the_image_is_the_one_that_is_served_by_default() {
    let (_, help, _) = run(&["serve", "--help"], &[]).await;
    let port = the("EXPOSE ");
    assert!(help.contains(&format!("[default: :{port}]")), "{help}");
    assert!(health_check("here").contains(&"here/-/healthy".to_owned()));
    assert_eq!(port, "10058");
}
