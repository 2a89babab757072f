//! A ledger is copied and divided into shards at any moment, and a server adds up what it scrapes.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const STORIES: u64 = 40;
const STEPS: usize = 60;

/// Exporters with a shard each; what happened, and what a server has seen of it.
struct Fleet {
    places: Vec<Place>,
    books: Vec<Book>,
    workflows: Vec<Workflow>,
    /// All runs of each workflow, the newest first. All have failed.
    runs: BTreeMap<WorkflowId, Vec<Run>>,
    /// The version of each exporter's state that was scraped last.
    scraped: Vec<u64>,
    /// What was scraped last, by exporter and workflow.
    seen: BTreeMap<(usize, WorkflowId), f64>,
    /// How much that grew, over all exporters.
    grown: BTreeMap<WorkflowId, f64>,
    now_ms: i64,
}

impl Fleet {
    async fn new() -> Self {
        let workflows: Vec<_> = (0..6).map(|n| workflow(&format!("w{n}"))).collect();
        let place = Place::sqlite();
        let settings = Settings { hold: true, ..settings(&place.lasting_url().await) };
        let mut fleet = Self {
            places: vec![place],
            books: vec![Book::open(settings).await],
            runs: workflows.iter().map(|it| (it.id.clone(), Vec::new())).collect(),
            workflows,
            scraped: vec![0],
            seen: BTreeMap::new(),
            grown: BTreeMap::new(),
            now_ms: COLD,
        };
        fleet.poll(0).await;
        fleet
    }

    fn run_fails(&mut self, at: usize) {
        let runs = self.runs.get_mut(&self.workflows[at].id).expect("it has a list");
        let id = format!("run{}", runs.len());
        runs.insert(0, fresh(&id, "FAILED", self.now_ms - COLD));
    }

    async fn poll(&mut self, at: usize) {
        let book = &mut self.books[at];
        book.now_ms = self.now_ms;
        book.list(&self.workflows).await;
        let state = book.ledger.state();
        for (id, _) in state.apps[&app()].published() {
            book.workflow = id.clone();
            book.read(&self.runs[id]).await;
        }
    }

    async fn scrape(&mut self, at: usize) {
        let ledger = &self.books[at].ledger;
        ledger.confirm(self.scraped[at], self.now_ms).await.expect("it is written");
        let state = ledger.state();
        self.scraped[at] = state.version;
        for (id, workflow) in state.apps[&app()].published() {
            let key = SeriesKey::new(Metric::Runs, &["FAILED", "WORKFLOW"]);
            let now = workflow.series[&key].shown().amount();
            let before = self.seen.insert((at, id.clone()), now).unwrap_or(now);
            assert!(before <= now, "{id} steps back from {before} to {now}");
            *self.grown.entry(id.clone()).or_default() += now - before;
        }
    }

    /// The exporter stops, and this number of shards go on with copies of its ledger.
    async fn divide(&mut self, of: u32) {
        let Some(Book { ledger, settings, .. }) = self.books.pop() else { panic!("there is one") };
        ledger.close().await.expect("it closes");
        drop(ledger);
        let mut urls = vec![settings.url.clone()];
        for _ in 1..of {
            let place = Place::sqlite();
            let url = place.lasting_url().await;
            copy(&settings.url, &url, |_, _| {}).await.expect("it is copied");
            urls.push(url);
            self.places.push(place);
        }
        for (number, url) in (1..).zip(urls) {
            let filter = WorkflowFilter { shard: Shard { number, of }, ..Default::default() };
            let settings = Settings { apps: vec![(app(), filter)], url, ..settings.clone() };
            self.books.push(Book::open(settings).await);
        }
        self.scraped = vec![0; self.books.len()];
    }
}

#[tokio::test]
async fn what_a_server_adds_up_over_a_division_is_what_happened() {
    for seed in 0..STORIES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new().await;
        let division = random.random_range(0..STEPS);
        for step in 0..STEPS {
            if step == division {
                fleet.divide(random.random_range(2..4)).await;
            }
            fleet.now_ms += SECOND;
            let at = random.random_range(0..fleet.books.len());
            match random.random_range(0..4) {
                0 | 1 => fleet.run_fails(random.random_range(0..6)),
                2 => fleet.poll(at).await,
                _ => fleet.scrape(at).await,
            }
        }
        for at in 0..fleet.books.len() {
            fleet.poll(at).await;
            for _ in 0..3 {
                fleet.scrape(at).await;
            }
        }
        let happened = fleet.runs.iter().map(|(id, runs)| (id.clone(), runs.len() as f64));
        assert_eq!(fleet.grown, happened.collect(), "story {seed}");
    }
}
