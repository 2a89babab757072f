//! Reads `tls_server_config`.

use rustls::{ServerConfig, pki_types::CertificateDer};

use super::{
    Guards,
    client::Authorities,
    file::Loading,
    reader::Section,
    tls::{self, ClientAuth, Curve, Fault, Settings, Suite, Version},
};
use crate::config::yaml::{Node, Place};

/// If one of these is set, TLS is on.
const SWITCHES: [&str; 7] =
    ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"];

/// A text in PEM.
struct Pem {
    /// Where it is given or named.
    place: Place,
    /// How to call it in messages.
    origin: String,
    /// `None` if it couldn't be read, which was told.
    bytes: Option<Vec<u8>>,
}

/// The texts in PEM; `None` for what isn't there.
struct Pems {
    certificate: Option<Pem>,
    key: Option<Pem>,
    authorities: Option<Pem>,
}

impl Loading<'_> {
    /// What rustls needs; `None` for plain HTTP, and after errors.
    pub(super) fn tls(&mut self, node: Option<&Node>, guards: &mut Guards) -> Option<ServerConfig> {
        let node = node?;
        let section = self.reader.section(Some(node), "tls_server_config");
        let errors_before = self.reader.errors();
        let pems = self.pems(&section);
        let client_auth = self.reader.value(&section, "client_auth_type", ClientAuth::read);
        let client_auth = client_auth.unwrap_or_default();
        let allowed_names =
            self.reader.list(&section, "client_allowed_sans", |text| Ok(text.to_owned()));
        let suites = self.reader.list(&section, "cipher_suites", Suite::read);
        let curves = self.reader.list(&section, "curve_preferences", Curve::read);
        let prefer_own_order = self.reader.switch(&section, "prefer_server_cipher_suites", true);
        let least = self.reader.value(&section, "min_version", Version::read);
        let most = self.reader.value(&section, "max_version", Version::read);
        let versions = (least.unwrap_or(Version::Tls12), most.unwrap_or(Version::Tls13));
        if !SWITCHES.iter().any(|key| section.contains_key(key)) {
            if !section.is_empty() {
                let what = "TLS is off: tls_server_config names no certificate";
                self.reader.warn(node.place, what);
            }
            return None;
        }
        *guards = Guards {
            tls: true,
            client: client_auth,
            names: allowed_names.is_some() && client_auth != ClientAuth::NoClientCert,
            ..*guards
        };
        if versions.0 > versions.1 {
            let why = "min_version is above max_version, so that no version of TLS is left";
            self.reader.error(node.place, why);
        }
        self.judge_presence(node.place, &pems);
        self.judge_clients(node.place, &pems, client_auth, allowed_names.is_some());
        let certificate = self.der(pems.certificate.as_ref(), tls::certificates);
        let key = self.der(pems.key.as_ref(), tls::private_key);
        let given = self.der(pems.authorities.as_ref(), tls::certificates);
        if self.reader.errors() > errors_before {
            return None;
        }
        let authorities = match given {
            None if client_auth.verifies() => Some(Authorities::Public(public_authorities())),
            given => given.map(Authorities::Given),
        };
        let settings = Settings {
            certificate: certificate?,
            key: key?,
            client_auth,
            authorities,
            allowed_names,
            versions,
            suites: suites.unwrap_or_default(),
            curves: curves.unwrap_or_default(),
            prefer_own_order,
        };
        let server = tls::server(settings);
        server.map_err(|fault| self.blame(node.place, &pems, fault)).ok()
    }

    fn pems(&mut self, section: &Section<'_>) -> Pems {
        let [certificate, key, authorities] =
            ["cert", "key", "client_ca"].map(|name| self.pem(section, name));
        Pems { certificate, key, authorities }
    }

    /// A text in PEM, given here or in a file; the file wins if both are there.
    fn pem(&mut self, section: &Section<'_>, name: &str) -> Option<Pem> {
        let file_key = format!("{name}_file");
        let given = self.reader.text(section, name);
        let Some((place, path)) = self.reader.text(section, &file_key) else {
            let (place, text) = given?;
            let origin = format!("{}: {name}", self.reader.at(place));
            return Some(Pem { place, origin, bytes: Some(text.into_bytes()) });
        };
        if given.is_some() {
            let what = format!("{name} is ignored, since {file_key} is there too; remove one");
            self.reader.warn(place, &what);
        }
        match self.named(&path) {
            Ok((origin, bytes)) => Some(Pem { place, origin, bytes: Some(bytes) }),
            Err(why) => {
                self.reader.error(place, &format!("{file_key}: {why}"));
                Some(Pem { place, origin: path, bytes: None })
            }
        }
    }

    fn judge_presence(&mut self, place: Place, pems: &Pems) {
        for (pem, name) in [(&pems.certificate, "cert"), (&pems.key, "key")] {
            if pem.is_none() {
                let why = format!(
                    "tls_server_config has neither {name} nor {name}_file; TLS needs a certificate \
                     and its key"
                );
                self.reader.error(place, &why);
            }
        }
    }

    fn judge_clients(&mut self, place: Place, pems: &Pems, auth: ClientAuth, has_names: bool) {
        let asks_nobody = auth == ClientAuth::NoClientCert;
        if asks_nobody && pems.authorities.is_some() {
            let why = "there is a client_ca, but client_auth_type asks for no certificate; write \
                       client_auth_type: RequireAndVerifyClientCert";
            self.reader.error(place, why);
        }
        if asks_nobody && has_names {
            let what = "client_allowed_sans means nothing: client_auth_type asks for no \
                        certificate; RequireAndVerifyClientCert does";
            self.reader.warn(place, what);
        }
        if auth.verifies() && pems.authorities.is_none() {
            let what = "without client_ca_file, everybody with a certificate of any public \
                        authority is let in";
            self.reader.warn(place, what);
        }
    }

    fn der<T>(
        &mut self,
        pem: Option<&Pem>,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let pem = pem?;
        let read = read(pem.bytes.as_ref()?);
        read.map_err(|why| self.reader.error_in(pem.place, &pem.origin, &why)).ok()
    }

    fn blame(&mut self, place: Place, pems: &Pems, fault: Fault) {
        let (pem, why) = match fault {
            Fault::Choice(why) => {
                let why = format!("versions, cipher_suites and curve_preferences: {why}");
                return self.reader.error(place, &why);
            }
            Fault::Pair(why) => (&pems.key, why),
            Fault::Authorities(why) => (&pems.authorities, why),
        };
        match pem {
            Some(pem) => self.reader.error_in(pem.place, &pem.origin, &why),
            None => self.reader.error(place, &why),
        }
    }
}

/// Those that the system trusts. Some of them may be unreadable, as everywhere.
fn public_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}
