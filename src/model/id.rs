use std::{fmt, sync::Arc};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
