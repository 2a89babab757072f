use super::{super::*, NOON, Served, read};
use crate::model::{Origin, Status};

const RUNS: &str = "/apps/c/workflows/w/runs";

/// Five runs, a second apart: r0 is the oldest. The odd ones failed, r4 is waiting.
async fn with_five_runs(order: (OrderBy, Direction)) -> Served {
    let api = Served::scripted().await;
    api.simulator.world(|world| {
        let workflow = SimulatedWorkflow::new("W").with_id("w").with_order(order.0, order.1);
        world.add_workflow(workflow);
        for number in 0..5 {
            let at = NOON + number * 1000;
            let status = match number {
                4 => Status::Pending,
                odd if odd % 2 == 1 => Status::Failed,
                _ => Status::Completed,
            };
            // Started and ended in reverse, so that each order is another one.
            let started = (number < 4).then_some(NOON + 100_000 - number * 1000);
            let run = SimulatedRun::new(status, Origin::Record)
                .with_id(&format!("r{number}"))
                .with_times(at, started, started);
            world.add_run("w", run).expect("the workflow is there");
        }
    });
    api
}

#[tokio::test]
async fn pages_are_cut_from_the_newest_on_and_headers_tell_which() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    let second = api.get(&format!("{RUNS}?page=2&take=2")).await;
    assert_eq!(second.ids(), ["r2", "r1"]);
    let names = ["pagination-page", "pagination-take", "pagination-count"];
    assert_eq!(names.map(|name| second.header(name)), [Some("2"), Some("2"), Some("5")]);
    let beyond = api.get(&format!("{RUNS}?page=9&take=2")).await;
    assert_eq!((beyond.status, beyond.ids().len()), (200, 0));
}

#[tokio::test]
async fn every_order_is_kept() {
    for (order, ids) in [
        ((OrderBy::Created, Direction::OldestFirst), ["r0", "r1", "r2", "r3", "r4"]),
        ((OrderBy::Started, Direction::NewestFirst), ["r4", "r0", "r1", "r2", "r3"]),
        ((OrderBy::Updated, Direction::OldestFirst), ["r4", "r3", "r2", "r1", "r0"]),
    ] {
        let api = with_five_runs(order).await;
        assert_eq!(api.get(RUNS).await.ids(), ids, "{order:?}");
    }
    let api = with_five_runs((OrderBy::Created, Direction::Shuffled)).await;
    let once = api.get(RUNS).await.ids();
    assert_eq!(api.get(RUNS).await.ids(), once);
    assert!(!once.is_sorted() && !once.iter().rev().is_sorted(), "{once:?}");
}

