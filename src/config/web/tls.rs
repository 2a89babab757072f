//! From what the file says of TLS to what rustls needs.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::client::{ClientAuth, Verifier};

/// A version of TLS that rustls has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

impl TlsVersion {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "TLS12" => Ok(Self::Tls12),
            "TLS13" => Ok(Self::Tls13),
            "TLS10" | "TLS11" => Err(format!(
                "{text} is a version that this exporter does not speak, since it is broken; write \
                 TLS12, which every client of the last ten years speaks"
            )),
            _ => Err(format!("{text:?} is not a version of TLS; write TLS12 or TLS13")),
        }
    }
}

/// A cipher suite, by the name that Go has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite(&'static str);

/// Suites of TLS 1.2 that rustls has, under Go's names, which are the standard's.
const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
/// Those of TLS 1.3 may be named, but are always on, as in Go.
const ALWAYS_ON: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

impl Suite {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let known = SUITES.iter().chain(&ALWAYS_ON).find(|known| **known == text);
        known.map(|known| Self(known)).ok_or_else(|| {
            let rest = format!("remove it; there are {}", SUITES.join(", "));
            if text.starts_with("TLS_") && (text.contains("_CBC_") || text.contains("_RC4_"))
                || text.starts_with("TLS_RSA_")
            {
                format!("{text} is a cipher suite that this exporter does not have: {rest}")
            } else {
                format!("{text:?} is not a cipher suite: {rest}")
            }
        })
    }
}

/// An elliptic curve, by the name that Go has for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve(&'static dyn SupportedKxGroup);

impl Curve {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        let known = "there are CurveP256, CurveP384, X25519 and X25519MLKEM768";
        match text {
            "CurveP256" => Ok(Self(SECP256R1)),
            "CurveP384" => Ok(Self(SECP384R1)),
            "X25519" => Ok(Self(X25519)),
            "X25519MLKEM768" => Ok(Self(X25519MLKEM768)),
            "CurveP521" => {
                Err(format!("CurveP521 is a curve that this exporter does not have; {known}"))
            }
            _ => Err(format!("{text:?} is not a curve; {known}")),
        }
    }
}

/// What the file says of TLS.
pub(super) struct TlsSettings {
    pub(super) certificate: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) client_auth: ClientAuth,
    /// Those of clients; none where no client is verified.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) allowed_names: Option<Vec<String>>,
    pub(super) versions: (TlsVersion, TlsVersion),
    pub(super) suites: Vec<Suite>,
    pub(super) curves: Vec<Curve>,
    pub(super) prefer_own_order: bool,
}

/// What is wrong with TLS as a whole, and which part to look at.
pub(super) enum TlsError {
    /// The certificate or its key.
    Pair(String),
    /// The authorities of clients.
    Authorities(String),
    /// Suites, curves and versions don't go together.
    Choice(String),
}

/// What rustls needs.
pub(super) fn server(settings: TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider(&settings));
    let (least, most) = settings.versions;
    let versions: Vec<&SupportedProtocolVersion> =
        [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)]
            .into_iter()
            .filter(|(version, _)| (least..=most).contains(version))
            .map(|(_, version)| version)
            .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Choice(error.to_string()))?;
    let pair = CertifiedKey::from_der(settings.certificate, settings.key, &provider);
    let pair = pair.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Pair("the key is not that of the certificate".into())
        }
        error => TlsError::Pair(format!("certificate and key cannot be used: {error}")),
    })?;
    let builder = match settings.client_auth {
        ClientAuth::NoClientCert => builder.with_no_client_auth(),
        auth => {
            let (authorities, names) = (settings.authorities, settings.allowed_names);
            let verifier = Verifier::new(auth, authorities, names, &provider);
            builder.with_client_cert_verifier(Arc::new(verifier.map_err(TlsError::Authorities)?))
        }
    };
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    let mut server = builder.with_cert_resolver(Arc::new(resolver));
    server.ignore_client_order = settings.prefer_own_order;
    // A resumed session would be that of a client whose certificate nobody looks at any more.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !settings.suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        let is_13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
        let named = settings.suites.iter().filter_map(|Suite(name)| {
            all.iter().find(|suite| suite.suite().as_str() == Some(name)).copied()
        });
        provider.cipher_suites = all.iter().copied().filter(is_13).chain(named).collect();
    }
    if !settings.curves.is_empty() {
        provider.kx_groups = settings.curves.iter().map(|Curve(group)| *group).collect();
    }
    provider
}

/// The certificates in a PEM text, in their order.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err("it holds no certificate; PEM is expected, -----BEGIN CERTIFICATE-----".into())
        }
        Err(_) => Err("it is damaged PEM: a line is cut off or added".into()),
    }
}

/// The private key in a PEM text. The error shows nothing of it.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let has = |mark: &str| pem.windows(mark.len()).any(|part| part == mark.as_bytes());
    match PrivateKeyDer::from_pem_slice(pem) {
        _ if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") => {
            Err("the key needs a password; take that off with: openssl pkey -in KEY -out NEW"
                .into())
        }
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err("it holds no private key; PEM is expected, -----BEGIN PRIVATE KEY-----".into())
        }
        Err(_) => Err("it is damaged PEM: a line is cut off or added".into()),
    }
}
