//! Variables that libraries read, and that they ignore where they make no sense: a proxy that is
//! not used, or a connection that is not encrypted, is not what was asked for.

use std::{ffi::OsString, fs, net::IpAddr};

use axum::http::Uri;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What is wrong with the variables for requests to the API. No value that may hold a password is
/// repeated.
pub(super) fn client_errors(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    errors(variables, |name| match name {
        "HTTPS_PROXY" | "ALL_PROXY" | "HTTP_PROXY" => Some(proxy),
        "NO_PROXY" => Some(exceptions),
        "SSL_CERT_FILE" => Some(authorities),
        _ => None,
    })
}

/// The same for a ledger in PostgreSQL.
pub(super) fn postgres_errors(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    errors(variables, |name| match name {
        "PGPORT" => Some(port),
        "PGSSLMODE" => Some(ssl_mode),
        _ if name.starts_with("PG") => Some(|_| Ok(())),
        _ => None,
    })
}

type ValueCheck = fn(&str) -> Result<(), String>;

/// `check_of` gives what is to hold for the value of a variable, whose name is in capitals.
fn errors(
    variables: impl Iterator<Item = (OsString, OsString)>,
    check_of: impl Fn(&str) -> Option<ValueCheck>,
) -> Vec<String> {
    let error = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok().filter(|_| !value.is_empty())?;
        let check = check_of(&name.to_ascii_uppercase())?;
        let checked = match value.to_str() {
            Some(text) => check(text),
            None => Err("it is not text in UTF-8".into()),
        };
        checked.err().map(|why| format!("{name}: {why}"))
    };
    variables.filter_map(error).collect()
}

fn proxy(text: &str) -> Result<(), String> {
    let uri: Uri = text
        .parse()
        .map_err(|_| "it is not a URL like http://proxy.example:3128; correct it, or unset it")?;
    match uri.scheme_str() {
        None | Some("http" | "https") => {}
        Some(other) => {
            return Err(format!("{other} is not a proxy that is supported; use http or https"));
        }
    }
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return Err("it names no host; write it like http://proxy.example:3128".into());
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if uri.port_u16().is_none() && !authority.ends_with(host) {
        return Err("its port is not a number up to 65535".into());
    }
    Ok(())
}

fn exceptions(text: &str) -> Result<(), String> {
    for entry in text.split(',').map(str::trim) {
        let Some((address, bits)) = entry.split_once('/') else { continue };
        let most = address.parse().map(|address: IpAddr| if address.is_ipv4() { 32 } else { 128 });
        let fits = bits.parse().is_ok_and(|bits: u8| most.is_ok_and(|most| bits <= most));
        if !fits {
            return Err(format!("{entry:?} is not a network like 10.0.0.0/8"));
        }
    }
    Ok(())
}

fn authorities(path: &str) -> Result<(), String> {
    let pem = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    if CertificateDer::pem_slice_iter(&pem).any(|certificate| certificate.is_ok()) {
        Ok(())
    } else {
        Err(format!("{path} holds no certificate; PEM is expected"))
    }
}

fn port(text: &str) -> Result<(), String> {
    text.parse().map(|_: u16| ()).map_err(|_| format!("{text:?} is not a port"))
}

fn ssl_mode(text: &str) -> Result<(), String> {
    if SSL_MODES.contains(&&*text.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(format!("{text:?} is not one of {}", SSL_MODES.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn one(name: &str, value: &[u8]) -> impl Iterator<Item = (OsString, OsString)> {
        std::iter::once((name.into(), OsString::from_vec(value.into())))
    }

    #[test]
    fn what_would_be_ignored_is_an_error_that_repeats_no_password() {
        for (name, value, part) in [
            ("HTTPS_PROXY", &b"http://[bad"[..], "not a URL"),
            ("https_proxy", b"http://user:hunter2@[bad", "not a URL"),
            ("HTTPS_PROXY", b" http://proxy:1", "not a URL"),
            ("HTTPS_PROXY", b"http://proxy:99999x", "its port"),
            ("HTTPS_PROXY", b"http://me:hunter2@proxy:99999", "its port"),
            ("ALL_PROXY", b"socks5://proxy:1080", "socks5 is not a proxy"),
            ("all_proxy", b"ftp://proxy", "ftp is not a proxy"),
            ("HTTP_PROXY", b"http://:3128", "names no host"),
            ("http_proxy", b"/proxy", "names no host"),
            ("HTTPS_PROXY", b"http://pr\xffxy", "UTF-8"),
            ("NO_PROXY", b"intern,\xff", "UTF-8"),
            ("no_proxy", b"localhost, 10.0.0.0/99", "\"10.0.0.0/99\" is not a network"),
            ("NO_PROXY", b"10.0.0/8", "is not a network"),
            ("SSL_CERT_FILE", b"/no/such", "cannot read /no/such"),
            ("SSL_CERT_FILE", b"/dev/null", "holds no certificate"),
        ] {
            let errors = client_errors(one(name, value));
            assert_eq!(errors.len(), 1, "{name}={value:?}: {errors:?}");
            assert!(errors[0].starts_with(name) && errors[0].contains(part), "{errors:?}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
    }

    #[test]
    fn a_proxy_that_can_be_used_is_none() {
        for (name, value) in [
            ("HTTPS_PROXY", &b"http://user:hunter2@proxy:3128/"[..]),
            ("https_proxy", b"https://[::1]:3128"),
            ("ALL_PROXY", b"proxy:3128"),
            ("all_proxy", b"proxy"),
            ("HTTP_PROXY", b""),
            ("NO_PROXY", b"localhost, .example.com,10.0.0.0/8,fd00::/8,*"),
            ("UNRELATED_PROXY", b"http://[bad"),
        ] {
            assert_eq!(client_errors(one(name, value)), [""; 0], "{name}={value:?}");
        }
    }

    #[test]
    fn a_variable_of_postgresql_that_would_be_ignored_is_an_error() {
        for (name, value, part) in [
            ("PGPORT", &b"none"[..], "\"none\" is not a port"),
            ("PGSSLMODE", b"verify-ful", "verify-full"),
            ("PGPASSWORD", b"\xff", "UTF-8"),
        ] {
            let errors = postgres_errors(one(name, value));
            assert_eq!(errors.len(), 1, "{name}={value:?}: {errors:?}");
            assert!(errors[0].starts_with(name) && errors[0].contains(part), "{errors:?}");
        }
        assert_eq!(postgres_errors(one("PGSSLMODE", b"verify-full")), [""; 0]);
        assert_eq!(postgres_errors(one("PGPORT", b"5432")), [""; 0]);
    }
}
