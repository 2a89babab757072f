//! What clients say they take, which may be anything.

use axum::http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};
use proptest::prelude::*;

use super::*;

/// Pieces of such headers, in any order.
fn header() -> impl Strategy<Value = HeaderValue> {
    let piece = prop_oneof![
        Just("gzip"),
        Just("identity"),
        Just("*"),
        Just(","),
        Just(";"),
        Just("q="),
        Just("0"),
        Just("1"),
        Just("0.5"),
        Just("-1"),
        Just("NaN"),
        Just("1e999"),
        Just("="),
        Just("\""),
        Just(" "),
        Just("text/plain"),
        Just("application/openmetrics-text"),
        Just("version=1.0.0"),
        Just("/"),
        Just("é"),
    ];
    let text = prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes());
    let bytes = prop_oneof![text, prop::collection::vec(any::<u8>(), 0..60)];
    bytes.prop_filter_map("it can be sent", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

proptest! {
    #[test]
    fn nobody_gets_gzip_who_does_not_name_it(lines in prop::collection::vec(header(), 0..4)) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(ACCEPT_ENCODING, line.clone());
        }
        let encoding = negotiate::encoding(&headers);
        let names = |line: &HeaderValue| {
            let bytes = line.as_bytes().to_ascii_lowercase();
            bytes.contains(&b'*') || bytes.windows(4).any(|part| part == b"gzip")
        };
        if !lines.iter().any(names) {
            prop_assert_eq!(encoding, Encoding::Identity);
        }
    }
}
