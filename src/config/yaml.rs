//! A YAML document as a tree in which each part knows its place. Reading into a tree first, and
//! checking it afterwards, reports all mistakes at once rather than only the first.

use std::{fmt, fs::File, io::Read, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Error, Spanned, budget, options,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

/// Far more than any configuration needs.
const MAX_BYTES: u64 = 1024 * 1024;

/// More than a configuration nests, and far less than the stack holds.
const MAX_DEPTH: usize = 16;

/// As many parts as any configuration has, aliases followed.
const MAX_NODES: usize = 100_000;

/// Where something stands; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A part of a document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: YamlValue,
}

/// What a part of a document is. Keys may come twice: the walker reports that.
#[derive(Clone, Debug)]
pub(super) enum YamlValue {
    Nothing,
    Bool(bool),
    Int(String),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl YamlValue {
    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a section",
        }
    }
}

/// What is in a file that is no larger than a configuration can be. The error names the file.
pub(super) fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_BYTES => Ok(bytes),
        Ok(_) => Err(format!("cannot use {}: it is larger than {MAX_BYTES} bytes", path.display())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Reads what is in a file as one document. The error names the file, and the place if it has one.
pub(super) fn document(path: &Path, contents: &[u8]) -> Result<Node, String> {
    let shown = path.display();
    let text = str::from_utf8(contents).map_err(|_| format!("{shown} is not text in UTF-8"))?;
    parse(text).map_err(|(place, why)| match place {
        Some(Place { line, column }) => format!("{shown}:{line}:{column}: {why}"),
        None => format!("{shown}: {why}"),
    })
}

/// Reads a text as one document. Nothing is expanded, merged or included.
fn parse(text: &str) -> Result<Node, (Option<Place>, String)> {
    let options = options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        // It would repeat lines of the file, which may hold a password.
        with_snippet: false,
        budget: budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH, max_nodes: MAX_NODES },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(Place::of);
        let why = match &error {
            Error::MultipleDocuments { .. } => "a second document begins here; one is read".into(),
            other => {
                let why = other.to_string();
                let end = why.rfind(" at line ").unwrap_or(why.len());
                why[..end].to_owned()
            }
        };
        (place, why)
    })
}

impl Place {
    fn of(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<YamlValue>::deserialize(deserializer)?;
        Ok(Self { place: Place::of(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = YamlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Nothing)
    }

    fn visit_bool<E>(self, on: bool) -> Result<YamlValue, E> {
        Ok(YamlValue::Bool(on))
    }

    fn visit_i64<E>(self, number: i64) -> Result<YamlValue, E> {
        Ok(YamlValue::Int(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<YamlValue, E> {
        Ok(YamlValue::Int(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<YamlValue, E> {
        Ok(YamlValue::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<YamlValue, E> {
        Ok(YamlValue::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<YamlValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(YamlValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<YamlValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(YamlValue::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_where_it_stands() {
        let tree = parse("poll:\n  interval: 30s\n").expect("it is well-formed");
        let YamlValue::Map(top) = tree.value else { panic!("it is a map") };
        let YamlValue::Map(poll) = &top[0].1.value else { panic!("so is its value") };
        let (key, value) = &poll[0];
        assert_eq!(key.place, Place { line: 2, column: 3 });
        assert_eq!(value.place, Place { line: 2, column: 13 });
    }

    #[test]
    fn what_is_malformed_or_dangerous_is_refused_with_its_place() {
        for (text, line, part) in [
            ("a:\n  b: 1\n c: 2\n", 3, "block mapping"),
            ("a: [1, 2\n", 1, "unclosed"),
            ("a: 1\n---\nb: 2\n", 3, "second document"),
            ("a: &x {b: 1}\nc: {<<: *x}\n", 2, "merge"),
            ("a: !include secret\n", 1, "tag"),
            ("a: .inf\n", 1, "non-finite"),
            ("a: \u{0}\n", 1, "unexpected character"),
        ] {
            let (place, why) = parse(text).expect_err(text);
            assert_eq!(place.map(|place| place.line), Some(line), "{text:?}: {why}");
            assert!(why.contains(part) && !why.contains("at line"), "{text:?}: {why}");
        }
    }

    #[test]
    fn no_document_costs_more_than_its_length() {
        let bomb = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            let next = n + 1;
            text + &format!("a{next}: &a{next} [*a{n}, *a{n}, *a{n}, *a{n}]\n")
        });
        let stairs = (0..1000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n");
        let deep = ["[", "{a: ", "- ", "? "].map(|level| level.repeat(100_000));
        for text in deep.into_iter().chain([stairs, bomb]) {
            assert!(parse(&text).is_err(), "{}", &text[..20]);
        }
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = contents(Path::new("/dev/zero")).expect_err("it has no end");
        assert!(error.contains("/dev/zero") && error.contains("larger"), "{error}");
    }
}
