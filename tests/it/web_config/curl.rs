//! curl, as an operator would use it.

use std::process::Command;

use super::Site;
use crate::support::{Process, tool};

/// A request in the making.
pub(super) struct Curl<'s> {
    site: &'s Site,
    address: String,
    scheme: &'static str,
    authority: Option<String>,
    arguments: Vec<String>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Seen {
    /// 0 if there was no answer.
    pub(super) status: u16,
    /// The version of HTTP.
    pub(super) version: String,
    pub(super) head: String,
    pub(super) body: String,
    /// What curl said.
    #[expect(dead_code, reason = "shown by what fails")]
    said: String,
}

impl<'s> Curl<'s> {
    pub(super) fn new(site: &'s Site, address: &str) -> Self {
        let authority = Some("ca.pem".to_owned());
        let address = address.to_owned();
        Self { site, address, scheme: "https", authority, arguments: Vec::new() }
    }

    /// Shows a certificate.
    pub(super) fn client(self, name: &str) -> Self {
        let [certificate, key] = ["crt", "key"]
            .map(|end| self.site.path(&format!("{name}.{end}")).display().to_string());
        self.with(&["--cert", &certificate, "--key", &key])
    }

    /// Names a user and a password.
    pub(super) fn user(self, user: &str) -> Self {
        self.with(&["--user", user])
    }

    /// Trusts this authority.
    pub(super) fn trusting(mut self, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }

    /// Trusts those of the system only.
    pub(super) fn without_trust(mut self) -> Self {
        self.authority = None;
        self
    }

    /// Speaks plain HTTP.
    pub(super) fn plain(mut self) -> Self {
        self.scheme = "http";
        self
    }

    pub(super) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Asks for a path.
    pub(super) async fn get(self, path: &str) -> Seen {
        let mut command = Command::new(tool("curl"));
        // Without a configuration file of somebody's own.
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--include"]);
        command.args(["--max-time", "60", "--write-out", "\n%{http_code} %{http_version}"]);
        if let Some(authority) = &self.authority {
            command.arg("--cacert").arg(self.site.path(authority));
        }
        command.args(&self.arguments);
        command.arg(format!("{}://{}{path}", self.scheme, self.address));
        let mut curl = Process::start(command);
        curl.exit_code().await;
        let output = curl.stdout();
        let (answer, last) = output.rsplit_once('\n').unwrap_or_default();
        let (status, version) = last.split_once(' ').unwrap_or_default();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Seen {
            status: status.parse().unwrap_or_default(),
            version: version.into(),
            head: head.into(),
            body: body.into(),
            said: curl.stderr(),
        }
    }
}
