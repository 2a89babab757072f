//! What the API's clock shows, as far as the `Date` of its answers says. Pure.

use std::sync::Arc;

use crate::model::{Clock, ReadAt, Timestamp};

/// A moment by the local clock and by the one that nobody sets, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    local_ms: i64,
    steady_ms: i64,
}

impl Moment {
    pub(super) fn now(clock: &Arc<dyn Clock>) -> Self {
        Self { local_ms: clock.now_ms(), steady_ms: clock.steady_ms() }
    }

    /// How much time has gone by since another one.
    pub(super) fn since_ms(self, earlier: Self) -> i64 {
        self.steady_ms - earlier.steady_ms
    }

    /// How far the local clock is ahead of the steady one.
    fn local_offset_ms(self) -> i64 {
        self.local_ms - self.steady_ms
    }
}

/// The API's clock. It advances with the steady clock, so that a step of the local one does not
/// move it, and accepts a `Date` that agrees with what is known or with the local clock. Any other
/// one, as of a server whose clock is wrong or of a cached answer, is accepted once a later one
/// agrees with it.
#[derive(Debug)]
pub(super) struct ApiClock {
    /// How far it is ahead of the steady clock; at first, as far as the local one is.
    offset_ms: i64,
    /// The offset by the last `Date` if that is in doubt, and when that answer came.
    doubtful: Option<(i64, i64)>,
    dates: Dates,
}

/// What answers have said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dates {
    None,
    /// One `Date`, which is in doubt. Nothing better is known of the API's clock; who uses it
    /// compares it with the local one.
    Doubtful,
    Some,
}

/// A `Date` that differs by less than this agrees.
const TOLERANCE_MS: i64 = 5_000;

/// Of two answers in a shorter time, the second says nothing new: both may come from one cache.
const MIN_APART_MS: i64 = 1_000;

impl ApiClock {
    pub(super) fn new(now: Moment) -> Self {
        Self { offset_ms: now.local_offset_ms(), doubtful: None, dates: Dates::None }
    }

    /// Takes in the `Date` of an answer. That names a second, and the answer was made at some
    /// moment between these two: any offset in between agrees with it, so the clock is corrected as
    /// little as it demands.
    pub(super) fn answered(&mut self, date_ms: i64, sent: Moment, received: Moment) {
        if !Timestamp::Instant(date_ms).has_passed(i64::MAX) {
            return;
        }
        let least = date_ms - received.steady_ms.max(sent.steady_ms);
        let most = date_ms + 999 - sent.steady_ms;
        let agrees = |ms: &i64| (least - TOLERANCE_MS..=most + TOLERANCE_MS).contains(ms);
        let doubtful = self.doubtful.take();
        let again = doubtful.filter(|(offset_ms, _)| agrees(offset_ms));
        let confirmed = again.filter(|(_, at_ms)| received.steady_ms - at_ms >= MIN_APART_MS);
        let known = [Some(self.offset_ms), Some(received.local_offset_ms())];
        let candidates = known.into_iter().chain([confirmed.map(|(offset_ms, _)| offset_ms)]);
        if let Some(believed) = candidates.flatten().find(agrees) {
            self.offset_ms = believed.clamp(least, most);
            self.dates = Dates::Some;
            return;
        }
        self.dates = match self.dates {
            Dates::None => Dates::Doubtful,
            Dates::Doubtful if again.is_none() => Dates::Some,
            dates => dates,
        };
        self.doubtful = again.or(Some((self.offset_ms.clamp(least, most), received.steady_ms)));
    }

    /// What both clocks show at this moment.
    pub(super) fn at(&self, moment: Moment) -> ReadAt {
        let offset_ms = match self.doubtful {
            Some((offset_ms, _)) if self.dates == Dates::Doubtful => offset_ms,
            _ => self.offset_ms,
        };
        ReadAt::new(moment.steady_ms.saturating_add(offset_ms), moment.local_ms)
    }

