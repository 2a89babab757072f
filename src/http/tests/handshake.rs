//! How connections in TLS begin, or don't.

use std::fs;

use super::*;

/// A site in TLS.
async fn tls_site(adapt: impl FnOnce(&mut Server)) -> TestServer {
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let pair = pair.expect("there is randomness");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("it can be written");
    };
    write("server.crt", &pair.cert.pem());
    write("server.key", &pair.signing_key.serialize_pem());
    write("web.yml", "tls_server_config: {cert_file: server.crt, key_file: server.key}");
    let config = WebConfig::read(&directory.path().join("web.yml")).expect("it is valid");
    // From here on the files are gone, so the site keeps using what it has.
    configured_site(config, endpoints(Arc::new(Text("runs 1\n"))), adapt).await
}

/// What a client of TLS begins with: a record of 512 bytes, of which this is the head.
const HALF_A_HELLO: &str = "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}";

#[tokio::test]
async fn a_client_that_is_slow_with_tls_is_cut_off() {
    let site = tls_site(|server| server.timeouts.head = Duration::from_millis(50)).await;
    for begin in ["", HALF_A_HELLO] {
        let mut stream = site.send(begin).await;
        assert_eq!(rest(&mut stream).await, "", "{begin:?}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_plain_http_is_informed() {
    let site = tls_site(|_| ()).await;
    let answer = site.ask("GET /metrics", "").await;
    assert_holds(&answer, &["400 Bad Request", "this is HTTPS"]);
}

#[tokio::test]
async fn stopping_waits_for_no_client_that_has_not_finished_with_tls() {
    let site = tls_site(|_| ()).await;
    let mut stream = site.send(HALF_A_HELLO).await;
    // Its connection has been taken once the next one was.
    site.ask("GET /", "").await;
    site.stop.cancel();
    assert_eq!(rest(&mut stream).await, "");
    site.end.await.expect("no panic");
}
