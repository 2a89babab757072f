//! What a setting is: by which flag, variable and key it is set, and what a reload does with it.

use std::fmt;

use super::{kind::SettingKind, types::Config};

/// One row of the table of settings.
pub struct Setting {
    /// Its name, dotted; the flag is called so.
    pub name: &'static str,
    /// What it is set to, and where that goes.
    pub(super) kind: SettingKind,
    /// What holds without it, as it would be written; empty for nothing.
    pub default: &'static str,
    /// What it does, for `--help` and the documentation.
    pub help: &'static str,
    /// What the help groups it under.
    pub(super) heading: &'static str,
    /// The commands that have the flag.
    pub(super) commands: &'static [Command],
    /// What a reload does with another value.
    pub(super) reload: Reload,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Poll and serve.
    Serve,
    /// Serve what is read from a simulated API.
    Demo,
    /// Only the simulated API.
    Simulate,
    /// Report what is wrong with the configuration, and what would be exported.
    Check,
    /// Poll once and print.
    Once,
    /// Copy a ledger.
    CopyState,
}

/// What a reload does with another value.
pub(super) enum Reload {
    /// It takes effect.
    Applied,
    /// It is refused: only a restart can change it. The function returns whether two are the same.
    Refused(fn(&Config, &Config) -> bool),
}

impl Setting {
    /// Whether it can be set by a flag and a variable.
    pub fn has_flag(&self) -> bool {
        !matches!(
            self.kind,
            SettingKind::Bounds(_)
                | SettingKind::Labels(_)
                | SettingKind::ErrorClasses(_)
                | SettingKind::Apps
        )
    }

    /// The variable that sets it.
    pub fn variable(&self) -> String {
        let name = self.name.replace(['.', '-'], "_").to_ascii_uppercase();
        match self.name {
            "cortex.api-key-file" | "cortex.app-id" | "cortex.api-url" => name,
            _ => format!("CORTEX_EXPORTER_{name}"),
        }
    }

    /// The key that sets it in the configuration file, unless that cannot.
    pub fn key(&self) -> Option<String> {
        let is_in_file =
            self.commands.contains(&Command::Serve) && !self.name.starts_with("config.");
        is_in_file.then(|| self.name.replace('-', "_"))
    }

    /// Whether only a restart can change it.
    pub fn needs_restart(&self) -> bool {
        matches!(self.reload, Reload::Refused(_))
    }

    /// What it is set to in the configuration file, in words.
    pub fn expected(&self) -> &'static str {
        self.kind.words().1
    }
}

/// The flag and the variable, as messages name them.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} (or {})", self.name, self.variable())
    }
}
