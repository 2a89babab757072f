//! What polling costs, and how late it finds what happens, by calculation. Pure.

use std::time::Duration;

use crate::config;

/// What polling depends on, over all apps together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Workflows that the API lists, those included that filters leave out.
    pub listed: u32,
    /// Workflows that are followed.
    pub followed: u32,
    /// Those of the followed ones that have open runs at any one time.
    pub open: u32,
    /// Those of the others of which the list tells no number of runs, or one that isn't believed.
    pub uncounted: u32,
    /// Runs that are created in a minute.
    pub runs_per_minute: f64,
    /// `--cortex.page-size`.
    pub page_size: u32,
}

/// What to expect while nothing goes wrong. The requests are what would be needed, be there budget
/// for them or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Requests a minute for lists of workflows.
    pub lists: f64,
    /// Requests a minute for workflows with open runs or with news, and for those without a number.
    pub readings: f64,
    /// Requests a minute for sweeps.
    pub sweeps: f64,
    /// How many times longer intervals get because the budget is too small; 1 if it isn't.
    pub stretch: f64,
    /// From the end of a run until it is counted, on average.
    pub mean_delay: Duration,
    /// The same at the most, if the number of runs tells of it or the run was seen open.
    pub longest_delay: Duration,
    /// The same at the most, if nothing tells of it.
    pub longest_untold_delay: Duration,
}

impl Estimate {
    /// Requests a minute, all in all.
    pub fn requests(&self) -> f64 {
        self.lists + self.readings + self.sweeps
    }
}

/// How many requests the first page of a list leaves for the second: pages overlap.
const OVERLAP: f64 = 0.95;

/// What polling this account costs with a budget of so many requests a minute.
pub fn estimate(account: &Account, poll: &config::Poll, rate_limit: u32) -> Estimate {
    let minutes = |duration: Duration| duration.as_secs_f64() / 60.0;
    let (interval, sweep) = (minutes(poll.interval), minutes(poll.sweep_interval));
    let pages = f64::from(account.listed) / (f64::from(account.page_size) * OVERLAP);
    let lists = pages.ceil().max(1.0) / interval;
    let often = f64::from(account.open.saturating_add(account.uncounted).min(account.followed));
    let seldom = f64::from(account.followed) - often;
    // Several runs of one workflow in one interval cost one reading, as does one.
    let changed = if seldom > 0.0 {
        let share = seldom / f64::from(account.followed);
        let each = account.runs_per_minute * share * interval / seldom;
        seldom * (1.0 - (-each).exp())
    } else {
        0.0
    };
    let readings = (often + changed) / interval;
    let sweeps = (seldom - changed).max(0.0) / sweep.max(interval);
    let limit = f64::from(rate_limit.max(1));
    // The lists have at most half of it.
    let room = (limit - lists).max(limit / 2.0);
    let stretch = ((readings + sweeps) / room).max(1.0);
    // Within a cycle, some have to wait for others.
    let queue = ((readings + sweeps) * interval / limit * 60.0).min(poll.interval.as_secs_f64());
    let delay = |parts: f64, period: Duration| {
        Duration::from_secs_f64(parts * (stretch * period.as_secs_f64() + queue))
    };
    Estimate {
        lists,
        readings,
        sweeps,
        stretch,
        mean_delay: delay(0.5, poll.interval),
        longest_delay: delay(1.0, poll.interval),
        longest_untold_delay: delay(1.0, poll.sweep_interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: config::Poll = config::Poll {
        interval: Duration::from_secs(30),
        sweep_interval: Duration::from_secs(300),
    };

    fn idle(workflows: u32) -> Account {
        Account { listed: workflows, followed: workflows, page_size: 100, ..Account::default() }
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
        let account = Account { uncounted: 300, ..idle(300) };
        let estimate = estimate(&account, &POLL, 400);
        assert!((estimate.readings - 600.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.stretch > 1.5 && estimate.mean_delay > POLL.interval * 3 / 4);
    }

    #[test]
    fn runs_of_one_interval_are_read_together() {
        let account = Account { runs_per_minute: 1e6, ..idle(10) };
        let estimate = estimate(&account, &POLL, 400);
        assert!((estimate.readings - 20.0).abs() < 1e-6, "{estimate:?}");
    }

    #[test]
    fn nothing_at_all_costs_the_list() {
        let estimate = estimate(&idle(0), &POLL, 400);
        assert!((estimate.requests() - 2.0).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.stretch - 1.0).abs() < 1e-9);
    }
}
