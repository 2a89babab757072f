//! Content encodings of answers (RFC 9110, section 8.4).

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use crate::model::Label;

/// How much is decoded at a time. The decoder copies its window after each piece, so pieces should
/// be larger than that.
const CHUNK: usize = 256 * 1024;

/// Why a body can't be decoded.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// It is larger than what is read.
    TooLarge,
    /// It has an encoding that nobody asked for.
    Unknown(String),
    /// It is not in its encoding, or was cut off.
    Broken(String),
}

/// Undoes the encodings that the headers name, the one that was applied last first. What begins as
/// a gzip file is one, whatever they say.
pub(super) fn decode(
    mut body: Vec<u8>,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Vec<u8>, DecodeError> {
    let names = headers.get_all(CONTENT_ENCODING).into_iter();
    let names: Vec<_> = names.map(|names| String::from_utf8_lossy(names.as_bytes())).collect();
    for name in names.iter().flat_map(|names| names.split(',')).rev() {
        let name = name.trim().to_ascii_lowercase();
        match name.as_str() {
            _ if body.is_empty() => {}
            "" | "identity" => {}
            // A proxy may have decoded it and left the header.
            "gzip" | "x-gzip" if body.starts_with(b"[") || body.starts_with(b"{") => {}
            "gzip" | "x-gzip" => body = read(MultiGzDecoder::new(&body[..]), "gzip", limit)?,
            // By RFC 9110 with a frame around it, which some leave out.
            "deflate" => {
                body = match read(ZlibDecoder::new(&body[..]), "deflate", limit) {
                    Err(DecodeError::Broken(_)) => {
                        read(DeflateDecoder::new(&body[..]), "deflate", limit)?
                    }
                    decoded => decoded?,
                }
            }
            _ => return Err(DecodeError::Unknown(Label::new(&name).to_string())),
        }
    }
    if body.starts_with(&[0x1F, 0x8B]) {
        body = read(MultiGzDecoder::new(&body[..]), "gzip", limit)?;
    }
    Ok(body)
}

fn read(mut decoder: impl Read, name: &str, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let broken = |error| DecodeError::Broken(format!("its {name} encoding is broken: {error}"));
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        match decoder.read(&mut chunk).map_err(broken)? {
            0 => return Ok(bytes),
            read if bytes.len() + read > limit => return Err(DecodeError::TooLarge),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
