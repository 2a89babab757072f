//! What `check` tells of a configuration.

use std::{fs, process::Command};

use cortex_workflow_exporter::{
    model::Status,
    simulator::{Fault, Rule, RunsCount, SimulatedWorkflow},
};

use crate::support::{
    Api, ConfigFile, KEY, Process, Samples, ledger_url, python, run, scrape, wait_until,
};

/// Runs `check` for this API; the exit code and what it wrote.
async fn check(api: &Api, more: &[&str]) -> (i32, String, String) {
    let url = format!("--cortex.api-url={}", api.url());
    let first = ["check", &url, "--cortex.timeout=1s"];
    let arguments: Vec<_> = first.into_iter().chain(more.iter().copied()).collect();
    run(&arguments, &[("CORTEX_API_KEY", KEY)]).await
}

/// The cells of the first row that begins with these.
fn row<'t>(text: &'t str, begins: &[&str]) -> Vec<&'t str> {
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|cells| cells.starts_with(begins));
    row.unwrap_or_else(|| panic!("no row begins with {begins:?}:\n{text}"))
}

#[tokio::test]
async fn it_shows_what_would_be_exported_and_touches_no_ledger() {
    let api = Api::start().await;
    api.simulator().world(|world| {
        for (id, count) in [("work_one", RunsCount::Ever), ("work_two", RunsCount::Absent)] {
            let mut workflow = SimulatedWorkflow::new(&format!("Name of {id}")).with_id(id);
            workflow.runs_count = count;
            world.add_workflow(workflow);
        }
    });
    api.add_workflow("work_skipped");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let state = format!("--state.url={}", ledger_url(directory.path()));
    let flags = ["--workflows.exclude=work_skipped", &state, "--metrics.hold-timeout=1m"];
    let (code, stdout, stderr) = check(&api, &flags).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(row(&stdout, &["c", "work_one"]).last(), Some(&"yes"));
    assert_eq!(row(&stdout, &["c", "work_two"])[5..], ["?", "yes"]);
    assert_eq!(row(&stdout, &["c", "work_skipped"]).last(), Some(&"no"));
    assert_eq!(row(&stdout, &["c", "3"])[..3], ["c", "3", "2"]);
    // A list and the workflow without a number, every 30 seconds; a sweep of the other in 5 minutes.
    let requests = row(&stdout, &["Requests:"]);
    assert_eq!(requests[1..6], ["4.2", "a", "minute", "of", "400"], "{stdout}");
    assert!(stdout.contains("after its end on average") && stdout.contains("does not exist yet"));
    let series: usize = row(&stdout, &["Series:"])[1].parse().expect("a number");
    assert!(series > 100, "{stdout}");
    assert!(!stdout.contains(KEY) && !stderr.contains(KEY));
    let written = directory.path().read_dir().expect("it can be listed");
    assert_eq!(written.count(), 0, "nothing was written");
    let megabytes = "Megabytes: 6 a day for the lists; no run was read\n";
    assert!(stdout.contains(megabytes), "{stdout}");
    assert_eq!(api.simulator().requests().len(), 2, "the list, and a page of runs");
}

#[tokio::test]
async fn a_rejected_key_ends_it_with_4_and_anything_else_with_1() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    for (rule, expected, part) in [
        (Rule::new(Fault::status(401)), 4, "the Cortex API rejected the key with 401"),
        (Rule::new(Fault::status(404)), 1, "check --cortex.app-id"),
        (Rule::new(Fault::html()), 1, "website or a proxy"),
        (Rule::new(Fault::Disconnect), 1, "no answer from the Cortex API"),
    ] {
        api.simulator().inject(rule);
        let (code, stdout, stderr) = check(&api, &["--state.url=sqlite::memory:"]).await;
        api.simulator().clear_faults();
        assert_eq!(code, expected, "{stdout}\n{stderr}");
        assert!(stderr.contains(part) && !stderr.contains(KEY), "{stderr}");
        assert!(stdout.contains("The configuration is valid."), "{stdout}");
    }
}

