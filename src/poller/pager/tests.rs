use proptest::prelude::*;

use super::*;

/// What a server says of the length of its list.
#[derive(Clone, Copy, Debug)]
enum Total {
    Right,
    Missing,
    OfThePage,
    Fixed(u64),
}

/// A list that changes between any two pages, as its server would give it.
struct List {
    items: Vec<u64>,
    cap: u32,
    total: Total,
    ignores_take: bool,
    ignores_page: bool,
    /// Pages with one of these are too large to be read.
    too_large: Vec<u64>,
}

impl List {
    fn of(length: u64) -> Self {
        let items = (0..length).collect();
        Self {
            items,
            cap: 100,
            total: Total::Right,
            ignores_take: false,
            ignores_page: false,
            too_large: Vec::new(),
        }
    }

    fn page(&self, request: PageRequest) -> Vec<u64> {
        let take = if self.ignores_take { self.cap } else { request.take.min(self.cap) };
        let number = if self.ignores_page { 1 } else { request.number };
        let skip = (number as usize - 1) * take as usize;
        self.items.iter().skip(skip).take(take as usize).copied().collect()
    }

    fn total(&self, keys: &[u64]) -> Option<u64> {
        match self.total {
            Total::Right => Some(self.items.len() as u64),
            Total::Missing => None,
            Total::OfThePage => Some(keys.len() as u64),
            Total::Fixed(number) => Some(number),
        }
    }

    /// Reads it all; `change` happens after each page. Returns what was read and the number
    /// of requests.
    fn read(&mut self, take: u32, change: impl FnMut(&mut Vec<u64>)) -> (HashSet<u64>, u32) {
        self.read_by(Pager::new(take, take, 0), change)
    }

    fn read_by(&mut self, pager: Pager, change: impl FnMut(&mut Vec<u64>)) -> (HashSet<u64>, u32) {
        let (read, requests, _) = self.try_to_read(pager, change);
        (read, requests)
    }

    /// The same, and whether the end of the list was reached.
    fn try_to_read(
        &mut self,
        mut pager: Pager,
        mut change: impl FnMut(&mut Vec<u64>),
    ) -> (HashSet<u64>, u32, bool) {
        let (mut read, mut requests) = (HashSet::new(), 0);
        loop {
            let request = pager.request();
            requests += 1;
            let mut keys = self.page(request);
            let mut total = self.total(&keys);
            if keys.iter().any(|key| self.too_large.contains(key)) {
                if request.take > 1 && pager.shrink() {
                    continue;
                } else if !pager.skip() {
                    return (read, requests, false);
                }
                (keys, total) = (vec![u64::MAX - u64::from(request.number)], None);
            } else {
                read.extend(&keys);
            }
            change(&mut self.items);
            match pager.answered(&keys, total) {
                Paged::More | Paged::Restarted => {}
                Paged::Ended => return (read, requests, true),
                Paged::GivenUp => return (read, requests, false),
            }
        }
    }
}

/// After the first page, the second, …: this number of items joins at the front.
fn joining(numbers: impl IntoIterator<Item = u64>) -> impl FnMut(&mut Vec<u64>) {
    let (mut numbers, mut next) = (numbers.into_iter(), 1_000_000);
    move |items| {
        for _ in 0..numbers.next().unwrap_or(0) {
            next += 1;
            items.insert(0, next);
        }
    }
}

/// After the first page, the second, …: this number of items leaves the front.
fn leaving(numbers: impl IntoIterator<Item = usize>) -> impl FnMut(&mut Vec<u64>) {
    let mut numbers = numbers.into_iter();
    move |items| drop(items.drain(0..numbers.next().unwrap_or(0)))
}

#[test]
fn a_list_of_one_page_costs_one_request() {
    assert_eq!(List::of(99).read(100, |_| {}).1, 1);
    assert_eq!(List::of(0).read(100, |_| {}).1, 1);
}

#[test]
fn no_claim_ends_a_list_before_what_is_seen_of_it_does() {
    let totals = [0, 1, 10, 49, 51, 95, 100, 229, 231, 1000, u64::MAX].map(Total::Fixed);
    for total in totals.into_iter().chain([Total::Right, Total::Missing, Total::OfThePage]) {
        for (cap, ignores_take) in [(50, false), (50, true), (7, false), (99, false)] {
            for first in [100, 50, 10, 7, 3] {
                let mut list = List { cap, total, ignores_take, ..List::of(230) };
                let (read, _) = list.read_by(Pager::new(first, 100, 230), |_| {});
                assert_eq!(read.len(), 230, "{total:?}, {cap}, {ignores_take}, {first}");
            }
        }
    }
}

#[test]
fn the_end_of_a_short_list_is_proved_by_at_most_one_more_page() {
    for (length, total, at_least, requests) in [
        (50, Total::Right, 0, 1),
        (50, Total::Right, 50, 1),
        // Some of its runs were deleted, or the server counts each page.
        (50, Total::Right, 51, 2),
        (50, Total::Missing, 0, 2),
        (50, Total::Fixed(7), 0, 2),
        (50, Total::Fixed(700), 0, 2),
        (1, Total::Missing, 0, 2),
        (0, Total::Missing, 0, 1),
        (230, Total::Missing, 0, 3),
        (230, Total::Right, 0, 3),
    ] {
        let read =
            List { total, ..List::of(length) }.read_by(Pager::new(100, 100, at_least), |_| {});
        assert_eq!((read.0.len() as u64, read.1), (length, requests), "{length} {total:?}");
    }
}

#[test]
fn overlapping_costs_few_requests() {
    let (read, requests) = List::of(20_000).read(100, |_| {});
    assert_eq!(read.len(), 20_000);
    assert!(requests <= 240, "{requests}");
}

