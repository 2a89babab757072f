//! Whatever the API does: nothing that is exposed falls or vanishes, nothing is lost or counted
//! twice, and the key goes to nobody.

use std::time::Duration;

use cortex_workflow_exporter::{
    model::Status,
    simulator::{ApiEndpoint, Fault, Rule},
};
use tokio::{net::TcpListener, time::timeout};

use crate::support::{Api, KEY, Process, Samples, get, ledger_url, run, scrape, wait_until};

/// What the exporter makes of a trouble.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// The cycle fails or is partial, and `up` tells.
    Down,
    /// Retries get around it, so nobody need know.
    Hidden,
    /// Just as if one workflow were gone: only its data grows old.
    Overdue,
}

/// An exporter that has counted one run of each of two workflows.
struct Scene {
    api: Api,
    exporter: Process,
    url: String,
    before: Samples,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let api = Api::start().await;
        for workflow in ["work_one", "work_two"] {
            api.add_workflow(workflow);
        }
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let more = ["--cortex.timeout=1s", "--poll.sweep-interval=1s"];
        let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &more);
        let url = exporter.ready_url().await;
        for workflow in ["work_one", "work_two"] {
            api.finish_one(workflow, Status::Failed);
        }
        let mut scene =
            Self { api, exporter, url, before: Samples::default(), _directory: directory };
        scene.before = scene.counts(1.0).await;
        scene
    }

    /// Waits until so many runs of each workflow are counted, and then for two more polls, which
    /// must not change that.
    async fn counts(&self, runs: f64) -> Samples {
        let counted = async || {
            let samples = scrape(&self.url).await;
            let of = |workflow| failed(&samples, workflow);
            assert!(of("work_one") <= runs && of("work_two") <= runs, "too many");
            (of("work_one") == runs && of("work_two") == runs).then_some(samples)
        };
        let what = format!("{runs} runs of each workflow are counted");
        self.wait(&what, counted).await;
        let polls = successes(&scrape(&self.url).await);
        let settled = async || {
            let samples = counted().await.expect("what was counted stays so");
            (successes(&samples) >= polls + 2.0).then_some(samples)
        };
        self.wait("two more polls succeed", settled).await
    }

    async fn wait<T>(&self, what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
        let requests = || format!("{:#?}", self.api.simulator().request_counts());
        let evidence = || format!("{}\n{}", requests(), self.exporter.log());
        wait_until(what, ask, evidence).await
    }

    /// Everything that the API does wrong goes on while runs end; then it recovers.
    async fn survives(self, rule: Rule, expected: Expected) {
        self.api.simulator().inject(rule);
        for workflow in ["work_one", "work_two"] {
            api_ends_two(&self.api, workflow);
        }
        let met = async || {
            let samples = scrape(&self.url).await;
            self.nothing_fell(&samples);
            let up = samples.sum("cortex_workflow_exporter_up", &[]);
            let ready = get(&format!("{}/-/ready", self.url)).await;
            assert_eq!(ready.0, 200, "{}", ready.1);
            let retries = samples.sum("cortex_workflow_exporter_api_retries_total", &[]);
            match expected {
                Expected::Down => (up == Some(0.0)).then_some(()),
                Expected::Hidden => {
                    assert_eq!(up, Some(1.0));
                    (retries > Some(0.0)).then_some(())
                }
                Expected::Overdue => {
                    let lag = samples.sum("cortex_workflow_exporter_poll_lag_seconds", &[]);
                    (lag > Some(2.0)).then_some(())
                }
            }
        };
        self.wait("the trouble is met", met).await;
        self.api.simulator().clear_faults();
        let after = self.counts(3.0).await;
        self.nothing_fell(&after);
        let up = after.sum("cortex_workflow_exporter_up", &[]);
        assert_eq!(up, Some(1.0));
        self.key_stays_hidden().await;
    }

    fn nothing_fell(&self, samples: &Samples) {
        for (series, before) in self.before.growing() {
            let now = samples.values.get(series).copied();
            assert!(now.is_some_and(|now| now >= before), "{series} was {before} and is {now:?}");
        }
        for series in self.before.values.keys() {
            // Gauges of what is under way come and go.
            let gone = !samples.values.contains_key(series);
            assert!(!gone || series.name.contains("oldest_active"), "{series}");
        }
    }

    async fn key_stays_hidden(&self) {
        for page in ["/metrics", "/", "/-/ready", "/-/healthy"] {
            let (_, body) = get(&format!("{}{page}", self.url)).await;
            assert!(!body.contains(KEY), "{page} shows the key");
        }
        let log = self.exporter.log();
        assert!(!log.contains(KEY), "the log shows the key");
    }
}

fn api_ends_two(api: &Api, workflow: &str) {
    for _ in 0..2 {
        api.finish_one(workflow, Status::Failed);
    }
}

fn failed(samples: &Samples, workflow: &str) -> f64 {
    let labels = [("workflow_id", workflow), ("status", "FAILED")];
    let sum = samples.sum("cortex_workflow_runs_total", &labels);
    sum.expect("the series is there from the start")
}

fn successes(samples: &Samples) -> f64 {
    let labels = [("result", "success")];
    samples.sum("cortex_workflow_exporter_polls_total", &labels).unwrap_or(0.0)
}

macro_rules! troubles {
    ($($name:ident: $rule:expr => $expected:ident,)+) => { $(
        #[tokio::test]
        async fn $name() {
            Scene::start().await.survives($rule, Expected::$expected).await;
        }
    )+ };
}

