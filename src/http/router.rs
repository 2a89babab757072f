use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, REFERRER_POLICY,
            RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use futures::stream;
use tokio::sync::Semaphore;

use super::{
    AccessControl, Check, Endpoints, access_control,
    connection::{ConnectionNumber, Scraped},
    guarded_body::GuardedBody,
    landing, negotiate, run_routes, text,
};
use crate::{
    config::Web,
    metrics::{Encoding, Negotiated},
};

/// All paths.
pub(super) fn router(
    web: &Web,
    access_control: Arc<AccessControl>,
    endpoints: Endpoints,
) -> Router {
    let check = Arc::clone(&endpoints.healthy);
    let healthy = get(move || async move { health(&check, "healthy") });
    let check = Arc::clone(&endpoints.ready);
    let ready = get(move || async move { health(&check, "ready") });
    let path = web.telemetry_path.clone();
    let overview = Arc::clone(&endpoints.overview);
    let landing = move || async move { landing::page(&overview(), &path) };
    let limit =
        Limit { permits: Arc::new(Semaphore::new(web.max_requests)), max: web.max_requests };
    let not_found = format!(
        "there is nothing here; / is the overview, the metrics are at {}\n",
        web.telemetry_path
    );
    Router::new()
        .route(&web.telemetry_path, get(metrics))
        .route("/", get(landing))
        .merge(run_routes::routes())
        .route("/-/reload", post(reload))
        .with_state(endpoints)
        .layer(middleware::from_fn_with_state(limit, within_limit))
        // What restarts an exporter that doesn't answer gets an answer, however busy this one is.
        .route("/-/healthy", healthy.clone())
        .route("/healthz", healthy.clone())
        .route("/livez", healthy)
        .route("/-/ready", ready.clone())
        .route("/readyz", ready)
        .method_not_allowed_fallback(|| async {
            let why = "this method is not allowed here; the header Allow names those that are\n";
            text(StatusCode::METHOD_NOT_ALLOWED, why)
        })
        .fallback(|| async move { text(StatusCode::NOT_FOUND, &not_found) })
        .layer(middleware::from_fn_with_state(access_control, access_control::protect))
        .layer(middleware::map_response(|mut response: Response| async {
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }))
}

async fn metrics(
    State(endpoints): State<Endpoints>,
    Extension(ConnectionNumber(connection)): Extension<ConnectionNumber>,
    headers: HeaderMap,
) -> Response {
    let negotiated =
        Negotiated { format: negotiate::format(&headers), encoding: negotiate::encoding(&headers) };
    let (body, version) = endpoints.metrics.scrape(connection, negotiated).await;
    let parts = [body.shared, body.live];
    let length: usize = parts.iter().map(Bytes::len).sum();
    let body = Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(negotiated.format.content_type()));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if negotiated.encoding == Encoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.extensions_mut().insert(Scraped(version));
    response
}

async fn reload(State(endpoints): State<Endpoints>) -> Response {
    match (endpoints.reload)().await {
        Ok(()) => text(StatusCode::OK, "reloaded\n"),
        Err(why) => {
            let why = format!("not reloaded, the former configuration stays: {why}\n");
            text(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
    }
}

/// The answer to a health check.
fn health(check: &Check, good: &str) -> Response {
    match check() {
        Ok(()) => text(StatusCode::OK, &format!("{good}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not {good}: {why}\n")),
    }
}

/// Maximum number of requests that are answered at once.
#[derive(Clone)]
struct Limit {
    permits: Arc<Semaphore>,
    max: usize,
}

/// A request keeps its permit until its answer has been taken.
async fn within_limit(State(limit): State<Limit>, request: Request, next: Next) -> Response {
    let Ok(permit) = limit.permits.try_acquire_owned() else {
        let why = format!(
            "too many requests at once; --web.max-requests allows {}, try again in a moment\n",
            limit.max
        );
        let mut refusal = text(StatusCode::SERVICE_UNAVAILABLE, &why);
        refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return refusal;
    };
    let response = next.run(request).await;
    response.map(|body| Body::new(GuardedBody::new(body, permit)))
}
