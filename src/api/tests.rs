mod fixture;
mod stub_server;

use std::{io::Write, time::Duration};

use tokio::net::TcpListener;

use super::{Answer, ApiError, exchange::MAX_BODY};
use crate::{
    config::ApiKey,
    model::{AppId, ReadAt, Status, WorkflowId},
};
use fixture::{Fixture, KEY, NOW_MS, PAGE, RUN, changed, empty_list, run, workflow};
use stub_server::{Reply, answer};

#[tokio::test]
async fn a_request_is_an_authorised_get_of_the_documented_address() {
    let fixture = Fixture::new([empty_list(), empty_list(), answer("200 OK", &[], RUN)]).await;
    fixture.client.workflows(PAGE, None).await.expect("an answer");
    let page = fixture.client.runs_with(&workflow(), &Status::Pending, PAGE).await;
    page.expect("an answer").expect("a list");
    let read = fixture.client.run(&workflow(), &run()).await;
    assert_eq!(read.expect("an answer").expect("a run").id, run());
    let requests = fixture.server.requests();
    let lines: Vec<_> = requests.iter().filter_map(|head| head.lines().next()).collect();
    assert_eq!(
        lines,
        [
            "GET /apps/c/workflows?page=2&take=50 HTTP/1.1",
            "GET /apps/c/workflows/work_1/runs?page=2&take=50&status=PENDING HTTP/1.1",
            "GET /apps/c/workflows/work_1/runs/run_1 HTTP/1.1",
        ]
    );
    for header in [
        concat!("user-agent: cortex-workflow-exporter/", env!("CARGO_PKG_VERSION")),
        "authorization: Bearer sk-very-secret",
        "accept: application/json",
        "accept-encoding: gzip",
    ] {
        assert!(requests[0].contains(&format!("\r\n{header}\r\n")), "{}", requests[0]);
    }
}

#[tokio::test]
async fn what_is_known_is_neither_sent_nor_decoded_again() {
    let tagged = || answer("200 OK", &["ETag: W/\"a-1\""], b"[]");
    let not_modified = || answer("304 Not Modified", &["ETag: W/\"a-1\""], b"");
    let other = answer("200 OK", &["ETag: W/\"a-1\""], &[b"[", RUN, b"]"].concat());
    let fixture = Fixture::new([tagged(), not_modified(), tagged(), other, not_modified()]).await;
    let known = fixture.runs().await.expect("an answer").expect("a list").validator;
    let ask = async || {
        let answer = fixture.client.runs(&workflow(), PAGE, Some(&known)).await;
        answer.expect("an answer").expect("a list")
    };
    assert!(matches!(ask().await, Answer::Unchanged { .. }), "the server says so");
    assert!(matches!(ask().await, Answer::Unchanged { .. }), "its bytes are the same");
    let page = changed(ask().await);
    assert_eq!(page.items.len(), 1);
    assert!(page.validator.contradicts(&known));
    let error = fixture.runs().await.expect_err("nobody asked for it").to_string();
    assert!(error.contains("answered with 304"), "{error}");
    let sent = |request: &String| request.contains("\r\nif-none-match: W/\"a-1\"\r\n");
    let sent: Vec<_> = fixture.server.requests().iter().map(sent).collect();
    assert_eq!(sent, [false, true, true, true, false]);
    fixture.assert_metrics(&["requests_total{code=\"304\",endpoint=\"runs\"} 2"]);
}

#[tokio::test]
async fn ids_are_encoded_and_the_base_url_keeps_its_path() {
    let fixture = Fixture::with([empty_list()], |settings| {
        settings.api_url.set_path("/a/b/");
        settings.api_url.set_query(Some("left=over"));
        settings.app_id = AppId::new("a/b").expect("an id");
        settings.verbose = true;
    })
    .await;
    let workflow = WorkflowId::new("../w?x#%2F\\ü").expect("an id");
    fixture.client.runs(&workflow, PAGE, None).await.expect("an answer");
    let request = fixture.server.requests().remove(0);
    assert_eq!(
        request.lines().next(),
        Some(
            "GET /a/b/apps/a%2Fb/workflows/..%2Fw%3Fx%23%252F%5C%C3%BC/runs?verbose=all&page=2&take=50 HTTP/1.1"
        )
    );
}

