use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::Semaphore;

use super::{
    AccessControl, Check, Endpoints, access_control,
    connection::{Client, Scraped},
    held::Held,
    landing, negotiate,
    pieces::Pieces,
};
use crate::{
    config::Web,
    metrics::{Encoding, Negotiated},
};

const TEXT: (HeaderName, &str) = (CONTENT_TYPE, "text/plain; charset=utf-8");

/// All paths.
pub(super) fn router(
    web: &Web,
    access_control: Arc<AccessControl>,
    endpoints: Endpoints,
) -> Router {
    let check = Arc::clone(&endpoints.healthy);
    let healthy = get(move || async move { verdict(&check, "healthy") });
    let check = Arc::clone(&endpoints.ready);
    let ready = get(move || async move { verdict(&check, "ready") });
    let path = web.telemetry_path.clone();
    let overview = Arc::clone(&endpoints.overview);
    let landing = move || async move { landing_page(landing::Page::new(&overview(), &path)) };
    let limit = Arc::new(Limit {
        room: Arc::new(Semaphore::new(web.max_requests)),
        most: web.max_requests,
    });
    let not_found = format!(
        "there is nothing here; / is the overview, the metrics are at {}\n",
        web.telemetry_path
    );
    Router::new()
        .route(&web.telemetry_path, get(metrics))
        .route("/", get(landing))
        .route("/-/reload", post(reload))
        .with_state(endpoints)
        .layer(middleware::from_fn_with_state(limit, within_limit))
        // Whoever restarts what doesn't answer must get an answer, however busy it is here.
        .route("/-/healthy", healthy.clone())
        .route("/healthz", healthy.clone())
        .route("/livez", healthy)
        .route("/-/ready", ready.clone())
        .route("/readyz", ready)
        .method_not_allowed_fallback(|| async {
            let text = "this method is not allowed here; the header Allow names those that are\n";
            (StatusCode::METHOD_NOT_ALLOWED, [TEXT], text)
        })
        .fallback(|| async { (StatusCode::NOT_FOUND, [TEXT], not_found) })
        .layer(middleware::from_fn_with_state(access_control, access_control::protect))
        .layer(middleware::map_response(|mut response: Response| async {
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }))
}

async fn metrics(
    State(endpoints): State<Endpoints>,
    Extension(Client(client)): Extension<Client>,
    headers: HeaderMap,
) -> Response {
    let wanted =
        Negotiated { format: negotiate::format(&headers), encoding: negotiate::encoding(&headers) };
    let (body, number) = endpoints.exposition.render(client, wanted).await;
    let kind = (CONTENT_TYPE, wanted.format.content_type());
    let vary = (VARY, "Accept, Accept-Encoding");
    let body = Body::new(Pieces::new(body));
    let mut response = match wanted.encoding {
        Encoding::Identity => ([kind, vary], body).into_response(),
        Encoding::Gzip => ([kind, vary, (CONTENT_ENCODING, "gzip")], body).into_response(),
    };
    response.extensions_mut().insert(Scraped(number));
    response
}

fn landing_page(page: landing::Page) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page.security_policy.as_str()),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page.html).into_response()
}

async fn reload(State(endpoints): State<Endpoints>) -> Response {
    match (endpoints.reload)().await {
        Ok(()) => ([TEXT], "reloaded\n").into_response(),
        Err(why) => {
            let text = format!("not reloaded, the former configuration stays: {why}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, [TEXT], text).into_response()
        }
    }
}

/// The answer to a health check.
fn verdict(check: &Check, good: &'static str) -> Response {
    match check() {
        Ok(()) => ([TEXT], format!("{good}\n")).into_response(),
        Err(why) => {
            let text = format!("not {good}: {why}\n");
            (StatusCode::SERVICE_UNAVAILABLE, [TEXT], text).into_response()
        }
    }
}

/// How many requests may be in work.
struct Limit {
    room: Arc<Semaphore>,
    most: usize,
}

/// A request is in work until its answer has been taken.
async fn within_limit(State(limit): State<Arc<Limit>>, request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&limit.room).try_acquire_owned() else {
        let most = limit.most;
        let text = format!(
            "too many requests at once; --web.max-requests allows {most}, try again in a moment\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, [TEXT, (RETRY_AFTER, "1")], text).into_response();
    };
    let response = next.run(request).await;
    response.map(|body| Body::new(Held::new(body, place)))
}