    /// How far it is at least ahead of the local clock; negative if it is behind. `None` until an
    /// answer had a `Date`.
    pub(super) fn skew_ms(&self, now: Moment) -> Option<i64> {
        let at = self.at(now);
        (self.dates != Dates::None).then(|| at.api_ms - at.local_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T03:04:05Z
    const START_MS: i64 = 1_767_323_045_000;
    const HOUR: i64 = 3_600;

    /// A second, by the true clock; answers are made then, and come at once.
    struct Answer {
        second: i64,
        /// How far the local clock and `Date` are ahead, in seconds; there may be no `Date`.
        local: i64,
        date: Option<i64>,
    }

    fn answer(second: i64, local: i64, date: impl Into<Option<i64>>) -> Answer {
        Answer { second, local, date: date.into() }
    }

    /// How far the API's clock is taken to be ahead after these answers, in seconds.
    fn ahead(answers: impl IntoIterator<Item = Answer>) -> Vec<i64> {
        let mut clock = None;
        let answers = answers.into_iter().map(|Answer { second, local, date }| {
            let true_ms = START_MS + second * 1000;
            let now = Moment { local_ms: true_ms + local * 1000, steady_ms: second * 1000 };
            let clock = clock.get_or_insert_with(|| ApiClock::new(now));
            if let Some(date) = date {
                clock.answered(true_ms + date * 1000, now, now);
            }
            (clock.at(now).api_ms - true_ms).div_euclid(1000)
        });
        answers.collect()
    }

    #[test]
    fn clocks_that_agree_have_no_skew_and_a_small_one_is_corrected_at_once() {
        assert_eq!(ahead((0..9).map(|n| answer(n, 0, 0))), [0; 9]);
        assert_eq!(ahead((0..3).map(|n| answer(n, 0, 4))), [4; 3]);
        assert_eq!(ahead((0..3).map(|n| answer(n, 0, None))), [0; 3]);
    }

    #[test]
    fn a_wrong_date_moves_nothing_if_it_comes_once_or_stands_still() {
        for wrong in [-HOUR, HOUR, -400 * 24 * HOUR, 400 * 24 * HOUR, -7, 7] {
            let once = |at: i64| (0..5).map(move |n| answer(n, 0, if n == at { wrong } else { 0 }));
            assert_eq!(ahead(once(2)), [0; 5], "{wrong}");
            // Nothing better is known at first.
            assert_eq!(ahead(once(0)), [wrong, 0, 0, 0, 0], "{wrong}");
            // What a cache keeps falls behind by twenty seconds each time.
            let kept = (0..4).map(|n| answer(n * 20, 0, wrong - n * 20));
            assert_eq!(ahead(kept), [wrong, 0, 0, 0], "{wrong}");
            // Servers of which one is wrong.
            let mixed = (0..6).map(|n| answer(n, 0, if n % 2 == 0 { wrong } else { 0 }));
            assert_eq!(ahead(mixed)[1..], [0; 5], "{wrong}");
        }
        // From before there were computers.
        assert_eq!(ahead((0..4).map(|n| answer(n, 0, -3_000_000_000 + n))), [0; 4]);
    }

    #[test]
    fn a_date_that_goes_on_is_believed_although_the_local_clock_is_another() {
        for (local, date) in
            [(0, HOUR), (0, -HOUR), (HOUR, 0), (-HOUR, 0), (-40 * 365 * 24 * HOUR, 0)]
        {
            let answers = (0..4).map(|n| answer(n, local, date));
            assert_eq!(ahead(answers), [date; 4], "{local} {date}");
        }
        // Many answers in one moment say no more than one.
        let burst = (0..9).map(|_| answer(0, 0, HOUR)).chain([answer(1, 0, 0)]);
        assert_eq!(ahead(burst).last(), Some(&0));
    }

    #[test]
    fn a_date_that_is_wrong_for_a_while_is_left_as_soon_as_it_is_right() {
        for wrong in [-HOUR, HOUR] {
            let while_wrong = |n: i64| (3..30).contains(&n);
            let answers = (0..33).map(|n| answer(n, 0, if while_wrong(n) { wrong } else { 0 }));
            let ahead = ahead(answers);
            assert_eq!((ahead[3], ahead[29], ahead[30]), (0, wrong, 0));
        }
    }

    #[test]
    fn a_step_of_the_local_clock_moves_nothing() {
        for step in [-HOUR, HOUR, 400 * 24 * HOUR] {
            for date in [Some(0), None] {
                let local = |n: i64| if n < 3 { 0 } else { step };
                assert_eq!(ahead((0..6).map(|n| answer(n, local(n), date))), [0; 6], "{step}");
            }
        }
    }

    #[test]
    fn after_a_sleep_in_which_the_steady_clock_stood_still_the_local_one_is_right() {
        let mut clock = ApiClock::new(Moment { local_ms: START_MS, steady_ms: 0 });
        let awake = Moment { local_ms: START_MS + 3_600_000, steady_ms: 1000 };
        clock.answered(awake.local_ms, awake, awake);
        assert_eq!(clock.at(awake).api_ms, awake.local_ms);
    }
}