#[tokio::test]
async fn a_page_tells_what_the_headers_say_of_the_list() {
    let headers = ["Pagination-Count: 1234"];
    let body = br#"[{"id":"a","status":"FAILED"},null]"#;
    let fixture = Fixture::new([answer("200 OK", &headers, body), empty_list()]).await;
    let page = fixture.runs().await.expect("an answer").expect("a list");
    assert_eq!((page.total, page.keys.len()), (Some(1234), 2));
    assert_eq!((page.items.len(), page.undecodable.len()), (1, 1));
    let page = fixture.runs().await.expect("an answer").expect("a list");
    assert_eq!(page.total, None);
    assert_eq!(fixture.client.clock_skew_ms(), None);
}

#[tokio::test]
async fn the_apis_clock_is_learnt_from_answers_that_no_cache_kept() {
    let cases: [(&[&str], Option<i64>); 7] = [
        (&["Date: Fri, 02 Jan 2026 02:04:05 GMT", "Age: 3600"], None),
        (&["Date: Fri, 02 Jan 2026 03:04:05 GMT", "Age: 0"], None),
        (&["Date: whenever"], None),
        (&["Date: Thu, 01 Jan 1970 00:00:00 GMT"], None),
        (&["Date: Fri, 02 Jan 2026 03:04:05 GMT"], Some(0)),
        (&["Date: Fri, 02 Jan 2026 03:04:08 GMT"], Some(2500)),
        (&["Date: Friday, 02-Jan-26 03:04:08 GMT"], Some(2500)),
    ];
    for (headers, skew_ms) in cases {
        let fixture = Fixture::new([answer("200 OK", headers, b"[]")]).await;
        let page = fixture.runs().await.expect("an answer").expect("a list");
        assert_eq!(fixture.client.clock_skew_ms(), skew_ms, "{headers:?}");
        let api_ms = NOW_MS + skew_ms.unwrap_or(0);
        assert_eq!(page.read_at, ReadAt::new(api_ms, NOW_MS));
        assert_eq!(page.read_at, fixture.client.now());
    }
}

#[tokio::test]
async fn a_rejected_key_is_reported_at_once_and_never_shown() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let body = format!(r#"{{"status":401,"message":"bad key {KEY}\u0007"}}"#);
        let fixture = Fixture::new([answer(status, &[], body.as_bytes())]).await;
        let error = fixture.failure(1).await;
        assert!(error.is_auth() && !error.is_transient(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("(bad key <key>\u{FFFD})"), "{text}");
    }
}

#[tokio::test]
async fn what_is_gone_is_none_but_an_app_that_is_gone_is_an_error() {
    let gone = || answer("404 Not Found", &[], b"<html>");
    let fixture = Fixture::new([gone(), gone(), gone()]).await;
    assert!(fixture.runs().await.expect("an answer").is_none());
    let read = fixture.client.run(&workflow(), &run()).await;
    assert_eq!(read.expect("an answer"), None);
    let error = fixture.client.workflows(PAGE, None).await.expect_err("no app");
    assert!(error.to_string().contains("--cortex.app-id"), "{error}");
    assert_eq!(fixture.server.requests().len(), 3);
}

#[tokio::test]
async fn a_request_that_the_api_finds_wrong_is_not_repeated() {
    let body = br#"{"message":"take must be at most 20"}"#;
    let fixture = Fixture::new([answer("400 Bad Request", &[], body)]).await;
    let error = fixture.failure(1).await;
    let text = error.to_string();
    assert_eq!(text, "the Cortex API answered with 400 (take must be at most 20)");
}

