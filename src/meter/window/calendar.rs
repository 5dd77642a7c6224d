//! Periods of the calendar, by the clocks of a zone.
//!
//! A day, week or month begins at the first moment at which the zone's clocks show its date and the
//! time of reset, or more. Where they skip that time, this is the moment of the change; where they show
//! it twice, the first. So periods follow each other without a gap, and none is counted twice; one that
//! the clocks skip as a whole (Samoa's 30 December 2011) does not exist.
//!
//! Hours go from full hour to full hour, and end at a change of the clocks too, so that none is longer
//! than 60 minutes.

use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::clock::UnixMicros;
use crate::record::closed_set;

const HOUR_US: i64 = 3_600_000_000;

closed_set! {
    /// A period of the calendar.
    CalendarUnit ("calendar window") {
        /// From full hour to full hour.
        Hour => "hour",
        /// A day.
        Day => "day",
        /// A week.
        Week => "week",
        /// A month.
        Month => "month",
    }
}

/// Where the periods of a calendar begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    /// Their length.
    pub unit: CalendarUnit,
    /// Whose clocks say so.
    pub zone: TimeZone,
    /// The day on which weeks begin.
    pub week_start: Weekday,
    /// The day of the month on which months begin, 1 to 31; in shorter months the last.
    pub month_start: u8,
    /// The time of day, in seconds after midnight, at which days, weeks and months begin. Where the
    /// clocks skip it, the first moment after it.
    pub resets_at_s: u32,
}

/// A period: from its start on, up to and without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub start: UnixMicros,
    /// The first moment of the next one.
    pub end: UnixMicros,
}

impl Period {
    /// Whether `at` is in it.
    #[must_use]
    pub fn contains(&self, at: UnixMicros) -> bool {
        self.start <= at && at < self.end
    }
}

impl Calendar {
    /// How long a period is at most, clocks that are set back included.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        let days = match self.unit {
            CalendarUnit::Hour => 0,
            CalendarUnit::Day => 1,
            CalendarUnit::Week => 7,
            CalendarUnit::Month => 31,
        };
        Duration::from_secs((days * 24 + 1) * 3_600)
    }

    /// The period that `at` is in. At the ends of representable time (the years −9999 and 9999) a
    /// border that cannot be told is the end of the scale.
    #[must_use]
    pub fn period(&self, at: UnixMicros) -> Period {
        if self.unit == CalendarUnit::Hour {
            return self.hour(at);
        }
        let today = self.zone.to_datetime(at.timestamp()).date();
        // The clocks may be set back behind a border that has passed, so the search begins one later.
        let present = self.first_day(today);
        let mut first = present.and_then(|first| self.after(first)).or(present);
        let mut end = UnixMicros(i64::MAX);
        while let Some(date) = first {
            let start = self.border(date);
            if start <= at {
                return Period { start, end };
            }
            end = start;
            first = self.before(date);
        }
        let start = UnixMicros(i64::MIN);
        Period { start, end }
    }

    fn hour(&self, at: UnixMicros) -> Period {
        let moment = at.timestamp();
        let offset = self.zone.to_offset(moment);
        let shift = i64::from(offset.seconds()) * 1_000_000;
        let local = at.0.saturating_add(shift);
        let full = (local - local.rem_euclid(HOUR_US)).saturating_sub(shift);
        let mut period = Period {
            start: UnixMicros(full),
            end: UnixMicros(full.saturating_add(HOUR_US)),
        };
        // Both iterators leave out the moment that they are asked about.
        let next = moment.checked_add(SignedDuration::from_micros(1));
        let earlier = self.zone.preceding(next.unwrap_or(moment));
        let change = earlier
            .map(|change| change.timestamp())
            .take_while(|&change| UnixMicros::from(change) > period.start)
            .find(|&change| self.offset_changes(change));
        if let Some(change) = change {
            period.start = change.into();
        }
        let change = (self.zone.following(moment))
            .take_while(|change| UnixMicros::from(change.timestamp()) < period.end)
            .find(|change| change.offset() != offset);
        if let Some(change) = change {
            period.end = change.timestamp().into();
        }
        period
    }

    fn offset_changes(&self, at: Timestamp) -> bool {
        let before = at.checked_sub(SignedDuration::from_nanos(1));
        before.is_ok_and(|before| self.zone.to_offset(before) != self.zone.to_offset(at))
    }

    /// The first day of the period that `date` is in.
    fn first_day(&self, date: Date) -> Option<Date> {
        match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => Some(date),
            CalendarUnit::Week => {
                let days = date.weekday().since(self.week_start);
                date.checked_sub(i64::from(days).days()).ok()
            }
            CalendarUnit::Month => {
                let first = self.first_of_month(date);
                if first <= date {
                    return Some(first);
                }
                self.before(first)
            }
        }
    }

    fn after(&self, first: Date) -> Option<Date> {
        match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => first.tomorrow().ok(),
            CalendarUnit::Week => first.checked_add(7.days()).ok(),
            CalendarUnit::Month => {
                let next = first.last_of_month().tomorrow().ok()?;
                Some(self.first_of_month(next))
            }
        }
    }

    fn before(&self, first: Date) -> Option<Date> {
        match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => first.yesterday().ok(),
            CalendarUnit::Week => first.checked_sub(7.days()).ok(),
            CalendarUnit::Month => {
                let last = first.first_of_month().yesterday().ok()?;
                Some(self.first_of_month(last))
            }
        }
    }

    /// The day of `date`'s month on which a period begins.
    fn first_of_month(&self, date: Date) -> Date {
        let last = date.last_of_month();
        let day = i8::try_from(self.month_start).unwrap_or(i8::MAX).max(1);
        last.with().day(day.min(last.day())).build().unwrap_or(last)
    }

    /// The first moment at which the clocks show `date` and the time of reset, or more.
    fn border(&self, date: Date) -> UnixMicros {
        let out_of_range = if date.year() < 0 {
            UnixMicros(i64::MIN)
        } else {
            UnixMicros(i64::MAX)
        };
        let seconds = i64::from(self.resets_at_s.min(86_399));
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        let Ok(shown) = midnight.checked_add(SignedDuration::from_secs(seconds)) else {
            return out_of_range;
        };
        let ambiguous = self.zone.to_ambiguous_timestamp(shown);
        let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() else {
            return ambiguous.earlier().map_or(out_of_range, UnixMicros::from);
        };
        // By the offset before the change, the time skipped lies after it.
        let Ok(passed) = before.to_timestamp(shown) else {
            return out_of_range;
        };
        let next = passed.checked_add(SignedDuration::from_nanos(1));
        let change = (self.zone.preceding(next.unwrap_or(passed)))
            .map(|change| change.timestamp())
            .find(|&change| self.offset_changes(change));
        change.unwrap_or(passed).into()
    }
}
