//! Text, and the joining of text that was compressed in parts.

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress, Status};
use prometheus::{TextEncoder, proto::MetricFamily};

/// How an answer's body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// As one gzip member, since some clients don't read more than one.
    Gzip,
}

/// Text in the format 0.0.4 of Prometheus, and what a gzip member needs to know of it.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The text.
    pub(super) text: Bytes,
    /// The same, compressed to a run of whole bytes that another part can follow.
    deflated: Bytes,
    crc: crc32fast::Hasher,
}

/// Writes families as text, one after the other, so that only one is in memory in its loose form.
/// Families without samples are left out: the encoder refuses them.
pub(super) fn text(families: impl IntoIterator<Item = MetricFamily>) -> String {
    let mut text = String::new();
    for family in families.into_iter().filter(|family| !family.get_metric().is_empty()) {
        let encoded = TextEncoder::new().encode_utf8(&[family], &mut text);
        encoded.expect("it refuses only what has no name or no samples");
    }
    text
}

/// How many samples a text holds.
pub(super) fn samples(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
}

impl Part {
    pub(super) fn new(text: String) -> Self {
        let text = Bytes::from(text);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&text);
        Self { deflated: deflate(&text), text, crc }
    }
}

/// Joins parts into one body.
pub(super) fn join(parts: &[&Part], encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::Identity => {
            let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.text.len()).sum());
            for part in parts {
                body.extend_from_slice(&part.text);
            }
            body.freeze()
        }
        Encoding::Gzip => gzip(parts),
    }
}

/// The start of a gzip member (RFC 1952): no file name, no time.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block, with which a compressed stream ends (RFC 1951).
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

fn gzip(parts: &[&Part]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.deflated.len()).sum();
    let mut body = BytesMut::with_capacity(length + 20);
    body.extend_from_slice(&GZIP_HEADER);
    let mut crc = crc32fast::Hasher::new();
    let mut size = 0_u32;
    for part in parts {
        body.extend_from_slice(&part.deflated);
        crc.combine(&part.crc);
        size = size.wrapping_add(part.text.len() as u32);
    }
    body.extend_from_slice(&LAST_BLOCK);
    body.put_u32_le(crc.finalize());
    body.put_u32_le(size);
    body.freeze()
}

/// Compresses without ending the stream. A full flush makes the result end at a whole byte, and
/// what follows independent of it.
fn deflate(text: &[u8]) -> Bytes {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut output = Vec::with_capacity(text.len() / 8 + 64);
    loop {
        let done = compress.total_in() as usize;
        let status = compress.compress_vec(&text[done..], &mut output, FlushCompress::Full);
        let flushed = output.len() < output.capacity();
        match status {
            Ok(Status::Ok | Status::BufError) if flushed => return output.into(),
            Ok(_) => output.reserve(output.capacity()),
            Err(error) => unreachable!("compressing what is in memory can't fail: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_compressed_one_by_one_are_read_as_one_member(
            texts in proptest::collection::vec(".{0,400}|(a{0,9}b\n){0,3000}", 0..4),
        ) {
            let parts: Vec<_> = texts.iter().map(|text| Part::new(text.clone())).collect();
            let body = join(&parts.iter().collect::<Vec<_>>(), Encoding::Gzip);
            let mut read = String::new();
            let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
            decoder.read_to_string(&mut read).expect("a whole member");
            prop_assert_eq!(read, texts.concat());
            prop_assert!(decoder.into_inner().is_empty());
        }
    }
}
