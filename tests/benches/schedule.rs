//! What polling costs in requests, and how late it finds the end of runs: the table in
//! src/poller/README.md.
//!
//! `cargo bench --bench schedule` prints it, in an hour or so; `-- 30 5000` measures 30 minutes of
//! 5,000 workflows only. Time is simulated, so the machine's speed changes nothing in it.

#[path = "../it/schedule/account.rs"]
mod account;

use std::time::{Duration, Instant};

use account::{Figures, Setting, live};
use cortex_workflow_exporter::{
    config::Poll,
    poller::{self, Workload, estimate},
    simulator::RunsCount,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How many workflows there are, and how long they are watched.
const ACCOUNTS: [(usize, Duration); 3] = [
    (100, HOUR.saturating_mul(48)),
    (1_000, HOUR.saturating_mul(12)),
    (5_000, HOUR.saturating_mul(2)),
];
/// How busy workflows are: how long it is from one run to the next.
const ACTIVITIES: [(&str, Option<Duration>); 3] = [
    ("a run a day", Some(Duration::from_secs(86_400))),
    ("a run an hour", Some(Duration::from_secs(3600))),
    ("a run every five minutes", Some(Duration::from_secs(300))),
];
/// The customer's data that makes a run about 9 KB.
const PADDING: usize = 8_700;
/// Part of each run's life in which it is open: pending for a second or so, then running for 46.
const OPEN_MINUTES: f64 = 0.79;

fn main() {
    let numbers = std::env::args().filter_map(|argument| argument.parse::<u32>().ok());
    let numbers: Vec<_> = numbers.collect();
    let minutes = numbers.first().copied();
    let only = numbers.get(1).map(|only| *only as usize);
    println!(
        "| workflows | each has | requests per minute: lists | runs | most in any minute | 429s | GB a \
         day | listed for each new run | decoded | delay: median | 99 % | calculated: requests/min | mean delay |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (workflows, long) in ACCOUNTS.into_iter().filter(|it| only.is_none_or(|only| it.0 == only))
    {
        let measured = minutes.map_or(long, |minutes| MINUTE * minutes);
        for (activity, every) in ACTIVITIES {
            let (padding, history) = (PADDING, 200);
            let setting = Setting { workflows, every, history, ..Setting::default() };
            row(activity, &Setting { padding, measured, ..setting });
        }
    }
    if only.is_none() {
        others();
    }
}

/// What else there is to know.
fn others() {
    println!("\nWithout a number of runs:\n");
    for workflows in [100, 1_000] {
        let (every, runs_count) = (Some(HOUR), RunsCount::Absent);
        let setting = Setting { workflows, every, runs_count, ..Setting::default() };
        row("a run an hour", &Setting { measured: 6 * HOUR, ..setting });
    }
    println!("\nNothing happens:\n");
    row("no run", &Setting { workflows: 300, measured: 24 * HOUR, ..Setting::default() });
    println!("\nThe first cycle:\n");
    // The API's twenty million runs take 5 GB.
    for (workflows, history) in [(10, 20_000), (1_000, 20_000)] {
        let figures = live(&Setting { workflows, history, measured: MINUTE, ..Setting::default() });
        let Figures { first_cycle, first_requests, .. } = figures;
        println!(
            "{workflows} workflows with {history} old runs: {first_requests} requests in \
             {first_cycle:.0?}"
        );
    }
}

fn row(activity: &str, setting: &Setting) {
    let begun = Instant::now();
    let figures = live(setting);
    assert_eq!((figures.missing, figures.surplus), (0, 0), "all runs are counted once");
    let expected = expected(setting);
    println!(
        "| {} | {activity} | {:.0} | {:.0} | {} | {} | {:.1} | {:.0} | {:.0} | {:.0} s | {:.0} s | {:.0} | {:.0} s |",
        setting.workflows,
        figures.lists,
        figures.requests - figures.lists,
        figures.most_sliding.max(figures.most_fixed),
        figures.refused,
        figures.traffic.bytes as f64 * 86_400.0 / setting.measured.as_secs_f64() / 1e9,
        figures.traffic.runs as f64 / figures.delays.len() as f64,
        figures.runs_read as f64 / figures.delays.len() as f64,
        figures.delay(0.5),
        figures.delay(0.99),
        expected.requests(),
        expected.mean_delay.as_secs_f64(),
    );
    eprintln!("{} runs, simulated in {:.0?}", figures.delays.len(), begun.elapsed());
}

fn expected(setting: &Setting) -> poller::Estimate {
    let workflows = setting.workflows as f64;
    let each = setting.every.map_or(0.0, |every| 60.0 / every.as_secs_f64());
    let open = workflows * (1.0 - (-each * OPEN_MINUTES).exp());
    let uncounted = setting.runs_count == RunsCount::Absent;
    let account = Workload {
        list_requests: setting.workflows.div_ceil(95) as u32,
        followed: setting.workflows as u32,
        open: open as u32,
        uncounted: if uncounted { (workflows - open) as u32 } else { 0 },
        runs_per_minute: workflows * each,
    };
    let (interval, sweep_interval) = (Duration::from_secs(30), setting.sweep_interval);
    estimate(&account, &Poll { interval, sweep_interval }, 400)
}
