use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn every_argument(command: &clap::Command) -> Vec<Arg> {
    let own = command.get_arguments().cloned();
    own.chain(command.get_subcommands().flat_map(every_argument)).collect()
}

fn help(path: &[&str]) -> String {
    let command = command_line().term_width(100);
    let line = ["exporter"].iter().chain(path).chain(&["--help"]);
    let shown = command.try_get_matches_from(line);
    let help = shown.expect_err("help ends the parsing").to_string();
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_setting_explains_itself() {
    for setting in SETTINGS {
        let (name, help) = (setting.name, setting.help);
        let shows_values = matches!(setting.kind, SettingKind::Bool(_)) || !setting.has_flag();
        assert!(shows_values || help.contains("Example: "), "{name}: {help}");
        let states_default = help.to_lowercase().contains("default") || !setting.has_flag();
        assert!(states_default || !setting.default.is_empty(), "{name}: {help}");
        assert!(!help.ends_with('.'), "{name}: {help}");
    }
}

#[test]
fn variables_that_mean_nothing_are_reported_unless_kubernetes_sets_them() {
    let names = [
        "CORTEX_EXPORTER_POLL_INTERVALL",
        "CORTEX_EXPORTER_POLL_INTERVAL",
        "CORTEX_EXPORTER_SEED",
        "CORTEX_EXPORTER_SERVICE_HOST",
        "CORTEX_EXPORTER_PORT_10058_TCP",
        "PATH",
    ];
    let unknown = unknown_variables(names.map(OsString::from));
    assert_eq!(unknown, ["CORTEX_EXPORTER_POLL_INTERVALL".to_owned()].into());
}

#[test]
fn without_a_command_the_flags_are_those_of_serve() {
    for words in [
        &["exporter", "--cortex.rate-limit=7"][..],
        &["exporter", "serve", "--cortex.rate-limit", "7"],
    ] {
        let line = CommandLine::of(words, None).expect("a right line");
        assert_eq!(line.command, Command::Serve);
        let given = |name| line.given(Setting::named(name));
        assert_eq!(given("cortex.rate-limit"), Some(Ok(vec!["7"])));
        assert_eq!(given("cortex.page-size"), None);
        assert_eq!(given("seed"), None);
    }
}

#[test]
fn what_is_not_text_is_reported_and_not_taken_for_something_else() {
    let words = [OsString::from("exporter"), OsString::from_vec(b"--state.url=\xff".into())];
    let line = CommandLine::new(command_line(), words, None).expect("clap takes it");
    let given = line.given(Setting::named("state.url"));
    assert_eq!(given, Some(Err("it is not text in UTF-8".into())));
}

#[test]
fn a_wrong_command_line_is_clap_s_to_refuse_with_exit_code_2() {
    for line in [
        vec!["exporter", "--poll.intervall=1s"],
        vec!["exporter", "--poll.interval"],
        vec!["exporter", "frobnicate"],
        vec!["exporter", "simulate", "--cortex.app-id=x"],
    ] {
        let error = CommandLine::of(&line, None);
        assert_eq!(error.expect_err("a wrong line").exit_code(), 2, "{line:?}");
    }
}

#[test]
fn the_help_teaches_and_shows_no_variable_s_value() {
    insta::assert_snapshot!("help", help(&[]));
    insta::assert_snapshot!("help_check", help(&["check"]));
    insta::assert_snapshot!("help_demo", help(&["demo"]));
    insta::assert_snapshot!("help_once", help(&["once"]));
    insta::assert_snapshot!("help_simulate", help(&["simulate"]));
    insta::assert_snapshot!("help_state_copy", help(&["state", "copy"]));
    for arg in every_argument(&command_line()) {
        assert!(arg.is_hide_env_values_set(), "{}", arg.get_id());
    }
}
