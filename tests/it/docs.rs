//! Checks the Markdown documents against the code: what they list exists, and what exists is listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use cortex_workflow_exporter::{
    config::{Buckets, SETTINGS, WEB_CONFIG_KEYS, file_keys},
    metrics::FAMILIES,
    model::Anomaly,
};

use crate::support::{
    Process, Samples, client,
    documents::{
        Family, ROOT, all_documents, anchors, document, documented_families, documents, program,
        prose, quoted, rows, unwrapped,
    },
    get, parse, scrape, wait_until,
};

/// The first document that anybody reads.
const README: &str = "README.md";

/// What is in one of two maps only, or different in both; one line each.
fn differences<T: PartialEq + std::fmt::Debug>(
    documented: &BTreeMap<String, T>,
    real: &BTreeMap<String, T>,
) -> Vec<String> {
    let names: BTreeSet<_> = documented.keys().chain(real.keys()).collect();
    let different = names.into_iter().filter(|name| documented.get(*name) != real.get(*name));
    let line = |name: &String| {
        let (documented, real) = (documented.get(name), real.get(name));
        format!("{name}: documented as {documented:?}, in the program {real:?}")
    };
    different.map(line).collect()
}

/// The families of an exposition. Those without samples have no labels.
fn exposed_families(samples: &Samples) -> BTreeMap<String, Family> {
    let names = samples.families.iter();
    let mut families: BTreeMap<_, _> = names
        .map(|(name, family)| (name.clone(), (family.kind.clone(), BTreeSet::new())))
        .collect();
    for series in samples.values.keys() {
        let family = samples.family_of(&series.name).expect("a parsed sample has a family");
        let (_, labels) = families.get_mut(family).expect("it was listed above");
        labels.extend(series.labels.keys().filter(|label| *label != "le").cloned());
    }
    families
}

#[tokio::test]
async fn the_metrics_tables_list_exactly_the_families_that_are_served() {
    let mut demo = Process::demo_with(&["--web.external-url=https://exporter.example"]);
    let url = demo.ready_url().await;
    let mut real = exposed_families(&scrape(&url).await);
    for family in FAMILIES.iter() {
        let kind = format!("{:?}", family.kind()).to_lowercase();
        let labels = family.labels().map(str::to_owned).collect();
        let declared = (kind, labels);
        if let Some(served) = real.get(family.name) {
            assert_eq!(*served, declared, "{} as served and as declared", family.name);
        }
        real.insert(family.name.into(), declared);
    }
    assert!(real.len() > FAMILIES.len(), "the exporter's own families are served too");
    let documented = documented_families(&all_documents());
    assert_eq!(differences(&documented, &real), [""; 0]);
}

#[tokio::test]
async fn the_endpoints_table_lists_what_is_served() {
    let mut demo = Process::demo();
    let url = demo.ready_url().await;
    let document = document(README);
    let endpoints = rows(&document, &["path", "answers"]);
    assert!(!endpoints.is_empty(), "there is such a table");
    let run = async || {
        let overview = get(&format!("{url}/")).await.1;
        let (_, rest) = overview.split_once("href=\"runs/")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let run = wait_until("a run has failed", run, || demo.log()).await;
    let failed = scrape(&url).await;
    let mut failed =
        failed.matching("cortex_workflow_last_run_timestamp_seconds", &[("status", "FAILED")]);
    let workflow = failed.next().expect("a run has failed").0.labels["workflow_id"].clone();
    for endpoint in endpoints.iter().flat_map(|row| quoted(row[0])) {
        let path = endpoint.replace("{run_id}", &run).replace("{workflow_id}", &workflow);
        let (method, path) = path.split_once(' ').unwrap_or(("GET", &path));
        let method = method.parse().expect("it is a method");
        let answer = client().request(method, format!("{url}{path}")).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        // In the demo, runs have a page of their own.
        let expected = if endpoint.contains('{') { 302 } else { 200 };
        assert_eq!(answer.status(), expected, "{endpoint}");
    }
}

/// The table of settings as the documentation has it.
fn table_of_settings() -> String {
    let quoted = |text: String| if text.is_empty() { "–".into() } else { format!("`{text}`") };
    let mut table = "| flag | variable | key | default | reload | meaning |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let flag = setting.has_flag().then(|| format!("--{}", setting.name));
        let variable = setting.has_flag().then(|| setting.variable());
        let cells = [flag, variable, setting.key(), Some(setting.default.into())];
        let cells = cells.map(|cell| quoted(cell.unwrap_or_default())).join(" | ");
        let reload = match setting.key() {
            Some(_) if setting.needs_restart() => "restart",
            Some(_) => "yes",
            None => "–",
        };
        let help = match setting.help.split_once(" Example: ") {
            Some((help, example)) => format!("{help} Example: `{example}`"),
            None => setting.help.into(),
        };
        let help = help.replace('|', "\\|");
        writeln!(table, "| {cells} | {reload} | {help} |").expect("a string takes everything");
    }
    table
}

