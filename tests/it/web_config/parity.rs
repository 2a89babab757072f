//! One file does for Prometheus' own programs and for this exporter.

use std::{net::TcpListener, process::Command};

use super::{PASSWORD, Site, VERIFIED, users};
use crate::support::{Api, KEY, Process, run, tool, wait_until};

/// Prometheus itself, protected by this site's file; its address.
async fn prometheus(site: &Site) -> (Process, String) {
    site.write("prometheus.yml", "");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("loopback has a free port").to_string();
    let mut command = Command::new(tool("prometheus"));
    command
        .arg(format!("--config.file={}", site.path("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", site.path("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg(site.flag())
        .current_dir(site.path("."));
    let process = Process::start(command);
    let ready = async || {
        let wonder = format!("alice:{PASSWORD}");
        let seen = site.curl(&address).client("client").user(&wonder).get("/-/ready").await;
        (seen.status == 200).then_some(())
    };
    wait_until("Prometheus is ready", ready, || process.log()).await;
    (process, address)
}

#[tokio::test]
async fn prometheus_and_the_exporter_let_the_same_clients_in() {
    let (site, api) = (Site::new(), Api::start().await);
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    site.write_tls(VERIFIED, &(users(PASSWORD) + headers));
    let (_prometheus, theirs) = prometheus(&site).await;
    let (_exporter, ours) = site.serve(&api, &[]).await;
    let wonder = format!("alice:{PASSWORD}");
    let mut statuses = Vec::new();
    for address in [&theirs, &ours] {
        let curl = || site.curl(address);
        let mut seen = Vec::new();
        for request in [
            curl().client("client").user(&wonder),
            curl().client("client").user(&wonder).with(&["--http1.1"]),
            curl().client("client").user(&wonder).with(&["--tls-max", "1.2"]),
            curl().client("client").user("alice:wrong"),
            curl().client("client").user("bob:wonder land"),
            curl().client("client"),
            curl().client("stranger").user(&wonder),
            curl().user(&wonder),
            curl().plain(),
        ] {
            let answer = request.get("/-/healthy").await;
            let framed = answer.head.to_lowercase().contains("x-frame-options: deny");
            let asks = answer.head.to_lowercase().contains("www-authenticate: basic");
            seen.push((answer.status, framed, asks));
        }
        statuses.push(seen);
    }
    assert_eq!(statuses[0], statuses[1], "Prometheus, then the exporter");
    assert_eq!(statuses[1][0], (200, true, false));
}

/// Whether Prometheus' own checker takes a file.
async fn promtool(site: &Site) -> bool {
    let mut command = Command::new(tool("promtool"));
    command.args(["check", "web-config"]).arg(site.path("web.yml"));
    Process::start(command).exit_code().await == 0
}

#[tokio::test]
async fn promtool_and_the_exporter_take_and_refuse_the_same_files() {
    let site = Site::new();
    let hash = bcrypt::hash(PASSWORD, 4).expect("the cost is right");
    let files = "cert_file: server.crt, key_file: server.key";
    let tls = |more: &str| format!("tls_server_config: {{{files}{more}}}\n");
    let headers = |headers: &str| format!("http_server_config: {{headers: {{{headers}}}}}\n");
    for (takes, text) in [
        (true, String::new()),
        (true, "tls_server_config: {}".into()),
        (true, "tls_server_config: {min_version: TLS13}".into()),
        (true, tls("")),
        (true, tls(", client_auth_type: RequireAnyClientCert")),
        (true, tls(", client_auth_type: RequireClientCert")),
        (true, tls(", client_auth_type: RequestClientCert")),
        (true, tls(", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem")),
        (true, tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem")),
        (true, tls(", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]")),
        (true, tls(", cipher_suites: [TLS_AES_128_GCM_SHA256], curve_preferences: [X25519]")),
        (true, tls(", min_version: TLS12, max_version: TLS13, prefer_server_cipher_suites: no")),
        (true, "http_server_config: {http2: false}".into()),
        (true, headers("X-Frame-Options: sameorigin, X-XSS-Protection: 1")),
        (true, headers("Strict-Transport-Security: ''")),
        (true, format!("basic_auth_users: {{alice: {hash}}}")),
        (true, format!("basic_auth_users: {{alice: '{}'}}", hash.replace("$2b$", "$2y$"))),
        (true, "basic_auth_users: {}".into()),
        (false, "tls_server_config: {cert_file: server.crt}".into()),
        (false, "tls_server_config: {key_file: server.key}".into()),
        (false, "tls_server_config: {client_auth_type: NoClientCert}".into()),
        (false, "tls_server_config: {cert_file: ca.pem, key_file: server.key}".into()),
        (false, tls(", client_ca_file: ca.pem")),
        (false, tls(", client_auth_type: Maybe")),
        (false, tls(", min_version: TLS14")),
        (false, tls(", cipher_suites: [TLS_INVENTED]")),
        (false, tls(", curve_preferences: [CurveP257]")),
        (false, tls(", unknown: 1")),
        (false, "http_server_config: {http2: perhaps}".into()),
        (false, headers("X-Frame-Options: foo")),
        (false, headers("Content-Type: foo")),
        (false, "basic_auth_users: {alice: plain}".into()),
        (false, "basic_auth_users: {alice: }".into()),
        (false, "unknown: 1".into()),
        (false, "- 1".into()),
    ] {
        site.write("web.yml", &text);
        let (code, _, stderr) =
            run(&["--config.check", &site.flag()], &[("CORTEX_API_KEY", KEY)]).await;
        assert_eq!(code == 0, takes, "the exporter: {text}: {stderr}");
        assert_eq!(promtool(&site).await, takes, "promtool: {text}: {stderr}");
    }
}