#[tokio::test]
async fn all_problems_are_told_together() {
    let (good, bad) = (Api::start().await, Api::start().await);
    good.add_workflow("work_one");
    bad.simulator().inject(Rule::new(Fault::status(403)));
    let file = ConfigFile::new(&format!(
        "cortex: {{api_key_file: key}}\nstate: {{url: 'sqlite:no/such/ledger.db'}}\napps:\n\
         - app_id: c\n  api_url: {}\n- app_id: app_2\n  api_url: {}\n",
        good.url(),
        bad.url()
    ));
    file.write("key", KEY);
    let (code, stdout, stderr) = run(&["check", &file.flag()], &[]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("2 problems"), "{stderr}");
    assert!(stderr.contains("no/such/ledger.db"), "{stderr}");
    assert!(stderr.contains("app app_2: the Cortex API rejected the key with 403"), "{stderr}");
    assert_eq!(row(&stdout, &["c", "work_one"]).last(), Some(&"yes"), "{stdout}");
    file.write("config.yml", "poll: {interval: soon}\nlog: {level: loud}\n");
    let (code, stdout, stderr) = run(&["check", &file.flag()], &[]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    for part in ["config.yml:1:18", "config.yml:2:14", "there is no API key"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test]
async fn it_says_whether_the_ledger_s_place_can_be_used() {
    let api = Api::start().await;
    api.add_workflow("work_one");
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let url = ledger_url(directory.path());
    let state = format!("--state.url={url}");
    let mut exporter = Process::serve(&api, &url, &[]);
    exporter.ready_url().await;
    let (code, stdout, stderr) = check(&api, &[&state]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("in use by a running exporter"), "{stdout}");
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    let file = directory.path().join("ledger.db");
    let before = fs::read(&file).expect("the ledger is there");
    let (code, stdout, stderr) = check(&api, &[&state]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("exists, and is free"), "{stdout}");
    assert!(fs::read(&file).expect("the ledger is there") == before, "it was left as it is");
    fs::write(&file, "dear diary, ".repeat(100)).expect("the file can be written");
    let (code, _, stderr) = check(&api, &[&state]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("not a ledger of this exporter"), "{stderr}");
}

#[tokio::test]
async fn what_a_crash_left_in_the_log_of_a_ledger_is_seen_and_left_there() {
    let api = Api::start().await;
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let url = ledger_url(directory.path());
    let mut exporter = Process::serve(&api, &url, &[]);
    exporter.ready_url().await;
    exporter.terminate();
    assert_eq!(exporter.exit_code().await, 0, "{}", exporter.log());
    let state = format!("--state.url={url}");
    let (code, stdout, stderr) = check(&api, &[&state]).await;
    assert_eq!((code, stdout.contains("exists, and is free")), (0, true), "{stdout}{stderr}");
    // A newer version migrates it, and is killed at once.
    let newer = r#"
import os, signal, sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
ledger.execute(
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)"
    " VALUES (9999, 'from the future', TRUE, x'00', 0)"
)
os.kill(os.getpid(), signal.SIGKILL)"#;
    let files = ["ledger.db", "ledger.db-wal"].map(|file| directory.path().join(file));
    let mut command = Command::new(python());
    command.arg("-c").arg(newer).arg(&files[0]);
    let mut newer = Process::start(command);
    assert_eq!(newer.exit_code().await, -1, "{}", newer.log());
    let contents = || files.each_ref().map(|file| fs::read(file).expect("it is there"));
    let before = contents();
    assert!(!before[1].is_empty(), "something is in the log only");
    let (code, _, stderr) = check(&api, &[&state]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("a newer version of this exporter (schema 9999"), "{stderr}");
    assert!(contents() == before, "both were left as they are");
}

#[tokio::test]
async fn what_may_not_be_as_intended_is_noted() {
    let api = Api::start().await;
    for number in 0..60 {
        api.add_workflow(&format!("work_{number}"));
    }
    api.simulator().world(|world| world.date_skew_ms = 60_000);
    let flags = ["--state.url=sqlite::memory:", "--cortex.rate-limit=1", "--poll.interval=10s"];
    let (code, stdout, stderr) = check(&api, &flags).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("… and 10 more"), "{stdout}");
    assert!(stdout.contains("\nLedger: in memory (lost when the exporter ends)\n"), "{stdout}");
    for part in ["note: app c: the API's clock", "than --cortex.rate-limit allows"] {
        assert!(stderr.contains(part), "{part} is missing: {stderr}");
    }
    let full = ["--state.url=sqlite::memory:", "--metrics.max-series=100"];
    let (_, stdout, _) = check(&api, &full).await;
    let others = stdout.lines().filter(|line| line.ends_with("as _other")).count();
    assert_eq!(others, 48, "there is room for two of the fifty that are shown: {stdout}");
    let nothing = ["--state.url=sqlite::memory:", "--workflows.include=nothing"];
    let (code, _, stderr) = check(&api, &nothing).await;
    assert_eq!(code, 0);
    assert!(stderr.contains("note: app c: nothing would be exported"), "{stderr}");
}

