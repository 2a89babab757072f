//! Whether an answer is the same as one before, by what HTTP calls a validator. Pure.

use std::{hash::BuildHasher as _, sync::LazyLock};

use foldhash::quality::RandomState;
use reqwest::header::{ETAG, HeaderMap, HeaderValue};

/// What distinguishes the body of an answer from others that came from the same address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Its `ETag`, if it has one that can be sent back.
    tag: Option<HeaderValue>,
    /// Of its bytes, decompressed.
    hash: u64,
    /// The length of the whole list, if the answer had it.
    total: Option<u64>,
}

/// Hashes with a key of this process, so that nobody can write runs whose pages have one hash.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The longest `ETag` that is sent back. Those of frameworks have some thirty characters.
const MAX_TAG: usize = 128;

impl Validator {
    pub(super) fn of(headers: &HeaderMap, body: &[u8], total: Option<u64>) -> Self {
        let mut tags = headers.get_all(ETAG).iter();
        let tag = tags.next().filter(|tag| tags.next().is_none() && is_entity_tag(tag.as_bytes()));
        Self { tag: tag.cloned(), hash: HASHER.hash_one(body), total }
    }

    /// Of an answer with this `ETag`, or without one.
    #[cfg(test)]
    pub(crate) fn of_body(body: &[u8], tag: Option<&'static str>) -> Self {
        let tags = tag.into_iter().map(|tag| (ETAG, HeaderValue::from_static(tag)));
        Self::of(&tags.collect(), body, None)
    }

    /// What to send as `If-None-Match`.
    pub fn tag(&self) -> Option<&HeaderValue> {
        self.tag.as_ref()
    }

    /// Whether the answers say the same, whatever their tags are.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.total == other.total
    }

    /// Whether the server calls different bodies by one name, so that its 304 means nothing.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.tag.is_some() && self.tag == other.tag && self.hash != other.hash
    }

    /// The same without the tag, so that only the body counts.
    #[must_use]
    pub fn without_tag(self) -> Self {
        Self { tag: None, ..self }
    }
}

/// An `entity-tag`, weak or not: RFC 9110, section 8.8.3.
fn is_entity_tag(tag: &[u8]) -> bool {
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let is_etagc = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7E);
    tag.len() <= MAX_TAG && inner.is_some_and(|inner| inner.iter().all(is_etagc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(tags: &[&[u8]], body: &[u8]) -> Validator {
        let value = |tag: &&[u8]| HeaderValue::from_bytes(tag).expect("it can be in a header");
        let headers = tags.iter().map(|tag| (ETAG, value(tag))).collect();
        Validator::of(&headers, body, Some(7))
    }

    #[test]
    fn only_a_tag_that_is_one_is_sent_back() {
        let long = [&b"\""[..], &[b'a'; 200], b"\""].concat();
        for (tags, sent) in [
            (&[&b"\"33a64df5\""[..]][..], true),
            (&[b"W/\"2-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w\""], true),
            (&[b"\"\""], true),
            (&[], false),
            (&[b""], false),
            (&[b"33a64df5"], false),
            (&[b"*"], false),
            (&[b"\"a\", \"b\""], false),
            (&[b"w/\"a\""], false),
            (&[b"\"a b\""], false),
            (&[b"\"a\tb\""], false),
            (&[b"\"\xFF\""], false),
            (&[b"\"a"], false),
            (&[b"\""], false),
            (&[b"\"a\"", b"\"b\""], false),
            (&[&long], false),
        ] {
            assert_eq!(answer(tags, b"[]").tag().is_some(), sent, "{tags:?}");
        }
    }

    #[test]
    fn one_tag_for_two_bodies_is_a_contradiction() {
        let first = answer(&[b"\"a\""], b"[1]");
        assert!(answer(&[b"\"a\""], b"[2]").contradicts(&first));
        assert!(!answer(&[b"\"a\""], b"[1]").contradicts(&first));
        assert!(!answer(&[b"\"b\""], b"[2]").contradicts(&first));
        assert!(!answer(&[], b"[2]").contradicts(&answer(&[], b"[1]")));
        assert!(!answer(&[b"\"a\""], b"[2]").contradicts(&first.without_tag()));
    }
}
