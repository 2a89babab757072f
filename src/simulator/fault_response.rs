//! How a fault shows in an answer.

use std::io;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::stream::{self, Stream, StreamExt as _};

use super::{faults::Fault, refusal::Refusal, server::NoAnswer};

/// How much of a huge body is sent at once.
const CHUNK: u64 = 64 * 1024;

/// Answers as the fault wants; `answer` makes the proper answer, `cleared` comes when faults end.
pub(super) async fn respond(
    fault: Fault,
    cleared: impl Future<Output = ()>,
    answer: impl Future<Output = Response>,
) -> Response {
    match fault {
        Fault::Status { code, retry_after } => refuse(code, retry_after.as_deref()),
        Fault::Body { content_type, text: body } => plain(&content_type, body),
        Fault::Truncate => truncate(answer.await).await,
        Fault::Hang => {
            cleared.await;
            answer.await
        }
        Fault::Disconnect => {
            let mut response = broken(Bytes::new());
            response.extensions_mut().insert(NoAnswer);
            response
        }
        Fault::Redirect(url) => redirect(&url),
        Fault::Huge(bytes) => huge(bytes),
        Fault::Delay(duration) => {
            tokio::time::sleep(duration).await;
            answer.await
        }
    }
}

/// Whether the client gets to see any of this answer.
pub(super) fn is_answered(response: &Response) -> bool {
    response.extensions().get::<NoAnswer>().is_none()
}

fn plain(content_type: &str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn refuse(code: u16, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Refusal::new(status, "the simulator was asked to fail").into_response();
    let retry_after = retry_after.and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    }
    response
}

fn redirect(url: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

/// Sends half of the body under the length of the whole.
async fn truncate(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut half = broken(whole.slice(..whole.len() / 2));
    *half.status_mut() = parts.status;
    *half.headers_mut() = parts.headers;
    half.headers_mut().insert(header::CONTENT_LENGTH, whole.len().into());
    half
}

/// An answer that breaks off after this much of its body.
fn broken(start: Bytes) -> Response {
    let breakage = async {
        // What came before is only sent once the server has to wait.
        tokio::task::yield_now().await;
        Err(io::Error::other("the simulator was asked to break off"))
    };
    let body = stream::iter([Ok(start)]).chain(stream::once(breakage));
    Response::new(Body::from_stream(body))
}

/// `[`, then spaces, then `]`: valid JSON, but only at the very end.
fn huge(bytes: u64) -> Response {
    let mut response = Response::new(Body::from_stream(spaces(bytes)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn spaces(bytes: u64) -> impl Stream<Item = io::Result<Bytes>> {
    let space = Bytes::from(vec![b' '; CHUNK as usize]);
    let middle = stream::unfold(bytes.saturating_sub(2), move |left| {
        let part = space.slice(..left.min(CHUNK) as usize);
        std::future::ready((left > 0).then(|| (Ok(part), left.saturating_sub(CHUNK))))
    });
    stream::iter([Ok(Bytes::from_static(b"["))])
        .chain(middle)
        .chain(stream::iter([Ok(Bytes::from_static(b"]"))]))
}
