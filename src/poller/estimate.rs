//! What polling costs, and how late it finds what happens, by calculation. Pure.

use std::time::Duration;

use super::{
    page_size::{MIN_FIRST, first_page},
    schedule::{TURNS, Workload},
};
use crate::config;

/// What to expect while nothing goes wrong. The requests are what would be needed, whether the rate
/// limit allows for them or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Requests a minute for lists of workflows.
    pub lists: f64,
    /// Requests a minute for workflows with open runs or with news, and for those without a number.
    pub readings: f64,
    /// Requests a minute for sweeps.
    pub sweeps: f64,
    /// From one reading of a workflow with news to the next: `--poll.interval`, or more if the rate
    /// limit is too low for that.
    pub interval: Duration,
    /// The same for sweeps, which give way first.
    pub sweep_interval: Duration,
    /// From the end of a run until it is counted, on average.
    pub mean_delay: Duration,
    /// The maximum of that, if the number of runs shows it or the run was seen open.
    pub longest_delay: Duration,
    /// The maximum of that, if nothing shows it.
    pub longest_unannounced_delay: Duration,
}

/// How large the API's answers are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the lists of workflows of all apps.
    pub lists: f64,
    /// Bytes of a run in a list.
    pub run: f64,
    /// The number of runs on a whole page.
    pub page: u32,
}

impl Estimate {
    /// The total number of requests a minute.
    pub fn requests(&self) -> f64 {
        self.lists + self.readings + self.sweeps
    }

    /// The bytes that answers have in a day, where the API has no `ETag`s.
    pub fn bytes_a_day(&self, workload: &Workload, sizes: &Sizes) -> f64 {
        let per_day = 24.0 * 60.0;
        let rounds = self.lists * per_day / f64::from(workload.list_requests.max(1));
        let (first, full) = (f64::from(first_page(0, 0, sizes.page)), f64::from(sizes.page));
        // The only open run of a workflow is asked for alone.
        let open = f64::from(workload.open.min(workload.followed));
        let single = open * 60.0 / self.interval.as_secs_f64() * per_day;
        let pages = (self.readings + self.sweeps) * per_day - single;
        let uncounted = workload.uncounted.min(workload.followed);
        let sweeps_a_day = per_day * 60.0 / self.sweep_interval.as_secs_f64();
        let runs_a_day = workload.runs_per_minute * per_day / f64::from(workload.followed.max(1));
        let deep_a_day = (runs_a_day / MIN_FIRST as f64).min(24.0).max(sweeps_a_day.min(1.0));
        let deep = f64::from(workload.followed - uncounted) * deep_a_day
            + f64::from(uncounted) * sweeps_a_day;
        rounds * sizes.lists + (single + pages * first + deep * (full - first)) * sizes.run
    }

    /// Whether the rate limit is too low for what is configured.
    pub fn is_stretched(&self, poll: &config::Poll) -> bool {
        // A thousandth is nothing.
        let longer = |of: Duration, than: Duration| of.as_secs_f64() > than.as_secs_f64() * 1.001;
        longer(self.interval, poll.interval) || longer(self.sweep_interval, poll.sweep_interval)
    }
}

/// The least number of exporters, each on an address of its own and with an equal part of the
/// workflows, that can read this workload as configured. `None` if many would not do either, since
/// each reads the lists of all workflows.
pub fn shards_needed(workload: &Workload, poll: &config::Poll, rate_limit: u32) -> Option<u32> {
    (1..=MAX_SHARDS).find(|shards| {
        let part = Workload {
            list_requests: workload.list_requests,
            followed: workload.followed.div_ceil(*shards),
            open: workload.open.div_ceil(*shards),
            uncounted: workload.uncounted.div_ceil(*shards),
            runs_per_minute: workload.runs_per_minute / f64::from(*shards),
        };
        !estimate(&part, poll, rate_limit).is_stretched(poll)
    })
}

/// More are no use to recommend.
const MAX_SHARDS: u32 = 100;

