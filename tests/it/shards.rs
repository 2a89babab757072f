//! Several exporters on one API, each with a shard of the workflows and a ledger of its own.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::ApiEndpoint,
};
use futures::future::join_all;

use crate::{
    increase::growth,
    support::{Api, Process, Prometheus, Samples, free_address, run, scrape, wait_until},
};

const RUNS: &str = "cortex_workflow_runs_total";

/// So many that each shard has some, and their shares differ little.
const WORKFLOWS: usize = 60;

/// An API with workflows that have a history, and room for ledgers.
struct World {
    api: Api,
    ids: Vec<String>,
    directory: tempfile::TempDir,
    /// How many runs of each workflow failed that are to be counted.
    failed: BTreeMap<String, f64>,
}

/// An exporter with a shard.
struct Shard {
    process: Process,
    base: String,
}

impl World {
    async fn new() -> Self {
        let api = Api::start().await;
        let ids = (0..WORKFLOWS).map(|n| api.add_workflow(&format!("work_{n}")));
        let ids: Vec<_> = ids.collect();
        for id in &ids {
            api.finish_one(id, Status::Failed);
        }
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let failed = ids.iter().map(|id| (id.clone(), 0.0)).collect();
        Self { api, ids, directory, failed }
    }

    /// Where the exporter with this number keeps its numbers.
    fn ledger(&self, number: usize) -> String {
        format!("sqlite:{}/{number}.db", self.directory.path().display())
    }

    async fn shard_on(&self, address: &str, number: usize, of: usize) -> Shard {
        let shard = format!("--workflows.shard={number}/{of}");
        let mut process =
            Process::serve_on(address, &self.api, &self.ledger(number), &[shard.as_str()]);
        let base = process.ready_url().await;
        Shard { process, base }
    }

    /// All of so many, whose first poll cycle has ended.
    async fn shards(&self, of: usize) -> Vec<Shard> {
        join_all((1..=of).map(|number| self.shard_on("127.0.0.1:0", number, of))).await
    }

    /// A run of each workflow fails, to be counted.
    fn fails(&mut self) {
        for (id, failed) in &mut self.failed {
            self.api.finish_one(id, Status::Failed);
            *failed += 1.0;
        }
    }

    /// Waits until the shards together show what failed, and never more.
    async fn agrees(&self, shards: &[Shard]) {
        let seen = RefCell::default();
        let agrees = async || {
            let now = failures(&look(shards).await);
            for (id, count) in &now {
                assert!(*count <= self.failed[id], "{count} of {id}, not {}", self.failed[id]);
            }
            let agrees = now == self.failed;
            seen.replace(now);
            agrees.then_some(())
        };
        let evidence = || {
            let logs: String = shards.iter().map(|shard| shard.process.log()).collect();
            format!("shown: {:#?}\nfailed: {:#?}\n{logs}", seen.borrow(), self.failed)
        };
        wait_until("the shards show what failed", agrees, evidence).await;
    }
}

impl Shard {
    async fn ends(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.exit_code().await, 0, "{}", self.process.log());
    }
}

async fn look(shards: &[Shard]) -> Vec<Samples> {
    join_all(shards.iter().map(|shard| scrape(&shard.base))).await
}

/// The workflows that an exporter shows.
fn shown_by(samples: &Samples) -> BTreeSet<String> {
    let series = samples.matching(RUNS, &[]).map(|(series, _)| series);
    series.map(|series| series.labels["workflow_id"].clone()).collect()
}

/// The position of the one exporter that shows a workflow, by its id.
fn owners(looks: &[Samples]) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for (position, samples) in looks.iter().enumerate() {
        for id in shown_by(samples) {
            let other = owners.insert(id.clone(), position);
            assert_eq!(other, None, "{id} is shown twice");
        }
    }
    owners
}

/// The runs that failed, by workflow, as all together show them.
fn failures(looks: &[Samples]) -> BTreeMap<String, f64> {
    let mut failures = BTreeMap::new();
    for (series, value) in looks.iter().flat_map(|it| it.matching(RUNS, &[("status", "FAILED")])) {
        *failures.entry(series.labels["workflow_id"].clone()).or_default() += value;
    }
    failures
}

#[tokio::test]
async fn three_shards_read_and_count_each_workflow_once() {
    let mut world = World::new().await;
    let mut shards = world.shards(3).await;
    let owners = owners(&look(&shards).await);
    assert!(owners.keys().eq(world.failed.keys()), "each workflow is in a shard");
    world.fails();
    world.agrees(&shards).await;
    let alone = async || {
        let looks = look(&shards).await;
        let own = [0, 1, 2].map(|shard| requests(&looks[shard]));
        let asked = requests_by_shard(&world.api, &owners);
        (own == asked.map(f64::from)).then_some(asked)
    };
    let evidence = || format!("{:?}", requests_by_shard(&world.api, &owners));
    let asked = wait_until("each asks for its own workflows only", alone, evidence).await;
    let total: u32 = asked.iter().sum();
    let about_a_third = |asked: &u32| (total / 4..=total * 5 / 12).contains(asked);
    assert!(asked.iter().all(about_a_third), "{asked:?} of {total}");

    // What ends while one of them is gone is counted when it is back.
    shards[1].process.kill();
    world.fails();
    shards[1] = world.shard_on("127.0.0.1:0", 2, 3).await;
    world.agrees(&shards).await;
    assert_eq!(self::owners(&look(&shards).await), owners, "a workflow stays where it is");
}

