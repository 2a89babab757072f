//! The key that requests carry, and texts without it.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::error::ApiError;
use crate::model::Label;

/// The key to send, and the one before, which an answer that was still under way may echo.
pub(super) struct ApiKeys {
    current: SecretString,
    former: Option<SecretString>,
}

impl ApiKeys {
    pub(super) fn new(current: SecretString) -> Self {
        Self { current, former: None }
    }

    /// Sends this key from now on. Returns whether it is another one.
    pub(super) fn replace(&mut self, key: SecretString) -> bool {
        let changed = self.current.expose_secret() != key.expose_secret();
        if changed {
            self.former = Some(std::mem::replace(&mut self.current, key));
        }
        changed
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self) -> Result<HeaderValue, ApiError> {
        let text = format!("Bearer {}", self.current.expose_secret());
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| ApiError::Setup("the API key cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text from the server as it may be shown: short, and without the key, should it echo that.
    pub(super) fn showable(&self, text: &str) -> String {
        let all = [Some(&self.current), self.former.as_ref()];
        let hide = |text: String, key: &SecretString| text.replace(key.expose_secret(), "<key>");
        Label::new(&all.into_iter().flatten().fold(text.to_owned(), hide)).to_string()
    }
}
