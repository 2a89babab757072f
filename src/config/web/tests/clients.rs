//! What certificates of clients do, by `client_auth_type`.

use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, Issuer};
use rustls::{
    Error,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

use super::*;
use crate::config::web::client::{ClientAuth, Verifier};

/// Certificates of clients.
struct Clients {
    authority: CertifiedIssuer<'static, KeyPair>,
    /// Signed by it.
    known: CertificateDer<'static>,
    /// Signed by itself.
    stranger: CertificateDer<'static>,
}

fn names() -> Vec<SanType> {
    let text = |text: &str| text.try_into().expect("it is plain ASCII");
    vec![
        SanType::DnsName(text("prometheus.example")),
        SanType::Rfc822Name(text("ops@example.com")),
        SanType::URI(text("spiffe://example/prometheus")),
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::IpAddress("2001:db8::1".parse().expect("an address")),
    ]
}

fn client(
    adapt: impl FnOnce(&mut CertificateParams),
    by: Option<&Issuer<'_, KeyPair>>,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names();
    adapt(&mut params);
    let key = KeyPair::generate().expect("there is randomness");
    let signed = match by {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    signed.expect("the parameters are right").der().clone()
}

impl Clients {
    fn new() -> Self {
        let authority = authority();
        Self { known: client(|_| (), Some(&authority)), stranger: client(|_| (), None), authority }
    }

    fn verifier(&self, auth: &str, allowed: Option<&[&str]>) -> Verifier {
        let auth = ClientAuth::read(auth).expect("one of Go's");
        let authority = auth.verifies().then(|| self.authority.der().clone());
        let authorities = authority.into_iter().collect();
        let allowed = allowed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let provider = Arc::new(aws_lc_rs::default_provider());
        Verifier::new(auth, authorities, allowed, &provider).expect("the authority can be used")
    }
}

fn judge(verifier: &Verifier, certificate: &CertificateDer<'_>) -> Result<(), Error> {
    verifier.verify_client_cert(certificate, &[], UnixTime::now()).map(|_| ())
}

#[test]
fn each_type_asks_for_what_it_asks_for_in_go() {
    let clients = Clients::new();
    // Whether a certificate is a must, and whether one of a stranger will do.
    for (auth, is_mandatory, takes_strangers) in [
        ("RequestClientCert", false, true),
        ("RequireAnyClientCert", true, true),
        ("RequireClientCert", true, true),
        ("VerifyClientCertIfGiven", false, false),
        ("RequireAndVerifyClientCert", true, false),
    ] {
        let verifier = clients.verifier(auth, None);
        assert_eq!(verifier.client_auth_mandatory(), is_mandatory, "{auth}");
        assert_eq!(judge(&verifier, &clients.known), Ok(()), "{auth}");
        assert_eq!(judge(&verifier, &clients.stranger).is_ok(), takes_strangers, "{auth}");
    }
}

#[test]
fn any_kind_of_alternative_name_may_be_allowed_but_only_as_a_whole() {
    let clients = Clients::new();
    for name in [
        "prometheus.example",
        "ops@example.com",
        "spiffe://example/prometheus",
        "10.0.0.1",
        "2001:db8::1",
    ] {
        let verifier = clients.verifier("RequireAndVerifyClientCert", Some(&["x", name]));
        assert_eq!(judge(&verifier, &clients.known), Ok(()), "{name}");
    }
    for names in [&["example"][..], &["PROMETHEUS.example"], &["10.0.0.2"], &[]] {
        let verifier = clients.verifier("RequireAndVerifyClientCert", Some(names));
        assert!(judge(&verifier, &clients.known).is_err(), "{names:?}");
    }
    let unverified = clients.verifier("RequestClientCert", Some(&["10.0.0.1"]));
    assert_eq!(judge(&unverified, &clients.stranger), Ok(()));
    assert!(unverified.client_auth_mandatory(), "no certificate has no name");
}

#[test]
fn a_certificate_that_is_too_old_too_new_or_for_servers_is_refused() {
    let clients = Clients::new();
    let issuer = Some(&*clients.authority);
    let verifier = clients.verifier("RequireAndVerifyClientCert", None);
    let old = client(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1), issuer);
    let new = client(|params| params.not_before = rcgen::date_time_ymd(3000, 1, 1), issuer);
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let server = client(|params| params.extended_key_usages = vec![purpose], issuer);
    for certificate in [old, new, server, CertificateDer::from(vec![1, 2, 3])] {
        assert!(judge(&verifier, &certificate).is_err());
    }
}

#[test]
fn a_certificate_that_stands_among_the_authorities_is_taken_as_it_is() {
    let own = |adapt: fn(&mut CertificateParams)| client(adapt, None);
    let is_ca = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let old = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    };
    // As `openssl req -x509` makes them.
    for (certificate, will_do) in
        [(own(|_| ()), true), (own(is_ca), true), (own(server), false), (own(old), false)]
    {
        let given = vec![certificate.clone()];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let auth = ClientAuth::RequireAndVerifyClientCert;
        let verifier = Verifier::new(auth, given, None, &provider).expect("usable");
        assert_eq!(judge(&verifier, &certificate).is_ok(), will_do);
        assert!(judge(&verifier, &own(|_| ())).is_err(), "another one");
    }
}
