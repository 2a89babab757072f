//! From the file to what it comes to.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use axum::http::{HeaderName, HeaderValue};
use jiff::SignedDuration;

use super::{
    config::{Guards, Inputs, RateLimit, WebConfig},
    keys,
    loader::Loader,
    tls_section,
    users::{self, Users},
};
use crate::config::yaml;

impl WebConfig {
    /// Reads the file and those that it names. The error has all that is wrong with them, each with
    /// its place.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let contents = yaml::contents(path).map_err(|error| vec![error])?;
        let document = yaml::document(path, &contents).map_err(|error| vec![error])?;
        let mut loader = Loader::new(path, contents, &document);
        if loader.bool("http_server_config.http2", false)
            && let Some(node) = loader.node("http_server_config.http2")
        {
            loader.warn(node.place, "http2 has no effect: clients speak HTTP/1.1");
        }
        let headers = headers(&mut loader);
        let users = users(&mut loader);
        let rate_limit = rate_limit(&mut loader);
        let guards = Guards { users: !users.is_empty(), ..Guards::default() };
        let (tls, guards) = tls_section::read(&mut loader, guards);
        let Loader { walker, files, warnings, .. } = loader;
        let errors = walker.into_errors();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            file: Some(path.to_owned()),
            tls: tls.map(Arc::new),
            users,
            headers,
            rate_limit,
            warnings,
            guards,
            inputs: Inputs::of(files),
        })
    }
}

fn headers(loader: &mut Loader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for key in keys::paths() {
        let Some(name) = key.strip_prefix("http_server_config.headers.") else { continue };
        let value = loader.value(key, |text| {
            let allowed: &[&str] = match name {
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
        headers.extend(name.parse().ok().zip(value));
    }
    headers
}

fn users(loader: &mut Loader<'_>) -> Users {
    let section = "basic_auth_users";
    let Some(node) = loader.node(section) else { return Users::default() };
    let mut hashes = BTreeMap::new();
    for (name, _, node) in loader.walker.map(section, node) {
        if name.contains(':') {
            let why = format!("user {name:?} can never log in: a name has no colon");
            loader.walker.error(node.place, section, &why);
        }
        let key = format!("{section}.{name}");
        let Some(hash) = loader.walker.string(&key, node, "a string") else { continue };
        match users::cost(&hash) {
            Ok(cost) if cost > users::MAX_USUAL_COST => {
                let what = format!("user {name:?} waits long: a cost of 10 is usual, not {cost}");
                loader.warn(node.place, &what);
            }
            Ok(_) => {}
            Err(why) => loader.walker.error(node.place, &key, &why),
        }
        hashes.insert(name.to_owned(), hash);
    }
    if hashes.is_empty() { Users::default() } else { Users::new(hashes) }
}

fn rate_limit(loader: &mut Loader<'_>) -> Option<RateLimit> {
    let interval = loader.value("rate_limit.interval", interval);
    let burst = loader.value("rate_limit.burst", |text| {
        let wrong = || format!("{text:?} is not a whole number from 0 to {}", u32::MAX);
        text.parse().map_err(|_| wrong())
    });
    let (interval, burst) = (interval?, burst.unwrap_or_default());
    if interval.is_zero() {
        return None;
    }
    if burst == 0
        && let Some(node) = loader.node("rate_limit")
    {
        loader.warn(node.place, "a burst of 0 lets no request through; write at least 1");
    }
    Some(RateLimit { interval, burst })
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
