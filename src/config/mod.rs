//! What the operator set, validated: one small struct per concern. Uses `model`.
//!
//! `settings` is the one table; each row is a `setting`, and each value of a `kind`. `command_line` makes clap's flags
//! of it, `sources` reads each setting from its flag, its variable, the file (`yaml`, `walker`) or
//! its default, `parse`, `url` and `run_url` turn strings into values, `apps` and `web` read what is more than single
//! values, and `validate` puts all together. `environment` checks variables that libraries read.

mod api_key;
mod apps;
mod command_line;
mod environment;
mod kind;
mod parse;
mod run_url;
mod setting;
mod settings;
mod sources;
mod types;
mod url;
mod validate;
mod walker;
mod web;
mod yaml;

#[cfg(test)]
pub(crate) use parse::RESERVED_PATHS;

pub use api_key::{ApiKey, ApiKeyError};
pub use command_line::{CommandLine, asks_for_json, unknown_variables};
pub use parse::TAKEN_LABELS;
pub use run_url::RunUrl;
pub use setting::{Command, Setting};
pub use settings::{SETTINGS, needing_restart};
pub use sources::ConfigErrors;
pub use types::{
    AppConfig, Buckets, Config, CopyState, Cortex, Log, LogFormat, LoggedRuns, Metrics, Poll,
    Shard, Simulate, StateConfig, Web, WorkflowFilter,
};
pub use validate::{file_keys, load};
pub use web::{RateLimit, Users, WEB_CONFIG_KEYS, WebConfig, WebKey};
