//! The web configuration file at work: curl and a real Prometheus against the real binary.

mod curl;
mod parity;

use std::{fs, path::PathBuf};

use cortex_workflow_exporter::model::Status;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use crate::support::{Api, KEY, Process, Prometheus, run, wait_until};
use curl::Curl;

/// Certificates and a configuration file, which a test may change.
struct Site {
    directory: tempfile::TempDir,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

const PASSWORD: &str = "wonder land";

/// `client_auth_type` and what belongs to it.
const VERIFIED: &str = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test authority");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("there is randomness");
    CertifiedIssuer::self_signed(params, key).expect("the parameters are right")
}

impl Site {
    /// With an authority that has signed the server's and a client's certificate, and with a client
    /// that nobody knows.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let site = Self { directory };
        let authority = authority();
        site.certify("server", &authority, "ca.pem");
        site.certify("client", &authority, "ca.pem");
        site.certify("stranger", &self::authority(), "other.pem");
        site
    }

    /// Makes a certificate for loopback, and tells the authority.
    fn certify(&self, name: &str, authority: &Authority, ca: &str) {
        let mut params = CertificateParams::new(["localhost".to_owned(), format!("{name}.test")])
            .expect("they are names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, authority).expect("the parameters are right");
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(ca, &authority.pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it can be written");
    }

    /// A configuration with TLS.
    fn write_tls(&self, tls: &str, rest: &str) {
        let files = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
        self.write("web.yml", &format!("{files}{tls}{rest}"));
    }

    fn flag(&self) -> String {
        format!("--web.config.file={}", self.path("web.yml").display())
    }

    /// Starts the exporter, and waits until it listens.
    async fn serve(&self, api: &Api, more: &[&str]) -> (Process, String) {
        let flag = self.flag();
        let arguments: Vec<_> = [flag.as_str()].iter().chain(more).copied().collect();
        let mut exporter = Process::serve(api, "sqlite::memory:", &arguments);
        let address = exporter.word_after("address=", Process::stderr).await;
        (exporter, address)
    }

    fn curl(&self, address: &str) -> Curl<'_> {
        Curl::new(self, address)
    }
}

fn users(password: &str) -> String {
    let hash = bcrypt::hash(password, 4).expect("the cost is right");
    format!("basic_auth_users:\n  alice: {hash}\n")
}

/// Waits until the log has told this.
async fn told(exporter: &Process, text: &str) {
    let is_told = async || exporter.stderr().contains(text).then_some(());
    wait_until(&format!("the log tells {text:?}"), is_told, || exporter.log()).await;
}

