use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A label value that is safe to publish: at most 128 characters, none of which is a control
/// character or changes the direction of the text around it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Label(Arc<str>);

/// Maximum number of characters of a label value.
const MAX_CHARS: usize = 128;

/// What stands in for a character that can't be shown.
const REPLACEMENT: char = '\u{FFFD}';

impl Label {
    /// Makes a label value of any text, replacing and cutting off what isn't safe.
    pub fn new(text: &str) -> Self {
        let end = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(end, _)| end);
        let text = &text[..end];
        if text.chars().any(is_unprintable) {
            let clean = |c| if is_unprintable(c) { REPLACEMENT } else { c };
            Self(text.chars().map(clean).collect::<String>().into())
        } else {
            Self(text.into())
        }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character would garble a page, a log line or a terminal: control characters, line
/// and paragraph separators, and the marks that turn the direction of text.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.as_str().into()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_replaced() {
        assert_eq!(Label::new("a\nb\u{202E}c").as_str(), "a\u{FFFD}b\u{FFFD}c");
    }

    #[test]
    fn at_most_128_characters_are_kept_whatever_their_length_in_bytes() {
        assert_eq!(Label::new(&"é".repeat(5000)).as_str(), "é".repeat(128));
        assert_eq!(Label::new("short").as_str(), "short");
    }
}
