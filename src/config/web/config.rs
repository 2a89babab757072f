//! What a web configuration file comes to.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};

use super::{client::ClientAuth, users::Users};
use crate::config::yaml;

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
    /// What is allowed but probably a mistake, to be reported at the start.
    pub warnings: Vec<String>,
    pub(super) guards: Guards,
    pub(super) inputs: Inputs,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// From one request to the next.
    pub interval: Duration,
    /// Maximum number of requests that may come at once after a pause.
    pub burst: u32,
}

/// What keeps clients out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guards {
    pub(super) tls: bool,
    pub(super) users: bool,
    pub(super) client: ClientAuth,
    pub(super) names: bool,
}

impl WebConfig {
    /// Whether the file, or one that it names, holds something else by now. Reads them all.
    pub fn is_outdated(&self) -> bool {
        !self.inputs.are_the_same()
    }

    /// The protection that `former` had and this one lacks. A file that is found cut short in the
    /// middle of being written must not let everybody in.
    pub fn weakens(&self, former: &Self) -> Option<&'static str> {
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

/// The files that a configuration was made of, and what was in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    files: Vec<PathBuf>,
    /// A hash, not the contents themselves, which are secret.
    hash: u64,
}

impl Inputs {
    /// Those of these files.
    pub(super) fn of(files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        let (files, contents): (_, Vec<_>) = files.into_iter().unzip();
        Self { files, hash: hash(&contents) }
    }

    fn are_the_same(&self) -> bool {
        let contents: Result<Vec<_>, _> =
            self.files.iter().map(|file| yaml::contents(file)).collect();
        self.files.is_empty() || contents.is_ok_and(|contents| hash(&contents) == self.hash)
    }
}

fn hash(contents: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}
