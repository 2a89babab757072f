//! The web configuration file: who may connect, and how. Its format is that of Prometheus'
//! exporter-toolkit, so that one file does for all exporters of a machine.

mod client;
mod file;
mod keys;
mod reader;
mod tls;
mod tls_section;
mod users;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};

pub use keys::{WEB_CONFIG_KEYS, WebKey};
pub use users::Users;

/// What `--web.config.file` says, with the files it names. The default is what holds without one:
/// plain HTTP for everybody.
#[derive(Clone, Debug, Default)]
pub struct WebConfig {
    /// The file itself.
    pub file: Option<PathBuf>,
    /// How to speak TLS; `None` is plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who may ask; with nobody in it everybody may.
    pub users: Users,
    /// Goes into every answer that has no such header of its own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How many requests are answered; `None` for as many as come.
    pub rate_limit: Option<RateLimit>,
    /// What is allowed but hardly meant, to be told at the start.
    pub warnings: Vec<String>,
    guards: Guards,
    inputs: file::Inputs,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// From one request to the next.
    pub interval: Duration,
    /// So many may come at once after a pause.
    pub burst: u32,
}

/// What keeps clients out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Guards {
    tls: bool,
    users: bool,
    client: tls::ClientAuth,
    names: bool,
}

impl WebConfig {
    /// Reads the file and those it names. The error has all that is wrong with them, each with its
    /// place.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        file::read(path)
    }

    /// Whether the file, or one that it names, holds something else by now. Reads them all.
    pub fn is_outdated(&self) -> bool {
        !self.inputs.are_the_same()
    }

    /// What kept clients out under `former` and doesn't any more. A file that is found cut short in
    /// the middle of being written must not open the door.
    pub fn gives_up(&self, former: &Self) -> Option<&'static str> {
        let (now, then) = (self.guards, former.guards);
        if then.tls && !now.tls {
            Some("TLS")
        } else if then.users && !now.users {
            Some("basic_auth_users")
        } else if then.client.is_mandatory() && !now.client.is_mandatory()
            || then.client.verifies() && !now.client.verifies()
        {
            Some("client_auth_type")
        } else if then.names && !now.names {
            Some("client_allowed_sans")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
