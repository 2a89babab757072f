use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, Crc, write::DeflateEncoder};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// As one gzip member: curl and some browsers read no further than the first.
    Gzip,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Identity, Self::Gzip];
}

/// A body in two parts, sent one after the other.
#[derive(Clone, Debug)]
pub struct Body {
    /// The same for all scrapes of one state.
    pub shared: Bytes,
    /// Of this scrape.
    pub live: Bytes,
}

impl Body {
    /// Both parts in one.
    pub fn concat(&self) -> Vec<u8> {
        [&self.shared[..], &self.live].concat()
    }
}

impl From<Bytes> for Body {
    fn from(live: Bytes) -> Self {
        Self { shared: Bytes::new(), live }
    }
}

/// Level 1 takes as long for a third more bytes, and level 3 a quarter longer.
const LEVEL: Compression = Compression::new(2);

/// The start of a gzip member (RFC 1952): no file name, no time.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Encodes the first part of a body.
pub(super) enum Encoder {
    Identity(Vec<u8>),
    Gzip { deflate: DeflateEncoder<Vec<u8>>, crc: Crc },
}

/// The first part of a body.
pub(super) struct FirstPart {
    bytes: Bytes,
    /// Of the bytes before they were compressed.
    crc: Option<Crc>,
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Identity => Self::Identity(Vec::new()),
            Encoding::Gzip => Self::Gzip {
                deflate: DeflateEncoder::new(GZIP_HEADER.to_vec(), LEVEL),
                crc: Crc::new(),
            },
        }
    }

    pub(super) fn finish(self) -> FirstPart {
        match self {
            Self::Identity(out) => FirstPart { bytes: out.into(), crc: None },
            Self::Gzip { mut deflate, crc } => {
                // Ends at a whole byte, so that another deflate stream can follow.
                deflate.flush().expect("memory takes everything");
                let bytes = std::mem::take(deflate.get_mut()).into();
                FirstPart { bytes, crc: Some(crc) }
            }
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Identity(out) => out.write(bytes),
            Self::Gzip { deflate, crc } => {
                deflate.write_all(bytes)?;
                crc.update(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FirstPart {
    /// The body that continues with `rest` and then ends.
    pub(super) fn followed_by(&self, rest: Vec<u8>) -> Body {
        let shared = self.bytes.clone();
        let Some(crc) = &self.crc else { return Body { shared, live: rest.into() } };
        let mut deflate = DeflateEncoder::new(Vec::new(), LEVEL);
        deflate.write_all(&rest).expect("memory takes everything");
        let mut live = deflate.finish().expect("memory takes everything");
        let (mut all, mut last) = (Crc::new(), Crc::new());
        last.update(&rest);
        all.combine(crc);
        all.combine(&last);
        live.extend_from_slice(&all.sum().to_le_bytes());
        live.extend_from_slice(&all.amount().to_le_bytes());
        Body { shared, live: live.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_parts_of_a_compressed_body_are_read_as_one_member(
            texts in proptest::collection::vec(".{0,400}|(a{0,9}b\n){0,3000}", 1..5),
        ) {
            let (rest, first) = texts.split_last().expect("there is one");
            for encoding in Encoding::ALL {
                let mut encoder = Encoder::new(encoding);
                for text in first {
                    encoder.write_all(text.as_bytes()).expect("memory takes everything");
                }
                let first = encoder.finish();
                // Several scrapes share the first part.
                for rest in [rest.clone(), "another".into()] {
                    let body = first.followed_by(rest.clone().into()).concat();
                    let mut read = String::new();
                    match encoding {
                        Encoding::Identity => read = String::from_utf8(body).expect("text"),
                        Encoding::Gzip => {
                            let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
                            decoder.read_to_string(&mut read).expect("a whole member");
                            prop_assert!(decoder.into_inner().is_empty());
                        }
                    }
                    prop_assert_eq!(read, texts[..texts.len() - 1].concat() + &rest);
                }
            }
        }
    }
}
