//! Parses single values. An error says what is wrong and what would be right; the caller names the
//! setting. Nothing that may hold a password is repeated in one.

use std::{
    net::{Ipv6Addr, SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    path::{PathBuf, absolute},
    time::Duration,
};

use regex::Regex;
use reqwest::Url;
use tracing::Level;

use super::types::{LogFormat, LoggedRuns, Shard};
use crate::model::AppId;

/// The paths that are other pages than the metrics.
pub(crate) const RESERVED_PATHS: [&str; 7] =
    ["/", "/-/healthy", "/healthz", "/livez", "/-/ready", "/readyz", "/-/reload"];

pub(super) fn bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

pub(super) fn int(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| format!("{text:?} is not a whole number from {least} to {most}"))
}

pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration like 90s, 5m or 1h 30m: {error}"))?;
    if range.contains(&duration) {
        Ok(duration)
    } else {
        let [least, most] = [*range.start(), *range.end()].map(humantime::format_duration);
        Err(format!("{text:?} is not between {least} and {most}"))
    }
}

/// A path that means the same wherever somebody reads it.
pub(super) fn path(text: &str) -> PathBuf {
    absolute(text).unwrap_or_else(|_| text.into())
}

/// Checks the name of a class of errors.
pub(super) fn error_class(text: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("{} is not a name of 1 to 32 characters from a-z and _", quote(text)))
}

pub(super) fn app_id(text: &str) -> Result<AppId, String> {
    AppId::new(text).filter(|id| id.as_str() != "_other").ok_or_else(|| {
        "an app id has 1 to 128 printable characters; \"c\" stands for the app of the key".into()
    })
}

pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    // Alone first: "a)|(b" would compile within the group, and not be anchored.
    Regex::new(text)
        .and_then(|_| Regex::new(&format!("^(?:{text})$")))
        .map_err(|error| format!("{text:?} is not a regular expression: {error}"))
}

/// Maximum number of shards; each of them reads the list of all workflows.
const MAX_SHARDS: u32 = 1000;

pub(super) fn shard(text: &str) -> Result<Shard, String> {
    let number = |text: &str| text.parse().ok().filter(|it| (1..=MAX_SHARDS).contains(it));
    let parts = text.split_once('/').and_then(|(one, of)| Some((number(one)?, number(of)?)));
    let shard = parts.filter(|(number, of)| number <= of).map(|(number, of)| Shard { number, of });
    shard.ok_or_else(|| {
        format!(
            "{text:?} is not a shard like 2/3, the second of three; write 1/3, 2/3 and 3/3 for \
             three exporters, or 1/1 for a single one; {MAX_SHARDS} is the most"
        )
    })
}

pub(super) fn state_url(text: &str) -> Result<String, String> {
    let usable = match text.split_once(':') {
        Some(("sqlite", _)) => {
            ledger_path(text).is_none_or(|path| !path.trim_matches('/').is_empty())
        }
        Some(("postgres" | "postgresql", _)) => {
            Url::parse(text).is_ok_and(|url| url.has_host() || url.query().is_some())
        }
        _ => false,
    };
    // It isn't repeated: it may hold a password.
    let expected = "use sqlite:FILE, sqlite::memory: or postgres://<user>@<host>/<database>";
    if ledger_path(text).is_some_and(|path| path.starts_with("file:")) {
        return Err(format!("{expected}, where FILE is the path itself, without file:"));
    }
    usable.then(|| text.to_owned()).ok_or_else(|| expected.into())
}

/// The path in a ledger's URL; `None` if it is in memory or on a server.
pub(super) fn ledger_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path)).filter(|path| *path != ":memory:")
}

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address like :10058 or 127.0.0.1:10058");
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong())?;
        return Ok((Ipv6Addr::UNSPECIFIED, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("the host of {text:?} is unknown: {error}"))?;
    // As other exporters do: one address for a name, of IPv4 if it has one.
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| format!("the host of {text:?} has no address"))
}

pub(super) fn loopback_address(text: &str) -> Result<SocketAddr, String> {
    let address = listen_address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "{text:?} can be reached from elsewhere; the simulated API is for loopback only, \
             like 127.0.0.1:10059"
        ))
    }
}

pub(super) fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !text.starts_with('/') || text.contains("//") || !text.chars().all(plain) {
        return Err(format!(
            "{text:?} is not a path like /metrics, made of letters, digits and -._~/"
        ));
    }
    let is_of_runs = ["/runs/", "/workflows/"].iter().any(|pages| text.starts_with(pages));
    if RESERVED_PATHS.contains(&text) || is_of_runs {
        return Err(format!("{text:?} is another page already"));
    }
    Ok(text.to_owned())
}

pub(super) fn log_level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err(format!("{text:?} is not one of error, warn, info, debug and trace")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither logfmt nor json")),
    }
}

pub(super) fn logged_runs(text: &str) -> Result<LoggedRuns, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(LoggedRuns::Off),
        "failed" => Ok(LoggedRuns::Failed),
        "all" => Ok(LoggedRuns::All),
        _ => Err(format!("{text:?} is not one of off, failed and all")),
    }
}

/// Maximum number of bounds of a histogram; each is a series.
const MAX_BOUNDS: usize = 100;

/// Maximum number of labels of the operator's.
pub(super) const MAX_LABELS: usize = 20;

/// Maximum length of a label's value; the API's own are cut to it.
const MAX_LABEL_LENGTH: usize = 128;

/// The names that a label of the operator's can't have: those that the families have already, those
/// that the formats give a meaning to, and those that Prometheus sets for each target.
pub const TAKEN_LABELS: [&str; 23] = [
    "app",
    "app_id",
    "code",
    "enabled",
    "endpoint",
    "instance",
    "job",
    "key",
    "le",
    "origin",
    "quantile",
    "reason",
    "result",
    "revision",
    "rustversion",
    "status",
    "step",
    "step_type",
    "error_class",
    "url",
    "version",
    "workflow",
    "workflow_id",
];

/// Checks the upper bounds of buckets.
pub(super) fn bounds(bounds: &[f64]) -> Result<(), String> {
    if bounds.is_empty() || bounds.len() > MAX_BOUNDS {
        Err(format!("{} upper bounds are not 1 to {MAX_BOUNDS}", bounds.len()))
    } else if bounds[0] <= 0.0 || !bounds.is_sorted_by(|one, next| one < next) {
        let why = "upper bounds are seconds above 0, each larger than the one before; +Inf is added \
                   to them";
        Err(why.into())
    } else {
        Ok(())
    }
}

/// Checks a label.
pub(super) fn label(name: &str, value: &str) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let plain = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    let shown = quote(name);
    if !plain || name.len() > MAX_LABEL_LENGTH {
        Err(format!("{shown} is no label: letters, digits and _, and no digit first"))
    } else if name.starts_with("__") {
        Err(format!("{shown} is Prometheus' own: labels do not begin with __"))
    } else if TAKEN_LABELS.contains(&name) {
        Err(format!("{shown} is taken: series or targets have a label of this name already"))
    } else if value.is_empty() {
        Err(format!("{shown} is empty, which Prometheus takes for no label"))
    } else if value.chars().count() > MAX_LABEL_LENGTH || value.chars().any(char::is_control) {
        Err(format!(
            "the value of {shown} has more than {MAX_LABEL_LENGTH} characters, or control characters"
        ))
    } else {
        Ok(())
    }
}

/// A string as it may be shown, cut if it is long.
pub(super) fn quote(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}