#[test]
fn a_server_that_ignores_page_is_not_asked_forever() {
    for total in [Total::Right, Total::Missing] {
        let mut list = List { ignores_page: true, total, ..List::of(1000) };
        let (read, requests) = list.read(100, |_| {});
        assert_eq!(read.len(), 100);
        assert!(requests <= 5, "{requests}");
    }
}

#[test]
fn an_item_that_is_deleted_while_reading_hides_none() {
    let (read, _) = List::of(1000).read(100, leaving([3; 4]));
    assert!((12..1000).all(|item| read.contains(&item)));
}

#[test]
fn a_list_that_moved_further_than_the_overlap_is_read_again() {
    let (read, _) = List::of(1000).read(100, leaving([50]));
    assert!((50..1000).all(|item| read.contains(&item)));
}

#[test]
fn an_empty_page_where_something_stood_is_not_the_end() {
    let (read, _) = List::of(13).read(10, leaving([9]));
    assert!((9..13).all(|item| read.contains(&item)), "{read:?}");
}

#[test]
fn a_first_item_that_is_pushed_onto_two_pages_is_not_taken_for_the_end() {
    for (take, number) in [(3, 3), (10, 17), (100, 190)] {
        let (read, _) = List::of(1000).read(take, joining([number]));
        assert!((0..1000).all(|item| read.contains(&item)), "{take} {number}");
    }
}

#[test]
fn a_first_item_that_joining_ones_push_from_page_to_page_is_not_taken_for_the_end() {
    let (read, _) = List::of(40).read(9, joining([8, 7, 9]));
    assert!((0..40).all(|item| read.contains(&item)));
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_quarters() {
    let mut pager = Pager::new(100, 100, 0);
    assert!(pager.shrink());
    assert_eq!(pager.request(), PageRequest { number: 1, take: 25 });
    let keys: Vec<_> = (0..25).collect();
    assert_eq!(pager.answered(&keys, None), Paged::More);
    assert!(pager.request().take <= 25);
    let mut pager = Pager::new(25, 25, 0);
    pager.aim(100);
    pager.aim(10);
    assert_eq!(pager.answered(&keys, None), Paged::More);
    assert!(pager.request().take <= 10);
}

#[test]
fn an_item_that_is_too_large_by_itself_hides_no_other_and_costs_few_requests() {
    for too_large in [vec![0], vec![57], vec![299], vec![0, 1, 2], vec![5, 99, 100, 101, 250]] {
        for total in [Total::Right, Total::Missing] {
            let mut list = List { too_large: too_large.clone(), total, ..List::of(300) };
            let (read, requests, ended) = list.try_to_read(Pager::new(100, 100, 300), |_| {});
            assert!(ended && read.len() + too_large.len() == 300, "{too_large:?} {total:?}");
            assert!(requests <= 75, "{requests}, {too_large:?}");
        }
    }
}

#[test]
fn what_is_too_large_is_skipped_only_where_it_is_surely_one_item() {
    for (length, at_least, total, ignores_take, ended) in [
        (1, 1, Total::Missing, false, true),
        (1, 0, Total::OfThePage, false, false),
        (1, 0, Total::Missing, false, false),
        (2, 0, Total::Missing, false, true),
        (80, 80, Total::Right, true, false),
        (80, 0, Total::Missing, true, false),
        (250, 250, Total::Right, true, false),
    ] {
        let too_large = vec![0];
        let mut list = List { total, ignores_take, too_large, ..List::of(length) };
        let outcome = list.try_to_read(Pager::new(100, 100, at_least), |_| {});
        assert_eq!(outcome.2, ended, "{length} {at_least} {total:?} {ignores_take}");
    }
    let mut all = List { too_large: (0..300).collect(), ..List::of(300) };
    let (_, requests, ended) = all.try_to_read(Pager::new(100, 100, 300), |_| {});
    assert!(!ended && requests <= 20, "{requests}");
}

proptest! {
    #[test]
    fn every_item_that_stays_is_read_if_the_list_grows_slower_than_it_is_read(
        length in 0_u64..400,
        take in 12_u32..120,
        cap in 12_u32..120,
        total in prop_oneof![
            Just(Total::Right),
            Just(Total::Missing),
            // Whatever a list has grown to by then.
            (400_u64..1000).prop_map(Total::Fixed),
        ],
        ignores_take in any::<bool>(),
        numbers in proptest::collection::vec(0_u64..3, 0..40),
    ) {
        let mut list = List { cap, total, ignores_take, ..List::of(length) };
        let (read, _) = list.read(take, joining(numbers));
        for item in 0..length {
            prop_assert!(read.contains(&item), "{item} is missing");
        }
    }

    #[test]
    fn whatever_is_too_large_a_list_that_was_read_to_its_end_lacks_nothing_else(
        length in 0_u64..400,
        take in 1_u32..120,
        cap in 12_u32..120,
        total in prop_oneof![Just(Total::Right), Just(Total::Missing)],
        too_large in proptest::collection::vec(0_u64..400, 0..8),
        numbers in proptest::collection::vec(0_u64..2, 0..20),
    ) {
        let mut list = List { cap, total, too_large, ..List::of(length) };
        let pager = Pager::new(take, take, length);
        // Pages of one item must be read faster than the list grows.
        let numbers = numbers.into_iter().flat_map(|number| [number, 0, 0]);
        let (read, requests, ended) = list.try_to_read(pager, joining(numbers));
        let lacks = (0..length).find(|it| !read.contains(it) && !list.too_large.contains(it));
        prop_assert!(!ended || lacks.is_none(), "{lacks:?} is missing");
        prop_assert!(requests <= 1000, "{requests}");
    }
}
