use std::{fmt, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// All that has, or may have, a meaning in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an id as it came; `None` if it is empty, longer than any real one (128
            /// bytes), `.`, `..`, or holds control characters, and so could be confused with
            /// another one in a label, a path or a log line.
            pub fn new(id: &str) -> Option<Self> {
                // No path of a URL can hold the dots as a name.
                let usable = !matches!(id, "" | "." | "..")
                    && id.len() <= $longest
                    && !id.chars().any(super::label::is_unprintable);
                usable.then(|| Self(id.into()))
            }

            /// The id as the API writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as a part of the path, the query or the fragment of a URL.
            pub fn in_url(&self) -> PercentEncode<'_> {
                utf8_percent_encode(&self.0, RESERVED)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(id: String) -> Result<Self, Self::Error> {
                Self::new(&id).ok_or("this is no id")
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

id! {
    /// An app's id (`app_…`), or the literal `c`, which stands for the key's app.
    AppId, 128
}
id! {
    /// A workflow's id (`work_…`).
    WorkflowId, 128
}
id! {
    /// A run's id. Opaque; unique within its workflow.
    RunId, 128
}
