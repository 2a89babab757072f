//! A configuration file, and what lies beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory with a configuration file. It is gone when this is dropped.
pub(crate) struct ConfigFile(tempfile::TempDir);

const NAME: &str = "config.yml";

impl ConfigFile {
    /// A file with this text.
    pub(crate) fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().expect("there is room for temporary files"));
        file.write(NAME, text);
        file
    }

    /// The flag that names it.
    pub(crate) fn flag(&self) -> String {
        format!("--config.file={}", self.path(NAME).display())
    }

    /// The path of what lies beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file beside it, at once, as a well-behaved tool does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).expect("a directory can be made");
        let draft = path.with_extension("draft");
        fs::write(&draft, text).expect("the file can be written");
        fs::rename(&draft, &path).expect("it can be moved into its place");
    }
}
