use super::*;
use crate::model::Timestamp;

fn keys(runs: &[Run]) -> Vec<u64> {
    runs.iter().map(|run| run.id.as_str().parse().expect("a number")).collect()
}

/// The runs of a list with the oldest first, in the order of their creation.
fn runs(numbers: std::ops::Range<u32>) -> Vec<Run> {
    let run = |number: u32| {
        let created_at = Some(Timestamp::Instant(i64::from(number) * 1000));
        Run { created_at, ..Run::completed(&number.to_string()) }
    };
    numbers.map(run).collect()
}

/// Reads a list whose server answers so; how many requests that takes.
fn requests(answer: impl Fn(PageRequest) -> Vec<Run>, total: u64) -> u32 {
    let mut reading = Reading::new(10, 10, 0, false, ListMemory::default());
    for requests in 1..10_000 {
        let runs = answer(reading.request());
        let keys = keys(&runs);
        let outcome = reading.answered(&runs, &keys, Some(total));
        if outcome.stop_when == StopWhen::Always || outcome.shift == Shift::GivenUp {
            return requests;
        }
    }
    panic!("it is asked forever");
}

/// Reads such a list of 230 runs and returns whether the youngest one was seen.
fn meets_the_youngest(first: u32, cap: u32, total: Option<u64>, memory: ListMemory) -> bool {
    let mut reading = Reading::new(first, 100, 230, false, memory);
    for _ in 0..2 * MAX_SEARCH_PAGES {
        let request = reading.request();
        let first = (request.number - 1).saturating_mul(request.take.min(cap));
        let end = first.saturating_add(request.take.min(cap));
        let runs = runs(first.min(230)..end.min(230));
        if runs.last().is_some_and(|run| run.id.as_str() == "229") {
            return true;
        }
        let outcome = reading.answered(&runs, &keys(&runs), total);
        // Old runs are known, so the reading stops as soon as it may.
        if outcome.stop_when != StopWhen::Never || outcome.shift == Shift::GivenUp {
            return false;
        }
    }
    false
}

/// The same as a page of a list, which begins with the newest of them or not.
fn page(numbers: std::ops::Range<u32>, newest_first: bool) -> Vec<Run> {
    let begun = |run: Run| Run { started_at: run.created_at, ..run };
    let mut runs: Vec<_> = runs(numbers).into_iter().map(begun).collect();
    if newest_first {
        runs.reverse();
    }
    runs
}

/// Reads a list of 230 runs, of which these are too large to be read, and the last ten of the
/// others are new. Returns what was met, and in how many requests.
fn met_beside(
    too_large: &[u32],
    newest_first: bool,
    to_the_end: bool,
    memory: ListMemory,
) -> (Vec<u32>, u32) {
    let first = if memory.knows_order() { 10 } else { 100 };
    let mut reading = Reading::new(first, 100, 230, to_the_end, memory);
    let mut met = Vec::new();
    for requests in 1..1000 {
        let request = reading.request();
        let first = ((request.number - 1) * request.take).min(230);
        let end = (first + request.take).min(230);
        let numbers = if newest_first { 230 - end..230 - first } else { first..end };
        let (mut runs, mut keys, mut total) = (Vec::new(), vec![1000 + u64::from(end)], None);
        if !too_large.iter().any(|it| numbers.contains(it)) {
            met.extend(numbers.clone());
            runs = page(numbers.clone(), newest_first);
            (keys, total) = (self::keys(&runs), Some(230));
        } else if request.take > 1 && reading.shrink() {
            continue;
        } else {
            assert!(reading.skip(), "{request:?}");
        }
        let known = numbers.start < 220 && !runs.is_empty();
        let outcome = reading.answered(&runs, &keys, total);
        assert_ne!(outcome.shift, Shift::GivenUp, "{request:?}");
        match outcome.stop_when {
            StopWhen::Always => return (met, requests),
            StopWhen::IfKnown | StopWhen::IfSettled if known && !to_the_end => {
                return (met, requests);
            }
            _ => {}
        }
    }
    panic!("it is asked forever");
}

#[test]
fn a_run_that_is_too_large_hides_no_other_in_any_order_of_the_list() {
    for (newest_first, to_the_end, most) in
        [(true, false, 30), (true, true, 30), (false, false, 60), (false, true, 700)]
    {
        let mut evidence = Evidence::default();
        evidence.add(&page(0..100, newest_first));
        let newest_end = NewestEnd { key: Key::Created, end: 229, take: 100 };
        let newest_end = Some(newest_end).filter(|_| !newest_first);
        let known = ListMemory { evidence: Some(evidence), newest_end };
        for memory in [known, ListMemory::default()] {
            for too_large in [&[229][..], &[0], &[225], &[228, 229], &[221, 224, 227], &[150]] {
                let (met, requests) = met_beside(too_large, newest_first, to_the_end, memory);
                let place = format!("{newest_first} {to_the_end} {memory:?} {too_large:?}");
                let wanted = if to_the_end { 0..230 } else { 220..230 };
                let mut wanted = wanted.filter(|it| !too_large.contains(it));
                assert_eq!(wanted.find(|it| !met.contains(it)), None, "{place}");
                assert!(requests <= most, "{place}: {requests}");
            }
        }
    }
}

#[test]
fn no_claim_and_no_memory_hides_the_newest_end_of_a_list_with_the_oldest_run_first() {
    let mut evidence = Evidence::default();
    evidence.add(&runs(0..100));
    let ends = [None, Some(0), Some(100), Some(229), Some(230), Some(300), Some(3000)];
    for total in [None, Some(0), Some(50), Some(100), Some(230), Some(1000), Some(u64::MAX)] {
        for (first, cap) in [(100, 50), (100, 99), (100, 100), (10, 7), (10, 100), (30, 20)] {
            for (end, evidence) in ends.into_iter().zip([None, Some(evidence)].iter().cycle()) {
                let newest_end = end.map(|end| NewestEnd { key: Key::Created, end, take: cap });
                let memory = ListMemory { evidence: *evidence, newest_end };
                let met = meets_the_youngest(first, cap, total, memory);
                assert!(met, "{first} {cap} {total:?} {memory:?}");
            }
        }
    }
}

#[test]
fn a_server_that_gives_the_same_page_again_is_not_asked_forever_for_the_last_one() {
    assert_eq!(requests(|_| runs(0..10), 500), 3);
}

#[test]
fn a_total_that_is_far_too_large_costs_few_requests() {
    let page = |request: PageRequest| {
        let first = (request.number - 1).saturating_mul(request.take).min(35);
        runs(first..first.saturating_add(request.take).min(35))
    };
    let requests = requests(page, u64::MAX);
    assert!(requests <= MAX_SEARCH_PAGES + 30, "{requests}");
}

#[test]
fn a_list_that_has_no_end_is_not_climbed_forever() {
    let page = |request: PageRequest| {
        let first = (request.number - 1).saturating_mul(request.take);
        runs(first..first + request.take)
    };
    let mut reading = Reading::new(10, 10, 0, false, ListMemory::default());
    let climbed = (0..MAX_SEARCH_PAGES + 20).find(|_| {
        let runs = page(reading.request());
        let keys = keys(&runs);
        reading.answered(&runs, &keys, Some(20));
        reading.to_the_end
    });
    assert!(climbed.is_some(), "{reading:?}");
}