/// What polling this workload costs at this number of requests a minute.
pub fn estimate(workload: &Workload, poll: &config::Poll, rate_limit: u32) -> Estimate {
    let minutes = |duration: Duration| duration.as_secs_f64() / 60.0;
    let (interval, sweep) = (minutes(poll.interval), minutes(poll.sweep_interval));
    let sweep = sweep.max(interval);
    let lists = f64::from(workload.list_requests) / interval;
    let limit = f64::from(rate_limit.max(1));
    // The lists have at most half of it.
    let room = (limit - lists).max(limit / 2.0);
    let needs = Needs::of(workload, sweep);
    let (readings, sweeps) = (needs.readings(interval), needs.sweeps(interval));
    // Sweeps have what is left, and at least their part.
    let least = room * SWEEPS;
    let fits = |between| needs.readings(between) + needs.sweeps(between).min(least) <= room;
    let stretched = shortest(interval, fits);
    let left = (room - needs.readings(stretched)).max(least);
    let stretched_sweep = sweep * (needs.sweeps(stretched) / left).max(1.0);
    // Within a cycle, some have to wait for others, and sweeps for all.
    let queue = |requests: f64| (requests * interval / limit).min(interval);
    let longest = stretched.max(interval + queue(readings));
    let duration = |minutes: f64| Duration::from_secs_f64(minutes * 60.0);
    Estimate {
        lists,
        readings,
        sweeps,
        interval: duration(stretched),
        sweep_interval: duration(stretched_sweep),
        mean_delay: duration(longest / 2.0),
        longest_delay: duration(longest),
        longest_unannounced_delay: duration(stretched_sweep + queue(readings + sweeps)),
    }
}

/// Sweeps get this part of the requests even if there are not enough for what is more urgent.
const SWEEPS: f64 = 1.0 / TURNS as f64;

/// What is to be read, in workflows, minutes and requests a minute.
struct Needs {
    sweep: f64,
    /// Workflows that are read every interval: they have open runs, or no number.
    often: f64,
    /// Workflows that are read when something happens in them.
    seldom: f64,
    /// Runs that are created in one of those.
    runs: f64,
}

impl Needs {
    fn of(workload: &Workload, sweep: f64) -> Self {
        let followed = f64::from(workload.followed);
        let often = f64::from(workload.open.saturating_add(workload.uncounted)).min(followed);
        let runs = workload.runs_per_minute / followed.max(1.0);
        Self { sweep, often, seldom: followed - often, runs }
    }

    /// For workflows with news, given the minutes between two readings of one.
    fn readings(&self, between: f64) -> f64 {
        // Several runs of one workflow in that time cost one reading, as does one.
        let changed = self.seldom * (1.0 - (-self.runs * between).exp());
        (self.often + changed) / between
    }

    /// For sweeps, which only workflows without news need.
    fn sweeps(&self, between: f64) -> f64 {
        let news = self.runs * self.sweep.max(between);
        let quiet = if news > 1e-9 { news / news.exp_m1() } else { 1.0 };
        self.seldom * quiet / self.sweep
    }
}

