//! Leads from the id of a run, or of a workflow, to the run: where people see it, or to a page of
//! what is known of it.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{
        HeaderValue, StatusCode,
        header::{LOCATION, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use reqwest::Url;

use super::{
    Endpoints,
    runs::{RunQuery, RunView, page},
    text,
};
use crate::model::{RunId, WorkflowId};

const UNKNOWN_RUN: &str = "no run with this id is known: it belongs to no workflow that is followed, \
                           has not been read yet, had ended before the exporter was first used, or \
                           is older than --state.retention\n";

const NO_FAILED_RUN: &str = "no failed run of this workflow is known: either none has failed, or no \
                             workflow with this id is followed\n";

/// The paths of runs.
pub(super) fn routes() -> Router<Endpoints> {
    Router::new()
        .route("/runs/{run_id}", get(run))
        .route("/workflows/{workflow_id}/last-failed-run", get(last_failed_run))
}

/// What is in the path; an error if it is no text.
type Id = Result<Path<String>, PathRejection>;

async fn run(State(endpoints): State<Endpoints>, id: Id) -> Response {
    let id = id.ok().and_then(|Path(id)| RunId::new(&id));
    answer(&endpoints, id.map(RunQuery::Run), "../", UNKNOWN_RUN).await
}

async fn last_failed_run(State(endpoints): State<Endpoints>, id: Id) -> Response {
    let id = id.ok().and_then(|Path(id)| WorkflowId::new(&id));
    answer(&endpoints, id.map(RunQuery::LastFailed), "../../", NO_FAILED_RUN).await
}

/// `overview` is the way to the overview; relative, so that it works behind a proxy that adds a
/// prefix. What no id can be is as unknown as any other.
async fn answer(
    endpoints: &Endpoints,
    query: Option<RunQuery>,
    overview: &str,
    unknown: &str,
) -> Response {
    let Some(query) = query else { return text(StatusCode::NOT_FOUND, unknown) };
    match (endpoints.runs)(query).await.as_deref() {
        Ok([]) => text(StatusCode::NOT_FOUND, unknown),
        Ok([RunView { url: Some(url), .. }]) => redirect(url),
        Ok(runs) => page(runs, overview).into_response(),
        Err(why) => {
            let why = format!("this can't be looked up now: {why}\n");
            let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, &why);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
            answer
        }
    }
}

fn redirect(url: &Url) -> Response {
    let mut answer = text(StatusCode::FOUND, &format!("the run is at {url}\n"));
    let location = HeaderValue::from_str(url.as_str()).expect("a URL is printable ASCII");
    answer.headers_mut().insert(LOCATION, location);
    answer
}
