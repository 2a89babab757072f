//! Kills the exporter again and again while runs end, and compares with the truth.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{Direction, Form, OrderBy, SimulatedWorkflow, Totals},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{Api, Process, Samples, Series, ledger_url, scrape, wait_until};

/// How often it is killed.
const ROUNDS: u32 = 10;

#[tokio::test]
async fn kills_at_random_moments_lose_nothing_count_nothing_twice_and_lower_nothing() {
    let api = Api::start().await;
    let ids = workflows(&api);
    // Ended before the exporter first ran: history, which it doesn't count.
    for id in &ids {
        api.finish_one(id, Status::Failed);
    }
    let history = truth(&api);
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let url = ledger_url(directory.path());
    let mut random = StdRng::seed_from_u64(20_231_225);
    let mut life = Life::default();
    let mut witness = Witness::default();
    // A replay moves no number in the list of workflows, so only a sweep finds it.
    let more = ["--poll.sweep-interval=1s"];
    let mut exporter = Process::serve(&api, &url, &more);
    exporter.ready_url().await;
    for round in 0..ROUNDS {
        let base = exporter.url().await;
        for _ in 0..random.random_range(5..60) {
            life.happens(&api, &ids, &mut random);
            let pause = Duration::from_millis(random.random_range(0..40));
            tokio::time::sleep(pause).await;
            witness.sees(&scrape(&base).await, round);
        }
        exporter.kill();
        for _ in 0..random.random_range(0..8) {
            life.happens(&api, &ids, &mut random);
        }
        exporter = Process::serve(&api, &url, &more);
        let base = exporter.ready_url().await;
        let samples = agreement(&api, &history, &base, &exporter).await;
        witness.sees(&samples, round);
        // The exporter has seen these end, so that a replay is another attempt to it.
        life.settle();
    }
    assert!(witness.looks > 100, "it was looked at often enough");
}

/// Lists in every order, in both forms, so that each way of reading is interrupted.
fn workflows(api: &Api) -> Vec<String> {
    let orders = [
        (Direction::NewestFirst, Form::Newest),
        (Direction::OldestFirst, Form::First),
        (Direction::Shuffled, Form::Mixed),
    ];
    let add = |(index, (direction, form)): (usize, (Direction, Form))| {
        let workflow = SimulatedWorkflow::new(&format!("Workflow {index}"))
            .with_order(OrderBy::Created, direction)
            .with_form(form)
            .with_step("only", "model");
        api.simulator().world(|world| world.add_workflow(workflow))
    };
    orders.into_iter().enumerate().map(add).collect()
}

/// Runs as they come, go and come back.
#[derive(Default)]
struct Life {
    open: Vec<String>,
    /// Ended since the exporter last agreed with the truth: a replay would hide such an end.
    fresh: Vec<String>,
    /// Worked on, ended, and known to have been counted. Of a run that ended without a start and is
    /// replayed between two polls, nothing tells that these were two attempts.
    counted: Vec<String>,
}

impl Life {
    fn happens(&mut self, api: &Api, ids: &[String], random: &mut StdRng) {
        let workflow = &ids[random.random_range(0..ids.len())];
        let origin = Origin::PREDEFINED[random.random_range(0..3)].clone();
        let status = Status::FINISHED[random.random_range(0..4)].clone();
        let which = random.random_range(0..1000_usize);
        api.simulator().world(|world| match random.random_range(0..10) {
            0..4 => self.open.extend(world.create_run(workflow, origin)),
            4..6 if !self.open.is_empty() => {
                world.start_run(&self.open[which % self.open.len()]);
            }
            6..9 if !self.open.is_empty() => {
                let run = self.open.swap_remove(which % self.open.len());
                assert!(world.finish_run(&run, status), "an open run can end");
                if world.run(&run).is_some_and(|run| run.started_at.is_some()) {
                    self.fresh.push(run);
                }
            }
            9 if !self.counted.is_empty() => {
                let run = self.counted.swap_remove(which % self.counted.len());
                assert!(world.replay_run(&run), "a finished run can be replayed");
                self.open.push(run);
            }
            _ => {}
        });
    }

    fn settle(&mut self) {
        self.counted.append(&mut self.fresh);
    }
}

fn truth(api: &Api) -> Totals {
    api.simulator().world(|world| world.totals())
}

/// Waits until each total is the truth's, none above it on the way.
async fn agreement(api: &Api, history: &Totals, base: &str, exporter: &Process) -> Samples {
    let truth: BTreeMap<_, _> = truth(api)
        .into_iter()
        .map(|(key, count)| {
            let count = count - history.get(&key).copied().unwrap_or(0);
            (key, count as f64)
        })
        .collect();
    let told = |samples: &Samples| {
        let told = |(workflow, status, origin): &(String, Status, Origin)| {
            let labels = [
                ("workflow_id", workflow.as_str()),
                ("status", status.as_str()),
                ("origin", origin.as_str()),
            ];
            samples.sum("cortex_workflow_runs_total", &labels)
        };
        let of = |key| (key, told(key).unwrap_or(0.0));
        truth.keys().map(of).collect::<BTreeMap<_, _>>()
    };
    let last = RefCell::new(String::new());
    let agrees = async || {
        let samples = scrape(base).await;
        let told = told(&samples);
        for (key, count) in &told {
            let real = truth[*key];
            assert!(*count <= real, "{key:?} is {count}, above the real {real}");
        }
        let told_and_real = told.iter().map(|(key, count)| (*key, *count, truth[*key]));
        let differing = told_and_real.filter(|(_, told, real)| told != real);
        *last.borrow_mut() = format!("{:#?}", differing.collect::<Vec<_>>());
        let equal = told.iter().all(|(key, count)| truth[*key] == *count);
        let all = samples.sum("cortex_workflow_runs_total", &[]);
        (equal && all == Some(truth.values().sum())).then_some(samples)
    };
    let evidence = || {
        let exporter = exporter.log();
        format!("told and real:\n{}\n{exporter}", last.borrow())
    };
    wait_until("the totals agree with the truth", agrees, evidence).await
}

/// Remembers what was shown.
#[derive(Default)]
struct Witness {
    shown: BTreeMap<Series, f64>,
    looks: usize,
}

impl Witness {
    /// Nothing that outlives the process may fall or vanish.
    fn sees(&mut self, samples: &Samples, round: u32) {
        let lasting = |series: &Series| {
            series.name.starts_with("cortex_workflow_")
                && !series.name.starts_with("cortex_workflow_exporter_")
        };
        let now: BTreeMap<_, _> = samples
            .growing()
            .filter(|(series, _)| lasting(series))
            .map(|(series, value)| (series.clone(), value))
            .collect();
        for (series, before) in &self.shown {
            let value = now.get(series);
            assert!(
                value.is_some_and(|value| value >= before),
                "round {round}: {series} was {before} and is {value:?}"
            );
        }
        assert!(!now.is_empty(), "round {round}: there is nothing to compare");
        self.shown = now;
        self.looks += 1;
    }
}
