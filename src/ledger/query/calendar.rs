//! Ranges of time cut into calendar days, hours of the week, or steps.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::reading::{Range, hour_of};
use crate::clock::UnixMicros;
use crate::ledger::rollup::HOUR_US;

/// The calendar days of a range.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    /// When each begins, ascending.
    pub(super) begins: Vec<i64>,
    pub(super) dates: Vec<Date>,
}

impl Days {
    /// The days in which a range lies, from the one it begins in. Neither end of it is open.
    pub(super) fn of(range: Range, timezone: &TimeZone) -> Self {
        let mut days = Self::default();
        let mut date = local_date(range.since, timezone);
        while let Some(begin) = begin_of(date, timezone) {
            if begin >= range.until && !days.begins.is_empty() {
                break;
            }
            days.begins.push(begin);
            days.dates.push(date);
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_) => break,
            }
        }
        days
    }

    /// Which of them a moment of the range lies in.
    pub(super) fn at(&self, moment: i64) -> usize {
        place(&self.begins, moment)
    }
}

/// The last of what `begins`, ascending, that is not after a moment; the first where all are.
pub(super) fn place(begins: &[i64], moment: i64) -> usize {
    begins
        .partition_point(|begin| *begin <= moment)
        .saturating_sub(1)
}

/// The day that a moment lies in.
pub(super) fn local_date(moment: i64, timezone: &TimeZone) -> Date {
    let zoned = UnixMicros(moment).timestamp().to_zoned(timezone.clone());
    zoned.date()
}

/// The first moment of a day; `None` beyond the calendar.
pub(super) fn begin_of(date: Date, timezone: &TimeZone) -> Option<i64> {
    let begin = date.to_zoned(timezone.clone()).ok()?;
    let begin = begin.start_of_day().unwrap_or(begin);
    Some(UnixMicros::from(begin.timestamp()).0)
}

/// The Monday that a day's week begins with.
pub(super) fn monday_of(date: Date) -> Date {
    let past = i32::from(date.weekday().to_monday_zero_offset());
    date.checked_sub(past.days()).unwrap_or(date)
}

/// The day of the week, 0 for Monday.
pub(super) fn weekday_of(date: Date) -> usize {
    usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0)
}

/// Tells which local hour of the week a moment lies in, for moments in the order of time.
#[derive(Debug)]
pub(super) struct WeekHours<'z> {
    timezone: &'z TimeZone,
    /// The quarter of an hour that was asked for last, and its hour. All offsets are of whole quarters
    /// but for those of long ago.
    last: Option<(i64, usize)>,
}

const QUARTER_US: i64 = HOUR_US / 4;

impl<'z> WeekHours<'z> {
    pub(super) const fn new(timezone: &'z TimeZone) -> Self {
        Self {
            timezone,
            last: None,
        }
    }

    /// The local hour of the week: 0 is midnight on Monday, 167 an hour before the next.
    pub(super) fn at(&mut self, moment: i64) -> usize {
        let quarter = moment.div_euclid(QUARTER_US);
        if let Some((last, hour)) = self.last
            && last == quarter
        {
            return hour;
        }
        let zoned = UnixMicros(moment)
            .timestamp()
            .to_zoned(self.timezone.clone());
        let hour = weekday_of(zoned.date()) * 24 + usize::try_from(zoned.hour()).unwrap_or(0);
        self.last = Some((quarter, hour));
        hour
    }

    /// A moment within each hour of UTC in which more than one local hour lies.
    pub(super) fn cuts(range: Range, timezone: &'z TimeZone) -> Vec<i64> {
        let mut hours = Self::new(timezone);
        let mut cuts = Vec::new();
        let mut hour = hour_of(range.since);
        while hour < range.until {
            let first = hours.at(hour);
            let begins_early = (1..4).any(|quarter| hours.at(hour + quarter * QUARTER_US) != first);
            if begins_early {
                cuts.push(hour + QUARTER_US);
            }
            hour += HOUR_US;
        }
        cuts
    }
}
