//! Reports what is wrong with a configuration, and what would be exported by it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use super::{failure::Failure, output::print, table::TextTable};
use crate::{
    api::{Answer, Client, PageRequest},
    app::{self, Core},
    config::{AppConfig, Config, Poll},
    ledger::{self, LedgerStatus},
    model::{AppId, Label, ReadAt, SystemClock, Timestamp, Workflow, WorkflowId},
    poller::{
        Estimate, KnownWorkflows, ReadError, Sizes, WorkflowList, Workload, estimate,
        list_workflows, shards_needed,
    },
};

/// Maximum number of workflows that are shown one by one.
const MAX_ROWS: usize = 50;

/// How many runs are read to see how large they are.
const SAMPLE: u32 = 10;

/// How long that may take.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A clock that differs by more is noted, in seconds.
const NOTED_SKEW: f64 = 5.0;

/// What the check found.
struct Findings {
    /// What keeps the exporter from doing its work, each with the next step.
    problems: Vec<String>,
    /// What does not, and yet may not be as intended.
    remarks: Vec<String>,
    /// Whether the API rejected a key.
    rejected: bool,
}

/// An app, as the API lists it.
struct ListedApp<'a> {
    app: &'a AppConfig,
    workflows: Vec<Workflow>,
    read_at: ReadAt,
    list_requests: u32,
    /// How many bytes these answers had.
    list_bytes: usize,
    skew_ms: Option<i64>,
}

/// Asks the API for the lists of workflows, which costs a request for a hundred of them, and for a
/// page of runs, and reports what would come of this configuration. Touches no ledger.
pub(super) async fn check(config: Config) -> Result<(), Failure> {
    let mut findings = Findings { problems: Vec::new(), remarks: Vec::new(), rejected: false };
    let mut text = String::from("The configuration is valid.\n");
    match ledger::inspect(&config.state.url).await {
        Ok((place, status)) => _ = writeln!(text, "Ledger: {place}{}", describe(status)),
        Err(error) => findings.problems.push(error.to_string()),
    }
    let core = build_in_memory(&config).await?;
    let mut listed = Vec::new();
    for (app, client) in config.apps.iter().zip(core.clients()) {
        match list(app, client).await {
            Ok(app) => listed.push(app),
            Err(error) => {
                findings.rejected |= error.is_auth();
                findings.problems.push(format!("app {}: {error}", app.cortex.app_id));
            }
        }
    }
    for one in &listed {
        let id = &one.app.cortex.app_id;
        core.ledger().record_workflows(id, &one.workflows, one.read_at).await?;
    }
    if !listed.is_empty() {
        let run_bytes = sample(&core, &listed, &mut findings).await;
        text += &report(&config, &core, &listed, run_bytes, &mut findings);
    }
    print(&text)?;
    for remark in &findings.remarks {
        // Nothing can be done where this cannot be written.
        let _ = writeln!(io::stderr(), "note: {remark}");
    }
    findings.verdict()
}

impl Findings {
    fn verdict(self) -> Result<(), Failure> {
        let text = match &self.problems[..] {
            [] => return Ok(()),
            [problem] => problem.clone(),
            problems => {
                let lines = problems.iter().map(|problem| format!("\n  {problem}"));
                format!("{} problems:{}", problems.len(), lines.collect::<String>())
            }
        };
        Err(if self.rejected { Failure::KeyRejected(text) } else { anyhow::anyhow!(text).into() })
    }
}

fn describe(status: LedgerStatus) -> &'static str {
    match status {
        LedgerStatus::New => " (does not exist yet; the first start creates it)",
        LedgerStatus::Idle => " (exists, and is free)",
        LedgerStatus::InUse => " (exists, and is in use by a running exporter)",
        LedgerStatus::InMemory => " (lost when the exporter ends)",
    }
}

/// What polls and renders, on a ledger that is thrown away.
async fn build_in_memory(config: &Config) -> anyhow::Result<Core> {
    let settings = ledger::Settings {
        url: "sqlite::memory:".into(),
        retention: None,
        hold: false,
        ..app::ledger_settings(config)
    };
    Core::build(config, settings, Arc::new(SystemClock)).await
}

/// Reads an app's list of workflows.
async fn list<'a>(app: &'a AppConfig, client: &Client) -> Result<ListedApp<'a>, ReadError> {
    let (page_size, mut list_bytes) = (app.cortex.page_size, 0);
    let mut known = KnownWorkflows::default();
    let list = list_workflows(client, page_size, &mut known, |page| list_bytes += page.bytes);
    let WorkflowList { workflows, read_at, requests } = list.await?;
    let skew_ms = client.clock_skew_ms();
    Ok(ListedApp { app, workflows, read_at, list_requests: requests, list_bytes, skew_ms })
}