/// Two apps, of which everything is known: their workflows, runs, clocks and rates.
struct World {
    apis: [Api; 2],
    file: ConfigFile,
}

impl World {
    async fn start() -> Self {
        let apis = [Api::start().await, Api::start().await];
        apis[0].simulator().world(|world| {
            for (id, count) in [("work_one", RunsCount::Ever), ("work_two", RunsCount::Absent)] {
                let mut workflow = SimulatedWorkflow::new(&format!("Name of {id}")).with_id(id);
                workflow.runs_count = count;
                world.add_workflow(workflow);
            }
            world.date_skew_ms = -90_000;
        });
        apis[0].add_workflow("work_skipped");
        for _ in 0..3 {
            apis[0].finish_one("work_one", Status::Failed);
        }
        apis[1].simulator().world(|world| {
            world.app_id = "app_2".into();
            for number in 0..150 {
                let workflow = SimulatedWorkflow::new(&format!("Number {number}"));
                world.add_workflow(workflow.with_id(&format!("other_{number:03}")));
            }
        });
        let file = ConfigFile::new("");
        file.write("key", KEY);
        let world = Self { apis, file };
        world.configure("work_skipped", "interval: 30s, sweep_interval: 5m", 400);
        world
    }

    /// Leaves these workflows out, and polls like this.
    fn configure(&self, exclude: &str, poll: &str, rate_limit: u32) {
        let [one, other] = self.apis.each_ref().map(Api::url);
        let text = format!(
            "cortex: {{api_key_file: key, rate_limit: {rate_limit}}}\nstate: {{url: 'sqlite:ledger.db'}}\n\
             workflows: {{exclude: [{exclude}]}}\nweb: {{listen_address: '127.0.0.1:0'}}\n\
             poll: {{{poll}}}\napps:\n\
             - app_id: c\n  api_url: {one}\n- app_id: app_2\n  api_url: {other}\n"
        );
        self.file.write("config.yml", &text);
    }

    async fn check(&self) -> (String, String) {
        let (code, stdout, stderr) = run(&["check", &self.file.flag()], &[]).await;
        assert_eq!(code, 0, "{stderr}");
        (stdout, stderr)
    }
}

/// The number behind these words.
fn number(text: &str, before: &str) -> f64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in:\n{text}"));
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".+-".contains(c)).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|error| panic!("{before}{rest}: {error}"))
}

#[tokio::test]
async fn every_line_is_true_of_a_world_that_is_known() {
    let world = World::start().await;
    let (stdout, stderr) = world.check().await;
    let (lines, numbers) = stdout.split_once("\nAPP    WORKFLOWS ").expect("two tables");
    let mut expected = format!(
        "The configuration is valid.\n\
         Ledger: {} (does not exist yet; the first start creates it)\n\n\
         APP    WORKFLOW      NAME                   RUNS  EXPORTED\n\
         c      work_one      Name of work_one       3     yes\n\
         c      work_skipped  Workflow work_skipped  0     no\n\
         c      work_two      Name of work_two       ?     yes\n",
        world.file.path("ledger.db").display()
    );
    for number in 0..47 {
        let name = format!("Number {number}");
        expected.extend([&*format!("app_2  other_{number:03}     {name:21}  0     yes"), "\n"]);
    }
    assert_eq!(lines, expected + "… and 103 more\n");
    assert_eq!(row(numbers, &["c"])[1..3], ["3", "2"]);
    assert_eq!(row(numbers, &["app_2"])[1..3], ["150", "150"]);
    // The API's clock is told in whole seconds.
    let skews = [("c      3          2         ", -90.0), ("app_2  150        150       ", 0.0)];
    for (before, skew) in skews {
        assert!((number(numbers, before) - skew).abs() <= 1.5, "{numbers}");
    }
    // Every 30 seconds one page of workflows, and two of the other app; the workflow without a number
    // of runs; in five minutes, each of the other 151.
    let requests = "Requests: 38.2 a minute of 400 (lists 6.0, readings 2.0, sweeps 30.2)\n";
    assert!(numbers.contains(requests), "{numbers}");
    // About 90 KB of lists each time; 151 sweeps of ten runs, and once a day of a hundred.
    let megabytes = number(numbers, "Megabytes: ");
    assert!((450.0..650.0).contains(&megabytes), "{numbers}");
    let delays = "A run is counted 15 s after its end on average, 31 s at the most; 303 s where the \
                  list of workflows does not show it\n";
    assert!(numbers.contains(delays), "{numbers}");
    let note = "note: app c: the API's clock and this one differ by ";
    assert!(stderr.starts_with(note) && stderr.lines().count() == 1, "{stderr}");
    assert!((number(&stderr, note) + 90.0).abs() <= 1.5, "{stderr}");
}

