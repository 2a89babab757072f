use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// Where the API key comes from. `Debug` doesn't show it.
#[derive(Clone, Debug)]
pub enum ApiKey {
    /// The value of `CORTEX_API_KEY`.
    Value(SecretString),
    /// The value of another variable.
    Variable {
        /// Its name.
        name: String,
        /// What it holds.
        value: SecretString,
    },
    /// A file that is read anew before each poll cycle, so that a new key is noticed.
    File(PathBuf),
}

/// None that could be used.
impl Default for ApiKey {
    fn default() -> Self {
        Self::Value("".into())
    }
}

/// Whether they have the same source; a file's content may have changed meanwhile.
impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(path), Self::File(other)) => path == other,
            (Self::Variable { name, .. }, Self::Variable { name: other, .. }) => name == other,
            (Self::Value(_), Self::Value(_)) => true,
            _ => false,
        }
    }
}

/// Why there is no usable key.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The file can't be read.
    #[error("cannot read the API key from {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is nothing but white space.
    #[error("the API key from {0} is empty")]
    Empty(String),
    /// It can't be sent in a header.
    #[error(
        "the API key from {0} holds characters other than printable ASCII; \
         look for a stray quote, line break or byte-order mark"
    )]
    Unprintable(String),
}

impl ApiKey {
    /// The key as it is now, white space around it removed.
    pub fn read(&self) -> Result<SecretString, ApiKeyError> {
        match self {
            Self::Value(key) => validate(key.expose_secret(), "CORTEX_API_KEY"),
            Self::Variable { name, value } => validate(value.expose_secret(), name),
            Self::File(path) => {
                let text = std::fs::read(path)
                    .map_err(|cause| ApiKeyError::Unreadable { path: path.clone(), cause })?;
                validate(&String::from_utf8_lossy(&text), &path.display().to_string())
            }
        }
    }
}

fn validate(text: &str, origin: &str) -> Result<SecretString, ApiKeyError> {
    let key = text.trim();
    if key.is_empty() {
        Err(ApiKeyError::Empty(origin.into()))
    } else if !key.bytes().all(|b| b.is_ascii_graphic()) {
        Err(ApiKeyError::Unprintable(origin.into()))
    } else {
        Ok(key.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        let key = ApiKey::Value(text.into()).read();
        key.map(|key| key.expose_secret().into()).map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_the_key_is_removed() {
        assert_eq!(value(" secret\r\n"), Ok("secret".into()));
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_without_showing_it() {
        for bad in ["", " \n", "sec ret", "sécret", "\u{FEFF}secret"] {
            let error = value(bad).expect_err(bad);
            assert!(error.contains("CORTEX_API_KEY") && !error.contains("cret"), "{error}");
        }
    }
}
