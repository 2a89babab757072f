//! What the API sends, as it sends it, and how that becomes `model`.
//!
//! A page is decoded in one pass over its bytes. Only if that fails, because something in it is no
//! run or not UTF-8, it is split and decoded item by item, so that a bad item affects no other.

mod leaf;
mod run;
mod step;
mod workflow;

#[cfg(test)]
mod tests;

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::page::{Undecodable, key};
pub(super) use leaf::DecodeRules;
use leaf::{Fields, Leaf, Object, fields};

/// The maximum number of undecodable items of one page that are described; there are more only if
/// somebody means harm.
const MAX_DESCRIBED: usize = 1000;

/// Something that the API lists.
pub(super) trait WireItem: Sized {
    /// Its form on the wire.
    type Wire<'a>: Fields<'a>;

    /// Converts it; the error says what makes it unusable, without any of its data.
    fn from_wire(wire: Self::Wire<'_>, rules: DecodeRules<'_>) -> Result<Self, &'static str>;

    fn id(&self) -> &str;
}

/// A decoded page.
#[derive(Debug)]
pub(super) struct DecodedList<T> {
    pub(super) items: Vec<T>,
    /// Of all items, undecodable ones included.
    pub(super) keys: Vec<u64>,
    pub(super) undecodable: Vec<Undecodable>,
}

/// Decodes a JSON array, or `null` for an empty one; the error is that the bytes are neither.
pub(super) fn list<T: WireItem>(
    bytes: &[u8],
    rules: DecodeRules<'_>,
) -> serde_json::Result<DecodedList<T>> {
    let mut items = Vec::new();
    let whole = each(bytes, |Object(wire): Object<T::Wire<'_>>| {
        items.push(T::from_wire(wire.ok_or(NOT_AN_OBJECT)?, rules)?);
        Ok(())
    });
    match whole {
        Ok(()) => {
            let keys = items.iter().map(|item| key(item.id())).collect();
            Ok(DecodedList { items, keys, undecodable: Vec::new() })
        }
        Err(_) => list_one_by_one(&String::from_utf8_lossy(bytes), rules),
    }
}

fn list_one_by_one<T: WireItem>(
    text: &str,
    rules: DecodeRules<'_>,
) -> serde_json::Result<DecodedList<T>> {
    let mut list = DecodedList { items: Vec::new(), keys: Vec::new(), undecodable: Vec::new() };
    each(text.as_bytes(), |item: &RawValue| {
        match decode::<T>(item, rules) {
            Ok(item) => {
                list.keys.push(key(item.id()));
                list.items.push(item);
            }
            Err(undecodable) => {
                list.keys.push(undecodable.key);
                if list.undecodable.len() < MAX_DESCRIBED {
                    list.undecodable.push(undecodable);
                }
            }
        }
        Ok(())
    })?;
    Ok(list)
}

/// Decodes a single JSON object; the outer error is that the bytes are none.
pub(super) fn single<T: WireItem>(
    bytes: &[u8],
    rules: DecodeRules<'_>,
) -> serde_json::Result<Result<T, Undecodable>> {
    let text = String::from_utf8_lossy(bytes);
    let item: &RawValue = serde_json::from_str(&text)?;
    if item.get().starts_with('{') {
        return Ok(decode(item, rules));
    }
    Err(serde_json::Error::custom(NOT_AN_OBJECT))
}

/// What an error's answer says: `{message: …}`.
pub(super) fn error_message(bytes: &[u8]) -> Option<String> {
    fields! {
        struct WireError<'a> {
            message: Leaf<'a> = "message",
        }
    }
    let wire: Object<WireError<'_>> = serde_json::from_slice(bytes).ok()?;
    Some(wire.0?.message.text()?.into_owned())
}

const NOT_AN_OBJECT: &str = "it is not an object";
const NO_ID: &str = "it has no usable id";

fn decode<T: WireItem>(item: &RawValue, rules: DecodeRules<'_>) -> Result<T, Undecodable> {
    let wire: Result<Object<T::Wire<'_>>, _> = serde_json::from_str(item.get());
    let decoded = match wire {
        Ok(Object(Some(wire))) => T::from_wire(wire, rules),
        Ok(Object(None)) => Err(NOT_AN_OBJECT),
        Err(_) => Err("a field of it is not readable"),
    };
    decoded.map_err(|reason| describe(item, reason))
}

fn describe(item: &RawValue, reason: &'static str) -> Undecodable {
    fields! {
        struct WireId<'a> {
            id: Leaf<'a> = "id",
        }
    }
    let wire = serde_json::from_str::<Object<WireId<'_>>>(item.get()).ok();
    let id = wire.and_then(|wire| wire.0?.id.text_or_number());
    Undecodable::new(id.as_deref().filter(|id| !id.is_empty()), item.get(), reason)
}

/// Passes on the items of a JSON array one after the other, so that a page isn't in memory twice;
/// ends at the first that doesn't decode or isn't accepted.
fn each<'de, W: Deserialize<'de>>(
    bytes: &'de [u8],
    accept: impl FnMut(W) -> Result<(), &'static str>,
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    json.deserialize_any(Each(accept, PhantomData))?;
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
