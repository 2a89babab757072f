//! From an alert to the run, as somebody follows it: text and link of real alerts.

use cortex_workflow_exporter::{
    model::{Origin, Status},
    simulator::{SimulatedRun, SimulatedStep, StepDefinition, StepError},
};
use regex::Regex;

use super::configuration;
use crate::{
    links::lead,
    support::{
        Api, Process, Prometheus,
        documents::{blocks, document, section},
        free_address, newest_prometheus, report_missing,
    },
};

/// An API, an exporter that people reach, and Prometheus servers with the rules.
struct Scene {
    api: Api,
    servers: Vec<Prometheus>,
    _exporter: Process,
}

impl Scene {
    /// With workflows of these ids in a world that changes only on command.
    async fn of(workflows: &[&str]) -> Self {
        let api = Api::start().await;
        for id in workflows {
            api.add_workflow(id);
        }
        Self::start(api).await
    }

    /// With servers that know the workflows of this API.
    async fn start(api: Api) -> Self {
        let workflows = api.simulator().world(|world| world.workflows.len());
        let address = free_address().to_string();
        let flags = [
            format!("--web.external-url=http://{address}"),
            "--links.run-url=https://cortex.test/{workflow_id}/runs/{run_id}".into(),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut exporter = Process::serve_on(&address, &api, "sqlite::memory:", &flags);
        exporter.ready_url().await;
        let directory = || configuration(&[&address], free_address());
        let mut servers = vec![Prometheus::start_in(directory()).await];
        if newest_prometheus("prometheus").is_none() {
            report_missing("Prometheus 3", "the texts of alerts");
        }
        servers.extend(Prometheus::start_newest_in(directory()).await);
        for server in &servers {
            let known = format!("count(workflow:cortex_workflow_info:current) == {workflows}");
            server.wait_for(&known).await;
        }
        Self { api, servers, _exporter: exporter }
    }

    /// So many runs complete, or fail at this step with this error, one after the other; the last.
    fn run(&self, count: i64, workflow: &str, failure: Option<(&str, &str)>) -> String {
        self.api.simulator().world(|world| {
            let now = world.now_ms();
            let ids = (1..=count).map(|number| {
                let (begun, ended) = (now - count, now - count + number);
                let status = if failure.is_some() { Status::Failed } else { Status::Completed };
                let run = SimulatedRun::new(status, Origin::Workflow);
                let mut run = run.with_times(begun, Some(begun), Some(ended));
                run.steps.extend(failure.map(|failure| failed_step(failure, begun, ended)));
                world.add_run(workflow, run).expect("there is such a workflow")
            });
            ids.last().expect("there is one at least")
        })
    }
}

fn failed_step((key, error): (&str, &str), begun: i64, ended: i64) -> SimulatedStep {
    let definition = StepDefinition::new(key, "http_request");
    let mut step = SimulatedStep::new(&definition, Status::Failed, begun);
    step.end = Some(ended);
    step.error = Some(StepError { kind: "scripted", value: error.into() });
    step
}

/// Where the link at the end of an alert's text leads: the one that the shipped rules write.
async fn follow(description: &str) -> (u16, String) {
    let (_, link) = description.rsplit_once("The last failed run: ").expect(description);
    lead(link).await
}

#[tokio::test]
async fn the_link_of_an_alert_leads_to_the_run_whatever_the_id_of_its_workflow_is() {
    let ids = [
        ("a b  c", "a%20b%20%20c"),
        ("a+b c", "a%2Bb%20c"),
        ("a/../b", "a%2F..%2Fb"),
        ("100%25 %2B", "100%2525%20%252B"),
        (
            "\"quoted\" \\d '`{{ $labels }}",
            "%22quoted%22%20%5Cd%20%27%60%7B%7B%20%24labels%20%7D%7D",
        ),
        ("überprüfen 検査 🚦", "%C3%BCberpr%C3%BCfen%20%E6%A4%9C%E6%9F%BB%20%F0%9F%9A%A6"),
        ("?a=b&c#d;e:f@g", "%3Fa%3Db%26c%23d%3Be%3Af%40g"),
        ("-_.~", "-_.~"),
    ];
    let scene = Scene::of(&ids.map(|(id, _)| id)).await;
    let link = Regex::new("The last failed run: http").expect("it is well-formed");
    for (id, in_url) in ids {
        let run = scene.run(20, id, Some(("fetch", "HTTP 502")));
        for server in &scene.servers {
            let spike = [("alertname", "CortexWorkflowFailureSpike"), ("workflow_id", id)];
            let text = server.wait_for_alert(&spike, &link).await;
            let expected = format!("https://cortex.test/{in_url}/runs/{run}");
            assert_eq!(follow(&text).await, (302, expected), "{text}");
        }
    }
}

#[tokio::test]
async fn the_alert_about_a_bad_version_says_what_got_worse_and_a_rollback_resolves_it() {
    let id = "work one";
    let scene = Scene::of(&[id]).await;
    let failed = |version: u32| {
        format!(
            "workflow_version_status:cortex_workflow_version_runs:increase1h\
             {{workflow_id=\"{id}\", version=\"{version}\", status=\"FAILED\"}}"
        )
    };
    let (network, code) =
        (Some(("fetch", "connect ECONNREFUSED")), Some(("answer", "TypeError: x is null")));
    scene.run(36, id, None);
    scene.run(4, id, network);
    for server in &scene.servers {
        server.wait_for(&format!("{} > 3.5", failed(1))).await;
    }
    let world = scene.api.simulator();
    assert_eq!(world.deploy(id, 0.0), Some(2));
    scene.run(8, id, None);
    scene.run(2, id, network);
    let last = scene.run(10, id, code);
    let alert = [
        ("alertname", "CortexWorkflowVersionRegression"),
        ("severity", "critical"),
        ("workflow_id", id),
        ("version", "2"),
    ];
    // Of version 1 a tenth failed, a little less as long as its runs were counted one by one.
    let says = Regex::new(concat!(
        r"^60% of the runs of version 2 of Workflow work one \(work one\) failed within the last ",
        r"hour, of about 20\. By version 1, (?:10|9\.[0-9]+)% would be normal\. It was made [0-9.ms ]+ ago\. ",
        r"What got worse most is step answer with an error of class code\. The last failed run: ",
    ));
    let says = says.expect("it is well-formed");
    for server in &scene.servers {
        let text = server.wait_for_alert(&alert, &says).await;
        let expected = format!("https://cortex.test/work%20one/runs/{last}");
        assert_eq!(follow(&text).await, (302, expected), "{text}");
        // What the runbook asks besides has an answer.
        let document = document("deploy/prometheus/README.md");
        let queries = blocks(section(&document, "The cause of failures"), "promql");
        assert!(queries.len() > 4, "{queries:?}");
        for query in queries {
            server.wait_for(&query.replace('…', id)).await;
        }
    }
    assert_eq!(world.roll_back(id), Some(1));
    scene.run(1, id, None);
    for server in &scene.servers {
        server.wait_until_resolved(&alert).await;
        // Because it has no more runs; its failures are not over for long enough.
        server.wait_for(&format!("{} > 11.5", failed(2))).await;
    }
}

#[tokio::test]
async fn a_bad_version_that_the_simulator_deploys_on_command_is_found_and_rolled_back() {
    // It has a run every few seconds, and none of them is replayed.
    let name = "Enrich lead";
    let scene = Scene::start(Api::busy().await).await;
    let simulator = scene.api.simulator();
    let bad = simulator.deploy(name, 1.0).expect("there is such a workflow");
    let label = bad.to_string();
    let alert =
        [("alertname", "CortexWorkflowVersionRegression"), ("workflow", name), ("version", &label)];
    let says = Regex::new(&format!(
        "of the runs of version {bad} of {name} .* What got worse most is step merge with an error of \
         class none\\. The last failed run: "
    ));
    let says = says.expect("it is well-formed");
    for server in &scene.servers {
        let text = server.wait_for_alert(&alert, &says).await;
        let (status, location) = follow(&text).await;
        let (_, id) = location.rsplit_once('/').expect("it leads to a run");
        let run = simulator.world(|world| world.run(id).cloned()).expect("the run is there");
        assert_eq!((status, run.version, run.status), (302, Some(bad), Status::Failed));
    }
    assert!(simulator.roll_back(name).is_some_and(|good| good < bad));
    for server in &scene.servers {
        server.wait_until_resolved(&alert).await;
    }
}