/// What a document has between the marks of a part that is made by a program.
fn made_part<'d>(document: &'d str, name: &str) -> &'d str {
    let (_, rest) = document.split_once(&format!("<!-- {name} -->\n")).unwrap_or_default();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap_or_default().0
}

#[test]
fn the_table_of_settings_is_the_one_of_the_program() {
    let path = "src/config/README.md";
    let text = document(path);
    let (documented, real) = (made_part(&text, "settings"), table_of_settings());
    if documented != real && std::env::var_os("UPDATE_DOCS").is_some() {
        let marked = |part: &str| format!("<!-- settings -->\n{part}<!-- /settings -->");
        let text = text.replace(&marked(documented), &marked(&real));
        std::fs::write(Path::new(ROOT).join(path), text).expect("the document can be written");
        return;
    }
    assert_eq!(documented, real, "UPDATE_DOCS=1 puts it into {path}");
}

/// The keys of the apps in the configuration file, and what each is set to.
fn documented_keys(text: &str) -> BTreeMap<String, String> {
    let table = rows(text, &["key", "value", "meaning"]);
    let row = |row: &Vec<&str>| (row[0].trim_matches('`').to_owned(), row[1].to_owned());
    table.iter().map(row).collect()
}

#[test]
fn the_table_of_the_keys_of_an_app_lists_exactly_those() {
    let real = file_keys().into_iter().map(|(key, value)| (key, value.to_owned()));
    let of_apps = real.filter(|(key, _)| key.starts_with("apps[]."));
    assert_eq!(differences(&documented_keys(&all_documents()), &of_apps.collect()), [""; 0]);
}

/// The keys of the web configuration with their defaults.
fn documented_web_keys(text: &str) -> BTreeMap<String, String> {
    let table = rows(text, &["key", "default", "meaning"]);
    let plain = |cell: &str| cell.trim_matches('`').to_owned();
    table.iter().map(|row| (plain(row[0]), plain(row[1]))).collect()
}

#[test]
fn the_table_of_the_web_configuration_lists_exactly_its_keys_with_their_defaults() {
    let real = WEB_CONFIG_KEYS.iter().map(|key| {
        let default = if key.default.is_empty() { "–" } else { key.default };
        (key.path.to_owned(), default.to_owned())
    });
    assert_eq!(differences(&documented_web_keys(&all_documents()), &real.collect()), [""; 0]);
}

/// What is wrong with the table of anomalies.
fn anomaly_errors(text: &str) -> Vec<String> {
    let table = rows(text, &["reason", "means", "what to do"]);
    let documented: BTreeSet<_> = table.iter().map(|row| row[0].trim_matches('`')).collect();
    let real = Anomaly::ALL.iter().map(|anomaly| anomaly.as_str()).collect();
    let different = documented.symmetric_difference(&real);
    let mut errors: Vec<_> =
        different.map(|reason| format!("{reason} is on one side only")).collect();
    let empty = table.iter().filter(|row| row.len() != 3 || row.iter().any(|cell| cell.is_empty()));
    errors.extend(empty.map(|row| format!("a row with an empty cell: {row:?}")));
    errors
}

#[test]
fn every_anomaly_is_explained() {
    assert_eq!(anomaly_errors(&all_documents()), [""; 0]);
}