#[tokio::test]
async fn status_and_origin_narrow_the_list() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for (query, ids) in [
        ("status=FAILED", vec!["r3", "r1"]),
        ("status=PENDING", vec!["r4"]),
        ("status=RUNNING", vec![]),
        ("origin=TEST", vec![]),
        ("status=FAILED&origin=RECORD&take=1&page=2", vec!["r1"]),
        ("status=ALL&origin=ALL&take=1", vec!["r4"]),
    ] {
        assert_eq!(api.get(&format!("{RUNS}?{query}")).await.ids(), ids, "{query}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_a_bad_request() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for query in ["page=0", "page=x", "take=0", "take=-1", "status=DONE", "origin=me"] {
        let answer = api.get(&format!("{RUNS}?{query}")).await;
        assert_eq!((answer.status, &answer.json()["status"]), (400, &400.into()), "{query}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for path in [
        "/",
        "/apps/c",
        "/apps/other/workflows",
        "/apps/c/workflows/none",
        "/apps/c/workflows/none/runs",
        "/apps/c/workflows/w/runs/none",
    ] {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
    let by_real_id = api.simulator.world(|world| format!("/apps/{}/workflows/w", world.app_id));
    for path in [&by_real_id, "/apps/c/workflows/w", "/apps/c/workflows/w/runs/r0"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn whatever_would_change_something_is_refused_with_the_documented_body() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for (method, path) in [
        ("POST", RUNS),
        ("PUT", "/apps/c/workflows/w"),
        ("DELETE", "/apps/c/workflows/w/runs/r0"),
        ("PATCH", "/apps/c/workflows"),
    ] {
        let method = method.parse().expect("a method");
        let request = api.client.request(method, format!("{}{path}", api.base));
        let answer = read(request.bearer_auth("demo-key")).await.expect("the API answers");
        assert_eq!((answer.status, &answer.json()["status"]), (405, &405.into()), "{path}");
        assert!(answer.json()["message"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn only_the_right_key_opens_and_requests_tell_who_had_it() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for key in [None, Some("Bearer wrong"), Some("demo-key"), Some("Bearer demo-key2")] {
        let answer = api.get_with_key("/apps/c/workflows", key).await;
        assert_eq!(answer.status, 401, "{key:?}");
        assert!(answer.json()["message"].is_string());
    }
    api.get(&format!("{RUNS}?take=1")).await;
    let seen = api.simulator.take_requests();
    assert_eq!(seen.iter().filter(|request| request.authorised).count(), 1);
    let last = seen.last().expect("there were requests");
    assert_eq!((last.path.as_str(), last.query.as_str()), (RUNS, "take=1"));
    assert_eq!((last.endpoint, last.status), (Some(ApiEndpoint::Runs), Some(200)));
    assert!(api.simulator.requests().is_empty());
}

#[tokio::test]
async fn beyond_the_limit_of_a_sliding_minute_there_is_429() {
    let settings = SimulatorSettings { rate_limit: Some(2), ..SimulatorSettings::default() };
    let api = Served::start(settings).await;
    let mut statuses = Vec::new();
    for pause in [0, 30, 0, 29, 1, 0] {
        api.clock.forward(pause);
        statuses.push(api.get("/apps/c/workflows").await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429, 200, 429]);
    let counts = api.simulator.request_counts();
    assert_eq!((counts.total, counts.highest_per_minute), (6, 5));
    assert_eq!(counts.answers["workflows"]["429"], 3);
}

#[tokio::test]
async fn the_date_follows_the_worlds_clock() {
    let api = Served::scripted().await;
    let date = async || api.get("/apps/c/workflows").await.header("date").map(str::to_owned);
    assert_eq!(date().await.as_deref(), Some("Mon, 25 Dec 2023 12:00:00 GMT"));
    api.simulator.world(|world| world.date_skew_ms = -3_600_000);
    assert_eq!(date().await.as_deref(), Some("Mon, 25 Dec 2023 11:00:00 GMT"));
    api.simulator.world(|world| world.quirks.insert(Quirk::OmitDate));
    assert_eq!(date().await, None);
}

#[tokio::test]
async fn each_quirk_departs_from_the_documented_way() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    for (quirk, query, ids) in [
        (Quirk::IgnoreTake, "take=2", vec!["r4", "r3", "r2", "r1", "r0"]),
        (Quirk::IgnorePage, "take=2&page=2", vec!["r4", "r3"]),
        (Quirk::IgnoreStatus, "status=RUNNING&take=1", vec!["r4"]),
        (Quirk::IgnoreOrigin, "origin=TEST&take=1", vec!["r4"]),
    ] {
        api.simulator.world(|world| world.quirks = [quirk].into());
        assert_eq!(api.get(&format!("{RUNS}?{query}")).await.ids(), ids, "{quirk:?}");
    }
    api.simulator.world(|world| world.quirks = [Quirk::OmitPagination].into());
    assert_eq!(api.get(RUNS).await.header("pagination-count"), None);
    api.simulator.world(|world| world.quirks = [Quirk::BareDates].into());
    assert_eq!(api.get(RUNS).await.json()[0]["created_at"], "2023-12-25");
}

#[tokio::test]
async fn an_answer_that_is_still_the_same_is_not_sent_again() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    let ask = async |tag: Option<&str>| {
        let request = api.client.get(format!("{}{RUNS}", api.base)).bearer_auth("demo-key");
        let answer = read(match tag {
            Some(tag) => request.header("if-none-match", tag),
            None => request,
        });
        let answer = answer.await.expect("the API answers");
        (answer.status, answer.header("etag").map(str::to_owned))
    };
    assert_eq!(ask(None).await, (200, None));
    for (quirk, after_a_change) in [(Quirk::Etags, 200), (Quirk::FrozenEtags, 304)] {
        api.simulator.world(|world| world.quirks = [quirk].into());
        let (_, tag) = ask(None).await;
        let tag = tag.expect("it has one");
        assert_eq!(ask(Some(&tag)).await, (304, Some(tag.clone())));
        assert_eq!(ask(Some("W/\"0-0\"")).await.0, 200);
        api.simulator.world(|world| drop(world.workflows[0].runs.pop()));
        assert_eq!(ask(Some(&tag)).await.0, after_a_change);
    }
}

#[tokio::test]
async fn no_page_holds_more_than_the_api_allows() {
    let settings = SimulatorSettings { max_take: 3, ..SimulatorSettings::default() };
    let api = Served::start(settings).await;
    api.simulator.world(|world| {
        for name in ["A", "B", "C", "D"] {
            world.add_workflow(SimulatedWorkflow::new(name));
        }
    });
    let answer = api.get("/apps/c/workflows?take=1000").await;
    assert_eq!((answer.ids().len(), answer.header("pagination-take")), (3, Some("3")));
    let found = api.get("/apps/c/workflows?search=d").await;
    assert_eq!((found.ids().len(), found.header("pagination-count")), (1, Some("1")));
}

#[tokio::test]
async fn a_list_can_move_between_two_pages() {
    let api = with_five_runs((OrderBy::Created, Direction::NewestFirst)).await;
    api.clock.forward(60);
    api.simulator.world(|world| {
        world.after_page = Some(Box::new(|world, workflow| {
            world.create_run(workflow, Origin::Workflow);
        }));
    });
    assert_eq!(api.get(&format!("{RUNS}?take=2&page=1")).await.ids(), ["r4", "r3"]);
    assert_eq!(api.get(&format!("{RUNS}?take=2&page=2")).await.ids(), ["r3", "r2"]);
}
