//! The control endpoints, for people at a demo and for tests that run the real binary. No key.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Html,
    routing::{delete, get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Simulator,
    faults::{Fault, Rule},
    page,
    refusal::Refusal,
    request_log::{ApiEndpoint, RequestCounts},
    script::{RunScript, WorkflowScript},
    world::{AfterPage, Quirk, World},
};
use crate::model::{Origin, Phase};

const HELP: &str = "\
The simulated Cortex API. Besides the API itself it has these, which need no key:

  GET    /_simulator/              this text
  GET    /_simulator/totals        how many runs finished and were created, failures by step and kind of
                                   error, versions: the truth to compare with
  GET    /_simulator/requests      requests by endpoint and status, and the most in any minute
  POST   /_simulator/spike         ?workflow=<id or name>&seconds=60&ratio=0.9: runs fail
  POST   /_simulator/deploy        ?workflow=<id or name>&ratio=0.6: a new version, this part of whose
                                   runs fail in their last step; without a ratio none do. A bad
                                   one stays until it is rolled back
  POST   /_simulator/rollback      ?workflow=<id or name>: the good version before runs again
  POST   /_simulator/outage        ?seconds=30: 503 for everything
  POST   /_simulator/fault         ?kind=…: one misbehaviour, until cleared or for the next &times=<n>
                                   requests, at &endpoint=workflows|runs|run, where the path and query
                                   hold &containing=<text>. Kinds: status (&code=500&retry_after=5),
                                   html, not_json, body (&text=…), truncate, hang, disconnect,
                                   redirect (&url=…), huge (&bytes=1000000000), delay (&seconds=5)
  POST   /_simulator/clear         ends every fault and outage
  POST   /_simulator/quirks        {\"quirks\": [\"ignore_take\", \"ignore_status\", \"ignore_origin\",
                                   \"ignore_page\", \"omit_pagination\", \"bare_dates\", \"omit_date\", \"etags\",
                                   \"frozen_etags\"],
                                   \"date_skew_ms\": 0,
                                   \"after_page\": {\"create\": 1, \"delete\": 0, \"times\": 3}}
  POST   /_simulator/workflows     {\"name\": \"…\"}; with an id that exists it is changed
  DELETE /_simulator/workflows/<id>
  POST   /_simulator/runs          {\"workflow\": \"<id or name>\", \"origin\": \"WORKFLOW\", \"status\": \"FAILED\",
                                   \"count\": 1}; or {\"id\": \"…\", \"status\": \"…\"}: RUNNING starts or replays it
  GET    /_simulator/runs/<id>     a page that shows a run to people
  DELETE /_simulator/runs/<id>

For example:

  curl -X POST 'http://127.0.0.1:10059/_simulator/spike?seconds=60&ratio=0.9'
  curl -X POST 'http://127.0.0.1:10059/_simulator/deploy?ratio=0.6'
  curl -X POST 'http://127.0.0.1:10059/_simulator/rollback'
  curl -X POST 'http://127.0.0.1:10059/_simulator/outage?seconds=30'
  curl -X POST 'http://127.0.0.1:10059/_simulator/fault?kind=status&code=429&retry_after=5&times=3'
  curl -d '{\"workflow\": \"Enrich lead\", \"status\": \"FAILED\", \"count\": 5}' http://127.0.0.1:10059/_simulator/runs
  curl -H 'Authorization: Bearer demo-key' http://127.0.0.1:10059/apps/c/workflows
";

pub(super) fn router() -> Router<Simulator> {
    let endpoints = Router::new()
        .route("/totals", get(totals))
        .route("/requests", get(requests))
        .route("/spike", post(spike))
        .route("/deploy", post(deploy))
        .route("/rollback", post(roll_back))
        .route("/outage", post(outage))
        .route("/fault", post(fault))
        .route("/clear", post(clear))
        .route("/quirks", post(quirks))
        .route("/workflows", post(put_workflow))
        .route("/workflows/{id}", delete(delete_workflow))
        .route("/runs", post(put_run))
        .route("/runs/{id}", get(show_run).delete(delete_run));
    // Nesting would answer to the root without its last slash only.
    Router::new()
        .route("/_simulator", get(async || HELP))
        .route("/_simulator/", get(async || HELP))
        .nest("/_simulator", endpoints)
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

/// Reads JSON whatever type it claims to be: `curl -d` says that it is a form.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| bad(error.to_string()))
}

/// A number of seconds as a duration.
fn seconds(seconds: f64) -> Result<Duration, Refusal> {
    Duration::try_from_secs_f64(seconds).map_err(|_| bad("seconds must be a positive number"))
}

async fn totals(State(simulator): State<Simulator>) -> Json<Value> {
    simulator.world(|world| {
        let name = |id: &str| world.workflow(id).map(|workflow| workflow.name.clone());
        let finished = world.totals();
        let finished = finished.iter().map(|((id, status, origin), count)| {
            json!({
                "workflow_id": id, "workflow": name(id),
                "status": status.as_str(), "origin": origin.as_str(), "count": count,
            })
        });
        let created = world.created();
        let created = created.iter().map(|((id, origin), count)| {
            json!({
                "workflow_id": id, "workflow": name(id),
                "origin": origin.as_str(), "count": count,
            })
        });
        let failures = world.truth().failures.iter().map(|((id, step, kind), count)| {
            json!({
                "workflow_id": id, "workflow": name(id),
                "step": step, "kind": kind, "count": count,
            })
        });
        let versions = world.truth().versions.iter().map(|((id, version, status), count)| {
            json!({
                "workflow_id": id, "workflow": name(id),
                "version": version, "status": status.as_str(), "count": count,
            })
        });
        Json(json!({
            "finished": finished.collect::<Vec<_>>(), "created": created.collect::<Vec<_>>(),
            "failures": failures.collect::<Vec<_>>(), "versions": versions.collect::<Vec<_>>(),
        }))
    })
}

async fn requests(State(simulator): State<Simulator>) -> Json<RequestCounts> {
    Json(simulator.request_counts())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpikeQuery {
    workflow: Option<String>,
    #[serde(default = "sixty")]
    seconds: f64,
    #[serde(default = "most")]
    ratio: f64,
}

fn sixty() -> f64 {
    60.0
}

fn most() -> f64 {
    0.9
}

async fn spike(
    State(simulator): State<Simulator>,
    Query(query): Query<SpikeQuery>,
) -> Result<StatusCode, Refusal> {
    let duration = seconds(query.seconds)?;
    if !(0.0..=1.0).contains(&query.ratio) {
        return Err(bad("ratio must lie between 0 and 1"));
    }
    let workflow = query.workflow.as_deref();
    if simulator.spike(workflow, duration, query.ratio) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = "there is no such workflow, or no runs are generated";
    Err(Refusal::new(StatusCode::NOT_FOUND, message))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployQuery {
    workflow: Option<String>,
    #[serde(default)]
    ratio: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackQuery {
    workflow: Option<String>,
}

async fn deploy(
    State(simulator): State<Simulator>,
    Query(query): Query<DeployQuery>,
) -> Result<Json<Value>, Refusal> {
    if !(0.0..=1.0).contains(&query.ratio) {
        return Err(bad("ratio must lie between 0 and 1"));
    }
    let workflow = named_or_first(&simulator, query.workflow)?;
    let missing = "there is no such workflow, or its runs are to fail and none are generated";
    let version = simulator.deploy(&workflow, query.ratio);
    let version = version.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, missing))?;
    Ok(Json(json!({ "workflow": workflow, "version": version })))
}

async fn roll_back(
    State(simulator): State<Simulator>,
    Query(query): Query<RollbackQuery>,
) -> Result<Json<Value>, Refusal> {
    let workflow = named_or_first(&simulator, query.workflow)?;
    let missing = "there is no such workflow, or no good version before the published one";
    let version = simulator.roll_back(&workflow);
    let version = version.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, missing))?;
    Ok(Json(json!({ "workflow": workflow, "version": version })))
}

/// The workflow that a request names, or else the first.
fn named_or_first(simulator: &Simulator, named: Option<String>) -> Result<String, Refusal> {
    let first = || simulator.world(|world| world.workflows.first().map(|it| it.name.clone()));
    let none = || Refusal::new(StatusCode::NOT_FOUND, "there is no workflow");
    named.or_else(first).ok_or_else(none)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageQuery {
    #[serde(default = "thirty")]
    seconds: f64,
}

fn thirty() -> f64 {
    30.0
}

async fn outage(
    State(simulator): State<Simulator>,
    Query(query): Query<OutageQuery>,
) -> Result<StatusCode, Refusal> {
    simulator.outage(seconds(query.seconds)?);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultQuery {
    kind: String,
    endpoint: Option<ApiEndpoint>,
    containing: Option<String>,
    times: Option<u32>,
    code: Option<u16>,
    retry_after: Option<String>,
    text: Option<String>,
    url: Option<String>,
    bytes: Option<u64>,
    seconds: Option<f64>,
}

impl FaultQuery {
    fn rule(self) -> Result<Rule, Refusal> {
        let fault = match self.kind.as_str() {
            "status" => {
                Fault::Status { code: self.code.unwrap_or(500), retry_after: self.retry_after }
            }
            "html" => Fault::html(),
            "not_json" => Fault::not_json(),
            "body" => Fault::Body {
                content_type: "application/json".into(),
                text: self.text.unwrap_or_default(),
            },
            "truncate" => Fault::Truncate,
            "hang" => Fault::Hang,
            "disconnect" => Fault::Disconnect,
            "redirect" => Fault::Redirect(self.url.ok_or_else(|| bad("url is missing"))?),
            "huge" => Fault::Huge(self.bytes.unwrap_or(1_000_000_000)),
            "delay" => Fault::Delay(seconds(self.seconds.unwrap_or(5.0))?),
            _ => return Err(bad("kind is unknown; GET /_simulator/ lists them")),
        };
        let mut rule = Rule::new(fault);
        if let Some(endpoint) = self.endpoint {
            rule = rule.on(endpoint);
        }
        if let Some(part) = &self.containing {
            rule = rule.containing(part);
        }
        Ok(match self.times {
            Some(0) => return Err(bad("times must be positive")),
            Some(times) => rule.times(times),
            None => rule,
        })
    }
}

async fn fault(
    State(simulator): State<Simulator>,
    Query(query): Query<FaultQuery>,
) -> Result<StatusCode, Refusal> {
    simulator.inject(query.rule()?);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(simulator): State<Simulator>) -> StatusCode {
    simulator.clear_faults();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuirksBody {
    #[serde(default)]
    quirks: BTreeSet<Quirk>,
    #[serde(default)]
    date_skew_ms: i64,
    after_page: Option<AfterPageBody>,
}

/// What changes in a list after each of its pages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterPageBody {
    #[serde(default)]
    create: u32,
    #[serde(default)]
    delete: u32,
    times: Option<u32>,
}

impl AfterPageBody {
    fn hook(mut self) -> AfterPage {
        Box::new(move |world, workflow| {
            if let Some(times) = &mut self.times {
                if *times == 0 {
                    return;
                }
                *times -= 1;
            }
            for _ in 0..self.create {
                world.create_run(workflow, Origin::Workflow);
            }
            for _ in 0..self.delete {
                delete_youngest_finished(world, workflow);
            }
        })
    }
}

fn delete_youngest_finished(world: &mut World, workflow: &str) {
    if let Some(workflow) = world.workflow_mut(workflow) {
        let finished = |run: &super::SimulatedRun| run.phase() == Phase::Finished;
        let youngest = workflow.runs.iter().rposition(finished);
        youngest.map(|at| workflow.runs.remove(at));
    }
}

/// Sets all of it; what isn't named ends.
async fn quirks(State(simulator): State<Simulator>, body: Bytes) -> Result<StatusCode, Refusal> {
    let wanted: QuirksBody = parse(&body)?;
    simulator.world(|world| {
        world.quirks = wanted.quirks;
        world.date_skew_ms = wanted.date_skew_ms;
        world.after_page = wanted.after_page.map(AfterPageBody::hook);
    });
    Ok(StatusCode::NO_CONTENT)
}

async fn put_workflow(
    State(simulator): State<Simulator>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let script: WorkflowScript = parse(&body)?;
    let id = simulator.world(|world| script.apply(world)).map_err(bad)?;
    Ok(Json(json!({ "id": id })))
}

async fn put_run(State(simulator): State<Simulator>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let script: RunScript = parse(&body)?;
    let ids = simulator.world(|world| script.apply(world)).map_err(bad)?;
    Ok(Json(json!({ "ids": ids })))
}

async fn delete_workflow(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    gone(simulator.world(|world| world.delete_workflow(&id)))
}

async fn show_run(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
) -> Result<Html<String>, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such run");
    simulator.world(|world| world.run(&id).map(page::of_run).map(Html)).ok_or_else(missing)
}

async fn delete_run(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    gone(simulator.world(|world| world.delete_run(&id)))
}

fn gone(was_there: bool) -> Result<StatusCode, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such id");
    was_there.then_some(StatusCode::NO_CONTENT).ok_or_else(missing)
}
