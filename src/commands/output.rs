use std::io::{self, Write as _};

use anyhow::Context as _;

/// What is wrong when what was asked for cannot be shown.
pub const CANNOT_PRINT: &str = "cannot write to standard output";

/// Writes to standard output, to the last byte.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context(CANNOT_PRINT)
}