/// The shortest time that fits, and at least this long. Longer ones fit better.
fn shortest(least: f64, fits: impl Fn(f64) -> bool) -> f64 {
    let (mut short, mut long) = (least, least);
    while !fits(long) {
        (short, long) = (long, long * 2.0);
    }
    while long - short > least / 1000.0 {
        let middle = f64::midpoint(short, long);
        *(if fits(middle) { &mut long } else { &mut short }) = middle;
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: config::Poll = config::Poll {
        interval: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(300),
    };

    fn idle(workflows: u32) -> Workload {
        // Pages of a hundred overlap.
        let list_requests = workflows.div_ceil(95).max(1);
        Workload { list_requests, followed: workflows, ..Workload::default() }
    }

    #[test]
    fn idle_workflows_cost_their_list_and_their_sweeps() {
        let estimate = estimate(&idle(300), &POLL, 400);
        assert!((estimate.lists - 8.0).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.sweeps - 60.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.readings.abs() < 1e-9, "{estimate:?}");
    }

    #[test]
    fn workflows_without_a_number_cost_a_request_per_interval_each() {
        let workload = Workload { uncounted: 300, ..idle(300) };
        let estimate = estimate(&workload, &POLL, 400);
        assert!((estimate.readings - 600.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.is_stretched(&POLL), "{estimate:?}");
        assert!((45.0..47.0).contains(&estimate.interval.as_secs_f64()), "{estimate:?}");
    }

    #[test]
    fn a_day_of_idle_workflows_has_their_lists_small_pages_and_whole_ones() {
        let sizes = Sizes { lists: 50_000.0, run: 9_000.0, page: 100 };
        let bytes =
            |workload: &Workload| estimate(workload, &POLL, 400).bytes_a_day(workload, &sizes);
        let (rounds, sweeps) = (2_880.0, 288.0);
        let shallow = 100.0 * sweeps * 10.0 * 9_000.0;
        let expected = rounds * 50_000.0 + shallow + 100.0 * 90.0 * 9_000.0;
        // A hundred workflows are on two pages, which overlap.
        let counted = bytes(&idle(100));
        assert!((counted - expected).abs() < 1.0, "{counted} {expected}");
        // An open run is asked for alone, and its workflow needs no sweep.
        let open = bytes(&Workload { open: 10, ..idle(100) });
        let expected = expected - 10.0 * sweeps * 90_000.0 + 10.0 * rounds * 9_000.0;
        assert!((open - expected).abs() < 1.0, "{open} {expected}");
        let uncounted = Workload { uncounted: 100, ..idle(100) };
        let expected =
            rounds * (50_000.0 + 100.0 * 10.0 * 9_000.0) + 100.0 * sweeps * 90.0 * 9_000.0;
        let uncounted = bytes(&uncounted);
        assert!((uncounted - expected).abs() < 1.0, "{uncounted} {expected}");
    }

    #[test]
    fn shards_divide_the_workflows_and_not_their_list() {
        let busy = |uncounted| Workload { uncounted, ..idle(uncounted) };
        assert_eq!(shards_needed(&busy(100), &POLL, 400), Some(1));
        // 600 requests a minute, and 8 for the lists of each.
        assert_eq!(shards_needed(&busy(300), &POLL, 400), Some(2));
        assert_eq!(shards_needed(&busy(300), &POLL, 200), Some(4));
        // The lists alone have no room.
        let lists = Workload { list_requests: 300, ..busy(30_000) };
        assert_eq!(shards_needed(&lists, &POLL, 400), None);
    }

    #[test]
    fn runs_of_one_interval_are_read_together() {
        let workload = Workload { runs_per_minute: 1e6, ..idle(10) };
        let estimate = estimate(&workload, &POLL, 400);
        assert!((estimate.readings - 20.0).abs() < 1e-6, "{estimate:?}");
    }

    #[test]
    fn sweeps_give_way_before_what_has_news() {
        let workload = Workload { runs_per_minute: 80.0, ..idle(5_000) };
        let estimate = estimate(&workload, &POLL, 400);
        assert_eq!(estimate.interval, POLL.interval, "{estimate:?}");
        assert!(estimate.sweep_interval > POLL.sweep_interval * 3, "{estimate:?}");
        assert!(estimate.longest_unannounced_delay > estimate.sweep_interval, "{estimate:?}");
    }

    #[test]
    fn far_above_the_rate_limit_each_reading_finds_more() {
        let workload = Workload { runs_per_minute: 600.0, ..idle(3_000) };
        let estimate = estimate(&workload, &POLL, 400);
        // 64 requests are for lists, and a quarter of the rest for sweeps. In 10.4 minutes, runs
        // are created in 2,625 workflows: 252 a minute.
        let minutes = estimate.interval.as_secs_f64() / 60.0;
        assert!((10.3..10.5).contains(&minutes), "{estimate:?}");
    }

    #[test]
    fn what_has_news_needs_no_sweep() {
        let workload = Workload { runs_per_minute: 20.0, ..idle(100) };
        let estimate = estimate(&workload, &POLL, 400);
        // A run every five minutes each: in those, 1 / e have none.
        assert!((estimate.sweeps - 20.0 / 1.0_f64.exp_m1()).abs() < 1e-9, "{estimate:?}");
    }

    #[test]
    fn nothing_at_all_costs_the_list() {
        let estimate = estimate(&idle(0), &POLL, 400);
        assert!((estimate.requests() - 2.0).abs() < 1e-9, "{estimate:?}");
        assert!(!estimate.is_stretched(&POLL), "{estimate:?}");
    }
}
