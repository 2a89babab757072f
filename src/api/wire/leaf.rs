//! The forms that values take on the wire. None of them fails because of an unexpected one.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::model::{Anomaly, ErrorClasses, Timestamp};

/// The arms of a visitor whose value is an `Option` that make a scalar `None`.
macro_rules! anything_else {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }
        fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    };
}

/// A value as it stands in the text, to be read as whatever it should be. Nothing where it is
/// missing or null.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Leaf<'a>(#[serde(borrow)] Option<&'a RawValue>);

/// Words that stand for no time.
const NO_TIME: [&str; 10] = [
    "null",
    "none",
    "nil",
    "n/a",
    "never",
    "undefined",
    "nan",
    "invalid date",
    "infinity",
    "unknown",
];

/// By what items are decoded.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct DecodeRules<'a> {
    /// Times after this are taken as missing.
    pub(in crate::api) latest_ms: i64,
    pub(in crate::api) error_classes: &'a ErrorClasses,
}

/// What decoding an item needs to know and finds out.
#[derive(Debug)]
pub(in crate::api) struct Context {
    /// The last moment that can have passed.
    pub(super) latest_ms: i64,
    /// What is odd about the item.
    pub(super) anomalies: Vec<Anomaly>,
}

impl Context {
    pub(super) fn new(rules: DecodeRules<'_>) -> Self {
        Self { latest_ms: rules.latest_ms, anomalies: Vec::new() }
    }
}

impl<'a> Leaf<'a> {
    pub(super) fn is_given(self) -> bool {
        self.0.is_some()
    }

    /// The text of a string; not if it holds half a surrogate pair.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let quoted = self.0?.get();
        let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
        if text.contains('\\') {
            serde_json::from_str(quoted).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(text))
        }
    }

    /// What an error says: a string, or an object, a list or a number as it is written.
    pub(super) fn error_text(self) -> Option<Cow<'a, str>> {
        let raw = self.0?.get();
        let says_nothing = matches!(raw, "true" | "false" | "{}" | "[]");
        self.text().or_else(|| (!says_nothing).then_some(Cow::Borrowed(raw)))
    }

    /// A finite number.
    pub(super) fn number(self) -> Option<f64> {
        let number: f64 = self.digits()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    /// A number that counts something.
    pub(super) fn count(self) -> Option<u64> {
        let number = self.number()?;
        // Beyond that, not every whole number has a value of its own.
        let counts = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
        counts.then_some(number as u64)
    }

    pub(super) fn bool(self) -> Option<bool> {
        self.0?.get().parse().ok()
    }

    /// A number as it is written, or a string.
    pub(super) fn text_or_number(self) -> Option<Cow<'a, str>> {
        self.digits().map(Cow::Borrowed).or_else(|| self.text())
    }

    /// A string or an epoch number. What stands for no time, or for one that can't have passed yet,
    /// is as good as missing; anything else that is given but makes no sense is an anomaly.
    pub(super) fn timestamp(self, context: &mut Context) -> Option<Timestamp> {
        let text = self.text();
        let text = text.as_deref().map(str::trim);
        let at = text.and_then(Timestamp::parse).or_else(|| Timestamp::from_epoch(self.epoch()?));
        if at.is_none() && self.is_given() && !self.stands_for_no_time() {
            context.anomalies.push(Anomaly::UnreadableTimestamp);
        }
        at.filter(|at| at.has_passed(context.latest_ms))
    }

    /// A number of seconds, milliseconds or microseconds, also as a string.
    pub(super) fn epoch(self) -> Option<f64> {
        let of_text = || self.text()?.trim().parse().ok().filter(|it: &f64| it.is_finite());
        self.number().or_else(of_text)
    }

    /// Whether this is how a language or a database writes that there is no time.
    fn stands_for_no_time(self) -> bool {
        if let Some(number) = self.epoch() {
            // The largest and smallest number of some type.
            return number.abs() <= u64::MAX as f64;
        }
        let Some(text) = self.text() else { return self.bool() == Some(false) };
        let text = text.trim();
        let is_word = NO_TIME.iter().any(|word| text.eq_ignore_ascii_case(word));
        // A date of zeros, or nothing but dashes.
        let is_blank = text.bytes().all(|byte| b"0-:./ TZ+".contains(&byte));
        // The last year that has four digits, or one that has more or lies before year 0.
        is_word || is_blank || text.starts_with("9999-") || text.starts_with(['+', '-'])
    }

    /// Credits: a number that isn't negative, nor so large that a sum with it would no longer
    /// change by single credits. Anything else that is given is an anomaly.
    pub(super) fn credits(self, context: &mut Context) -> Option<f64> {
        const MOST: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
        let credits = self.number().filter(|credits| (0.0..MOST).contains(credits));
        if credits.is_none() && self.is_given() {
            context.anomalies.push(Anomaly::InvalidCredits);
        }
        credits
    }

    fn digits(self) -> Option<&'a str> {
        let text = self.0?.get();
        text.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(text)
    }
}

/// An object's fields, each of which has its place; see [`fields!`].
pub(in crate::api) trait Fields<'de>: Default {
    /// Reads the value of this field; `false` if there is no place for it.
    fn read<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Defines an object of the API by its fields and their names on the wire. Any of them may be
/// missing, and the last one counts where one is given twice.
macro_rules! fields {
    ($(#[$doc:meta])* $vis:vis struct $object:ident<$a:lifetime> {
        $($field:ident: $type:ty = $name:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Default)]
        $vis struct $object<$a> {
            $($field: $type,)+
        }

        impl<'de: $a, $a> $crate::api::wire::leaf::Fields<'de> for $object<$a> {
            fn read<A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                match name {
                    $($name => self.$field = map.next_value()?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}
pub(super) use fields;

/// An object, or nothing where there is something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Fields<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Fields<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    anything_else!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = T::default();
        // A raw name: one that is not a proper text must not spoil its neighbours.
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let name = Leaf(Some(name)).text().unwrap_or_default();
            if !fields.read(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Some(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A list of things, or a map of them by key. No things where there is something else.
#[derive(Debug)]
pub(super) enum Several<'a, T> {
    List(Vec<T>),
    Map(Vec<(Leaf<'a>, T)>),
}

impl<T> Default for Several<'_, T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Several<'a, T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let several = json.deserialize_any(SeveralVisitor(PhantomData))?;
        Ok(several.unwrap_or_default())
    }
}

struct SeveralVisitor<'a, T>(PhantomData<(&'a (), T)>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for SeveralVisitor<'a, T> {
    type Value = Option<Several<'a, T>>;

    anything_else!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut things = Vec::new();
        while let Some(key) = map.next_key::<&'de RawValue>()? {
            things.push((Leaf(Some(key)), map.next_value()?));
        }
        Ok(Some(Several::Map(things)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut things = Vec::new();
        while let Some(thing) = seq.next_element()? {
            things.push(thing);
        }
        Ok(Some(Several::List(things)))
    }
}
