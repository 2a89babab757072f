//! Whether a client's certificate will do, by the rules that Go's `crypto/tls` has for each
//! `client_auth_type`, since files are written with these in mind.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

/// What a client has to show; the names are Go's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    VerifyClientCertIfGiven,
    RequireAnyClientCert,
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        Ok(match text {
            "NoClientCert" => Self::NoClientCert,
            "RequestClientCert" => Self::RequestClientCert,
            "VerifyClientCertIfGiven" => Self::VerifyClientCertIfGiven,
            // The older name of the same.
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAnyClientCert,
            "RequireAndVerifyClientCert" => Self::RequireAndVerifyClientCert,
            _ => {
                return Err(format!(
                    "{text:?} is not one of NoClientCert, RequestClientCert, \
                     RequireAnyClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert"
                ));
            }
        })
    }

    pub(super) fn is_mandatory(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }

    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }
}

/// Judges certificates of clients. That the client has the key of its certificate is always proven.
#[derive(Debug)]
pub(super) struct Verifier {
    auth: ClientAuth,
    /// Follows the chain to an authority.
    authority: Option<Arc<dyn ClientCertVerifier>>,
    /// What stands in the file of authorities is accepted as it is, authority or not: Go's way to
    /// let in a client with a certificate that it signed itself.
    pinned: Vec<CertificateDer<'static>>,
    allowed_names: Option<Vec<String>>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Fails if one of the `authorities` cannot be used.
    pub(super) fn new(
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        allowed_names: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &authorities {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
        }
        let hints = roots.subjects();
        let builder =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let authority = if authorities.is_empty() {
            None
        } else {
            Some(builder.build().map_err(|error| error.to_string())?)
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { auth, authority, pinned: authorities, allowed_names, hints, algorithms })
    }

    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref()) {
            return is_usable_now(&parsed(certificate)?, now);
        }
        let authority = self.authority.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        authority.verify_client_cert(certificate, intermediates, now).map(|_| ())
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        // Without a certificate there is no name that could be an allowed one.
        self.auth.is_mandatory() || self.allowed_names.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.auth.verifies() {
            self.verify_chain(certificate, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names {
            let names = names(&parsed(certificate)?);
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parsed<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, Error> {
    let parsed = X509Certificate::from_der(certificate.as_ref());
    parsed.map(|(_, parsed)| parsed).map_err(|_| CertificateError::BadEncoding.into())
}

fn is_usable_now(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = ASN1Time::from_timestamp(now.as_secs() as i64);
    let now = now.map_err(|_| CertificateError::Expired)?;
    if now < certificate.validity().not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > certificate.validity().not_after {
        return Err(CertificateError::Expired.into());
    }
    let uses = certificate.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match uses {
        Some(uses) if !(uses.value.any || uses.value.client_auth) => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

/// Its alternative names: hosts, mail addresses, IP addresses and URIs.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            Some(address.to_canonical().to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}
