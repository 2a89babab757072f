//! Pieces of an exposition, and the joining of what was compressed piece by piece.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// How an answer's body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// As one gzip member, since some clients don't read more than one.
    Gzip,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Identity, Self::Gzip];
}

/// An answer's body. Its parts are shared with all other answers of the same state.
#[derive(Clone, Debug)]
pub struct Body {
    shared: Arc<[Bytes]>,
    rest: Bytes,
}

impl Body {
    /// The parts, to be sent one after the other.
    pub fn part(&self, at: usize) -> Option<Bytes> {
        let rest = (at == self.shared.len()).then_some(&self.rest);
        self.shared.get(at).or(rest).cloned()
    }

    /// All parts together.
    pub fn concat(&self) -> Vec<u8> {
        (0..).map_while(|at| self.part(at)).collect::<Vec<_>>().concat()
    }

    /// How many bytes they have together.
    pub fn length(&self) -> u64 {
        self.shared.iter().chain([&self.rest]).map(|part| part.len() as u64).sum()
    }
}

impl From<Bytes> for Body {
    fn from(rest: Bytes) -> Self {
        Self { shared: Arc::default(), rest }
    }
}

/// A piece of an exposition, and what it is compressed, once that is asked for.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) plain: Bytes,
    deflated: OnceLock<Deflated>,
}

/// Compressed to whole bytes that another piece can follow.
#[derive(Debug)]
struct Deflated {
    bytes: Bytes,
    crc: crc32fast::Hasher,
}

impl Piece {
    pub(super) fn new(plain: Bytes) -> Self {
        Self { plain, deflated: OnceLock::new() }
    }

    fn deflated(&self, deflater: &mut Deflater) -> &Deflated {
        self.deflated.get_or_init(|| Deflated {
            bytes: deflater.deflate(&self.plain).into(),
            crc: crc(&self.plain),
        })
    }
}

/// Pieces joined into the beginning of a body.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    encoding: Encoding,
    parts: Arc<[Bytes]>,
    crc: crc32fast::Hasher,
    size: usize,
}

/// Joins pieces.
pub(super) struct Joiner<'d> {
    encoding: Encoding,
    deflater: &'d mut Deflater,
    parts: Vec<Bytes>,
    crc: crc32fast::Hasher,
    size: usize,
}

impl<'d> Joiner<'d> {
    pub(super) fn new(encoding: Encoding, deflater: &'d mut Deflater) -> Self {
        let parts = match encoding {
            Encoding::Identity => Vec::new(),
            Encoding::Gzip => vec![Bytes::from_static(&GZIP_HEADER)],
        };
        Self { encoding, deflater, parts, crc: crc32fast::Hasher::new(), size: 0 }
    }

    pub(super) fn push(&mut self, piece: &Piece) {
        self.size += piece.plain.len();
        self.parts.push(match self.encoding {
            Encoding::Identity => piece.plain.clone(),
            Encoding::Gzip => {
                let deflated = piece.deflated(self.deflater);
                self.crc.combine(&deflated.crc);
                deflated.bytes.clone()
            }
        });
    }

    /// The same for what is too small to be worth compressing.
    pub(super) fn push_small(&mut self, plain: Vec<u8>) {
        self.size += plain.len();
        self.parts.push(match self.encoding {
            Encoding::Identity => plain.into(),
            Encoding::Gzip => {
                self.crc.combine(&crc(&plain));
                stored(&plain).into()
            }
        });
    }

    pub(super) fn joined(self) -> Joined {
        let Self { encoding, parts, crc, size, .. } = self;
        Joined { encoding, parts: parts.into(), crc, size }
    }
}

impl Joined {
    /// A body that ends with this.
    pub(super) fn ending_with(&self, rest: Vec<u8>) -> Body {
        let shared = Arc::clone(&self.parts);
        let rest = match self.encoding {
            Encoding::Identity => rest,
            Encoding::Gzip => {
                let mut end = Deflater::default().deflate(&rest);
                let mut all = self.crc.clone();
                all.combine(&crc(&rest));
                end.extend_from_slice(&LAST_BLOCK);
                end.extend_from_slice(&all.finalize().to_le_bytes());
                end.extend_from_slice(&((self.size + rest.len()) as u32).to_le_bytes());
                end
            }
        };
        Body { shared, rest: rest.into() }
    }
}

/// The start of a gzip member (RFC 1952): no file name, no time.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block, with which a compressed stream ends (RFC 1951).
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

fn crc(plain: &[u8]) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(plain);
    crc
}

/// Blocks of plain bytes in a compressed stream (RFC 1951, section 3.2.4).
fn stored(plain: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(plain.len() + 5);
    for block in plain.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        blocks.push(0);
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&(!length).to_le_bytes());
        blocks.extend_from_slice(block);
    }
    blocks
}

/// Compresses one piece after the other. It is made when first used: it is large.
#[derive(Default)]
pub(super) struct Deflater(Option<Compress>);

impl Deflater {
    /// Compresses without ending the stream. A full flush makes the result end at a whole byte, and
    /// what follows independent of it.
    fn deflate(&mut self, plain: &[u8]) -> Vec<u8> {
        let compress = self.0.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        compress.reset();
        let mut output = Vec::with_capacity(plain.len() / 8 + 64);
        loop {
            let done = compress.total_in() as usize;
            let status = compress.compress_vec(&plain[done..], &mut output, FlushCompress::Full);
            let flushed = output.len() < output.capacity();
            match status {
                Ok(Status::Ok | Status::BufError) if flushed => break,
                Ok(_) => output.reserve(output.capacity()),
                Err(error) => unreachable!("compressing what is in memory can't fail: {error}"),
            }
        }
        output.shrink_to_fit();
        output
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn bytes(body: &Body) -> Vec<u8> {
        let bytes = body.concat();
        assert_eq!(bytes.len() as u64, body.length());
        bytes
    }

    proptest! {
        #[test]
        fn pieces_compressed_one_by_one_are_read_as_one_member(
            texts in proptest::collection::vec(".{0,400}|(a{0,9}b\n){0,3000}", 1..5),
        ) {
            let (rest, texts) = texts.split_last().expect("there is one");
            for encoding in Encoding::ALL {
                let mut deflater = Deflater::default();
                let mut joiner = Joiner::new(encoding, &mut deflater);
                for text in texts {
                    joiner.push_small(text.len().to_string().into());
                    joiner.push(&Piece::new(text.clone().into()));
                }
                let body = bytes(&joiner.joined().ending_with(rest.clone().into()));
                let mut read = String::new();
                let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
                match encoding {
                    Encoding::Identity => read = String::from_utf8(body).expect("text"),
                    Encoding::Gzip => {
                        decoder.read_to_string(&mut read).expect("a whole member");
                        prop_assert!(decoder.into_inner().is_empty());
                    }
                }
                let lengths = texts.iter().map(|text| format!("{}{text}", text.len()));
                prop_assert_eq!(read, lengths.collect::<String>() + rest);
            }
        }
    }
}
