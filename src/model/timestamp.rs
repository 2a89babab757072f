use jiff::{civil, tz::TimeZone};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// Years 1 to 9999: numbers outside are no points in time.
const RANGE_MS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// 2000-01-01. Whatever is earlier stands for no time at all, such as the first day of an epoch or
/// of a calendar: 0, -1, the years 1, 1601, 1753, 1899, 1900, 1970 and 1980 are all in use for that.
const EARLIEST_MS: i64 = 946_684_800_000;

/// Whether a clock that shows this was ever set, and a time like this can be meant.
pub(super) fn is_set(ms: i64) -> bool {
    ms >= EARLIEST_MS
}

/// A point in time as the API returned it, in milliseconds since the Unix epoch. A bare date stands
/// for any instant of that day (UTC), so nothing may be measured with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// A date with a time of day.
    Instant(i64),
    /// A bare date; the value is the day's first millisecond.
    Date(i64),
}

impl Timestamp {
    /// Reads RFC 3339 with `Z` or an offset, the same without a zone (then UTC), or a bare date.
    /// `None` if it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let utc = |at| Some(TimeZone::UTC.to_timestamp(at).ok()?.as_millisecond());
        if text.len() <= "2023-12-25".len() {
            let date: civil::Date = text.parse().ok()?;
            utc(date.to_datetime(civil::Time::midnight())).map(Self::Date)
        } else if let Ok(at) = text.parse::<jiff::Timestamp>() {
            Some(Self::Instant(at.as_millisecond()))
        } else {
            utc(text.parse().ok()?).map(Self::Instant)
        }
    }

    /// Reads an epoch number, whose unit follows from its magnitude: above 1e14 microseconds, above
    /// 1e11 milliseconds, otherwise seconds. `None` outside the years 1 to 9999.
    pub fn from_epoch(number: f64) -> Option<Self> {
        let ms = epoch_ms(number)?.floor();
        Some(Self::Instant(ms as i64))
    }

    /// Whether it can be the time of something that has happened by then, or stands for none.
    pub fn has_passed(self, by_ms: i64) -> bool {
        is_set(self.earliest()) && self.earliest() <= by_ms
    }

    /// The first millisecond that it can mean.
    pub fn earliest(self) -> i64 {
        match self {
            Self::Instant(ms) | Self::Date(ms) => ms,
        }
    }

    /// The last millisecond that it can mean.
    pub fn latest(self) -> i64 {
        match self {
            Self::Instant(ms) => ms,
            Self::Date(ms) => ms + DAY_MS - 1,
        }
    }

    /// The millisecond, if there was a time of day.
    pub fn instant(self) -> Option<i64> {
        match self {
            Self::Instant(ms) => Some(ms),
            Self::Date(_) => None,
        }
    }
}

/// An epoch number in milliseconds, fractions kept; see [`Timestamp::from_epoch`].
pub(crate) fn epoch_ms(number: f64) -> Option<f64> {
    let ms = match number.abs() {
        size if size > 1e14 => number / 1000.0,
        size if size > 1e11 => number,
        _ => number * 1000.0,
    };
    (ms >= RANGE_MS.start as f64 && ms < RANGE_MS.end as f64).then_some(ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        let noon = Timestamp::Instant(1_703_505_600_250);
        for text in [
            "2023-12-25T12:00:00.250Z",
            "2023-12-25T13:00:00.25+01:00",
            "2023-12-25T12:00:00.250",
            "2023-12-25 12:00:00.250",
        ] {
            assert_eq!(Timestamp::parse(text), Some(noon), "{text}");
        }
        assert_eq!(Timestamp::parse("2023-12-25"), Some(Timestamp::Date(1_703_462_400_000)));
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in ["", "now", "2023-13-01", "2023-12-25T", "25.12.2023", "2023-12-25T99:00:00Z"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        for number in [f64::NAN, f64::INFINITY, 1e300, -1e300] {
            assert_eq!(Timestamp::from_epoch(number), None, "{number}");
        }
    }

    #[test]
    fn an_epoch_numbers_unit_follows_from_its_magnitude() {
        let noon = Some(Timestamp::Instant(1_703_505_600_250));
        assert_eq!(Timestamp::from_epoch(1_703_505_600.25), noon);
        assert_eq!(Timestamp::from_epoch(1_703_505_600_250.0), noon);
        assert_eq!(Timestamp::from_epoch(1_703_505_600_250_000.0), noon);
    }

    #[test]
    fn a_bare_date_means_any_instant_of_its_day() {
        let day = Timestamp::Date(0);
        assert_eq!((day.earliest(), day.latest(), day.instant()), (0, DAY_MS - 1, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in ".{0,40}|[-0-9:.TZ+ ]{0,40}") {
            if let Some(read) = Timestamp::parse(&text) {
                prop_assert!(read.earliest() <= read.latest());
            }
        }

        #[test]
        fn every_instant_is_read_as_it_was_written(ms in RANGE_MS, offset in -1439_i32..1440) {
            let at = jiff::Timestamp::from_millisecond(ms).expect("it is in range");
            let written = Some(Timestamp::Instant(ms));
            prop_assert_eq!(Timestamp::parse(&at.to_string()), written);
            let zone = jiff::tz::Offset::from_seconds(offset * 60).expect("less than a day");
            let zoned = at.display_with_offset(zone).to_string();
            // Elsewhere it may be another year, which is then written with more digits.
            if zoned.len() <= "2023-12-25T12:00:00.250+01:00".len() {
                prop_assert_eq!(Timestamp::parse(&zoned), written, "{}", zoned);
            }
        }

        #[test]
        fn no_number_is_read_as_a_time_that_cannot_be(number: f64) {
            if let Some(read) = Timestamp::from_epoch(number) {
                prop_assert!(RANGE_MS.contains(&read.earliest()), "{:?}", read);
            }
        }
    }
}
