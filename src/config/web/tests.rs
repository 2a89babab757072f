mod clients;
mod random;

use std::{fs, path::Path, time::Duration};

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use super::*;

/// A directory with a certificate, its key, an authority and the configuration file.
struct Site(TempDir);

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("there is randomness");
    CertifiedIssuer::self_signed(params, key).expect("the parameters are right")
}

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("there is room for temporary files"));
        site.renew();
        site.write("ca.pem", &authority().pem());
        site
    }

    /// A new certificate with its key.
    fn renew(&self) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let pair = pair.expect("there is randomness");
        self.write("server.crt", &pair.cert.pem());
        self.write("server.key", &pair.signing_key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("it can be written");
    }

    fn read(&self, text: &str) -> Result<WebConfig, Vec<String>> {
        self.write("web.yml", text);
        WebConfig::read(&self.0.path().join("web.yml"))
    }

    /// The same with a certificate and its key in `tls_server_config` already.
    fn read_tls(&self, more: &str) -> Result<WebConfig, Vec<String>> {
        self.read(&format!("{TLS}{more}"))
    }

    /// What is wrong, without the directory.
    fn errors(&self, text: &str) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        let errors = self.read(text).err().unwrap_or_default();
        errors.into_iter().map(|error| error.replace(&directory, "")).collect()
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[test]
fn what_other_exporters_take_is_taken() {
    let site = Site::new();
    let inline = |name: &str| {
        let text = fs::read_to_string(site.0.path().join(name)).expect("it is there");
        text.replace('\n', "\n    ")
    };
    let (cert, key) = (inline("server.crt"), inline("server.key"));
    let all = format!(
        "{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_allowed_sans: [one, 127.0.0.1]\n  min_version: TLS12\n  max_version: TLS13\n  \
         cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n  \
         prefer_server_cipher_suites: false\n  curve_preferences: [X25519, CurveP256, CurveP384]\n\
         http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n    \
         X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1\n    \
         Content-Security-Policy: \"default-src 'self' *.test.example.net\"\n\
         basic_auth_users:\n  alice: {HASH}\nrate_limit:\n  interval: 1m30s\n  burst: 5\n"
    );
    let config = site.read(&all).expect("all keys are known");
    assert!(config.tls.is_some_and(|tls| tls.alpn_protocols == [b"http/1.1"]));
    assert_eq!(config.headers.len(), 5);
    assert!(config.headers.iter().any(|(name, value)| name == "x-xss-protection" && value == "1"));
    let limit = RateLimit { interval: Duration::from_secs(90), burst: 5 };
    assert_eq!(config.rate_limit, Some(limit));
    assert_eq!(config.users.hash("alice"), (HASH, true));
    assert_eq!(config.warnings, [""; 0]);
    let tls = |text: &str| site.read(text).expect(text).tls;
    let pems = format!("tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n");
    assert!(tls(&pems).is_some_and(|tls| tls.alpn_protocols == [b"http/1.1"]));
    for plain in ["", "\n# nothing\n", "tls_server_config:\n", "http_server_config: {}\n", "{}"] {
        assert!(tls(plain).is_none(), "{plain:?}");
    }
    let limit = |text: &str| site.read(text).expect(text).rate_limit;
    assert_eq!(limit("rate_limit: {interval: 0, burst: 0}"), None);
    assert!(limit("rate_limit: {interval: 1.5s, burst: 1}").is_some());
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let site = Site::new();
    let errors = site.errors(
        "tls_server_config:\n  cert_file: nowhere.crt\n  key_file: server.crt\n  \
         min_version: TLS10\n  cipher_suites:\n  - TLS_RSA_WITH_AES_128_CBC_SHA\n  - TLS_INVENTED\n  \
         curve_preferences: [CurveP521, CurveP257]\n  client_auth_type: Maybe\n  cert_filse: x\n\
         http_server_config:\n  http2: perhaps\n  headers:\n    X-Frame-Options: foo\n    \
         Content-Type: foo\nbasic_auth_users:\n  john: doe\n  \"a:b\":\nrate_limit:\n  \
         interval: 5\n  burst: -1\nextra: 1\n",
    );
    let reported = |start: &str, parts: &[&str]| {
        let fits = |error: &&String| {
            error.starts_with(start) && parts.iter().all(|part| error.contains(part))
        };
        assert_eq!(errors.iter().filter(fits).count(), 1, "{start} {parts:?}: {errors:#?}");
    };
    reported("web.yml:2:14:", &["cert_file", "cannot read nowhere.crt", "No such file"]);
    reported("server.crt:", &["no private key"]);
    reported("web.yml:4:16:", &["TLS10", "TLS12"]);
    reported("web.yml:6:5:", &["TLS_RSA_WITH_AES_128_CBC_SHA is a cipher suite", "remove it"]);
    reported("web.yml:7:5:", &["\"TLS_INVENTED\" is not a cipher suite"]);
    reported("web.yml:8:23:", &["CurveP521 is a curve that this exporter does not have", "X25519"]);
    reported("web.yml:8:34:", &["\"CurveP257\" is not a curve"]);
    reported("web.yml:9:21:", &["\"Maybe\" is not one of NoClientCert"]);
    reported("web.yml:10:3:", &["tls_server_config: there is no key \"cert_filse\"", "cert_file"]);
    reported("web.yml:12:10:", &["http2: true or false is expected, and this is a string"]);
    reported("web.yml:14:22:", &["X-Frame-Options", "\"foo\" is not deny or sameorigin"]);
    reported("web.yml:15:5:", &["http_server_config.headers: there is no key \"Content-Type\""]);
    reported("web.yml:17:9:", &["basic_auth_users.john", "no bcrypt hash", "htpasswd"]);
    reported("web.yml:18:8:", &["basic_auth_users.a:b: a string is expected, and this is nothing"]);
    reported("web.yml:18:8:", &["a name has no colon"]);
    reported("web.yml:20:13:", &["interval", "with its unit, like 1s"]);
    reported("web.yml:21:10:", &["burst", "whole number"]);
    reported("web.yml:22:1:", &["there is no key \"extra\"", "basic_auth_users"]);
    assert_eq!(errors.len(), 18, "{errors:#?}");
    assert!(errors[0].starts_with("web.yml:2:") && errors[17].starts_with("web.yml:22:"));
}

