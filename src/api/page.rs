use std::hash::{DefaultHasher, Hash, Hasher};

use super::validator::Validator;
use crate::model::{Label, ReadAt};

/// Which part of a list to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The page; the first is 1.
    pub number: u32,
    /// How many items a page has.
    pub take: u32,
}

/// The answer to a request that may have said what is known already.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// It is another one than that.
    Changed(T),
    /// It is the same.
    Unchanged {
        /// So it was at this moment.
        read_at: ReadAt,
        /// How many items the whole list has by now, if the answer has that
        /// ([`Page::total`]): a page can stay the same while others join behind it.
        total: Option<u64>,
    },
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What could be decoded, in the API's order.
    pub items: Vec<T>,
    /// A key for each item of the answer, undecodable ones included. It stays the same from one
    /// answer to the next while this process runs.
    pub keys: Vec<u64>,
    /// What couldn't be decoded. Of an absurd number, only the first thousand.
    pub undecodable: Vec<Undecodable>,
    /// How many bytes the answer had, decompressed.
    pub bytes: usize,
    /// How many items the whole list has according to the API (`pagination-count`).
    pub total: Option<u64>,
    /// When it was asked for: whatever the API knew by then is in it.
    pub read_at: ReadAt,
    /// By what the same answer is recognised.
    pub validator: Validator,
}

/// An item that is not what its list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Of the item's id if that can be read, else of its whole text.
    pub key: u64,
    /// Its id, if that can be read, made safe to show.
    pub id: Option<String>,
    /// What is wrong with it, without any of its data.
    pub reason: &'static str,
}

impl Undecodable {
    /// An item with this id, or else with this text.
    pub(super) fn new(id: Option<&str>, text: &str, reason: &'static str) -> Self {
        let key = key(id.unwrap_or(text));
        Self { key, id: id.map(|id| Label::new(id).to_string()), reason }
    }
}

/// Identifies an item of a list by its id.
pub(super) fn key(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
