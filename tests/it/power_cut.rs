//! What was published is in the ledger's files: a copy of them, taken at any moment, shows no less.

use std::{fs, path::Path, time::Duration};

use cortex_workflow_exporter::model::Status;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{Api, Process, Samples, ledger_url, scrape};

/// How many copies are taken.
const COPIES: u32 = 8;

#[tokio::test]
async fn a_copy_of_the_ledgers_files_shows_no_less_than_was_published_before() {
    let api = Api::start().await;
    let workflows = ["work_one", "work_two", "work_three"].map(|id| api.add_workflow(id));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &[]);
    let base = exporter.ready_url().await;
    let mut random = StdRng::seed_from_u64(20_231_225);
    let mut grown = 0.0;
    for _ in 0..COPIES {
        for _ in 0..random.random_range(10..60) {
            let workflow = &workflows[random.random_range(0..workflows.len())];
            api.finish_one(workflow, Status::Failed);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..50))).await;
        }
        let published = scrape(&base).await;
        let copy = tempfile::tempdir().expect("there is room for temporary files");
        exporter.signal("STOP");
        copy_ledger(directory.path(), copy.path());
        exporter.signal("CONT");
        let copied = shown_by(copy.path()).await;
        grown = published.sum("cortex_workflow_runs_total", &[]).expect("it is published");
        for (series, value) in published.growing() {
            let of_runs = !series.name.starts_with("cortex_workflow_exporter_");
            if series.name.starts_with("cortex_workflow_") && of_runs {
                let copy = copied.values.get(series).copied();
                assert!(copy >= Some(value), "{series}: {value} was published, {copy:?} is there");
            }
        }
    }
    assert!(grown > 100.0, "there was something to lose: {grown}");
}

/// The files that survive a crash; the third one, `-shm`, is only an index of the second.
fn copy_ledger(from: &Path, to: &Path) {
    for file in ["ledger.db", "ledger.db-wal"] {
        fs::copy(from.join(file), to.join(file)).expect("it is there and can be copied");
    }
}

/// What an exporter shows from these files alone: its API is not there.
async fn shown_by(directory: &Path) -> Samples {
    let mut exporter = Process::serve_without_api(&ledger_url(directory), &[]);
    let url = exporter.url().await;
    scrape(&url).await
}
