//! What the web configuration does to requests, without TLS.

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::*;

/// A site whose configuration is a file that a test may change.
struct Protected {
    site: TestServer,
    access_control: Arc<AccessControl>,
    directory: TempDir,
}

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).expect("the cost is right")
}

impl Protected {
    async fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let file = directory.path().join("web.yml");
        fs::write(&file, text).expect("it can be written");
        let config = WebConfig::read(&file).expect("it is valid");
        let mut access_control = None;
        let endpoints = endpoints(Arc::new(Text("runs 1\n")));
        let site = configured_site(config, endpoints, |server| {
            access_control = Some(server.access_control());
        })
        .await;
        Self { site, access_control: access_control.expect("it was asked for"), directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("web.yml")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).expect("it can be written");
    }

    /// The status of a request by this user.
    async fn status(&self, path: &str, user: &str, password: &str) -> String {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let header = format!("authorization: Basic {encoded}\r\n");
        let answer = self.site.ask(&format!("GET {path}"), &header).await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn users_are_asked_for_on_every_path() {
    let site = Protected::new(&format!("basic_auth_users: {{alice: {}}}", hash("wonder"))).await;
    for path in ["/", "/metrics", "/-/healthy", "/livez", "/-/ready", "/runs/x", "/nowhere"] {
        let refused = site.site.ask(&format!("GET {path}"), "").await;
        let challenge = "www-authenticate: Basic realm=";
        assert_holds(
            &refused,
            &["401 Unauthorized", challenge, "nosniff", "a user and a password"],
        );
        assert_eq!(site.status(path, "alice", "wrong").await, "401", "{path}");
        assert_ne!(site.status(path, "alice", "wonder").await, "401", "{path}");
    }
    let reload = site.site.ask("POST /-/reload", "").await;
    assert_holds(&reload, &["401 Unauthorized"]);
}

#[tokio::test]
async fn headers_go_into_every_answer_unless_the_page_has_its_own() {
    let site = Protected::new(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    \
         Content-Security-Policy: default-src 'self'\n",
    )
    .await;
    for line in ["GET /metrics", "GET /nowhere", "DELETE /metrics", "GET /-/ready"] {
        let answer = site.site.ask(line, "").await;
        let policy = "content-security-policy: default-src 'self'\r\n";
        assert_holds(&answer, &["x-frame-options: deny\r\n", policy]);
    }
    let landing = site.site.ask("GET /", "").await;
    assert_holds(&landing, &["x-frame-options: deny\r\n", "default-src 'none'"]);
    assert!(!landing.contains("default-src 'self'"), "{landing}");
}

#[tokio::test]
async fn beyond_the_rate_limit_requests_get_429_with_the_time_to_wait() {
    let text = "rate_limit: {interval: 1h, burst: 2}\nhttp_server_config: {headers: \
        {X-Frame-Options: deny}}\n";
    let site = Protected::new(text).await;
    for _ in 0..2 {
        assert_holds(&site.site.ask("GET /metrics", "").await, &["200 OK"]);
    }
    let refused = site.site.ask("GET /-/healthy", "").await;
    assert_holds(
        &refused,
        &["429 Too Many Requests", "retry-after: 36", "rate_limit", "x-frame-options: deny"],
    );
}

#[tokio::test]
async fn a_changed_user_is_known_with_the_next_request() {
    let site = Protected::new(&format!("basic_auth_users: {{alice: {}}}", hash("former"))).await;
    assert_eq!(site.status("/metrics", "alice", "former").await, "200");
    site.write(&format!("basic_auth_users: {{alice: {}, bob: {}}}", hash("new"), hash("b")));
    assert_eq!(site.status("/metrics", "alice", "former").await, "401");
    assert_eq!(site.status("/metrics", "alice", "new").await, "200");
    assert_eq!(site.status("/metrics", "bob", "b").await, "200");
}

#[tokio::test]
async fn a_broken_or_missing_file_leaves_the_former_configuration_in_force() {
    let valid = format!("basic_auth_users: {{alice: {}}}", hash("wonder"));
    let site = Protected::new(&valid).await;
    for broken in ["basic_auth_users: {alice: plain}", "{", "unknown: 1"] {
        site.write(broken);
        assert_eq!(site.status("/metrics", "alice", "wonder").await, "200", "{broken}");
        assert_eq!(site.status("/metrics", "alice", "plain").await, "401", "{broken}");
        assert!(site.access_control.read().is_err(), "{broken}");
    }
    fs::remove_file(site.file()).expect("it is there");
    assert_eq!(site.status("/metrics", "alice", "wonder").await, "200");
    site.write(&format!("basic_auth_users: {{bob: {}}}", hash("b")));
    assert_eq!(site.status("/metrics", "alice", "wonder").await, "401");
    assert_eq!(site.status("/metrics", "bob", "b").await, "200");
}

#[tokio::test]
async fn protection_is_taken_away_by_a_reload_only() {
    let site = Protected::new(&format!("basic_auth_users: {{alice: {}}}", hash("wonder"))).await;
    site.write("");
    assert_holds(&site.site.ask("GET /metrics", "").await, &["401 Unauthorized"]);
    let config = site.access_control.read().expect("it is valid");
    site.access_control.replace(config);
    assert_holds(&site.site.ask("GET /metrics", "").await, &["200 OK"]);
    site.write(&format!("basic_auth_users: {{alice: {}}}", hash("wonder")));
    assert_holds(&site.site.ask("GET /metrics", "").await, &["401 Unauthorized"]);
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_read() {
    let access_control = AccessControl::new(WebConfig::default());
    assert!(!access_control.is_tls());
    assert!(access_control.read().is_ok_and(|config| config.users.is_empty()));
}
