//! What the API sends, as it sends it, and how that becomes `model`.
//!
//! A page is decoded in one pass over its bytes. Only if that fails, because something in it is no
//! run or no UTF-8, it is taken apart and decoded item by item, so that what is bad stays alone.

mod leaf;
mod run;
mod step;
mod workflow;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use leaf::{Leaf, Object};

use super::Undecodable;
use crate::model::{Label, RunId};

/// The most undecodable items of one page that are described; there are more only if somebody
/// means harm.
const MOST_DESCRIBED: usize = 1000;

/// Something that the API lists.
pub(super) trait Listed: Sized {
    /// Its form on the wire.
    type Wire<'a>: Deserialize<'a>;

    /// Takes it over, or says what makes it unusable (without any of its data).
    fn from_wire(wire: Self::Wire<'_>) -> Result<Self, &'static str>;
}

/// A decoded page.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// How many items the page has, undecodable ones included.
    pub(super) listed: usize,
    pub(super) undecodable: Vec<Undecodable>,
}

/// Decodes a JSON array; `None` if the bytes are none.
pub(super) fn list<T: Listed>(bytes: &[u8]) -> Option<List<T>> {
    let mut items = Vec::new();
    let whole = each(bytes, |Object(wire): Object<T::Wire<'_>>| {
        items.push(T::from_wire(wire.ok_or(NO_OBJECT)?)?);
        Ok(())
    });
    match whole {
        Ok(()) => Some(List { listed: items.len(), items, undecodable: Vec::new() }),
        Err(_) => list_one_by_one(&String::from_utf8_lossy(bytes)),
    }
}

fn list_one_by_one<T: Listed>(text: &str) -> Option<List<T>> {
    let mut list = List { items: Vec::new(), listed: 0, undecodable: Vec::new() };
    let whole = each(text.as_bytes(), |item: &RawValue| {
        list.listed += 1;
        match decode(item) {
            Ok(item) => list.items.push(item),
            Err(reason) if list.undecodable.len() < MOST_DESCRIBED => {
                list.undecodable.push(describe(item, reason));
            }
            Err(_) => {}
        }
        Ok(())
    });
    whole.is_ok().then_some(list)
}

/// Decodes a single JSON object; `None` if the bytes are none.
pub(super) fn single<T: Listed>(bytes: &[u8]) -> Option<Result<T, Undecodable>> {
    let text = String::from_utf8_lossy(bytes);
    let item: &RawValue = serde_json::from_str(&text).ok()?;
    let is_object = item.get().starts_with('{');
    is_object.then(|| decode(item).map_err(|reason| describe(item, reason)))
}

/// What an error's answer says: `{message: …}`.
pub(super) fn error_message(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow, default)]
        message: Leaf<'a>,
    }
    let wire: Object<Wire<'_>> = serde_json::from_slice(bytes).ok()?;
    Some(wire.0?.message.text()?.into_owned())
}

const NO_OBJECT: &str = "it is no object";
const NO_ID: &str = "it has no usable id";

/// Whether an id can stand in a path: "." and ".." can't, however they are written.
fn fits_a_path(id: &str) -> bool {
    !matches!(id, "." | "..")
}

fn decode<T: Listed>(item: &RawValue) -> Result<T, &'static str> {
    let wire: Object<T::Wire<'_>> =
        serde_json::from_str(item.get()).map_err(|_| "a field of it is not readable")?;
    T::from_wire(wire.0.ok_or(NO_OBJECT)?)
}

fn describe(item: &RawValue, reason: &'static str) -> Undecodable {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow, default)]
        id: Leaf<'a>,
    }
    let wire = serde_json::from_str::<Object<Wire<'_>>>(item.get()).ok();
    let id = wire.and_then(|wire| wire.0?.id.text());
    let id = id.filter(|id| !id.is_empty());
    let mut hasher = DefaultHasher::new();
    id.as_deref().unwrap_or(item.get()).hash(&mut hasher);
    Undecodable {
        key: hasher.finish(),
        id: id.map(|id| Label::new(&id).to_string()),
        reason: reason.into(),
    }
}

/// A run that came where another one was asked for.
pub(super) fn another(id: &RunId) -> Undecodable {
    let mut hasher = DefaultHasher::new();
    id.as_str().hash(&mut hasher);
    Undecodable {
        key: hasher.finish(),
        id: Some(Label::new(id.as_str()).to_string()),
        reason: "it is another one".into(),
    }
}

/// Hands over the items of a JSON array one after the other, so that a page isn't in memory twice;
/// ends at the first that doesn't decode or isn't wanted.
fn each<'de, W: Deserialize<'de>>(
    bytes: &'de [u8],
    take: impl FnMut(W) -> Result<(), &'static str>,
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    json.deserialize_seq(Each(take, PhantomData))?;
    json.end()
}

struct Each<F, W>(F, PhantomData<W>);

impl<'de, F, W> Visitor<'de> for Each<F, W>
where
    F: FnMut(W) -> Result<(), &'static str>,
    W: Deserialize<'de>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
