//! Reads `tls_server_config`.

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};

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
struct Pem<T> {
    /// Where it is given or named.
    place: Place,
    /// How to call it in messages.
    origin: String,
    /// What it holds; `None` if that can't be used, which was reported.
    content: Option<T>,
}

/// The section as it is written. What is `None` isn't there, or was reported.
struct TlsSection {
    /// Where it begins.
    place: Place,
    certificate: Option<Pem<Vec<CertificateDer<'static>>>>,
    key: Option<Pem<PrivateKeyDer<'static>>>,
    authorities: Option<Pem<Vec<CertificateDer<'static>>>>,
    client_auth: ClientAuth,
    allowed_names: Option<Vec<String>>,
    suites: Option<Vec<Suite>>,
    curves: Option<Vec<Curve>>,
    prefer_own_order: bool,
    versions: (TlsVersion, TlsVersion),
}

/// What rustls needs, and what keeps clients out then; `None` for plain HTTP, and after errors.
pub(super) fn read(loader: &mut Loader<'_>, guards: Guards) -> (Option<ServerConfig>, Guards) {
    let Some(node) = loader.node(SECTION) else { return (None, guards) };
    let place = node.place;
    let errors_before = loader.walker.error_count();
    let section = TlsSection::read(loader, place);
    if !SWITCHES.iter().any(|key| loader.node(&within(key)).is_some()) {
        if loader.has_any(SECTION) {
            loader.warn(place, "TLS is off: tls_server_config names no certificate");
        }
        return (None, guards);
    }
    let guards = Guards {
        tls: true,
        client: section.client_auth,
        names: section.allowed_names.is_some() && section.client_auth != ClientAuth::NoClientCert,
        ..guards
    };
    section.check(loader);
    let is_right = loader.walker.error_count() == errors_before;
    (if is_right { section.server(loader) } else { None }, guards)
}

impl TlsSection {
    fn read(loader: &mut Loader<'_>, place: Place) -> Self {
        let certificate = pem(loader, "cert", tls::certificates);
        let key = pem(loader, "key", tls::private_key);
        let authorities = pem(loader, "client_ca", tls::certificates);
        let client_auth = loader.value(&within("client_auth_type"), ClientAuth::read);
        let allowed_names = loader.list(&within("client_allowed_sans"), |text| Ok(text.to_owned()));
        let suites = loader.list(&within("cipher_suites"), Suite::read);
        let curves = loader.list(&within("curve_preferences"), Curve::read);
        let prefer_own_order = loader.bool(&within("prefer_server_cipher_suites"), true);
        let least = loader.value(&within("min_version"), TlsVersion::read);
        let most = loader.value(&within("max_version"), TlsVersion::read);
        Self {
            place,
            certificate,
            key,
            authorities,
            client_auth: client_auth.unwrap_or_default(),
            allowed_names,
            suites,
            curves,
            prefer_own_order,
            versions: (least.unwrap_or(TlsVersion::Tls12), most.unwrap_or(TlsVersion::Tls13)),
        }
    }

    /// Reports what is missing, and what contradicts each other.
    fn check(&self, loader: &mut Loader<'_>) {
        if self.versions.0 > self.versions.1 {
            let why = "min_version is above max_version, so that no version of TLS is left";
            loader.walker.error(self.place, SECTION, why);
        }
        let pair = [(self.certificate.is_some(), "cert"), (self.key.is_some(), "key")];
        for (_, name) in pair.iter().filter(|(is_there, _)| !is_there) {
            let why = format!(
                "there is neither {name} nor {name}_file; TLS needs a certificate and its key"
            );
            loader.walker.error(self.place, SECTION, &why);
        }
        self.check_clients(loader);
    }

    fn check_clients(&self, loader: &mut Loader<'_>) {
        let has_authorities = self.authorities.is_some();
        let asks_nobody = self.client_auth == ClientAuth::NoClientCert;
        if asks_nobody && has_authorities {
            let why = "there is a client_ca, but client_auth_type asks for no certificate; write \
                       client_auth_type: RequireAndVerifyClientCert";
            loader.walker.error(self.place, SECTION, why);
        }
        if asks_nobody && self.allowed_names.is_some() {
            let what = "client_allowed_sans means nothing: client_auth_type asks for no \
                        certificate; RequireAndVerifyClientCert does";
            loader.warn(self.place, what);
        }
        if self.client_auth.verifies() && !has_authorities {
            let why = "client_auth_type verifies certificates, but there is neither client_ca nor \
                       client_ca_file; name the authority that signs those of the clients";
            loader.walker.error(self.place, SECTION, why);
        }
    }

    /// What rustls makes of it; `None` after an error.
    fn server(self, loader: &mut Loader<'_>) -> Option<ServerConfig> {
        let (certificate, key) = (self.certificate?, self.key?);
        let (trusted, ca) =
            self.authorities.map_or((None, None), |ca| (ca.content, Some((ca.place, ca.origin))));
        let server = tls::server(TlsSettings {
            certificate: certificate.content?,
            key: key.content?,
            client_auth: self.client_auth,
            authorities: trusted.unwrap_or_default(),
            allowed_names: self.allowed_names,
            versions: self.versions,
            suites: self.suites.unwrap_or_default(),
            curves: self.curves.unwrap_or_default(),
            prefer_own_order: self.prefer_own_order,
        });
        let walker = &mut loader.walker;
        match server {
            Ok(server) => return Some(server),
            Err(TlsError::Pair(why)) => walker.error_in(key.place, &key.origin, &why),
            Err(TlsError::Authorities(why)) => {
                let (place, origin) = ca.unwrap_or((self.place, SECTION.into()));
                walker.error_in(place, &origin, &why);
            }
            Err(TlsError::Choice(why)) => {
                let why = format!("versions, cipher_suites and curve_preferences: {why}");
                walker.error(self.place, SECTION, &why);
            }
        }
        None
    }
}

/// A key of the section.
fn within(key: &str) -> String {
    format!("{SECTION}.{key}")
}

/// What a text in PEM holds, given here or in a file; the file wins if both are there.
fn pem<T>(
    loader: &mut Loader<'_>,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Option<Pem<T>> {
    let (key, file_key) = (within(name), within(&format!("{name}_file")));
    let (given, file) = (loader.text(&key), loader.text(&file_key));
    if let (Some((place, _)), Some(_)) = (&given, &file) {
        let what = format!("{name} is ignored, since {name}_file is there too; remove one");
        loader.warn(*place, &what);
    }
    let (place, origin, bytes) = match (file, given) {
        (Some((place, path)), _) => match loader.named(&path) {
            Ok((origin, bytes)) => (place, origin, bytes),
            Err(why) => {
                loader.walker.error(place, &file_key, &why);
                return Some(Pem { place, origin: path, content: None });
            }
        },
        (None, Some((place, text))) => {
            (place, format!("{}: {key}", loader.walker.at(place)), text.into_bytes())
        }
        (None, None) => return None,
    };
    let content = parse(&bytes).map_err(|why| loader.walker.error_in(place, &origin, &why)).ok();
    Some(Pem { place, origin, content })
}