#[test]
fn what_does_not_go_together_is_refused_with_the_way_out() {
    let site = Site::new();
    site.write("empty.pem", "");
    site.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    site.write("junk.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    site.write("other.key", &KeyPair::generate().expect("there is randomness").serialize_pem());
    let header = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    site.write("locked.key", &format!("{header}\nAAAA\n{}\n", header.replace("BEGIN", "END")));
    for (text, parts) in [
        ("tls_server_config: {cert_file: server.crt}", &["neither key nor key_file"][..]),
        ("tls_server_config: {key_file: server.key, cert: ''}", &["neither cert nor cert_file"]),
        (
            "tls_server_config: {client_auth_type: NoClientCert, key_file: server.key}",
            &["cert_file"],
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: other.key}",
            &["other.key", "not that of the certificate"],
        ),
        (
            "tls_server_config: {cert_file: empty.pem, key_file: server.key}",
            &["empty.pem: it holds no certificate"],
        ),
        ("tls_server_config: {cert_file: cut.pem, key_file: server.key}", &["cut.pem", "damaged"]),
        ("tls_server_config: {cert_file: junk.pem, key_file: server.key}", &["cannot be used"]),
        (
            "tls_server_config: {cert_file: server.crt, key_file: locked.key}",
            &["locked.key", "openssl pkey"],
        ),
        (&format!("{TLS}  client_ca_file: ca.pem"), &["RequireAndVerifyClientCert"]),
        (
            &format!("{TLS}  client_auth_type: RequireAndVerifyClientCert"),
            &["neither client_ca nor client_ca_file"],
        ),
        (
            &format!("{TLS}  client_auth_type: VerifyClientCertIfGiven"),
            &["neither client_ca nor client_ca_file"],
        ),
        (
            &format!(
                "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: junk.pem"
            ),
            &["junk.pem", "cannot be used"],
        ),
        (
            &format!(
                "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty.pem"
            ),
            &["empty.pem: it holds no certificate"],
        ),
        (
            &format!("{TLS}  min_version: TLS13\n  max_version: TLS12"),
            &["min_version is above max_version"],
        ),
        (
            &format!("{TLS}  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]"),
            &["cipher_suites"],
        ),
        (
            "tls_server_config: [1]",
            &["web.yml:1:20: tls_server_config: a section", "this is a list"],
        ),
        ("- 1", &["web.yml:1:1: a section of keys", "this is a list"]),
        ("basic_auth_users: {alice: }", &["alice"]),
        ("basic_auth_users: {alice: ''}", &["alice"]),
        ("basic_auth_users: {12: x}", &["put it in quotes"]),
        (
            "rate_limit: {interval: 1s, interval: 2s}",
            &["rate_limit: the key \"interval\" is there since line 1"],
        ),
    ] {
        let errors = site.errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
        for part in parts {
            assert!(errors[0].contains(part), "{text}: {errors:#?}");
        }
    }
}

