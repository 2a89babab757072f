//! Reading an exposition: a strict little parser of the text format.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The samples of one exposition by their family, and the metadata of each family.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples {
    /// The metadata of each family, by its name.
    pub(crate) families: BTreeMap<String, Family>,
    /// Values by series.
    pub(crate) values: BTreeMap<Series, f64>,
}

/// The metadata of a family.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Family {
    /// Its type.
    pub(crate) kind: String,
    /// Its help.
    pub(crate) help: String,
}

/// A sample's name and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    /// Its name, with `_bucket` and the like.
    pub(crate) name: String,
    /// Its labels by name.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Samples {
    /// The series of this name that have all of these labels.
    pub(crate) fn matching(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> impl Iterator<Item = (&Series, f64)> {
        let has = |series: &Series| {
            let mut wanted = labels.iter();
            wanted.all(|(name, value)| series.labels.get(*name).map(String::as_str) == Some(*value))
        };
        let values = self.values.iter();
        values
            .filter(move |(series, _)| series.name == name && has(series))
            .map(|(series, value)| (series, *value))
    }

    /// The sum of these series; `None` if there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    /// The family that a sample belongs to: its own name, or that of its histogram.
    pub(crate) fn family_of<'s>(&self, sample: &'s str) -> Option<&'s str> {
        let endings = ["", "_bucket", "_sum", "_count"];
        endings.iter().find_map(|ending| {
            let name = sample.strip_suffix(ending)?;
            let family = self.families.get(name)?;
            (ending.is_empty() || family.kind == "histogram").then_some(name)
        })
    }

    /// The series of this process that only ever grow.
    pub(crate) fn growing(&self) -> impl Iterator<Item = (&Series, f64)> {
        let values = self.values.iter();
        let grows = |series: &Series| {
            let family = self.family_of(&series.name);
            let kind = family.map(|family| self.families[family].kind.as_str());
            matches!(kind, Some("counter" | "histogram"))
        };
        values.filter(move |(series, _)| grows(series)).map(|(series, value)| (series, *value))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, labels } = self;
        write!(f, "{name}{labels:?}")
    }
}

/// Scrapes a running exporter. Fails on any answer but 200, and on a malformed one.
pub(crate) async fn scrape(url: &str) -> Samples {
    let (status, text) = super::get(&format!("{url}/metrics")).await;
    assert_eq!(status, 200, "{text}");
    parse(&text)
}

/// Reads the text format 0.0.4. Panics on what is malformed, on a series that comes twice, and on a
/// sample whose family was not announced before it.
pub(crate) fn parse(text: &str) -> Samples {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line ends");
    let mut samples = Samples::default();
    let mut closed = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (keyword, name, rest) = (word(), word(), word());
            if name != current {
                assert!(closed.insert(name.clone()), "{name} comes in two parts");
                current.clone_from(&name);
            }
            let family = samples.families.entry(name).or_default();
            match keyword.as_str() {
                "HELP" => family.help = rest,
                "TYPE" => family.kind = rest,
                other => panic!("{other} is no keyword: {line}"),
            }
            continue;
        }
        let read = sample(line);
        let (series, value) = read.unwrap_or_else(|| panic!("malformed: {line}"));
        let family = samples.family_of(&series.name);
        assert_eq!(family, Some(current.as_str()), "belongs elsewhere: {line}");
        let twice = samples.values.insert(series, value);
        assert_eq!(twice, None, "comes twice: {line}");
    }
    samples
}

/// Reads `name{label="value",…} 1`.
fn sample(line: &str) -> Option<(Series, f64)> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    let name = name.to_owned();
    Some((Series { name, labels }, value))
}

/// A value up to its closing quote, unescaped, and what comes after.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}