/// How often an exporter asked for runs.
fn requests(samples: &Samples) -> f64 {
    let sum = |endpoint| {
        samples.sum("cortex_workflow_exporter_api_requests_total", &[("endpoint", endpoint)])
    };
    ["runs", "run"].into_iter().filter_map(sum).sum()
}

/// How often the API was asked for runs of the workflows of each of three shards.
fn requests_by_shard(api: &Api, owners: &BTreeMap<String, usize>) -> [u32; 3] {
    let mut asked = [0; 3];
    for request in api.simulator().requests() {
        if matches!(request.endpoint, Some(ApiEndpoint::Runs | ApiEndpoint::Run)) {
            let workflow = request.path.split('/').nth(4).expect("it is of a workflow");
            asked[owners[workflow]] += 1;
        }
    }
    asked
}

#[tokio::test]
async fn copies_of_the_ledgers_let_shards_divide_without_losing_a_run() {
    let mut world = World::new().await;
    let addresses = [(); 4].map(|()| free_address().to_string());
    let prometheus = Prometheus::start_for(&addresses, "").await;
    // Each exporter waits for what Prometheus has seen only once it has scraped it regularly.
    let scrapes = |address| format!("sum_over_time(up{{instance=\"{address}\"}}[1h])");
    let begin = async |world: &World, (number, of): (usize, usize)| {
        let address = &addresses[number - 1];
        let before = prometheus.wait_for(&scrapes(address)).await;
        let shard = world.shard_on(address, number, of).await;
        prometheus.wait_for(&format!("{} >= {before} + 3", scrapes(address))).await;
        shard
    };
    let start = async |world: &World, of: usize| {
        join_all((1..=of).map(|number| begin(world, (number, of)))).await
    };
    let mut two = start(&world, 2).await;
    let before = owners(&look(&two).await);
    world.fails();
    world.agrees(&two).await;
    world.fails();
    join_all(two.iter_mut().map(Shard::ends)).await;
    world.fails();
    for (old, new) in [(1, 3), (2, 4)] {
        let from = format!("--from={}", world.ledger(old));
        let to = format!("--to={}", world.ledger(new));
        let (code, _, stderr) = run(&["state", "copy", &from, &to], &[]).await;
        assert_eq!(code, 0, "{stderr}");
    }
    let four = start(&world, 4).await;
    world.fails();
    world.agrees(&four).await;
    let after = owners(&look(&four).await);
    assert!(after.keys().eq(world.failed.keys()), "each workflow is in a shard");
    for (id, shard) in after {
        assert_eq!(shard % 2, before[&id], "{id} is where the copy of its numbers is");
    }
    let all = world.failed.values().sum::<f64>();
    prometheus.wait_for(&format!("sum({RUNS}) == {all}")).await;
    let history = prometheus.samples(&format!("{RUNS}{{status=\"FAILED\"}}"), None).await;
    let mut grown = BTreeMap::new();
    for (series, samples) in &history {
        *grown.entry(series.labels["workflow_id"].clone()).or_default() += growth(samples);
    }
    assert_eq!(grown, world.failed, "what Prometheus adds up");
}

#[tokio::test]
async fn a_workflow_that_moves_to_an_exporter_with_another_ledger_begins_there_anew() {
    let mut world = World::new().await;
    let mut two = world.shards(2).await;
    let before = owners(&look(&two).await);
    world.fails();
    world.agrees(&two).await;
    let open = |id: &String| {
        let run = world.api.simulator().world(|world| world.create_run(id, Origin::Workflow));
        (id.clone(), run.expect("there is such a workflow"))
    };
    let open: Vec<_> = world.ids.iter().map(open).collect();
    join_all(two.iter_mut().map(Shard::ends)).await;
    world.fails();

    let three = world.shards(3).await;
    let after = owners(&look(&three).await);
    let moved: Vec<_> = world.ids.iter().filter(|id| after[*id] != before[*id]).collect();
    assert!((1..WORKFLOWS).contains(&moved.len()), "some move, some stay: {moved:?}");
    for id in moved {
        world.failed.insert(id.clone(), 0.0);
    }
    world.agrees(&three).await;
    for (id, run) in open {
        let ended = world.api.simulator().world(|world| world.finish_run(&run, Status::Failed));
        assert!(ended, "an open run can end");
        *world.failed.entry(id).or_default() += 1.0;
    }
    let new = world.api.add_workflow("work_new");
    world.api.finish_one(&new, Status::Failed);
    world.failed.insert(new, 1.0);
    world.agrees(&three).await;
    world.fails();
    world.agrees(&three).await;
}
