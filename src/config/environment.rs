//! Variables that libraries read, and that they ignore where they make no sense: a proxy that is not
//! used, or a connection that is not encrypted, is not what was asked for.

use std::{ffi::OsString, fs, net::IpAddr};

use axum::http::Uri;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// What is set for requests to the API; which of the two spellings counts is the client's to decide.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];

const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A file with the authorities that are trusted, instead of the system's.
const AUTHORITIES: &str = "SSL_CERT_FILE";

/// What PostgreSQL's clients read. All of them have to be text.
const POSTGRES: [&str; 12] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGAPPNAME",
    "PGOPTIONS",
];

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What is wrong with the variables for requests to the API, of which `get` returns the values. No
/// value is repeated: a proxy's may hold a password.
pub(super) fn client_errors(get: Get<'_>) -> Vec<String> {
    let proxies = PROXIES.iter().map(|name| (*name, proxy as VariableCheck));
    let exceptions = EXCEPTIONS.iter().map(|name| (*name, exceptions as VariableCheck));
    let authorities = [(AUTHORITIES, authorities as VariableCheck)];
    errors(proxies.chain(exceptions).chain(authorities), get)
}

/// The same for a ledger in PostgreSQL.
pub(super) fn postgres_errors(get: Get<'_>) -> Vec<String> {
    errors(POSTGRES.iter().map(|name| (*name, check_for(name))), get)
}

/// The values of variables.
type Get<'a> = &'a dyn Fn(&str) -> Option<OsString>;

type VariableCheck = fn(&str) -> Result<(), String>;

fn errors(
    variables: impl Iterator<Item = (&'static str, VariableCheck)>,
    get: Get<'_>,
) -> Vec<String> {
    let error = |(name, check): (&str, VariableCheck)| {
        let value = get(name).filter(|value| !value.is_empty())?;
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
    if uri.host().is_none_or(str::is_empty) {
        return Err("it names no host; write it like http://proxy.example:3128".into());
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

fn check_for(name: &str) -> VariableCheck {
    match name {
        "PGPORT" => |text| match text.parse::<u16>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{text:?} is not a port")),
        },
        "PGSSLMODE" => |text| {
            if SSL_MODES.contains(&&*text.to_ascii_lowercase()) {
                return Ok(());
            }
            Err(format!("{text:?} is not one of {}", SSL_MODES.join(", ")))
        },
        _ => |_| Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn one(variable: &str, value: &[u8]) -> impl Fn(&str) -> Option<OsString> {
        move |name| (name == variable).then(|| OsString::from_vec(value.into()))
    }

    #[test]
    fn what_would_be_ignored_is_an_error_that_repeats_no_password() {
        for (name, value, part) in [
            ("HTTPS_PROXY", &b"http://[bad"[..], "not a URL"),
            ("https_proxy", b"http://user:hunter2@[bad", "not a URL"),
            ("HTTPS_PROXY", b" http://proxy:1", "not a URL"),
            ("HTTPS_PROXY", b"http://proxy:99999x", "not a URL"),
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
            let errors = client_errors(&one(name, value));
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
            assert_eq!(client_errors(&one(name, value)), [""; 0], "{name}={value:?}");
        }
    }

    #[test]
    fn a_variable_of_postgresql_that_would_be_ignored_is_an_error() {
        for (name, value, part) in [
            ("PGPORT", &b"none"[..], "\"none\" is not a port"),
            ("PGSSLMODE", b"verify-ful", "verify-full"),
            ("PGPASSWORD", b"\xff", "UTF-8"),
        ] {
            let errors = postgres_errors(&one(name, value));
            assert_eq!(errors.len(), 1, "{name}={value:?}: {errors:?}");
            assert!(errors[0].starts_with(name) && errors[0].contains(part), "{errors:?}");
        }
        assert_eq!(postgres_errors(&one("PGSSLMODE", b"verify-full")), [""; 0]);
        assert_eq!(postgres_errors(&one("PGPORT", b"5432")), [""; 0]);
    }
}
