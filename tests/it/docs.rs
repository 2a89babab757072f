//! Holds the README against the code: what it lists exists, and what exists is listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use cortex_workflow_exporter::{
    config::{Buckets, WEB_CONFIG_KEYS, file_keys},
    metrics::FAMILIES,
    model::Anomaly,
};

use crate::support::readme::{Family, ROOT, anchor, documented_families, quoted, readme, rows};

const EXPORTER: &str = env!("CARGO_BIN_EXE_cortex-workflow-exporter");

/// What is in one of two maps only, or unlike in both; one line each.
fn differences<T: PartialEq + std::fmt::Debug>(
    documented: &BTreeMap<String, T>,
    real: &BTreeMap<String, T>,
) -> Vec<String> {
    let names: BTreeSet<_> = documented.keys().chain(real.keys()).collect();
    let unlike = names.into_iter().filter(|name| documented.get(*name) != real.get(*name));
    let line = |name: &String| {
        let (told, is) = (documented.get(name), real.get(name));
        format!("{name}: the README says {told:?}, the program {is:?}")
    };
    unlike.map(line).collect()
}

/// The families of an exposition. Those without samples have no labels.
fn exposed_families(exposition: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in exposition.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            families.insert(name.into(), (kind.into(), BTreeSet::new()));
        }
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family =
            [Some(name), stem].into_iter().flatten().find(|name| families.contains_key(*name));
        if let Some((_, labels)) = family.and_then(|name| families.get_mut(name)) {
            labels.extend(label_names(line));
        }
    }
    families
}

/// The names of a sample's labels, but `le`. Values may hold anything, escaped.
fn label_names(sample: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = sample.split_once('{').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    names.retain(|name| name != "le");
    names
}

