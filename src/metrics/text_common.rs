//! What the two text formats share.

use std::io::Write;

use super::sample::Labels;

/// The labels as they stand between braces.
pub(super) fn labels(labels: &Labels<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(labels.len() * 32);
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"=\"");
        escape(&mut text, value, true);
        text.push(b'"');
    }
    text
}

/// The beginning of a sample's line, up to its value: the name in parts, the labels as
/// [`labels`] gives them, and one more label.
pub(super) fn series(out: &mut Vec<u8>, name: [&str; 2], labels: &[u8], bound: Option<&[u8]>) {
    out.extend_from_slice(name[0].as_bytes());
    out.extend_from_slice(name[1].as_bytes());
    if !labels.is_empty() || bound.is_some() {
        out.push(b'{');
        out.extend_from_slice(labels);
        if let Some(bound) = bound {
            if !labels.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(b"le=\"");
            out.extend_from_slice(bound);
            out.push(b'"');
        }
        out.push(b'}');
    }
    out.push(b' ');
}

/// A number in the fewest digits that distinguish it from every other one.
pub(super) fn number(out: &mut Vec<u8>, value: f64) {
    let written = if value.fract() == 0.0 && value.abs() < 1e15 {
        // The same digits, sooner.
        write!(out, "{}", value as i64)
    } else if value.is_finite() {
        write!(out, "{value}")
    } else if value.is_nan() {
        write!(out, "NaN")
    } else {
        write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    };
    written.expect("memory takes everything");
}

/// Text in which backslashes, line feeds and, with `quotes`, double quotes are escaped.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}
