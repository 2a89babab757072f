//! The form of quoted values in logfmt.

use std::{borrow::Cow, io, sync::LazyLock};

use regex::{Captures, Regex};
use tracing_subscriber::fmt::MakeWriter;

/// Writes lines of logfmt with JSON's escapes in quoted values, which is what parsers of logfmt read:
/// Rust's, such as the `\u{200d}` in an emoji of several, make Loki reject the whole line.
pub(super) struct JsonEscapes<W>(pub(super) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for JsonEscapes<W> {
    type Writer = JsonEscapes<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        JsonEscapes(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for JsonEscapes<W> {
    /// Expects whole lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(with_json_escapes(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn with_json_escapes(line: &str) -> Cow<'_, str> {
    static QUOTED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*""#).expect("this is a regular expression"));
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\\(?:u\{([0-9a-f]+)\}|.)").expect("this is a regular expression")
    });
    let json = |escape: &Captures<'_>| match (&escape[0], escape.get(1)) {
        (r"\'", _) => "'".to_owned(),
        (r"\0", _) => r"\u0000".to_owned(),
        (other, None) => other.to_owned(),
        (other, Some(code)) => u32::from_str_radix(code.as_str(), 16)
            .ok()
            .and_then(char::from_u32)
            .map_or_else(|| other.to_owned(), utf16_escapes),
    };
    QUOTED.replace_all(line, |quoted: &Captures<'_>| {
        ESCAPE.replace_all(&quoted[0], json).into_owned()
    })
}

fn utf16_escapes(character: char) -> String {
    let mut buffer = [0; 2];
    let units = character.encode_utf16(&mut buffer).iter().map(|unit| format!(r"\u{unit:04x}"));
    units.collect::<Vec<_>>().concat()
}
