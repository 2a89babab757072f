use std::fmt;

use crate::config::ConfigErrors;

/// Why a command ended badly, and so the exit code.
#[derive(Debug)]
pub enum Failure {
    /// The API rejected the key: 4.
    KeyRejected(String),
    /// Anything else: 1.
    Other(anyhow::Error),
}

impl Failure {
    /// What is wrong with the configuration, if that is it.
    pub fn config_errors(&self) -> Option<&ConfigErrors> {
        match self {
            Self::KeyRejected(_) => None,
            Self::Other(error) => error.downcast_ref(),
        }
    }

    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::KeyRejected(_) => 4,
            Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyRejected(why) => f.write_str(why),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
