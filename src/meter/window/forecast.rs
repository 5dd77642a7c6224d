//! How fast a window's sum grows, and where that leads.

use std::time::Duration;

use super::calendar::Period;
use crate::clock::{UnixMicros, micros};

/// A period is cut into so many slices.
const SLICES: usize = 48;
/// A rate is taken over so many of them, the present one included: an eighth of the period.
const RECENT: usize = 6;
/// With less of a period there is no rate, however short its slices are: 5 minutes.
const LEAST_US: i64 = 300_000_000;

/// How fast a sum grows: by so much in so long a time.
///
/// For a calendar window that is what the last eighth of the period brought (five 48ths of it and the
/// present one, which is not over): three hours of a day, nearly four days of a month. Before an eighth
/// has passed it is what all that has passed brought; before a 48th or 5 minutes have, there is no
/// rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    sum: i64,
    us: u64,
}

impl Rate {
    /// `None` when no time passed.
    #[must_use]
    pub fn new(sum: i64, time: Duration) -> Option<Self> {
        let us = micros(time);
        (us > 0).then_some(Self { sum, us })
    }

    /// By how much the sum grows in `time`, rounded down; saturating.
    #[must_use]
    pub fn over(&self, time: Duration) -> i64 {
        let grown = i128::from(self.sum) * i128::from(micros(time));
        let grown = grown.div_euclid(i128::from(self.us));
        i64::try_from(grown).unwrap_or(if grown < 0 { i64::MIN } else { i64::MAX })
    }
}

/// How long until `sum` comes to `budget` if it grows on at `rate`, rounded down to microseconds: zero
/// when it has; `None` when it does not grow. Of a rolling window it is as though nothing left it.
#[must_use]
pub fn time_left(sum: i64, budget: i64, rate: &Rate) -> Option<Duration> {
    let left = i128::from(budget) - i128::from(sum);
    if left <= 0 {
        return Some(Duration::ZERO);
    }
    let grown = u128::try_from(rate.sum).ok().filter(|&grown| grown > 0)?;
    let us = left.unsigned_abs().saturating_mul(u128::from(rate.us)) / grown;
    Some(Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX)))
}

/// The sums of a period's slices.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    start: UnixMicros,
    slice_us: i64,
    slices: [i64; SLICES],
}

impl Pace {
    pub(super) fn new(period: &Period) -> Self {
        let length = period.end.0.saturating_sub(period.start.0);
        let slices = i64::try_from(SLICES).unwrap_or(i64::MAX);
        Self {
            start: period.start,
            slice_us: length / slices + 1,
            slices: [0; SLICES],
        }
    }

    pub(super) fn add(&mut self, at: UnixMicros, sum: i64) {
        let slice = self.slice(at);
        if let Some(slice) = self.slices.get_mut(slice) {
            *slice = slice.saturating_add(sum);
        }
    }

    pub(super) fn rate(&self, now: UnixMicros) -> Option<Rate> {
        let passed = now.0.saturating_sub(self.start.0);
        if passed < self.slice_us.max(LEAST_US) {
            return None;
        }
        let present = self.slice(now).min(SLICES - 1);
        let first = (present + 1).saturating_sub(RECENT);
        let recent = self.slices.iter().take(present + 1).skip(first);
        let sum = recent.fold(0_i64, |all, &slice| all.saturating_add(slice));
        let skipped = i64::try_from(first).unwrap_or(i64::MAX);
        let skipped = self.slice_us.saturating_mul(skipped);
        Rate::new(
            sum,
            now.since(
                self.start
                    .plus(Duration::from_micros(skipped.unsigned_abs())),
            ),
        )
    }

    fn slice(&self, at: UnixMicros) -> usize {
        let passed = at.0.saturating_sub(self.start.0);
        usize::try_from(passed / self.slice_us).unwrap_or(0)
    }
}