#[tokio::test]
async fn the_servers_trouble_is_waited_out() {
    let fixture = Fixture::new([
        answer("500 Oops", &[], b""),
        Reply::Reset,
        answer("200 OK", &["Content-Length: 9"], b"[]"),
        empty_list(),
    ])
    .await;
    let page = fixture.runs().await.expect("an answer").expect("a list");
    assert!(page.keys.is_empty());
    fixture.assert_metrics(&[
        r#"retries_total{reason="server"} 1"#,
        r#"retries_total{reason="network"} 1"#,
        r#"retries_total{reason="body"} 1"#,
        r#"retries_total{reason="throttled"} 0"#,
        r#"requests_total{code="500",endpoint="runs"} 1"#,
        r#"requests_total{code="error",endpoint="runs"} 2"#,
        r#"requests_total{code="200",endpoint="runs"} 1"#,
        r#"requests_total{code="429",endpoint="workflows"} 0"#,
        r#"request_duration_seconds_count{endpoint="runs"} 4"#,
        r#"request_duration_seconds_count{endpoint="run"} 0"#,
        "rate_limit_requests_per_minute 1000000",
    ]);
}

#[tokio::test]
async fn lasting_trouble_is_an_error_after_three_retries() {
    let bad = || answer("503 Busy", &["Content-Length: 99"], b"<html>");
    let error = Fixture::new([bad(), bad(), bad(), bad(), empty_list()]).await.failure(4).await;
    assert!(matches!(error, ApiError::Status { code: 503, .. }), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn no_server_is_an_error_that_names_the_host() {
    let fixture = Fixture::with([], |settings| {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound address");
        settings.api_url = format!("http://{address}").parse().expect("a URL");
    })
    .await;
    let error = fixture.failure(0).await;
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let hangs = || Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".to_vec());
    let fixture = Fixture::with([hangs(), hangs(), Reply::Hang(Vec::new()), hangs()], |settings| {
        settings.timeout = Duration::from_millis(50);
    })
    .await;
    let error = fixture.failure(4).await;
    assert!(error.to_string().contains("within 50ms"), "{error}");
    fixture.assert_metrics(&[r#"retries_total{reason="network"} 3"#]);
}

/// How long everything is held back after an answer with this status and these headers.
async fn pause_after(status: &str, headers: &[&str]) -> f64 {
    let fixture = Fixture::new([answer(status, headers, b"[]")]).await;
    let request = async {
        let outcome = fixture.runs().await;
        match fixture.rate_limiter.pause_left() {
            Some(_) => std::future::pending().await,
            None => outcome,
        }
    };
    let pause = async {
        loop {
            if let Some(left) = fixture.rate_limiter.pause_left() {
                return left;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = request => panic!("nothing may be sent during the pause: {outcome:?}"),
        left = pause => left.as_secs_f64(),
    }
}

#[tokio::test]
async fn a_refusal_pauses_everything_as_long_as_it_asks() {
    let date = "Date: Fri, 02 Jan 2026 00:00:00 GMT";
    let retry_at = "Retry-After: Fri, 02 Jan 2026 00:01:30 GMT";
    let cases: [(&[&str], f64); 5] = [
        (&["Retry-After: 120"], 120.0),
        (&["Retry-After: 86400"], 300.0),
        (&[retry_at, date], 90.0),
        (&["Retry-After: soon"], 2.0),
        (&[], 2.0),
    ];
    for (headers, length) in cases {
        let left = pause_after("429 Slow Down", headers).await;
        // It has been running for a moment, on a slow machine for a long one.
        assert!(left <= length && left > length / 4.0, "{left} of {length}");
    }
}

#[tokio::test]
async fn whatever_the_status_a_server_that_asks_to_wait_gets_its_wait() {
    for status in [
        "200 OK",
        "202 Accepted",
        "301 Moved",
        "304 Not Modified",
        "400 Bad",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "409 Conflict",
        "418 Teapot",
        "420 Calm",
        "429 Slow Down",
        "500 Oops",
        "502 Bad Gateway",
        "503 Busy",
        "529 Overloaded",
        "599 Odd",
    ] {
        for (asked, length) in [
            ("10", 10.0),
            ("0.5", 1.0),
            ("1e9", 300.0),
            ("99999999999999999999", 300.0),
            ("Fri, 02 Jan 2026 03:04:15 GMT", 10.0),
            ("Friday, 02-Jan-26 03:04:15 GMT", 10.0),
            ("Fri Jan  2 03:04:15 2026", 10.0),
        ] {
            let left = pause_after(status, &[&format!("Retry-After: {asked}")]).await;
            assert!(left <= length && left > length / 4.0, "{status}, {asked}: {left}");
        }
    }
}

#[tokio::test]
async fn what_asks_for_no_wait_makes_none_unless_it_is_a_refusal() {
    for asked in ["0", "-1", "nan", "inf", "-0", "", "soon", "Fri, 02 Jan 2026 03:04:00 GMT"] {
        let header = format!("Retry-After: {asked}");
        let fixture = Fixture::new([answer("400 Bad", &[&header], b"")]).await;
        fixture.failure(1).await;
        assert_eq!(fixture.rate_limiter.pause_left(), None, "{asked}");
        let left = pause_after("429 Slow Down", &[&header]).await;
        assert!(left <= 2.0, "{asked}: {left}");
    }
}

#[tokio::test]
async fn a_403_with_a_wait_is_no_bad_key_but_one_without_is() {
    for (status, headers, is_auth) in [
        ("403 Forbidden", &["Retry-After: 1"][..], false),
        ("403 Forbidden", &["Retry-After: nan"], true),
        ("403 Forbidden", &[], true),
        ("401 Unauthorized", &["Retry-After: 1"], true),
    ] {
        let refusal = answer(status, headers, b"");
        let fixture = Fixture::new([refusal, empty_list()]).await;
        let outcome = fixture.runs().await;
        let refused = outcome.as_ref().is_err_and(ApiError::is_auth);
        assert_eq!((outcome.is_err(), refused), (is_auth, is_auth), "{status} {headers:?}");
    }
}

#[tokio::test]
async fn a_refused_request_is_sent_again_after_the_pause() {
    let refusal = answer("429 Slow Down", &["Retry-After: 1"], b"");
    let fixture = Fixture::new([refusal, empty_list()]).await;
    fixture.runs().await.expect("an answer").expect("a list");
    assert_eq!(fixture.rate_limiter.pause_left(), None);
    fixture.assert_metrics(&[r#"retries_total{reason="throttled"} 1"#]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_the_key_stays_here() {
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = other.local_addr().expect("a bound address");
    let location = format!("Location: http://{address}/?{KEY}");
    let fixture = Fixture::new([answer("302 Found", &[&location], b"")]).await;
    let error = fixture.failure(1).await;
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("--cortex.api-url"), "{text}");
    let connection = futures::FutureExt::now_or_never(other.accept());
    assert!(connection.is_none(), "the other host was contacted");
}

#[tokio::test]
async fn a_page_of_something_else_is_an_error_that_says_where_to_look() {
    let page = || {
        let html = b"<html>secret customer data";
        answer("200 OK", &["Content-Type: text/html"], html)
    };
    let fixture = Fixture::new([page(), page(), page(), page()]).await;
    let error = fixture.failure(4).await;
    assert_eq!(
        error.to_string(),
        "the Cortex API's answer is not a list in JSON but text/html; check that --cortex.api-url \
         is the API and not a website or a proxy"
    );
    fixture.assert_metrics(&[r#"retries_total{reason="body"} 3"#]);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_whether_announced_or_not() {
    let announced = format!("Content-Length: {}", MAX_BODY + 1);
    let fixture = Fixture::new([answer("200 OK", &[&announced], b"[")]).await;
    let error = fixture.failure(1).await;
    assert_eq!(
        error.to_string(),
        "an answer of the Cortex API is larger than 32 MiB, the most that is read; if runs of a \
         workflow are so large, exclude it with --workflows.exclude"
    );
    let fixture = Fixture::new([answer("200 OK", &[&announced], b"{")]).await;
    let error = fixture.client.run(&workflow(), &run()).await.expect_err("it is too large");
    assert!(error.to_string().contains("it is too large to be read"), "{error}");

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![b' '; MAX_BODY + 1]).expect("a Vec takes everything");
    let bomb = bomb.finish().expect("a Vec takes everything");
    let fixture = Fixture::new([answer("200 OK", &["Content-Encoding: gzip"], &bomb)]).await;
    let error = fixture.failure(1).await;
    assert!(matches!(error, ApiError::TooLarge { .. }), "{error:?}");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

#[tokio::test]
async fn every_form_that_http_allows_for_a_body_is_read() {
    const LIST: &str = r#"[{"id":"a","status":"FAILED"},{"id":"b","status":"FAILED"}]"#;
    let (start, end) = LIST.split_at(30);
    let members = [gzip(start), gzip(end)].concat();
    let zlib = zlib(LIST);
    let raw = zlib[2..zlib.len() - 4].to_vec();
    let plain = LIST.as_bytes().to_vec();
    let twice = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&gzip(LIST)).expect("a Vec takes everything");
        encoder.finish().expect("a Vec takes everything")
    };
    for (status, headers, body, runs) in [
        ("200 OK", vec!["Content-Encoding: gzip"], gzip(LIST), 2),
        ("200 OK", vec!["Content-Encoding: gzip"], members, 2),
        ("200 OK", vec!["Content-Encoding: GZip"], gzip(LIST), 2),
        ("200 OK", vec!["Content-Encoding: x-gzip"], gzip(LIST), 2),
        ("200 OK", vec!["Content-Encoding: gzip, identity"], gzip(LIST), 2),
        ("200 OK", vec!["Content-Encoding: gzip, gzip"], twice.clone(), 2),
        ("200 OK", vec!["Content-Encoding: gzip", "Content-Encoding: gzip"], twice, 2),
        ("200 OK", vec!["Content-Encoding: deflate"], zlib, 2),
        ("200 OK", vec!["Content-Encoding: deflate"], raw, 2),
        ("200 OK", vec!["Content-Encoding: identity"], plain.clone(), 2),
        ("200 OK", vec!["Content-Encoding: "], plain.clone(), 2),
        ("200 OK", vec!["Content-Encoding: gzip"], plain.clone(), 2),
        ("200 OK", vec![], gzip(LIST), 2),
        ("200 OK", vec!["Content-Type: text/plain; charset=latin1"], plain.clone(), 2),
        ("200 OK", vec![], [b"\xEF\xBB\xBF", &plain[..]].concat(), 2),
        ("200 OK", vec![], [b" \r\n\t", &plain[..], b"\n\n "].concat(), 2),
        ("203 Non-Authoritative Information", vec![], plain, 2),
        ("200 OK", vec![], b"null".to_vec(), 0),
        ("204 No Content", vec![], Vec::new(), 0),
        ("205 Reset Content", vec![], Vec::new(), 0),
    ] {
        let fixture = Fixture::new([answer(status, &headers, &body)]).await;
        let page = fixture.runs().await.map(|page| page.map(|page| page.items.len()));
        assert!(
            matches!(page, Ok(Some(number)) if number == runs),
            "{status} {headers:?} {page:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_names_the_cause() {
    let cut = gzip(&"x".repeat(9999));
    let cut = cut[..cut.len() - 9].to_vec();
    for (status, headers, body, cause) in [
        ("200 OK", vec!["Content-Encoding: br"], b"\x0B\x02\x80[]\x03".to_vec(), "encoded as br"),
        ("200 OK", vec!["Content-Encoding: zstd"], b"x".to_vec(), "encoded as zstd"),
        ("200 OK", vec!["Content-Encoding: gzip, br"], b"x".to_vec(), "encoded as br"),
        ("200 OK", vec!["Content-Encoding: gzip"], cut, "its gzip encoding is broken"),
        ("200 OK", vec!["Content-Encoding: gzip"], b"xx".to_vec(), "its gzip encoding is broken"),
        (
            "200 OK",
            vec!["Content-Encoding: deflate"],
            b"xx".to_vec(),
            "its deflate encoding is broken",
        ),
        (
            "200 OK",
            vec!["Content-Type: text/html"],
            b"<html>".to_vec(),
            "not a list in JSON but text/html",
        ),
        (
            "200 OK",
            vec!["Content-Type: application/json; charset=utf-16"],
            b"[\0]\0".to_vec(),
            "charset=utf-16 that is not valid JSON (line 1, column 2)",
        ),
        (
            "200 OK",
            vec!["Content-Type: application/json"],
            b"[{\"id\":\"a\"},\n {\"id\" \"secret\"}]".to_vec(),
            "but application/json that is not valid JSON (line 2, column 8); check",
        ),
        (
            "200 OK",
            vec!["Content-Type: application/problem+json"],
            b"[{\"id\":\"a\"},".to_vec(),
            "but application/problem+json that is not valid JSON (line 1, column 12)",
        ),
        ("200 OK", vec![], Vec::new(), "an empty body"),
        ("200 OK", vec![], b"{}".to_vec(), "not a list in JSON but something else"),
        ("206 Partial Content", vec![], b"[]".to_vec(), "answered with 206"),
        ("304 Not Modified", vec![], Vec::new(), "answered with 304"),
        ("300 Multiple Choices", vec![], Vec::new(), "answered with 300"),
        ("307 Temporary Redirect", vec!["Location: /elsewhere"], Vec::new(), "redirects to"),
    ] {
        let replies = [(); 4].map(|()| answer(status, &headers, &body));
        let fixture = Fixture::new(replies).await;
        let error = fixture.runs().await.expect_err("a failure").to_string();
        assert!(error.contains(cause), "{status} {headers:?}: {error}");
    }
}

#[tokio::test]
async fn another_run_than_was_asked_for_is_not_taken_for_it() {
    let other = br#"{"id":"run_2","status":"RUNNING"}"#;
    let fixture = Fixture::new([answer("200 OK", &[], other), answer("200 OK", &[], b"{}")]).await;
    for reason in ["another one", "no usable id"] {
        let error = fixture.client.run(&workflow(), &run()).await.expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_new_key_is_used_and_a_bad_one_leaves_the_last_good_one() {
    let file = tempfile::NamedTempFile::new().expect("a writable temporary folder");
    std::fs::write(file.path(), "first\n").expect("a writable file");
    let echo = answer("401 Unauthorized", &[], br#"{"message":"neither first nor second"}"#);
    let fixture = Fixture::with([empty_list(), empty_list(), echo], |settings| {
        settings.api_key = ApiKey::File(file.path().into());
    })
    .await;
    assert!(!fixture.client.refresh_key().expect("a key"));
    std::fs::write(file.path(), "second\n").expect("a writable file");
    assert!(fixture.client.refresh_key().expect("a key"));
    fixture.runs().await.expect("an answer");
    std::fs::write(file.path(), "").expect("a writable file");
    fixture.client.refresh_key().expect_err("no key");
    fixture.runs().await.expect("an answer");
    let refused = fixture.runs().await.expect_err("a refusal").to_string();
    assert!(refused.contains("neither <key> nor <key>"), "{refused}");
    for request in fixture.server.requests() {
        assert!(request.contains("authorization: Bearer second\r\n"), "{request}");
    }
}
