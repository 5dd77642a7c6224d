//! What the requests of long ago came to, to compare with.

use std::time::Duration;

use super::calendar::CalendarUnit;
use super::span::{MINUTE_US, SECOND_US, Span, floor, is_whole_minutes, length_us, step_us};
use super::steps::Steps;
use super::{Bounds, Sums};
use crate::clock::UnixMicros;

/// Steps that a rolling window's past has at most, where its length allows: 24 bytes each.
const MOST_STEPS: i64 = 16_384;

/// Sums by step, back to `compare` before the window (for a calendar: before the period before).
///
/// A rolling window's length is a whole number of these steps, which are its own where that makes no more
/// than [`MOST_STEPS`] of them, else minutes where they can be. For a calendar's hours they are minutes, for longer periods quarters of an
/// hour, of which every zone's offset is a multiple today.
#[derive(Clone, Debug)]
pub(super) struct Past {
    compare_us: i64,
    step_us: i64,
    /// Of a rolling window.
    length_us: Option<i64>,
    /// Steps before this one are not kept.
    first: i64,
    steps: Steps,
    /// What was told last: bounds and sums.
    told: Option<(i64, i64, Sums)>,
}

impl Past {
    pub(super) fn new(span: &Span, compare: Duration) -> Self {
        let compare_us = length_us(compare);
        let (step_us, length_us) = match span {
            Span::Rolling(length) => {
                let length = length_us(*length);
                (part_of(length, compare_us), Some(length))
            }
            Span::Calendar(calendar) if calendar.unit == CalendarUnit::Hour => (MINUTE_US, None),
            Span::Calendar(_) => (15 * MINUTE_US, None),
        };
        Self {
            compare_us,
            step_us,
            length_us,
            first: i64::MIN,
            steps: Steps::default(),
            told: None,
        }
    }

    pub(super) fn add(&mut self, at: UnixMicros, sums: &Sums) {
        let start = floor(at, self.step_us);
        if start < self.first {
            return;
        }
        let (place, _) = self.steps.place(start);
        self.steps.add(place, sums);
        self.told = self
            .told
            .filter(|&(since, until, _)| start < since || until <= start);
    }

    /// Where the past of a window that begins at `since` begins.
    pub(super) fn reach(&self, since: UnixMicros) -> UnixMicros {
        let earlier = since.0.saturating_sub(self.compare_us);
        UnixMicros(floor(UnixMicros(earlier), self.step_us))
    }

    pub(super) fn drop_before(&mut self, reach: UnixMicros) {
        self.first = reach.0;
        while self.steps.take_before(reach.0).is_some() {}
        self.steps.shrink();
    }

    pub(super) fn bounds(&self, present: &Bounds, now: UnixMicros) -> Bounds {
        let since = self.reach(present.since);
        let until = match self.length_us {
            Some(length) => UnixMicros(since.0.saturating_add(length)),
            None => self.reach(now).max(since),
        };
        Bounds {
            since,
            until: Some(until),
        }
    }

    pub(super) fn sums(&mut self, present: &Bounds, now: UnixMicros) -> Sums {
        let bounds = self.bounds(present, now);
        let since = bounds.since.0;
        let until = bounds.until.map_or(i64::MAX, |until| until.0);
        if let Some((known_since, known_until, sums)) = self.told
            && (known_since, known_until) == (since, until)
        {
            return sums;
        }
        let sums = self.steps.between(since, until);
        self.told = Some((since, until, sums));
        sums
    }

    pub(super) const fn is_by_minute(&self) -> bool {
        is_whole_minutes(self.step_us)
    }
}

/// A rolling window's own step where its length is a whole number of them and the past has few enough.
/// Else the smallest part of its length of which it has: whole minutes, or at least seconds, where the
/// length is.
fn part_of(length: i64, compare: i64) -> i64 {
    let step = step_us(length);
    let few = |part: i64| length.saturating_add(compare) / part <= MOST_STEPS;
    if length % step == 0 && few(step) {
        return step;
    }
    let units = [MINUTE_US, SECOND_US];
    let unit = units.into_iter().find(|unit| length % unit == 0);
    let unit = unit.unwrap_or(1);
    (1..=length / step)
        .rev()
        .filter(|parts| length % parts == 0)
        .map(|parts| length / parts)
        .find(|part| part % unit == 0 && few(*part))
        .unwrap_or_else(|| length.max(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::window::{Entry, Keeps, Window};

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_past_has_few_steps_of_which_the_length_is_made() {
        for (length, compare, step) in [
            (10, DAY / 24, 1),
            (60, 7 * DAY, 60),
            (300, DAY / 2, 5),
            (300, 7 * DAY, 60),
            (450, DAY / 24, 9),
            (3_600, 7 * DAY, 60),
            (3_660, 7 * DAY, 60),
            (86_400, 365 * DAY, 2_160),
            // Longer than they can be kept few: the length itself.
            (60, 365 * DAY, 60),
        ] {
            let past = Past::new(&Span::Rolling(Duration::from_secs(length)), compare);
            assert_eq!(
                past.step_us,
                step * SECOND_US,
                "{length} s, {compare:?} ago"
            );
            assert_eq!(past.length_us.map(|length| length % past.step_us), Some(0));
        }
    }

    #[test]
    fn only_what_is_compared_with_is_kept() {
        let span = Span::Rolling(Duration::from_secs(3_600));
        let mut window = Window::new(&span, Keeps::default(), Some(DAY));
        for minute in 0..3 * 1_440 {
            let at = UnixMicros(minute * MINUTE_US);
            let entry = Entry {
                at,
                sum: 1,
                count: 1,
                hits: 0,
                value: None,
            };
            window.add(&entry, at);
        }
        let kept = window.past.map(|past| past.steps.len());
        assert_eq!(kept, Some(1_440 + 60 + 1));
    }
}
