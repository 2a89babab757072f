use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use reqwest::header::HeaderMap;

use super::validator::Validator;
use crate::model::{Label, ReadAt, WorkflowId};

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

impl<T> Page<T> {
    /// What stands for a page of one run that is too large to be read. Its workflow is reported
    /// once: where the run stands in the list changes, and nothing else is known of it.
    pub fn too_large(
        workflow: &WorkflowId,
        request: PageRequest,
        limit: usize,
        read_at: ReadAt,
    ) -> Self {
        let PageRequest { number, .. } = request;
        let mebibytes = limit >> 20;
        let reason =
            format!("number {number} of the list, by itself, is larger than {mebibytes} MiB");
        Self {
            items: Vec::new(),
            keys: vec![key(&format!("{workflow} {number}"))],
            undecodable: vec![Undecodable {
                key: key(&format!("{workflow} is too large")),
                id: None,
                reason: reason.into(),
            }],
            bytes: limit,
            total: None,
            read_at,
            validator: Validator::of(&HeaderMap::new(), &[], None),
        }
    }
}

/// An item that is not what its list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Of the item's id if that can be read, else of its whole text.
    pub key: u64,
    /// Its id, if that can be read, made safe to show.
    pub id: Option<String>,
    /// What is wrong with it, without any of its data.
    pub reason: Cow<'static, str>,
}

impl Undecodable {
    /// An item with this id, or else with this text.
    pub(super) fn new(id: Option<&str>, text: &str, reason: &'static str) -> Self {
        let key = key(id.unwrap_or(text));
        Self { key, id: id.map(|id| Label::new(id).to_string()), reason: reason.into() }
    }
}

/// Identifies an item of a list by its id.
pub(super) fn key(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
