use super::{failure::Failure, output::print};
use crate::{config::CopyState, ledger};

/// Copies a ledger, and says how far it is.
pub(super) async fn copy_state(urls: &CopyState) -> Result<(), Failure> {
    let report = |table: &str, rows: u64| {
        // What cannot be printed must not end the copy.
        let _ = print(&format!("{table}: {rows} rows\n"));
    };
    ledger::copy(&urls.from, &urls.to, report).await?;
    Ok(print(
        "Copied. Start the exporter with the new --state.url. Don't use the old ledger again, unless \
         each exporter has its own --workflows.shard.\n",
    )?)
}
