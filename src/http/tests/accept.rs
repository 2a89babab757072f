//! What clients say they take, which may be anything.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING},
};
use proptest::prelude::*;

use super::*;
use crate::metrics::Format;

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
        Just("application/vnd.google.protobuf"),
        Just("application/*"),
        Just("proto=io.prometheus.client.MetricFamily"),
        Just("encoding=delimited"),
        Just("escaping=allow-utf-8"),
        Just("/"),
        Just("é"),
    ];
    let text = prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes());
    let bytes = prop_oneof![text, prop::collection::vec(any::<u8>(), 0..60)];
    bytes.prop_filter_map("it can be sent", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

/// These lines as this header.
fn headers(name: &HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, line.clone());
    }
    headers
}

fn names(lines: &[HeaderValue], word: &str) -> bool {
    let named = |line: &HeaderValue| {
        let bytes = line.as_bytes().to_ascii_lowercase();
        bytes.windows(word.len()).any(|part| part == word.as_bytes())
    };
    lines.iter().any(named)
}

proptest! {
    #[test]
    fn nobody_gets_gzip_who_does_not_name_it(lines in prop::collection::vec(header(), 0..4)) {
        let encoding = negotiate::encoding(&headers(&ACCEPT_ENCODING, &lines));
        if !names(&lines, "gzip") && !names(&lines, "*") {
            prop_assert_eq!(encoding, Encoding::Identity);
        }
    }

    #[test]
    fn nobody_gets_a_format_but_text_who_does_not_name_it(lines in prop::collection::vec(header(), 0..4)) {
        let format = negotiate::format(&headers(&ACCEPT, &lines));
        let (name, _) = format.content_type().split_once(';').expect("it has parameters");
        let is_named = names(&lines, name) || names(&lines, "application/*");
        prop_assert!(format == Format::Text || is_named, "{:?}", format);
    }

    #[test]
    fn who_refuses_a_format_does_not_get_it(lines in prop::collection::vec(header(), 0..4)) {
        for refused in Format::ALL {
            if refused == Format::Text {
                continue;
            }
            let line = format!("{};q=0", refused.content_type());
            let line = HeaderValue::from_str(&line).expect("it can be sent");
            let with = [lines.clone(), vec![line]].concat();
            let same = lines.iter().any(|line| {
                let (name, _) = refused.content_type().split_once(';').expect("it has parameters");
                names(std::slice::from_ref(line), name)
            });
            // Named twice, the first mention counts.
            if !same {
                prop_assert_ne!(negotiate::format(&headers(&ACCEPT, &with)), refused);
            }
        }
    }
}