/// The first of these commands that the first forty lines don't show.
fn hidden_command(readme: &str) -> Option<&'static str> {
    let commands = ["cargo run --release -- demo", "tests/run"];
    commands.into_iter().find(|command| !readme.lines().take(40).any(|line| line == *command))
}

#[test]
fn the_first_screen_shows_how_to_try_it_and_how_to_test_it() {
    assert_eq!(hidden_command(&document(README)), None);
}

#[test]
fn the_readme_is_short_and_shows_a_dashboard_and_where_every_document_is() {
    let readme = document(README);
    assert!(readme.len() <= 12 * 1024, "{} bytes", readme.len());
    assert!(readme.contains("](grafana/pictures/fleet.png)"), "it shows the fleet dashboard");
    let explains_fixtures = |path: &str| path.starts_with("tests/fixtures/");
    for path in documents().keys().filter(|path| *path != README && !explains_fixtures(path)) {
        assert!(readme.contains(&format!("]({path})")), "it links to {path}");
    }
}

/// Lines of prose with more than 120 characters.
fn long_lines(text: &str) -> Vec<&str> {
    let lines = prose(text).filter(|line| !line.starts_with('|'));
    lines.filter(|line| line.chars().count() > 120).collect()
}

#[test]
fn lines_of_prose_are_short() {
    for (path, text) in documents() {
        assert_eq!(long_lines(&text), [""; 0], "{path}");
    }
}

/// The links of these documents that lead to no file, or to no heading of a document.
fn dead_links(documents: &BTreeMap<String, String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut dead = Vec::new();
    for (document, text) in documents {
        let lines: Vec<_> = prose(text).collect();
        let lines = lines.join("\n");
        let targets = lines.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document.clone() } else { relative_to(document, path) };
            let is_there = match documents.get(&path) {
                Some(text) => heading.is_empty() || anchors(text).contains(heading),
                None => exists(&path),
            };
            if !is_there {
                dead.push(format!("{document}: {target}"));
            }
        }
    }
    dead
}

/// What `path` names in a document, as a path from the root.
fn relative_to(document: &str, path: &str) -> String {
    let mut parts: Vec<_> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let dead = dead_links(&documents(), |path| Path::new(ROOT).join(path).exists());
    assert_eq!(dead, [""; 0]);
}