#[tokio::test]
async fn prometheus_scrapes_over_mutual_tls_with_a_user_and_releases_what_is_held() {
    let (site, api) = (Site::new(), Api::start().await);
    let workflow = api.add_workflow("work_one");
    site.write_tls(&format!("{VERIFIED}  client_allowed_sans: [client.test]\n"), &users(PASSWORD));
    // Nothing but completed scrapes can release anything.
    let (mut exporter, address) = site.serve(&api, &["--metrics.hold-timeout=1h"]).await;
    assert!(exporter.stderr().contains("tls=true"), "{}", exporter.log());
    let [ca, cert, key] =
        ["ca.pem", "client.crt", "client.key"].map(|name| site.path(name).display().to_string());
    let scrape = format!(
        "  scheme: https\n  basic_auth: {{username: alice, password: '{PASSWORD}'}}\n  \
         tls_config: {{ca_file: '{ca}', cert_file: '{cert}', key_file: '{key}'}}\n"
    );
    let prometheus = Prometheus::start_for(&[address], &scrape).await;
    prometheus.wait_for("up == 1").await;
    let failed = r#"cortex_workflow_runs_total{status="FAILED",origin="WORKFLOW"}"#;
    prometheus.wait_for(&format!("{failed} == 0")).await;
    api.finish_one(&workflow, Status::Failed);
    prometheus.wait_for(&format!("{failed} == 1")).await;
    // It still holds its connection.
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

#[tokio::test]
async fn only_clients_with_the_right_certificate_and_password_get_in() {
    let (site, api) = (Site::new(), Api::start().await);
    site.write_tls(VERIFIED, &users(PASSWORD));
    let (_exporter, address) = site.serve(&api, &[]).await;
    let curl = || site.curl(&address);
    let wonder = format!("alice:{PASSWORD}");
    let seen = curl().client("client").user(&wonder).get("/metrics").await;
    assert_eq!((seen.status, seen.version.as_str()), (200, "1.1"), "{seen:?}");
    assert!(seen.body.contains("cortex_workflow_exporter_up"), "{seen:?}");
    let older = curl().client("client").user(&wonder).with(&["--http1.1"]).get("/metrics").await;
    assert_eq!((older.status, older.version.as_str()), (200, "1.1"), "{older:?}");
    for user in ["alice:wrong", "bob:wonder land", ":"] {
        let seen = curl().client("client").user(user).get("/-/healthy").await;
        assert_eq!(seen.status, 401, "{user}: {seen:?}");
    }
    assert_eq!(curl().client("client").get("/").await.status, 401);
    for refused in [
        curl().user(&wonder),
        curl().client("stranger").user(&wonder),
        curl().client("client").user(&wonder).with(&["--tls-max", "1.1"]),
        curl().client("client").user(&wonder).without_trust(),
    ] {
        let seen = refused.get("/metrics").await;
        assert_eq!(seen.status, 0, "there is no answer at all: {seen:?}");
    }
    let plain = curl().plain().get("/metrics").await;
    assert_eq!(plain.status, 400, "{plain:?}");
    assert!(plain.body.contains("this is HTTPS"), "{plain:?}");
}

#[tokio::test]
async fn versions_and_names_are_as_the_file_has_them() {
    let (site, api) = (Site::new(), Api::start().await);
    let names = "  client_allowed_sans: [client.test]\n";
    site.write_tls(
        &format!("{VERIFIED}{names}  min_version: TLS13\n"),
        "http_server_config:\n  http2: true\n  headers: {X-Frame-Options: deny}\n",
    );
    let (_exporter, address) = site.serve(&api, &[]).await;
    let curl = || site.curl(&address).client("client");
    let seen = curl().get("/metrics").await;
    assert_eq!((seen.status, seen.version.as_str()), (200, "1.1"), "{seen:?}");
    assert!(seen.head.to_lowercase().contains("x-frame-options: deny"), "{seen:?}");
    assert_eq!(curl().with(&["--tls-max", "1.2"]).get("/metrics").await.status, 0);
    site.write_tls(&format!("{VERIFIED}{names}  max_version: TLS12\n"), "");
    assert_eq!(curl().with(&["--tlsv1.3"]).get("/metrics").await.status, 0);
    let seen = curl().get("/metrics").await;
    assert_eq!((seen.status, seen.version.as_str()), (200, "1.1"), "{seen:?}");
    site.write_tls(&format!("{VERIFIED}  client_allowed_sans: [other.test]\n"), "");
    assert_eq!(curl().get("/metrics").await.status, 0);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_to_new_connections_and_a_broken_one_never() {
    let (site, api) = (Site::new(), Api::start().await);
    site.write_tls("", "");
    let (exporter, address) = site.serve(&api, &[]).await;
    let get = async |ca: &str| site.curl(&address).trusting(ca).get("/-/healthy").await.status;
    assert_eq!((get("ca.pem").await, get("new.pem").await), (200, 0));
    // Only the certificate is there yet, the key is not.
    let key = fs::read_to_string(site.path("server.key")).expect("it is there");
    site.certify("server", &authority(), "new.pem");
    let new_key = fs::read_to_string(site.path("server.key")).expect("it is there");
    site.write("server.key", &key);
    for _ in 0..3 {
        assert_eq!((get("ca.pem").await, get("new.pem").await), (200, 0));
    }
    told(&exporter, "the key is not that of the certificate").await;
    let times = exporter.stderr().matches("not that of the certificate").count();
    assert_eq!(times, 1, "{}", exporter.log());
    site.write("server.key", &new_key);
    assert_eq!((get("new.pem").await, get("ca.pem").await), (200, 0));
    told(&exporter, "is in force from now on").await;
}

#[tokio::test]
async fn a_reload_takes_all_of_a_valid_file_and_nothing_of_an_invalid_one() {
    let (site, api) = (Site::new(), Api::start().await);
    site.write_tls("", &users(PASSWORD));
    let (exporter, address) = site.serve(&api, &[]).await;
    let wonder = format!("alice:{PASSWORD}");
    let curl = || site.curl(&address);
    site.write_tls("  min_version: TLS10\n", "rate_limits: {}\n");
    let refused = curl().user(&wonder).with(&["-X", "POST"]).get("/-/reload").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    for part in
        ["web.yml:4:16: tls_server_config.min_version: TLS10", "web.yml:5:1: there is no key"]
    {
        assert!(refused.body.contains(part), "{refused:?}");
    }
    assert_eq!(curl().user(&wonder).get("/metrics").await.status, 200);
    // Without users: that is an opened door, which takes more than a changed file.
    site.write_tls("", "");
    assert_eq!(curl().get("/metrics").await.status, 401);
    told(&exporter, "it would take basic_auth_users away").await;
    let reloaded = curl().user(&wonder).with(&["-X", "POST"]).get("/-/reload").await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(curl().get("/metrics").await.status, 200);
    site.write("web.yml", "");
    exporter.signal("HUP");
    told(&exporter, "tls=false").await;
    assert_eq!(curl().plain().get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_password_that_takes_hours_to_check_keeps_nothing_waiting() {
    let (site, api) = (Site::new(), Api::start().await);
    let costly = format!("  bob: $2y$31${}\n", ".".repeat(53));
    site.write_tls("", &(users(PASSWORD) + &costly));
    let (mut exporter, address) = site.serve(&api, &[]).await;
    let wonder = format!("alice:{PASSWORD}");
    told(&exporter, "not 31").await;
    let curl = || site.curl(&address);
    // Somebody that nobody knows costs as much as bob does.
    let waiting = curl().user("bob:guess").with(&["--max-time", "3"]).get("/metrics").await;
    assert_eq!(waiting.status, 0, "{waiting:?}");
    // There is room for a second check beside that one.
    assert_eq!(curl().user(&wonder).get("/metrics").await.status, 200);
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
}

#[tokio::test]
async fn an_invalid_file_is_told_with_all_that_is_wrong_before_anything_starts() {
    let site = Site::new();
    site.write_tls("  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n  curve: X25519\n", "");
    let flag = site.flag();
    let variable = site.path("web.yml").display().to_string();
    let key = ("CORTEX_API_KEY", KEY);
    for (arguments, variables) in [
        (vec!["--config.check", &flag], vec![key]),
        (vec![flag.as_str()], vec![key]),
        (vec!["demo", &flag], vec![]),
        (vec!["--config.check"], vec![key, ("CORTEX_EXPORTER_WEB_CONFIG_FILE", &variable)]),
    ] {
        let (code, stdout, stderr) = run(&arguments, &variables).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        for part in [
            "--web.config.file (or CORTEX_EXPORTER_WEB_CONFIG_FILE)",
            "web.yml:4:19: tls_server_config.cipher_suites: TLS_RSA_WITH_AES_128_CBC_SHA",
            "web.yml:5:3: tls_server_config: there is no key \"curve\"",
        ] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
    site.write_tls("", "");
    let (code, stdout, _) = run(&["--config.check", &flag], &[key]).await;
    assert_eq!(code, 0, "{stdout}");
}
