//! Parses addresses on the web. An error says what is wrong and what would be right; nothing that may
//! hold a password is repeated in one.

use std::net::IpAddr;

use reqwest::Url;

pub(super) fn api_url(text: &str) -> Result<Url, String> {
    base_url(text, "https://api.withcortex.ai")
}

/// An address to which paths are appended, without a slash at its end.
pub(super) fn external_url(text: &str) -> Result<String, String> {
    let url = base_url(text, "https://exporter.example/cortex")?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn base_url(text: &str, example: &str) -> Result<Url, String> {
    let url = web_url(text, example)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("remove what begins with \"?\" or \"#\"".into());
    }
    Ok(url)
}

/// A URL for the web, which holds no secrets.
pub(super) fn web_url(text: &str, example: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL like {example}: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password does not belong in the URL".into());
    }
    match url.scheme() {
        "https" | "http" => Ok(url),
        other => Err(format!("{other:?} is not a scheme; use https")),
    }
}

/// Whether a URL shows the key to nobody on its way.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}