#[test]
fn a_secret_is_never_repeated() {
    let site = Site::new();
    site.write(
        "secret.key",
        "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END SECRET KEY-----\n",
    );
    for text in [
        "tls_server_config:\n  key: |\n    -----BEGIN PRIVATE KEY-----\n    SECRET\n  cert: SECRET\n",
        "tls_server_config:\n  key: -----BEGIN SECRET\n  cert: -----BEGIN SECRET\n",
        "tls_server_config: {cert_file: server.crt, key_file: secret.key}",
        "basic_auth_users:\n  alice: SECRET\n",
        "basic_auth_users:\n  alice: [SECRET]\n",
        "basic_auth_users:\n  alice: SECRET\n bob: SECRET\n",
        "basic_auth_users: {alice: \"SECRET",
        "tls_server_config:\n  key: \"SECRET\\q\"\n",
        "basic_auth_users:\n  alice: $2y$99$SECRET\n",
    ] {
        let errors = site.errors(text);
        assert!(!errors.is_empty(), "{text}");
        assert!(!errors.concat().contains("SECRET"), "{errors:#?}");
    }
    let config = site.read(&format!("{TLS}basic_auth_users: {{alice: {HASH}}}")).expect("valid");
    assert!(!format!("{config:?}").contains(HASH));
}

#[test]
fn what_is_probably_a_mistake_is_warned_of() {
    let site = Site::new();
    for (text, part) in [
        ("tls_server_config: {min_version: TLS13}".to_owned(), "TLS is off"),
        (format!("{TLS}  cert: x"), "cert is ignored"),
        (format!("{TLS}  client_allowed_sans: [x]"), "client_allowed_sans means nothing"),
        (format!("basic_auth_users: {{alice: {}}}", HASH.replace("$10$", "$18$")), "not 18"),
        ("http_server_config: {http2: true}".to_owned(), "http2 has no effect"),
        ("rate_limit: {interval: 1s, burst: 0}".to_owned(), "lets no request through"),
    ] {
        let config = site.read(&text).expect(&text);
        assert_eq!(config.warnings.len(), 1, "{text}: {:?}", config.warnings);
        assert!(config.warnings[0].contains(part), "{text}: {:?}", config.warnings);
    }
}

#[test]
fn a_change_in_any_of_the_files_is_noticed() {
    let site = Site::new();
    let verified = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n";
    let read = || site.read_tls(verified).expect("it is valid");
    let config = read();
    assert!(!config.is_outdated());
    site.write("ca.pem", &authority().pem());
    assert!(config.is_outdated());
    let config = read();
    site.renew();
    assert!(config.is_outdated());
    let config = read();
    site.write("web.yml", TLS);
    assert!(config.is_outdated());
    let config = read();
    assert!(!config.is_outdated());
    fs::remove_file(site.0.path().join("server.key")).expect("it is there");
    assert!(config.is_outdated());
    assert!(!WebConfig::default().is_outdated());
}

#[test]
fn what_would_let_more_clients_in_is_noticed() {
    let site = Site::new();
    let read = |text: &str| site.read(text).expect(text);
    let verified =
        format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n");
    let named = format!("{verified}  client_allowed_sans: [one]\n");
    let users = format!("basic_auth_users: {{alice: {HASH}, bob: {HASH}}}\n");
    let other_users = format!("basic_auth_users: {{carol: {HASH}}}\n");
    for (former, now, given_up) in [
        (TLS, "", Some("TLS")),
        (&users, "", Some("basic_auth_users")),
        (&users, &other_users, None),
        (&verified, TLS, Some("client_auth_type")),
        (&named, &verified, Some("client_allowed_sans")),
        (&verified, &named, None),
        ("", &named, None),
        ("", &users, None),
    ] {
        let (former, now) = (read(former), read(now));
        assert_eq!(now.weakens(&former), given_up);
    }
}

#[test]
fn a_file_that_is_no_file_is_reported() {
    let site = Site::new();
    let missing = WebConfig::read(&site.0.path().join("missing.yml")).expect_err("it is missing");
    assert!(missing[0].contains("missing.yml: No such file"), "{missing:?}");
    let endless = WebConfig::read(Path::new("/dev/zero")).expect_err("it is endless");
    assert!(endless[0].contains("/dev/zero"), "{endless:?}");
    site.write("web.yml", "");
    fs::write(site.0.path().join("web.yml"), [0xff, 0xfe, 0]).expect("it can be written");
    let binary = WebConfig::read(&site.0.path().join("web.yml")).expect_err("it is no text");
    assert!(binary[0].contains("UTF-8"), "{binary:?}");
}

#[test]
fn nobody_costs_as_much_as_the_costliest_user_and_matches_nothing() {
    let hashes = [("a", "$2y$05$"), ("b", "$2b$07$")]
        .map(|(name, start)| (name.to_owned(), format!("{start}{}", &HASH[7..])));
    let users = Users::new(hashes.into());
    let (hash, is_user) = users.hash("nobody");
    assert!(!is_user);
    assert_eq!(users::cost(hash), Ok(7));
    assert_eq!(bcrypt::verify("", hash).ok(), Some(false));
}