/// How many bytes a run has, by a small page of the workflow of each app that has most of them.
/// `None` if there are none.
async fn sample(core: &Core, listed: &[ListedApp<'_>], findings: &mut Findings) -> Option<f64> {
    let (mut runs, mut bytes) = (0, 0);
    for one in listed {
        let id = &one.app.cortex.app_id;
        let followed = followed(core, id);
        let there = one.workflows.iter().filter(|it| followed.contains_key(&it.id));
        let Some(largest) = there.max_by_key(|it| it.runs_count) else { continue };
        let client = core.clients().iter().find(|client| client.app_id() == id);
        let Some(client) = client else { continue };
        let request = PageRequest { number: 1, take: SAMPLE.min(one.app.cortex.page_size) };
        // A rate limit may be so low that this would take minutes.
        let page = timeout(SAMPLE_TIMEOUT, client.runs(&largest.id, request, None)).await;
        match page {
            Ok(Ok(Some(Answer::Changed(page)))) => {
                runs += page.keys.len();
                bytes += page.bytes;
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => findings.remarks.push(format!(
                "app {id}: the runs of workflow {} cannot be read: {error}",
                largest.id
            )),
        }
    }
    (runs > 0).then(|| bytes as f64 / runs as f64)
}

/// What would be exported, and what that costs.
fn report(
    config: &Config,
    core: &Core,
    apps_listed: &[ListedApp<'_>],
    run_bytes: Option<f64>,
    findings: &mut Findings,
) -> String {
    let (mut text, workload) = tables(core, apps_listed, findings);
    let estimate = estimate(&workload, &config.poll, config.rate_limit);
    text += &expectation(&estimate, &config.poll, config.rate_limit, findings);
    advise_shards(config, &workload, findings);
    let lists = apps_listed.iter().map(|one| one.list_bytes).sum::<usize>() as f64;
    let page = config.apps.iter().map(|app| app.cortex.page_size).max().unwrap_or(1);
    let sizes = Sizes { lists, run: run_bytes.unwrap_or(0.0), page };
    let megabytes = (estimate.bytes_a_day(&workload, &sizes) / 1e6).ceil();
    _ = match run_bytes {
        Some(run) => writeln!(
            text,
            "Megabytes: {megabytes} a day at {:.1} KB a run, less where the API has ETags",
            run / 1e3
        ),
        None => writeln!(text, "Megabytes: {megabytes} a day for the lists; no run was read"),
    };
    _ = writeln!(
        text,
        "Series: {} before any run is read; each new status, origin and step adds more",
        core.exposition.series()
    );
    text
}

/// The workflows and the apps, and how much there is to poll.
fn tables(
    core: &Core,
    apps_listed: &[ListedApp<'_>],
    findings: &mut Findings,
) -> (String, Workload) {
    let mut workflows = TextTable::new(["APP", "WORKFLOW", "NAME", "RUNS", "EXPORTED"]);
    let mut apps = TextTable::new(["APP", "WORKFLOWS", "EXPORTED", "CLOCK SKEW"]);
    let mut workload = Workload::default();
    let (mut rows, mut left_out) = (0, 0);
    for one in apps_listed {
        let id = one.app.cortex.app_id.as_str();
        let followed = followed(core, &one.app.cortex.app_id);
        workload.list_requests += one.list_requests;
        let there = one.workflows.iter().filter(|workflow| !workflow.deleted);
        for workflow in there.clone() {
            let is_followed = followed.get(&workflow.id);
            add_to_workload(&mut workload, workflow, is_followed.is_some(), one.read_at.api_ms);
            rows += 1;
            if rows > MAX_ROWS {
                left_out += 1;
                continue;
            }
            let name = Label::new(&workflow.name).to_string();
            let runs = workflow.runs_count.map_or("?".into(), |count| count.to_string());
            let exported = match is_followed {
                Some(true) => "yes",
                Some(false) => "as _other",
                None => "no",
            };
            let row = [id, workflow.id.as_str(), &name, &runs, exported];
            workflows.row(row.map(str::to_owned));
        }
        let skew = one.skew_ms.map(tenths_of_seconds);
        let shown = skew.map_or("unknown".into(), |seconds| format!("{seconds:+.1} s"));
        let (listed, exported) = (there.count().to_string(), followed.len().to_string());
        apps.row([id.to_owned(), listed, exported, shown]);
        remark(findings, id, followed.len(), skew);
    }
    let mut text = format!("\n{workflows}");
    if left_out > 0 {
        _ = writeln!(text, "… and {left_out} more");
    }
    _ = writeln!(text, "\n{apps}");
    (text, workload)
}

/// Milliseconds as seconds with one decimal; never a zero with a minus sign.
fn tenths_of_seconds(ms: i64) -> f64 {
    (ms as f64 / 100.0).round() / 10.0 + 0.0
}

/// The workflows of an app that would be exported, and whether each has series of its own.
fn followed(core: &Core, app: &AppId) -> BTreeMap<WorkflowId, bool> {
    let state = core.ledger().state();
    let app = state.apps.get(app);
    let followed = app.into_iter().flat_map(ledger::AppState::published);
    followed.map(|(id, workflow)| (id.clone(), !workflow.is_overflowed())).collect()
}

fn add_to_workload(workload: &mut Workload, workflow: &Workflow, followed: bool, now_ms: i64) {
    if !followed {
        return;
    }
    workload.followed += 1;
    let Some(runs) = workflow.runs_count else {
        workload.uncounted += 1;
        return;
    };
    // As many as there were on average since it was made.
    let born_ms = workflow.created_at.map(Timestamp::latest);
    let minutes = born_ms.map_or(0.0, |ms| (now_ms - ms) as f64 / 60_000.0);
    if minutes > 0.0 {
        workload.runs_per_minute += runs as f64 / minutes.max(1.0);
    }
}

fn remark(findings: &mut Findings, app: &str, followed: usize, skew: Option<f64>) {
    if followed == 0 {
        findings.remarks.push(format!(
            "app {app}: nothing would be exported; look at --workflows.include, \
             --workflows.exclude and whose key it is"
        ));
    }
    if let Some(seconds) = skew.filter(|seconds| seconds.abs() > NOTED_SKEW) {
        findings.remarks.push(format!(
            "app {app}: the API's clock and this one differ by {seconds:+.1} s; counting is right \
             nevertheless, but synchronise this one with NTP"
        ));
    }
}

/// What --workflows.shard can do where the rate limit is too low for what is followed.
fn advise_shards(config: &Config, workload: &Workload, findings: &mut Findings) {
    // All apps have the same.
    let of = config.apps.first().map_or(1, |app| app.workflows.shard.of);
    let needed = shards_needed(workload, &config.poll, config.rate_limit);
    findings.remarks.extend(needed.filter(|parts| *parts > 1).map(|parts| {
        let all = of.saturating_mul(parts);
        format!(
            "{all} exporters on {all} different addresses could read all in time: give them \
             --workflows.shard=1/{all} to --workflows.shard={all}/{all}"
        )
    }));
}

fn expectation(estimate: &Estimate, poll: &Poll, limit: u32, findings: &mut Findings) -> String {
    let Estimate { lists, readings, sweeps, interval, sweep_interval, .. } = estimate;
    let seconds = |duration: &Duration| duration.as_secs_f64().ceil();
    if estimate.is_stretched(poll) {
        findings.remarks.push(format!(
            "more requests are needed than --cortex.rate-limit allows, so a workflow with news is read \
             every {} s (--poll.interval asks for {}) and any other one every {} s \
             (--poll.sweep-interval asks for {}); follow fewer workflows, or raise these",
            seconds(interval),
            seconds(&poll.interval),
            seconds(sweep_interval),
            seconds(&poll.sweep_interval),
        ));
    }
    format!(
        "Requests: {:.1} a minute of {limit} (lists {lists:.1}, readings {readings:.1}, sweeps \
         {sweeps:.1})\nA run is counted {} s after its end on average, {} s at the most; {} s where \
         the list of workflows does not show it\n",
        estimate.requests(),
        estimate.mean_delay.as_secs_f64().round(),
        seconds(&estimate.longest_delay),
        seconds(&estimate.longest_unannounced_delay)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_skew_is_no_zero_with_a_minus_sign() {
        for (ms, shown) in
            [(-1, "+0.0"), (0, "+0.0"), (-49, "+0.0"), (-51, "-0.1"), (40, "+0.0"), (2500, "+2.5")]
        {
            assert_eq!(format!("{:+.1}", tenths_of_seconds(ms)), shown, "{ms}");
        }
    }
}
