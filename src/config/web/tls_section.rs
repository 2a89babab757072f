//! Reads `tls_server_config`.

use rustls::ServerConfig;

use super::{
    client::ClientAuth,
    config::Guards,
    loader::Loader,
    tls::{self, Curve, Suite, TlsError, TlsSettings, TlsVersion},
};
use crate::config::yaml::Place;

const SECTION: &str = "tls_server_config";

/// If one of these is set, TLS is on.
const SWITCHES: [&str; 7] =
    ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"];

/// A text in PEM.
struct Pem {
    /// Where it is given or named.
    place: Place,
    /// How to call it in messages.
    origin: String,
    /// `None` if it couldn't be read, which was reported.
    bytes: Option<Vec<u8>>,
}

/// What rustls needs, and what keeps clients out then; `None` for plain HTTP, and after errors.
pub(super) fn read(loader: &mut Loader<'_>, guards: Guards) -> (Option<ServerConfig>, Guards) {
    let Some(node) = loader.node(SECTION) else { return (None, guards) };
    let place = node.place;
    let errors_before = loader.walker.error_count();
    let [certificate, key, authorities] =
        ["cert", "key", "client_ca"].map(|name| pem(loader, name));
    let client_auth = loader.value(&within("client_auth_type"), ClientAuth::read);
    let client_auth = client_auth.unwrap_or_default();
    let allowed_names = loader.list(&within("client_allowed_sans"), |text| Ok(text.to_owned()));
    let suites = loader.list(&within("cipher_suites"), Suite::read);
    let curves = loader.list(&within("curve_preferences"), Curve::read);
    let prefer_own_order = loader.bool(&within("prefer_server_cipher_suites"), true);
    let least = loader.value(&within("min_version"), TlsVersion::read);
    let most = loader.value(&within("max_version"), TlsVersion::read);
    let versions = (least.unwrap_or(TlsVersion::Tls12), most.unwrap_or(TlsVersion::Tls13));
    if !SWITCHES.iter().any(|key| loader.node(&within(key)).is_some()) {
        if loader.has_any(SECTION) {
            loader.warn(place, "TLS is off: tls_server_config names no certificate");
        }
        return (None, guards);
    }
    let guards = Guards {
        tls: true,
        client: client_auth,
        names: allowed_names.is_some() && client_auth != ClientAuth::NoClientCert,
        ..guards
    };
    if versions.0 > versions.1 {
        let why = "min_version is above max_version, so that no version of TLS is left";
        loader.walker.error(place, SECTION, why);
    }
    for (pem, name) in [(&certificate, "cert"), (&key, "key")] {
        if pem.is_none() {
            let why = format!(
                "there is neither {name} nor {name}_file; TLS needs a certificate and its key"
            );
            loader.walker.error(place, SECTION, &why);
        }
    }
    check_clients(loader, place, client_auth, authorities.is_some(), allowed_names.is_some());
    let chain = der(loader, certificate.as_ref(), tls::certificates);
    let private_key = der(loader, key.as_ref(), tls::private_key);
    let trusted = der(loader, authorities.as_ref(), tls::certificates);
    let (Some(certificate), Some(private_key)) = (chain, private_key) else {
        return (None, guards);
    };
    if loader.walker.error_count() > errors_before {
        return (None, guards);
    }
    let server = tls::server(TlsSettings {
        certificate,
        key: private_key,
        client_auth,
        authorities: trusted.unwrap_or_default(),
        allowed_names,
        versions,
        suites: suites.unwrap_or_default(),
        curves: curves.unwrap_or_default(),
        prefer_own_order,
    });
    let (pem, why) = match server {
        Ok(server) => return (Some(server), guards),
        Err(TlsError::Choice(why)) => {
            (None, format!("versions, cipher_suites and curve_preferences: {why}"))
        }
        Err(TlsError::Pair(why)) => (key, why),
        Err(TlsError::Authorities(why)) => (authorities, why),
    };
    match pem {
        Some(pem) => loader.walker.error_in(pem.place, &pem.origin, &why),
        None => loader.walker.error(place, SECTION, &why),
    }
    (None, guards)
}

/// A key of the section.
fn within(key: &str) -> String {
    format!("{SECTION}.{key}")
}

/// A text in PEM, given here or in a file; the file wins if both are there.
fn pem(loader: &mut Loader<'_>, name: &str) -> Option<Pem> {
    let (key, file_key) = (within(name), within(&format!("{name}_file")));
    let given = loader.text(&key);
    let Some((place, path)) = loader.text(&file_key) else {
        let (place, text) = given?;
        let origin = format!("{}: {key}", loader.walker.at(place));
        return Some(Pem { place, origin, bytes: Some(text.into_bytes()) });
    };
    if given.is_some() {
        let what = format!("{name} is ignored, since {name}_file is there too; remove one");
        loader.warn(place, &what);
    }
    match loader.named(&path) {
        Ok((origin, bytes)) => Some(Pem { place, origin, bytes: Some(bytes) }),
        Err(why) => {
            loader.walker.error(place, &file_key, &why);
            Some(Pem { place, origin: path, bytes: None })
        }
    }
}

fn check_clients(
    loader: &mut Loader<'_>,
    place: Place,
    auth: ClientAuth,
    has_authorities: bool,
    has_names: bool,
) {
    let asks_nobody = auth == ClientAuth::NoClientCert;
    if asks_nobody && has_authorities {
        let why = "there is a client_ca, but client_auth_type asks for no certificate; write \
                   client_auth_type: RequireAndVerifyClientCert";
        loader.walker.error(place, SECTION, why);
    }
    if asks_nobody && has_names {
        let what = "client_allowed_sans means nothing: client_auth_type asks for no certificate; \
                    RequireAndVerifyClientCert does";
        loader.warn(place, what);
    }
    if auth.verifies() && !has_authorities {
        let why = "client_auth_type verifies certificates, but there is neither client_ca nor \
                   client_ca_file; name the authority that signs those of the clients";
        loader.walker.error(place, SECTION, why);
    }
}

fn der<T>(
    loader: &mut Loader<'_>,
    pem: Option<&Pem>,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Option<T> {
    let pem = pem?;
    let parsed = parse(pem.bytes.as_ref()?);
    parsed.map_err(|why| loader.walker.error_in(pem.place, &pem.origin, &why)).ok()
}