/// What it announces of series and requests is what `serve` comes to.
#[tokio::test]
async fn what_it_announces_is_what_comes() {
    let world = World::start().await;
    let poll = "interval: 1s, sweep_interval: 1h";
    world.configure("work_skipped, other_000", poll, 100_000);
    let fewer = number(&world.check().await.0, "Series: ");
    world.configure("work_skipped", poll, 100_000);
    let (stdout, _) = world.check().await;
    let series = number(&stdout, "Series: ");
    assert!(stdout.contains("(lists 180.0, readings 60.0, sweeps 2.5)"), "{stdout}");
    let mut exporter = Process::spawn(&["serve", &world.file.flag()], &[]);
    let url = exporter.ready_url().await;
    let before = scrape(&url).await;
    // When a workflow was read, and when its runs ended, is not known before.
    let there = before.values.keys().filter(|series| !series.name.ends_with("_timestamp_seconds"));
    let (of_workflows, own): (Vec<_>, Vec<_>) =
        there.partition(|series| series.labels.contains_key("workflow_id"));
    let of_one = of_workflows.iter().filter(|it| it.labels["workflow_id"] == "other_000").count();
    assert_eq!(series - fewer, of_one as f64, "{stdout}");
    // What the exporter counts of itself differs by what it has done.
    let difference = series - (of_workflows.len() + own.len()) as f64;
    assert!(
        difference.abs() < 60.0,
        "{series} are announced: {} and {}",
        of_workflows.len(),
        own.len()
    );
    // A page of workflows and one of runs in each cycle; two pages in those of the other app.
    let polls = |samples: &Samples, app: &str| {
        samples.sum("cortex_workflow_exporter_polls_total", &[("app_id", app)]).unwrap_or(0.0)
    };
    let counts = || world.apis.each_ref().map(|api| api.simulator().request_counts().total as f64);
    let first = counts();
    let before = scrape(&url).await;
    let more = async || {
        let samples = scrape(&url).await;
        let polled = ["c", "app_2"].map(|app| polls(&samples, app) - polls(&before, app));
        (polled[0].min(polled[1]) >= 6.0).then_some((polled, counts()))
    };
    let (polled, last) = wait_until("it polls", more, || exporter.log()).await;
    for app in 0..2 {
        let requests = (last[app] - first[app]) / polled[app];
        // What is under way at either end counts for one of the two only.
        assert!((1.5..2.5).contains(&requests), "{requests} requests in each cycle");
    }
}

#[tokio::test]
async fn it_says_into_how_many_shards_the_workflows_can_be_divided() {
    let api = Api::start().await;
    api.simulator().world(|world| {
        for number in 0..20 {
            let mut workflow = SimulatedWorkflow::new(&format!("Flow {number}"));
            workflow.runs_count = RunsCount::Absent;
            world.add_workflow(workflow);
        }
    });
    // Each of 20 takes 2 requests a minute, and so does the list, which each shard reads.
    let (code, _, stderr) = check(&api, &["--cortex.rate-limit=10"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("5 exporters on 5 different addresses"), "{stderr}");
    assert!(stderr.contains("--workflows.shard=1/5 to --workflows.shard=5/5"), "{stderr}");
    let mut exported = 0;
    for shard in ["--workflows.shard=1/2", "--workflows.shard=2/2"] {
        let (code, stdout, stderr) = check(&api, &[shard]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        let followed: u32 = row(&stdout, &["c", "20"])[2].parse().expect("a number");
        assert!(followed > 0 && followed < 20, "{stdout}");
        exported += followed;
    }
    assert_eq!(exported, 20, "each is in one of them");
}