troubles! {
    a_key_that_is_rejected: Rule::new(Fault::status(401)) => Down,
    a_key_that_may_not: Rule::new(Fault::status(403)) => Down,
    runs_of_one_workflow_that_are_gone:
        Rule::new(Fault::status(404)).on(ApiEndpoint::Runs).containing("work_one") => Overdue,
    throttling_that_does_not_say_how_long:
        Rule::new(Fault::status(429)).on(ApiEndpoint::Workflows) => Down,
    throttling_that_says_how_long: Rule::new(Fault::throttled("1")).times(2) => Hidden,
    an_internal_error: Rule::new(Fault::status(500)) => Down,
    an_internal_error_that_passes: Rule::new(Fault::status(500)).times(1) => Hidden,
    an_outage: Rule::new(Fault::status(503)) => Down,
    an_outage_of_one_workflow:
        Rule::new(Fault::status(503)).on(ApiEndpoint::Runs).containing("work_two") => Down,
    a_page_for_people: Rule::new(Fault::html()) => Down,
    what_is_not_json: Rule::new(Fault::not_json()) => Down,
    an_answer_that_breaks_off: Rule::new(Fault::Truncate) => Down,
    an_answer_that_never_comes: Rule::new(Fault::Hang) => Down,
    a_connection_that_closes: Rule::new(Fault::Disconnect) => Down,
    a_connection_that_closes_once: Rule::new(Fault::Disconnect).times(1) => Hidden,
    an_endless_answer: Rule::new(Fault::Huge(u64::MAX)) => Down,
    an_object_instead_of_a_list: Rule::new(Fault::Body {
        content_type: "application/json".into(),
        text: "{}".into(),
    }) => Down,
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_that_no_other_host_sees_the_key() {
    let scene = Scene::start().await;
    let other = TcpListener::bind("127.0.0.1:0").await;
    let other = other.expect("loopback has a free port");
    let address = other.local_addr().expect("a listener has an address");
    let redirect = Fault::Redirect(format!("http://{address}/"));
    scene.survives(Rule::new(redirect), Expected::Down).await;
    // A connection would wait in the listener's queue by now.
    let contact = timeout(Duration::from_millis(100), other.accept()).await;
    assert!(contact.is_err(), "somebody else was asked");
}

#[tokio::test]
async fn an_empty_list_that_comes_in_error_takes_no_workflow_away() {
    let scene = Scene::start().await;
    let empty = Fault::Body { content_type: "application/json".into(), text: "[]".into() };
    let lists = Rule::new(empty).on(ApiEndpoint::Workflows);
    let polls = successes(&scene.before);
    scene.api.simulator().inject(lists);
    let polled = async || {
        let samples = scrape(&scene.url).await;
        scene.nothing_fell(&samples);
        (successes(&samples) >= polls + 2.0).then_some(())
    };
    scene.wait("it is polled on", polled).await;
    scene.api.simulator().clear_faults();
    for workflow in ["work_one", "work_two"] {
        api_ends_two(&scene.api, workflow);
    }
    scene.counts(3.0).await;
}

#[tokio::test]
async fn once_tells_a_rejected_key_from_an_api_that_is_down_by_its_exit_code() {
    let api = Api::start().await;
    for workflow in ["work_one", "work_two"] {
        api.add_workflow(workflow);
    }
    let url = format!("--cortex.api-url={}", api.url());
    let arguments = ["once", &url, "--cortex.timeout=1s"];
    for (rule, key, expected) in [
        (None, KEY, 0),
        (None, "another-key", 4),
        (Some(Rule::new(Fault::status(401))), KEY, 4),
        (Some(Rule::new(Fault::status(403)).on(ApiEndpoint::Workflows)), KEY, 4),
        (Some(Rule::new(Fault::status(403)).on(ApiEndpoint::Runs)), KEY, 4),
        (Some(Rule::new(Fault::status(401)).on(ApiEndpoint::Runs).containing("work_one")), KEY, 4),
        (Some(Rule::new(Fault::status(403)).on(ApiEndpoint::Runs).containing("work_one")), KEY, 1),
        (Some(Rule::new(Fault::Disconnect)), KEY, 1),
        (Some(Rule::new(Fault::html()).on(ApiEndpoint::Runs)), KEY, 1),
    ] {
        let about = format!("{rule:?}, {key}");
        if let Some(rule) = rule {
            api.simulator().inject(rule);
        }
        let (code, stdout, stderr) = run(&arguments, &[("CORTEX_API_KEY", key)]).await;
        api.simulator().clear_faults();
        assert_eq!(code, expected, "{about}: {stderr}");
        assert_eq!(stdout.is_empty(), expected != 0, "{about}: {stdout}");
        assert!(!stderr.contains(key), "{about}: {stderr}");
        let says_why = stderr.lines().any(|line| line.starts_with("cortex-workflow-exporter: "));
        assert_eq!(says_why, expected != 0, "{about}: {stderr}");
    }
}

#[tokio::test]
async fn more_workflows_than_are_read_at_once_are_all_read() {
    let api = Api::start().await;
    for number in 0..60 {
        let id = api.add_workflow(&format!("work_{number:02}"));
        api.finish_one(&id, Status::Failed);
    }
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let mut exporter = Process::serve(&api, &ledger_url(directory.path()), &[]);
    let samples = scrape(&exporter.ready_url().await).await;
    let failures = samples.sum("cortex_workflow_consecutive_failures", &[]);
    assert_eq!(failures, Some(60.0), "{}", exporter.log());
}