/// A running demo. Its ledger is in a directory of its own, which goes with it.
struct Demo {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Demo {
    /// Starts one and waits until its first poll cycle has succeeded.
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(EXPORTER)
            .args(["demo", "--web.listen-address=127.0.0.1:0"])
            .arg("--simulator.listen-address=127.0.0.1:0")
            .env_clear()
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the exporter runs");
        let log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut demo = Self { process, address: String::new(), _directory: directory };
        let mut seen = String::new();
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("address=") {
                demo.address = rest.split(' ').next().unwrap_or_default().into();
            }
            if line.contains("The first poll cycle succeeded") {
                return demo;
            }
            seen += &line;
        }
        panic!("the demo ended early: {seen}");
    }

    /// The answer to a request, head and body.
    fn answer(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        answer
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, which the test tells.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_metrics_tables_list_exactly_the_families_that_are_served() {
    let demo = Demo::start();
    let mut real = exposed_families(&demo.answer("GET", "/metrics"));
    for family in &FAMILIES {
        let kind = format!("{:?}", family.kind()).to_lowercase();
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        let told = (kind, labels);
        if let Some(served) = real.get(family.name) {
            assert_eq!(*served, told, "{} as served and in the table of families", family.name);
        }
        real.insert(family.name.into(), told);
    }
    assert!(real.len() > FAMILIES.len(), "the exporter's own families are served too");
    let documented = documented_families(&readme());
    assert_eq!(differences(&documented, &real), [""; 0]);
}

#[test]
fn the_endpoints_table_lists_what_is_served() {
    let demo = Demo::start();
    let readme = readme();
    let endpoints = rows(&readme, &["path", "answers"]);
    assert!(!endpoints.is_empty(), "there is such a table");
    for endpoint in endpoints.iter().flat_map(|row| quoted(row[0])) {
        let (method, path) = endpoint.split_once(' ').unwrap_or(("GET", endpoint));
        let answer = demo.answer(method, path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{endpoint}: {answer}");
    }
}

/// A flag's variable and its default.
type Flag = (String, String);

fn documented_flags(readme: &str) -> BTreeMap<String, Flag> {
    let table = rows(readme, &["flag", "variable", "default", "meaning"]);
    let plain = |cell: &str| cell.trim_matches('`').to_owned();
    table.iter().map(|row| (plain(row[0]), (plain(row[1]), plain(row[2])))).collect()
}

/// The flags that a help text tells of, but for those that every program has.
fn flags_of_help(help: &str) -> BTreeMap<String, Flag> {
    let options = help.split("\nExamples:").next().unwrap_or_default();
    let mut blocks = Vec::<String>::new();
    for line in options.lines().map(str::trim) {
        if line.starts_with("--") {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            *block += line;
            *block += " ";
        }
    }
    let flag = |block: &String| {
        let name = block.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
        let told = |what| Some(block.split_once(what)?.1.split_once(']')?.0.trim().to_owned());
        let variable = told("[env:").unwrap_or("–".into());
        (name, (variable, told("[default:").unwrap_or("–".into())))
    };
    blocks.iter().map(flag).collect()
}

#[test]
fn the_flags_tables_list_exactly_the_flags_with_their_variables_and_defaults() {
    let mut real = BTreeMap::new();
    for command in ["serve", "check", "once", "demo", "simulate"] {
        let output = Command::new(EXPORTER).args([command, "--help"]).env_clear().output();
        let help = String::from_utf8(output.expect("it runs").stdout).expect("help is text");
        let flags = flags_of_help(&help);
        assert!(flags.len() > 2, "{command} has flags: {help}");
        real.extend(flags);
    }
    assert_eq!(differences(&documented_flags(&readme()), &real), [""; 0]);
}

/// The keys of the configuration file, and what each is set to.
fn documented_keys(readme: &str) -> BTreeMap<String, String> {
    let table = rows(readme, &["key", "value", "meaning"]);
    let row = |row: &Vec<&str>| (row[0].trim_matches('`').to_owned(), row[1].to_owned());
    table.iter().map(row).collect()
}

#[test]
fn the_table_of_keys_lists_exactly_those_of_the_configuration_file() {
    let real = file_keys().into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    assert_eq!(differences(&documented_keys(&readme()), &real), [""; 0]);
}

/// The keys of the web configuration with their defaults.
fn documented_web_keys(readme: &str) -> BTreeMap<String, String> {
    let table = rows(readme, &["key", "default", "meaning"]);
    let plain = |cell: &str| cell.trim_matches('`').to_owned();
    table.iter().map(|row| (plain(row[0]), plain(row[1]))).collect()
}

#[test]
fn the_table_of_the_web_configuration_lists_exactly_its_keys_with_their_defaults() {
    let real = WEB_CONFIG_KEYS.iter().map(|key| {
        let default = if key.default.is_empty() { "–" } else { key.default };
        (key.path.to_owned(), default.to_owned())
    });
    assert_eq!(differences(&documented_web_keys(&readme()), &real.collect()), [""; 0]);
}

/// What is wrong with the table of anomalies.
fn anomaly_errors(readme: &str) -> Vec<String> {
    let table = rows(readme, &["reason", "means", "what to do"]);
    let told: BTreeSet<_> = table.iter().map(|row| row[0].trim_matches('`')).collect();
    let real = Anomaly::ALL.iter().map(|anomaly| anomaly.as_str()).collect();
    let unlike = told.symmetric_difference(&real);
    let mut errors: Vec<_> = unlike.map(|reason| format!("{reason} is on one side only")).collect();
    let empty = table.iter().filter(|row| row.len() != 3 || row.iter().any(|cell| cell.is_empty()));
    errors.extend(empty.map(|row| format!("a row with an empty cell: {row:?}")));
    errors
}

#[test]
fn every_anomaly_is_explained() {
    assert_eq!(anomaly_errors(&readme()), [""; 0]);
}

/// The first of these commands that the first forty lines don't show.
fn hidden_command(readme: &str) -> Option<&'static str> {
    let commands = ["cargo run --release -- demo", "tests/run"];
    commands.into_iter().find(|command| !readme.lines().take(40).any(|line| line == *command))
}

#[test]
fn the_first_screen_shows_how_to_try_it_and_how_to_test_it() {
    assert_eq!(hidden_command(&readme()), None);
}

/// Links to headings and files that aren't there.
fn dead_links(readme: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let headings = readme.lines().filter(|line| line.starts_with('#')).map(anchor);
    let headings: BTreeSet<_> = headings.collect();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = targets.filter(|target| !target.contains("://"));
    let dead = relative.filter(|target| match target.strip_prefix('#') {
        Some(heading) => !headings.contains(heading),
        None => !exists(target.split('#').next().unwrap_or_default()),
    });
    dead.map(str::to_owned).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let dead = dead_links(&readme(), |path| Path::new(ROOT).join(path).exists());
    assert_eq!(dead, [""; 0]);
}

#[test]
fn the_buckets_that_are_named_are_the_default_ones() {
    let readme = readme();
    let Buckets { runs, queues, steps } = Buckets::default();
    for bounds in [runs, queues, steps] {
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        let bounds = format!("`{}`", bounds.join(" "));
        assert!(readme.contains(&bounds), "{bounds}");
    }
}

mod the_checks_themselves {
    use super::*;

    #[test]
    fn a_family_that_is_missing_or_has_another_type_or_label_is_told() {
        let readme = "\
            | family | type | more labels | meaning |\n|---|---|---|---|\n\
            | `a_total` | counter | `status` | runs |\n\
            | `b` | gauge | | more |\n\n\
            | family | type | labels | meaning |\n|---|---|---|---|\n\
            | `c_seconds` | histogram | `app_id` | time |\n";
        let exposition = "\
            # HELP a_total runs\n# TYPE a_total counter\n\
            a_total{workflow_id=\"1\",workflow=\"x,y=\\\"}\\\\\",status=\"OK\"} 1\n\
            # TYPE b counter\nb{workflow_id=\"1\",workflow=\"x\"} 1\n\
            # TYPE c_seconds histogram\n\
            c_seconds_bucket{other=\"c\",le=\"+Inf\"} 0\nc_seconds_count{other=\"c\"} 0\n\
            # TYPE d gauge\nd 5\n";
        let unlike = differences(&documented_families(readme), &exposed_families(exposition));
        let names: Vec<_> = unlike.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["b", "c_seconds", "d"], "{unlike:?}");
    }

    #[test]
    fn a_flag_that_is_missing_or_has_another_variable_or_default_is_told() {
        let help = "\
            Options:\n  -h, --help  Print help\n\nWeb:\n      --a <X>\n          Something\n\n          \
            [env: A]\n          [default: 1]\n      --b[=<true|false>]\n          More [env:\n          \
            B] [default: false]\n      --c <Y>  Last [env: C]\n\nExamples:\n  --d=1\n";
        let right = "| flag | variable | default | meaning |\n|---|---|---|---|\n\
            | `--a` | `A` | `1` | x |\n| `--b` | `B` | `false` | x |\n| `--c` | `C` | – | x |\n";
        let told = |readme: &str| differences(&documented_flags(readme), &flags_of_help(help));
        assert_eq!(told(right), [""; 0]);
        for (from, to) in [("`1`", "`2`"), ("`B`", "`X`"), ("--c", "--e")] {
            assert!(!told(&right.replace(from, to)).is_empty(), "{from} is now {to}");
        }
    }

    #[test]
    fn a_key_of_the_web_configuration_that_is_missing_or_has_another_default_is_told() {
        let right = documented_web_keys(&readme());
        assert!(right.len() > 20, "{right:?}");
        for (from, to) in [("`rate_limit.burst`", "`rate_limit.bust`"), ("| `TLS13` |", "| – |")]
        {
            let broken = documented_web_keys(&readme().replace(from, to));
            assert!(!differences(&broken, &right).is_empty(), "{from} is now {to}");
        }
    }

    #[test]
    fn an_anomaly_that_is_missing_or_not_explained_is_told() {
        let broken = readme().replace("`vanished_run`", "`lost_run`");
        assert_eq!(anomaly_errors(&broken).len(), 2);
        let silent = "| reason | means | what to do |\n|---|---|---|\n| `unknown_status` | | x |\n";
        let errors = anomaly_errors(silent);
        assert!(errors.iter().any(|error| error.contains("empty cell")), "{errors:?}");
    }

    #[test]
    fn a_command_below_the_first_screen_is_told() {
        let text = format!("{}cargo run --release -- demo\ntests/run\n", "\n".repeat(39));
        assert_eq!(hidden_command(&text), Some("tests/run"));
    }

    #[test]
    fn a_link_to_nowhere_is_told() {
        let text =
            "# What is it?\n[a](#what-is-it) [b](#nothing) [c](src/x.rs#L1) [d](https://e.f)\n";
        assert_eq!(dead_links(text, |_| false), ["#nothing", "src/x.rs#L1"]);
        assert_eq!(dead_links(text, |path| path == "src/x.rs"), ["#nothing"]);
    }
}
