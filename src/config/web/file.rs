//! From the file to what holds.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderName, HeaderValue};
use jiff::SignedDuration;

use super::{Guards, RateLimit, Users, WebConfig, reader::Reader, users};
use crate::config::yaml::{self, Node, Place};

/// Far more than any of these files needs.
const LARGEST: u64 = 1 << 20;

/// The files that a configuration was made of, and what was in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    files: Vec<PathBuf>,
    /// Not the content itself, which is secret.
    digest: Vec<u8>,
}

impl Inputs {
    pub(super) fn are_the_same(&self) -> bool {
        let contents = self.files.iter().map(|file| contents(file));
        let contents: Result<Vec<_>, _> = contents.collect();
        self.files.is_empty()
            || contents
                .is_ok_and(|contents| digest(contents.iter().map(Vec::as_slice)) == self.digest)
    }
}

fn digest<'c>(contents: impl Iterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for content in contents {
        context.update(&content.len().to_be_bytes());
        context.update(content);
    }
    context.finish().as_ref().to_vec()
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= LARGEST => Ok(bytes),
        Ok(_) => Err(format!("cannot use {}: it has more than {LARGEST} bytes", path.display())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Reads the file and those that it names.
pub(super) fn read(path: &Path) -> Result<WebConfig, Vec<String>> {
    let shown = path.display().to_string();
    let bytes = contents(path).map_err(|error| vec![error])?;
    let text = str::from_utf8(&bytes).map_err(|_| vec![format!("{shown} is not text in UTF-8")])?;
    let tree = match text.trim() {
        "" => None,
        _ => Some(yaml::parse(text).map_err(|(place, why)| {
            let place = place.map(|Place { line, column }| format!(":{line}:{column}"));
            vec![format!("{shown}{}: {why}", place.unwrap_or_default())]
        })?),
    };
    let mut loading = Loading {
        directory: path.parent().unwrap_or(Path::new("")),
        reader: Reader::new(shown),
        files: vec![(path.to_owned(), bytes.clone())],
    };
    let config = loading.config(tree.as_ref());
    let Loading { reader, files, .. } = loading;
    let warnings = reader.finish()?;
    let inputs = Inputs {
        digest: digest(files.iter().map(|(_, content)| content.as_slice())),
        files: files.into_iter().map(|(file, _)| file).collect(),
    };
    Ok(WebConfig { file: Some(path.to_owned()), warnings, inputs, ..config })
}

/// A file that is being read.
pub(super) struct Loading<'p> {
    /// Its own, where relative paths begin.
    directory: &'p Path,
    pub(super) reader: Reader,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Loading<'_> {
    fn config(&mut self, tree: Option<&Node>) -> WebConfig {
        let root = self.reader.section(tree, "");
        let section = |name: &str| root.get(name).copied();
        let http = self.reader.section(section("http_server_config"), "http_server_config");
        if self.reader.switch(&http, "http2", false) {
            self.reader.warn(http["http2"].place, "http2 has no effect: clients speak HTTP/1.1");
        }
        let headers = self.headers(http.get("headers").copied());
        let users = self.users(section("basic_auth_users"));
        let rate_limit = self.rate_limit(section("rate_limit"));
        let mut guards = Guards { users: !users.is_empty(), ..Guards::default() };
        let tls = self.tls(section("tls_server_config"), &mut guards).map(Arc::new);
        WebConfig { tls, users, headers, rate_limit, guards, ..WebConfig::default() }
    }

    /// What is in a file that is named by its path.
    pub(super) fn named(&mut self, path: &str) -> Result<(String, Vec<u8>), String> {
        let path = self.directory.join(path);
        let bytes = contents(&path)?;
        self.files.push((path.clone(), bytes.clone()));
        Ok((path.display().to_string(), bytes))
    }

    fn headers(&mut self, node: Option<&Node>) -> Vec<(HeaderName, HeaderValue)> {
        let path = "http_server_config.headers";
        let section = self.reader.section(node, path);
        let mut headers = Vec::new();
        for name in section.keys() {
            let value = self.reader.value(&section, name, |text| {
                let allowed: &[&str] = match *name {
                    "X-Frame-Options" => &["deny", "sameorigin"],
                    "X-Content-Type-Options" => &["nosniff"],
                    _ => &[],
                };
                if !allowed.is_empty() && !allowed.contains(&text) {
                    return Err(format!("{text:?} is not {}", allowed.join(" or ")));
                }
                let wrong = "it has characters that cannot be sent in a header";
                HeaderValue::from_str(text).map_err(|_| wrong.into())
            });
            let name = HeaderName::from_bytes(name.as_bytes());
            headers.extend(name.ok().zip(value));
        }
        headers
    }

    fn users(&mut self, node: Option<&Node>) -> Users {
        let section = self.reader.names(node, "basic_auth_users");
        let mut hashes = BTreeMap::new();
        for (name, node) in &section {
            if name.contains(':') {
                let why = format!("user {name:?} can never log in: a name has no colon");
                self.reader.error(node.place, &why);
            }
            let hash = self.reader.required(&section, name).unwrap_or_default();
            match users::cost(&hash) {
                _ if hash.is_empty() => {}
                Ok(cost) if cost > users::HIGHEST_USUAL_COST => {
                    let what =
                        format!("user {name:?} waits long: a cost of 10 is usual, not {cost}");
                    self.reader.warn(node.place, &what);
                }
                Ok(_) => {}
                Err(why) => self.reader.error(node.place, &format!("user {name:?}: {why}")),
            }
            hashes.insert((*name).to_owned(), hash);
        }
        if hashes.is_empty() { Users::default() } else { Users::new(hashes) }
    }

    fn rate_limit(&mut self, node: Option<&Node>) -> Option<RateLimit> {
        let section = self.reader.section(node, "rate_limit");
        let interval = self.reader.value(&section, "interval", interval);
        let burst = self.reader.value(&section, "burst", |text| {
            let wrong = || format!("{text:?} is not a whole number from 0 to {}", u32::MAX);
            text.parse().map_err(|_| wrong())
        });
        let (interval, burst) = (interval?, burst.unwrap_or_default());
        if interval.is_zero() {
            return None;
        }
        if burst == 0 {
            let place = node.map_or(Place { line: 1, column: 1 }, |node| node.place);
            self.reader.warn(place, "a burst of 0 lets no request through; write at least 1");
        }
        Some(RateLimit { interval, burst })
    }
}

/// A duration as Go writes it.
fn interval(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: Result<SignedDuration, _> = text.parse();
    let duration = duration.ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("{text:?} is not a duration with its unit, like 1s or 500ms"))
}
