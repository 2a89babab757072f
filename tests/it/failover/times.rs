//! How long it takes until the other exporter leads.

use std::time::Instant;

use futures::future::join_all;

use super::*;
use crate::support::KEY;

/// What happens to a leader.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ends,
    IsKilled,
    IsFrozen,
    IsCutOff,
}

/// How often each is measured.
const TIMES: u32 = 10;

#[tokio::test]
#[ignore = "measures for minutes; what came out is in src/ledger/README.md"]
async fn how_long_it_takes_until_the_other_leads() {
    let world = World::new().await;
    for (event, promised) in [
        (Event::Ends, 10.0),
        (Event::IsKilled, 10.0),
        (Event::IsFrozen, 60.0),
        (Event::IsCutOff, 60.0),
    ] {
        let mut seconds = Vec::new();
        if promised < 60.0 {
            for n in 0..TIMES {
                seconds.push(take_over(&world, event, n).await);
            }
        } else {
            // All but a moment of it is waiting.
            seconds = join_all((0..TIMES).map(|n| take_over(&world, event, n))).await;
        }
        seconds.sort_by(f64::total_cmp);
        let median = f64::midpoint(seconds[4], seconds[5]);
        println!("{event:?}: median {median:.1} s, worst {:.1} s of {seconds:.1?}", seconds[9]);
        assert!(seconds[9] <= promised, "{event:?} takes longer than {promised} s");
    }
}

/// The seconds from the event until the other one shows workflows.
async fn take_over(world: &World, event: Event, n: u32) -> f64 {
    let schema = format!("{event:?}_{n}").to_lowercase();
    world.sql(&format!("CREATE SCHEMA {schema}")).await;
    let proxy = Proxy::to(world.server.socket()).await;
    let (host, path) = (format!("127.0.0.1:{}", proxy.port()), "postgres?options[search_path]");
    let first = with_defaults(world, &format!("postgres://postgres@{host}/{path}={schema}")).await;
    first.leads().await;
    let mut second = with_defaults(world, &world.server.url(&schema)).await;
    second.stands_by().await;
    // Spread over the second after which the other one looks again.
    tokio::time::sleep(Duration::from_millis(u64::from(100 * n))).await;
    let begun = Instant::now();
    match event {
        Event::Ends => first.process.terminate(),
        Event::IsKilled => first.process.signal("KILL"),
        Event::IsFrozen => first.process.signal("STOP"),
        Event::IsCutOff => proxy.cut(true),
    }
    let leads = async || {
        let samples = scrape(&second.base).await;
        let leads = samples.sum(LEADER, &[]) == Some(1.0) && samples.sum(RUNS, &[]).is_some();
        leads.then(|| begun.elapsed().as_secs_f64())
    };
    let seconds = wait_until("the other one leads", leads, || second.process.log()).await;
    second.process.kill();
    seconds
}

/// An exporter with the default settings.
async fn with_defaults(world: &World, state_url: &str) -> Exporter {
    let (url, state) = (world.api.url(), format!("--state.url={state_url}"));
    let api = format!("--cortex.api-url={url}");
    let arguments = ["serve", "--web.listen-address=127.0.0.1:0", &api, &state];
    let mut process = Process::spawn(&arguments, &[("CORTEX_API_KEY", KEY)]);
    let base = process.ready_url().await;
    Exporter { process, base }
}
