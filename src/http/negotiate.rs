use axum::http::{HeaderMap, HeaderName, header::ACCEPT_ENCODING};

use crate::metrics::Encoding;

/// The encoding that the client's `Accept-Encoding` asks for (RFC 9110, section 12.5.3): gzip
/// unless it is refused, not mentioned, or liked less than no encoding.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let choices: Vec<_> = weighted(headers, &ACCEPT_ENCODING).collect();
    let weight_of = |names: &[&str]| {
        let named = choices
            .iter()
            .find(|(name, _)| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)));
        named.map(|(_, weight)| *weight)
    };
    let rest = weight_of(&["*"]).unwrap_or(0.0);
    let gzip = weight_of(&["gzip", "x-gzip"]).unwrap_or(rest);
    let identity = weight_of(&["identity"]).unwrap_or(rest);
    if gzip > 0.0 && gzip >= identity { Encoding::Gzip } else { Encoding::Identity }
}

/// The elements of a list header with their weights; one whose weight can't be read is left out.
fn weighted<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'h str, f32)> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).filter_map(
        |element| {
            let mut parts = element.split(';').map(str::trim);
            let value = parts.next()?;
            let weight = parts
                .filter_map(|parameter| parameter.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .map_or(Some(1.0), |(_, weight)| weight.trim().parse().ok())?;
            (0.0..=1.0).contains(&weight).then_some((value, weight))
        },
    )
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
    fn nothing_is_compressed_against_the_clients_wish() {
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
