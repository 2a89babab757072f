use super::*;
use crate::config::validate::variable;

fn every_argument(command: &clap::Command) -> Vec<clap::Arg> {
    let own = command.get_arguments().cloned();
    own.chain(command.get_subcommands().flat_map(every_argument)).collect()
}

fn help(path: &[&str]) -> String {
    let command = prepare(Cli::command()).term_width(100);
    let line = ["exporter"].iter().chain(path).chain(&["--help"]);
    let shown = command.try_get_matches_from(line);
    let help = shown.expect_err("help ends the parsing").to_string();
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_flag_explains_itself_and_has_the_variable_that_the_pattern_gives() {
    for arg in every_argument(&Cli::command()) {
        let flag = arg.get_long().expect("all arguments are flags");
        let help = arg.get_help().expect(flag).to_string();
        let name = arg.get_env().expect(flag).to_string_lossy();
        assert_eq!(name, variable(flag));
        let tells_values = arg.get_value_names().is_some_and(|names| names == ["true|false"]);
        assert!(tells_values || help.contains("Example: "), "{flag}: {help}");
        let tells_default = help.to_lowercase().contains("default");
        assert!(tells_default || !arg.get_default_values().is_empty(), "{flag}: {help}");
    }
}

#[test]
fn variables_that_mean_nothing_are_told_unless_kubernetes_sets_them() {
    let names = [
        "CORTEX_EXPORTER_POLL_INTERVALL",
        "CORTEX_EXPORTER_POLL_INTERVAL",
        "CORTEX_EXPORTER_SEED",
        "CORTEX_EXPORTER_SERVICE_HOST",
        "CORTEX_EXPORTER_PORT_10058_TCP",
        "PATH",
    ];
    let unknown = unknown_variables(names.map(String::from));
    assert_eq!(unknown, ["CORTEX_EXPORTER_POLL_INTERVALL".to_owned()].into());
}

#[test]
fn without_a_command_the_flags_are_those_of_serve() {
    for line in [
        vec!["exporter", "--cortex.rate-limit=7"],
        vec!["exporter", "serve", "--cortex.rate-limit", "7"],
    ] {
        let matches = Cli::command().try_get_matches_from(line).expect("a right line");
        let cli = Cli::from_arg_matches(&matches).expect("a right line");
        let Command::Serve(args) = cli.chosen() else {
            panic!("another command was chosen");
        };
        assert_eq!(args.cortex.rate_limit, "7");
    }
}

#[test]
fn a_wrong_command_line_is_clap_s_to_refuse_with_exit_code_2() {
    for line in [
        vec!["exporter", "--poll.intervall=1s"],
        vec!["exporter", "--poll.interval"],
        vec!["exporter", "frobnicate"],
        vec!["exporter", "simulate", "--cortex.app-id=x"],
    ] {
        let error = Cli::command().try_get_matches_from(&line);
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
    for arg in every_argument(&prepare(Cli::command())) {
        assert!(arg.is_hide_env_values_set(), "{}", arg.get_id());
    }
}
