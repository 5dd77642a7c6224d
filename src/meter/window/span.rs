//! How long a window is, and in which steps a rolling one moves.

use std::time::Duration;

use super::calendar::Calendar;
use crate::clock::{UnixMicros, micros};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
/// A rolling window's steps, at least.
const STEPS: i64 = 60;
/// 3,000 years: longer spans are taken for as long, so that nothing overflows.
const LONGEST_US: i64 = 3_000 * 366 * 24 * HOUR_US;

/// Over what time a rule looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// The last so long, in steps of a 60th (see [`Span::step`]): from the step that began that long
    /// ago.
    Rolling(Duration),
    /// The present period.
    Calendar(Calendar),
}

impl Span {
    /// In which steps a rolling window moves: a 60th of its length in whole seconds, rounded down, but
    /// at least one; from an hour on in whole minutes, so that sums by minute make it up. `None` for a
    /// calendar, which does not move.
    #[must_use]
    pub fn step(&self) -> Option<Duration> {
        match self {
            Self::Rolling(length) => {
                let step = step_us(length_us(*length));
                Some(Duration::from_micros(step.unsigned_abs()))
            }
            Self::Calendar(_) => None,
        }
    }
}

pub(super) fn length_us(length: Duration) -> i64 {
    i64::try_from(micros(length)).map_or(LONGEST_US, |us| us.min(LONGEST_US))
}

pub(super) const fn step_us(length_us: i64) -> i64 {
    let whole = if length_us < HOUR_US {
        SECOND_US
    } else {
        MINUTE_US
    };
    let step = length_us / STEPS / whole * whole;
    if step < whole { whole } else { step }
}

/// The last multiple of `step_us` up to `at`.
pub(super) const fn floor(at: UnixMicros, step_us: i64) -> i64 {
    at.0.saturating_sub(at.0.rem_euclid(step_us))
}

pub(super) const fn is_whole_minutes(us: i64) -> bool {
    us % MINUTE_US == 0
}
