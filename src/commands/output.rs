use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;

/// Writes to standard output, to the last byte.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    printed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Says what is wrong if what was asked for could not be written to standard output. Nothing is if a
/// pipe was closed: its reader, such as `head`, has what it wanted.
pub fn printed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