#[test]
fn the_files_that_the_map_of_the_code_names_are_there() {
    let map = document("src/lib.rs");
    let map: Vec<_> = map.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let map = map.join("\n");
    let files: Vec<_> = quoted(&map).into_iter().filter(|word| word.contains('/')).collect();
    assert!(files.len() > 15, "{files:?}");
    let missing = files.iter().filter(|file| !Path::new(ROOT).join("src").join(file).exists());
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn the_buckets_that_are_named_are_the_default_ones() {
    let metrics = document("src/metrics/README.md");
    let Buckets { runs, queues, steps } = Buckets::default();
    for bounds in [runs, queues, steps] {
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        let bounds = format!("`{}`", bounds.join(" "));
        assert!(metrics.contains(&bounds), "{bounds}");
    }
}

/// The messages that a document quotes, and that the program doesn't have.
fn unknown_messages(document: &str, program: &str) -> Vec<String> {
    let troubles = rows(document, &["log message or metric"]);
    let troubles = troubles.iter().map(|row| row[0]).filter(|cell| cell.starts_with('`'));
    let mut messages: Vec<_> = troubles.flat_map(quoted).map(str::to_owned).collect();
    let prose = prose(document).filter(|line| !line.starts_with('|')).collect::<Vec<_>>();
    for paragraph in prose.join("\n").split("\n\n") {
        let paragraph = unwrapped(paragraph);
        let quoted = quoted(&paragraph).into_iter();
        let sentences = quoted.filter(|it| it.starts_with(char::is_uppercase) && it.ends_with('.'));
        messages.extend(sentences.map(str::to_owned));
    }
    // Names are checked elsewhere, and values are the program's to put in.
    messages.retain(|message| message.contains(' ') && !message.starts_with("--"));
    let is_value = |c: char| c == '…' || c.is_ascii_digit();
    let is_said = |part: &str| part.trim().len() < 10 || program.contains(part.trim());
    messages.retain(|message| !message.split(is_value).all(is_said));
    messages
}

#[test]
fn the_messages_that_are_quoted_are_those_of_the_program() {
    let program = program();
    for (path, text) in documents() {
        assert_eq!(unknown_messages(&text, &program), [""; 0], "{path}");
    }
}

mod the_checks_themselves {
    use super::*;

    #[test]
    fn a_family_that_is_missing_or_has_another_type_or_label_is_reported() {
        let document = "\
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
        let different =
            differences(&documented_families(document), &exposed_families(&parse(exposition)));
        let names: Vec<_> = different.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["b", "c_seconds", "d"], "{different:?}");
    }

    #[test]
    fn the_part_of_a_document_between_two_marks_is_found() {
        let text = "a\n<!-- it -->\n| b |\n<!-- /it -->\nc\n";
        assert_eq!(made_part(text, "it"), "| b |\n");
        assert_eq!(made_part(text, "other"), "");
        assert!(table_of_settings().lines().count() > 30);
    }

    #[test]
    fn a_key_of_the_web_configuration_that_is_missing_or_has_another_default_is_reported() {
        let right = documented_web_keys(&all_documents());
        assert!(right.len() > 20, "{right:?}");
        for (from, to) in [("`rate_limit.burst`", "`rate_limit.bust`"), ("| `TLS13` |", "| – |")]
        {
            let broken = documented_web_keys(&all_documents().replace(from, to));
            assert!(!differences(&broken, &right).is_empty(), "{from} is now {to}");
        }
    }

    #[test]
    fn an_anomaly_that_is_missing_or_not_explained_is_reported() {
        let broken = all_documents().replace("`vanished_run`", "`lost_run`");
        assert_eq!(anomaly_errors(&broken).len(), 2);
        let silent = "| reason | means | what to do |\n|---|---|---|\n| `unknown_status` | | x |\n";
        let errors = anomaly_errors(silent);
        assert!(errors.iter().any(|error| error.contains("empty cell")), "{errors:?}");
    }

    #[test]
    fn a_command_below_the_first_screen_is_reported() {
        let text = format!("{}cargo run --release -- demo\ntests/run\n", "\n".repeat(39));
        assert_eq!(hidden_command(&text), Some("tests/run"));
    }

    #[test]
    fn a_link_to_nowhere_is_reported() {
        let one = "# What is it?\n[a](#what-is-it) [b](#nothing) [c](x.rs#L1) [d](https://e.f)\n\
                   [e](../README.md#here)\n```\n# No heading\n[f](g)\n```\n[h](#no-heading)\n";
        let documents = BTreeMap::from([
            ("src/one.md".to_owned(), one.to_owned()),
            ("README.md".to_owned(), "[a](src/one.md#what-is-it) [b](src/one.md#it)".to_owned()),
        ]);
        let dead = [
            "README.md: src/one.md#it",
            "src/one.md: #nothing",
            "src/one.md: x.rs#L1",
            "src/one.md: ../README.md#here",
            "src/one.md: #no-heading",
        ];
        assert_eq!(dead_links(&documents, |path| path == "x.rs"), dead);
    }

    #[test]
    fn a_message_that_the_program_does_not_have_is_reported() {
        let table = "| log message or metric | what to do |\n|---|---|\n\
                     | `cannot read it from …` | x |\n| `cannot write to it` | x |\n| `a_metric` | x |\n";
        let prose = "The log says `Polling goes\non.` and `Polling ends.`\n\n`It` is `one.word.`\n";
        let program = "error(\"cannot read it from {path}\"); info!(\"Polling goes on.\")";
        let unknown = unknown_messages(&format!("{table}\n{prose}"), program);
        assert_eq!(unknown, ["cannot write to it", "Polling ends."]);
    }

    #[test]
    fn a_long_line_is_reported_unless_it_is_in_a_table_or_code() {
        let long = "x ".repeat(70);
        assert_eq!(long_lines(&format!("| {long}\n```\n{long}\n```\n")), [""; 0]);
        assert_eq!(long_lines(&format!("a\n{long}\n")), [long.as_str()]);
    }
}
