//! Content negotiation (RFC 9110, section 12.5).

use axum::http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING},
};

use crate::metrics::{Encoding, Format};

/// The format that the client's `Accept` prefers. Text, which everybody can read, if it has no
/// preference, or accepts nothing that there is: any other answer would fail a scrape as well.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let ranges: Vec<_> = weighted(headers, &ACCEPT).collect();
    let preference = |format: &Format| {
        // Of the ranges that a format is in, the narrowest has its weight.
        let fitting = ranges.iter().enumerate().filter_map(|(place, range)| {
            let narrow = narrowness(range, *format)?;
            Some((narrow, std::cmp::Reverse(place), range.weight))
        });
        let narrowest = fitting.max_by_key(|(narrow, place, _)| (*narrow, *place));
        narrowest.map(|(narrow, place, weight)| ((weight * 1000.0) as u32, narrow > 1, place))
    };
    // Among equals the last one wins, so text comes last.
    let accepted =
        Format::ALL.iter().rev().filter_map(|format| Some((preference(format)?, *format)));
    let best =
        accepted.filter(|((weight, ..), _)| *weight > 0).max_by_key(|(preference, _)| *preference);
    best.map_or(Format::Text, |(_, format)| format)
}

/// How narrow a range of media types is that a format is in: `*/*` is 0, `text/*` is 1.
fn narrowness(range: &Element<'_>, format: Format) -> Option<usize> {
    let (kind, parameters) = parts(format.content_type());
    let (main, _) = kind.split_once('/')?;
    let mut narrow = match range.value.split_once('/')? {
        ("*", "*") => 0,
        (wanted, "*") if wanted.eq_ignore_ascii_case(main) => 1,
        _ if range.value.eq_ignore_ascii_case(kind) => 2,
        _ => return None,
    };
    let parameters: Vec<_> = parameters.collect();
    for (name, wanted) in &range.parameters {
        // Others, such as `escaping`, concern what this exporter's names never need.
        if let Some((_, value)) = parameters.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)) {
            if !value.eq_ignore_ascii_case(wanted) {
                return None;
            }
            narrow += 1;
        }
    }
    Some(narrow)
}

/// The encoding that the client's `Accept-Encoding` prefers: gzip unless it is refused, missing, or
/// has a lower weight than no encoding.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let choices: Vec<_> = weighted(headers, &ACCEPT_ENCODING).collect();
    let weight_of = |names: &[&str]| {
        let named = choices
            .iter()
            .find(|choice| names.iter().any(|name| choice.value.eq_ignore_ascii_case(name)));
        named.map(|choice| choice.weight)
    };
    let rest = weight_of(&["*"]).unwrap_or(0.0);
    let gzip = weight_of(&["gzip", "x-gzip"]).unwrap_or(rest);
    let identity = weight_of(&["identity"]).unwrap_or(rest);
    if gzip > 0.0 && gzip >= identity { Encoding::Gzip } else { Encoding::Identity }
}

/// An element of a list header.
struct Element<'h> {
    value: &'h str,
    parameters: Vec<(&'h str, &'h str)>,
    /// From 0, not at all, to 1.
    weight: f32,
}

/// The elements of a list header; one whose weight can't be read is left out.
fn weighted<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Element<'h>> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).filter_map(
        |element| {
            let (value, parameters) = parts(element);
            let (weights, parameters): (Vec<_>, Vec<_>) =
                parameters.partition(|(name, _)| name.eq_ignore_ascii_case("q"));
            let weight = weights.first().map_or(Some(1.0), |(_, weight)| weight.parse().ok())?;
            (0.0..=1.0).contains(&weight).then_some(Element { value, parameters, weight })
        },
    )
}

/// A value and the parameters behind it.
fn parts(element: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let mut parts = element.split(';').map(str::trim);
    let value = parts.next().unwrap_or_default();
    let parameters = parts.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    });
    (value, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(lines: &[&'static str]) -> Encoding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().expect("a header value"));
        }
        encoding(&headers)
    }

    fn format_for(lines: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, line.parse().expect("a header value"));
        }
        format(&headers)
    }

    /// What Prometheus 3 asks for, and with native histograms before that.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,\
        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    const NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
        encoding=delimited;q=0.7";

    #[test]
    fn prometheus_gets_what_it_likes_best() {
        assert_eq!(format_for(&[PROMETHEUS]), Format::OpenMetrics);
        assert_eq!(format_for(&[NATIVE, PROMETHEUS]), Format::Protobuf);
        assert_eq!(format_for(&["text/plain;version=0.0.4;q=0.3,*/*;q=0.2"]), Format::Text);
    }

    #[test]
    fn text_is_for_everybody_who_asks_for_nothing_else() {
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"],
            &["text/*"],
            &["image/png"],
            &["*/*;q=0"],
            &["text/plain;version=1.0.0"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;version=2.0.0, text/plain"],
            &["application/vnd.google.protobuf;proto=other;encoding=delimited"],
            &[
                "application/vnd.google.protobuf;encoding=text;proto=io.prometheus.client.MetricFamily",
            ],
            &["application/openmetrics-text;q=0, */*;q=0.1"],
            &["application/openmetrics-text;q=0.5, text/plain;q=0.6"],
            &["application/openmetrics-text;q=many"],
            &["*/*, application/openmetrics-text;q=0.9"],
            &["openmetrics"],
        ] {
            assert_eq!(format_for(lines), Format::Text, "{lines:?}");
        }
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        for lines in [
            &["application/openmetrics-text"][..],
            &["application/openmetrics-text; version=\"1.0.0\"; charset=utf-8, */*"],
            &["APPLICATION/OpenMetrics-Text;Version=1.0.0;Q=0.5,text/plain;q=0.4"],
            &["text/plain;q=0.4", "application/openmetrics-text;q=0.5"],
            &["text/plain;q=0.1,application/openmetrics-text;version=0.0.1;q=0.9,\
               application/openmetrics-text;version=1.0.0;q=0.8"],
            &["application/*, text/*;q=0.5"],
            &["application/openmetrics-text,text/plain"],
        ] {
            assert_eq!(format_for(lines), Format::OpenMetrics, "{lines:?}");
        }
    }

    #[test]
    fn gzip_is_chosen_where_it_is_admitted() {
        for lines in [
            &["gzip"][..],
            &["GZIP;q=0.5"],
            &["x-gzip"],
            &["deflate, gzip ; Q = 0.2"],
            &["deflate", "gzip"],
            &["*"],
            &["identity;q=0.5, *;q=0.6"],
            &["gzip;q=1.0, identity;q=0"],
            &["br;q=high, gzip"],
        ] {
            assert_eq!(negotiated(lines), Encoding::Gzip, "{lines:?}");
        }
    }

    #[test]
    fn nothing_is_compressed_for_a_client_that_does_not_ask_for_it() {
        for lines in [
            &[][..],
            &[""],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0.000, *;q=1"],
            &["*;q=0"],
            &["gzip;q=0.4, identity;q=0.5"],
            &["gzip;q=abc"],
            &["gzip;q=2"],
            &["gzip;q=NaN"],
            &["gzipped"],
        ] {
            assert_eq!(negotiated(lines), Encoding::Identity, "{lines:?}");
        }
    }
}
