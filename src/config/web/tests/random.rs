//! Files that nobody would write.

use proptest::{prelude::*, sample::Index};

use super::*;

thread_local! {
    /// One for each test, since a certificate takes its time.
    static SITE: Site = Site::new();
}

fn read(text: &str) -> Result<WebConfig, Vec<String>> {
    SITE.with(|site| site.read(text))
}

/// What a password's hash, or a key, would be.
const SECRET: &str = "s3cr3t-never-to-be-shown";

/// A line that may stand in the file: a key, known or not, and what it is set to.
fn line() -> impl Strategy<Value = String> {
    let keys = WEB_CONFIG_KEYS.iter().flat_map(|key| key.path.split('.'));
    let words: Vec<_> = keys.map(str::to_owned).chain([String::new(), "<<".into()]).collect();
    let value = prop_oneof![
        Just(String::new()),
        Just(SECRET.to_owned()),
        Just(format!("|\n      {SECRET}")),
        Just("server.crt".to_owned()),
        Just("server.key".to_owned()),
        Just("RequireAndVerifyClientCert".to_owned()),
        Just("[TLS12, 1, {a: b}]".to_owned()),
        Just("&a [*a]".to_owned()),
        Just("!!binary aGk=".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|on| on.to_string()),
        "[ -~]{0,12}",
    ];
    (0_usize..4, prop::sample::select(words), value)
        .prop_map(|(depth, key, value)| format!("{}{key}: {value}\n", "  ".repeat(depth)))
}

proptest! {
    // Each reads a file, and some of them a certificate.
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_file_makes_reading_panic(text in ".{0,200}|(\\PC|[ \n:{}\\[\\]&*!|>'\"%@`#-]){0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn each_error_has_its_place_and_shows_no_secret(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.concat();
        for error in SITE.with(|site| site.errors(&text)) {
            // A file that can't be read is named, whatever somebody calls it.
            let names_file = error.contains("cannot read ");
            prop_assert!(names_file || !error.contains(SECRET), "{}\n{}", text, error);
            let has_place = error.starts_with("web.yml:") || error.starts_with("server.");
            prop_assert!(has_place, "{}\n{}", text, error);
        }
    }

    #[test]
    fn a_file_that_is_cut_short_opens_no_door(at: Index) {
        let whole = format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
             client_allowed_sans: [one]\nbasic_auth_users:\n  alice: {HASH}\n"
        );
        let former = read(&whole).expect("it is valid");
        let cut = &whole[..at.index(whole.len() - 1)];
        if let Ok(config) = read(cut) {
            prop_assert!(config.weakens(&former).is_some(), "{}", cut);
        }
    }
}
