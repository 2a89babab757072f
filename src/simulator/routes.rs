use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::Value;

use super::{
    Simulator, control,
    etag::{self, Tagging},
    fault_response,
    listing::{Paging, RunFilter},
    refusal::Refusal,
    request_log::{ApiEndpoint, RequestSeen},
    wire::{self, Style},
    workflow::SimulatedWorkflow,
    world::{Quirk, World},
};

type Params = Result<Query<BTreeMap<String, String>>, QueryRejection>;

impl Simulator {
    /// The API and its control endpoints.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/apps/{app}/workflows", get(list_workflows))
            .route("/apps/{app}/workflows/{workflow}", get(one_workflow))
            .route("/apps/{app}/workflows/{workflow}/runs", get(list_runs))
            .route("/apps/{app}/workflows/{workflow}/runs/{run}", get(one_run))
            .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is no such endpoint"))
            .method_not_allowed_fallback(async || {
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the simulated API can only be read")
            })
            .layer(middleware::from_fn_with_state(self.clone(), gate))
            .merge(control::router())
            .with_state(self.clone())
    }
}

/// What every request of the API goes through: it is noted, limited, maybe spoilt, and answered
/// with the time.
async fn gate(State(simulator): State<Simulator>, request: Request, next: Next) -> Response {
    let seen = see(&simulator, &request);
    let (authorised, endpoint) = (seen.authorised, seen.endpoint);
    let path_and_query = request.uri().to_string();
    let now_ms = seen.at_ms;
    let (number, granted) = {
        let mut request_log = simulator.0.request_log.lock();
        let limit = simulator.0.settings.rate_limit;
        (request_log.record(seen), request_log.grant(now_ms, limit))
    };
    let tagging = simulator.world(|world| {
        let is = |quirk| world.quirks.contains(&quirk);
        let frozen = is(Quirk::FrozenEtags).then_some(Tagging::Frozen);
        frozen.or(is(Quirk::Etags).then_some(Tagging::Honest))
    });
    let answer = async {
        if authorised {
            let headers = request.headers().clone();
            let answer = next.run(request).await;
            match tagging {
                Some(tagging) => etag::tag(tagging, &headers, &path_and_query, answer).await,
                None => answer,
            }
        } else {
            Refusal::new(StatusCode::UNAUTHORIZED, "the API key is missing or wrong")
                .into_response()
        }
    };
    // Made before the fault is taken, or a clearing in between would be missed.
    let cleared = simulator.0.faults_cleared.notified();
    let fault = simulator.0.faults.lock().take(now_ms, endpoint, &path_and_query);
    let mut response = match fault {
        _ if !granted => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").into_response()
        }
        Some(fault) => fault_response::respond(fault, cleared, answer).await,
        None => answer.await,
    };
    stamp(&simulator, response.headers_mut());
    let status = fault_response::is_answered(&response).then(|| response.status().as_u16());
    simulator.0.request_log.lock().answered(number, endpoint, status);
    response
}

fn see(simulator: &Simulator, request: &Request) -> RequestSeen {
    let key = format!("Bearer {}", simulator.0.settings.api_key);
    let sent = request.headers().get(header::AUTHORIZATION);
    RequestSeen {
        at_ms: simulator.now_ms(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        endpoint: ApiEndpoint::of(request.uri().path()),
        authorised: sent.is_some_and(|sent| sent.as_bytes() == key.as_bytes()),
        status: None,
    }
}

/// Sets `Date` by the world's clock.
fn stamp(simulator: &Simulator, headers: &mut HeaderMap) {
    let shown_ms = simulator.world(|world| {
        let shown = !world.quirks.contains(&Quirk::OmitDate);
        shown.then(|| world.now_ms().saturating_add(world.date_skew_ms))
    });
    let at = shown_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let text = at.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(date) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::DATE, date);
    }
}

async fn list_workflows(
    State(simulator): State<Simulator>,
    Path(app): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let params = read(params)?;
    simulator.world(|world| {
        check_app(world, &app)?;
        let paging = Paging::of(&params, &simulator, world)?;
        let search = params.get("search").map_or("", String::as_str).to_lowercase();
        let found = |workflow: &&SimulatedWorkflow| workflow.name.to_lowercase().contains(&search);
        let listed: Vec<_> = world.workflows.iter().filter(found).collect();
        let style = Style::new(world, false);
        let items = paging.cut(&listed).iter();
        let items: Vec<Value> = items.map(|item| wire::workflow(item, style)).collect();
        Ok(paging.answer(items, listed.len(), world))
    })
}

async fn one_workflow(
    State(simulator): State<Simulator>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    simulator.world(|world| {
        let workflow = find_workflow(world, &app, &id)?;
        let item = wire::workflow(workflow, Style::new(world, false));
        Ok(Json(item).into_response())
    })
}

async fn list_runs(
    State(simulator): State<Simulator>,
    Path((app, id)): Path<(String, String)>,
    params: Params,
) -> Result<Response, Refusal> {
    let params = read(params)?;
    simulator.world(|world| {
        let workflow = find_workflow(world, &app, &id)?;
        let wanted = RunFilter::of(&params, world)?;
        let paging = Paging::of(&params, &simulator, world)?;
        let listed = wanted.runs(workflow);
        let style = Style::new(world, is_verbose(&params));
        let items = paging.cut(&listed).iter();
        let items: Vec<Value> = items.map(|run| wire::run(workflow, run, style)).collect();
        let answer = paging.answer(items, listed.len(), world);
        if let Some(mut then) = world.after_page.take() {
            then(world, &id);
            world.after_page.get_or_insert(then);
        }
        Ok(answer)
    })
}

async fn one_run(
    State(simulator): State<Simulator>,
    Path((app, id, run)): Path<(String, String, String)>,
    params: Params,
) -> Result<Response, Refusal> {
    let params = read(params)?;
    simulator.world(|world| {
        let workflow = find_workflow(world, &app, &id)?;
        let run = workflow.runs.iter().rfind(|known| known.id == run);
        let run = run.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such run"))?;
        let item = wire::run(workflow, run, Style::new(world, is_verbose(&params)));
        Ok(Json(item).into_response())
    })
}

fn read(params: Params) -> Result<BTreeMap<String, String>, Refusal> {
    let unreadable = |_| Refusal::new(StatusCode::BAD_REQUEST, "the query can't be read");
    params.map(|Query(params)| params).map_err(unreadable)
}

fn is_verbose(params: &BTreeMap<String, String>) -> bool {
    params.get("verbose").is_some_and(|verbose| verbose == "all")
}

fn check_app(world: &World, app: &str) -> Result<(), Refusal> {
    if app == "c" || app == world.app_id {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such app"))
}

fn find_workflow<'a>(
    world: &'a World,
    app: &str,
    id: &str,
) -> Result<&'a SimulatedWorkflow, Refusal> {
    check_app(world, app)?;
    let workflow = world.workflows.iter().find(|workflow| workflow.id == id);
    workflow.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such workflow"))
}
