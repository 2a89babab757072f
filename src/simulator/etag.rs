//! Answers that need not be sent again: RFC 9110, section 13.

use axum::{
    body::{self, Body},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

/// How the API names its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagging {
    /// By their bytes, weakly, as frameworks do.
    Honest,
    /// By their address alone, whatever they say.
    Frozen,
}

/// Tags a successful answer, or replaces it by 304 if the request's `If-None-Match` is its tag.
pub(super) async fn tag(
    tagging: Tagging,
    request: &HeaderMap,
    address: &str,
    response: Response,
) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let named = if tagging == Tagging::Honest { &body } else { address.as_bytes() };
    let tag = format!("W/\"{:x}-{:x}\"", named.len(), crc32fast::hash(named));
    let tag = HeaderValue::try_from(tag).expect("hexadecimal digits can be in a header");
    let known = request.get(header::IF_NONE_MATCH) == Some(&tag);
    parts.headers.insert(header::ETAG, tag);
    if !known {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}
