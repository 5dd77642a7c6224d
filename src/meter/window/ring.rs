//! A rolling window: steps of time, of which the oldest leaves when a new one begins.

use std::collections::VecDeque;
use std::time::Duration;

use super::forecast::Rate;
use super::span::{floor, is_whole_minutes, length_us, step_us};
use super::steps::Steps;
use super::{Bounds, Entry, Keeps, Sums, Totals};
use crate::clock::UnixMicros;
use crate::record::Sketch;

/// A rolling window. Its sums are kept up to date as steps come and go, not added up anew.
///
/// A request that ended later than now (the clock was set back since) counts at once; one that is more
/// than the window's length ahead does not: that it is missing shows when its time comes.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    length_us: i64,
    step_us: i64,
    keeps: Keeps,
    /// The start of the present step; `i64::MIN` while no time was told.
    head: i64,
    /// The start of the next one.
    next: i64,
    /// The start of the oldest.
    since: i64,
    /// From here on it is too far ahead.
    limit: i64,
    /// The first of those that were.
    missing: i64,
    steps: Steps,
    /// Beside each step, where any are kept.
    details: VecDeque<Detail>,
    /// The sum of the steps; wider than [`Totals::sum`], as it must come down again from where that
    /// saturates.
    sum: i128,
    totals: Totals,
}

/// What a step has besides sums.
#[derive(Clone, Debug, Default)]
struct Detail {
    max: Option<u64>,
    sketch: Sketch,
}

impl Ring {
    pub(super) fn new(length: Duration, keeps: Keeps) -> Self {
        let length_us = length_us(length);
        Self {
            length_us,
            step_us: step_us(length_us),
            keeps,
            head: i64::MIN,
            next: i64::MIN,
            since: i64::MIN,
            limit: i64::MAX,
            missing: i64::MAX,
            steps: Steps::default(),
            details: VecDeque::new(),
            sum: 0,
            totals: Totals::default(),
        }
    }

    /// Moves on to the step of `now`; whether there was one to move on to.
    pub(super) fn advance(&mut self, now: UnixMicros) -> bool {
        if now.0 < self.next {
            return false;
        }
        self.head = floor(now, self.step_us);
        self.next = self.head.saturating_add(self.step_us);
        self.since = self.head.saturating_sub(self.length_us);
        self.limit = self.limit_of(self.head);
        self.drop_steps();
        true
    }

    fn drop_steps(&mut self) {
        let mut lost_max = false;
        while let Some(gone) = self.steps.take_before(self.since) {
            self.sum -= i128::from(gone.sum);
            self.totals.count -= gone.count;
            self.totals.hits -= gone.hits;
            if let Some(detail) = self.details.pop_front() {
                self.totals.sketch.subtract(&detail.sketch);
                lost_max |= detail.max.is_some() && detail.max == self.totals.max;
            }
        }
        self.steps.shrink();
        self.totals.sum = clamp(self.sum);
        if lost_max {
            self.totals.max = self.details.iter().filter_map(|detail| detail.max).max();
        }
    }

    /// Adds a request; `false` when it is too far ahead.
    pub(super) fn add(&mut self, entry: &Entry) -> bool {
        let Some(place) = self.place(entry.at) else {
            return entry.at.0 < self.limit;
        };
        self.add_sums(place, &entry.sums());
        if let Some((detail, value)) = self.details.get_mut(place).zip(entry.value) {
            if self.keeps.max {
                detail.max = detail.max.max(Some(value));
                self.totals.max = self.totals.max.max(Some(value));
            }
            if self.keeps.sketch {
                detail.sketch.add(value);
                self.totals.sketch.add(value);
            }
        }
        true
    }

    /// Adds several; `false` when they are too far ahead.
    pub(super) fn merge(&mut self, at: UnixMicros, part: &Totals) -> bool {
        let Some(place) = self.place(at) else {
            return at.0 < self.limit;
        };
        self.add_sums(place, &part.sums());
        if let Some(detail) = self.details.get_mut(place) {
            if self.keeps.max {
                detail.max = detail.max.max(part.max);
                self.totals.max = self.totals.max.max(part.max);
            }
            if self.keeps.sketch {
                detail.sketch.merge(&part.sketch);
                self.totals.sketch.merge(&part.sketch);
            }
        }
        true
    }

    /// The place of the step that `at` is in; `None` when it is not in the window.
    fn place(&mut self, at: UnixMicros) -> Option<usize> {
        if at.0 >= self.limit {
            self.missing = self.missing.min(at.0);
            return None;
        }
        if at.0 < self.since {
            return None;
        }
        // The steps are counted from the window's edge: its length need not be a multiple of them.
        let start = at.0 - at.0.saturating_sub(self.since) % self.step_us;
        let (place, new) = self.steps.place(start);
        if new && (self.keeps.max || self.keeps.sketch) {
            self.details.insert(place, Detail::default());
        }
        Some(place)
    }

    fn add_sums(&mut self, place: usize, sums: &Sums) {
        if let Some((before, after)) = self.steps.add(place, sums) {
            self.sum += i128::from(after.sum) - i128::from(before.sum);
            self.totals.sum = clamp(self.sum);
            self.totals.count += after.count - before.count;
            self.totals.hits += after.hits - before.hits;
        }
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A clock that went back by a step at most leaves them where they are.
    pub(super) fn bounds(&self, now: UnixMicros) -> Bounds {
        let since = floor(now, self.step_us).saturating_sub(self.length_us);
        let since = if self.went_back(now) {
            since
        } else {
            since.max(self.since)
        };
        Bounds {
            since: UnixMicros(since),
            until: None,
        }
    }

    pub(super) fn is_stale(&self, now: UnixMicros) -> bool {
        self.went_back(now)
            || (self.missing < i64::MAX
                && self.missing < self.limit_of(floor(now, self.step_us).max(self.head)))
    }

    /// Whether the clock is so far back that steps are needed which have left.
    fn went_back(&self, now: UnixMicros) -> bool {
        now.0 < self.head.saturating_sub(self.step_us)
    }

    fn limit_of(&self, head: i64) -> i64 {
        head.saturating_add(self.step_us)
            .saturating_add(self.length_us)
    }

    pub(super) const fn is_by_minute(&self) -> bool {
        is_whole_minutes(self.step_us) && is_whole_minutes(self.length_us)
    }

    pub(super) fn rate(&self, now: UnixMicros) -> Option<Rate> {
        let since = self.bounds(now).since;
        Rate::new(self.totals.sum, now.since(since))
    }
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_however_the_clock_goes() {
        let keeps = Keeps {
            sketch: true,
            ..Keeps::default()
        };
        let mut ring = Ring::new(Duration::from_secs(60), keeps);
        for second in 0..10_000 {
            let now = UnixMicros(second * 1_000_000);
            ring.advance(now);
            // In order; late; and by a clock that ran ahead.
            for at in [second, second - second % 90, second * 7] {
                ring.add(&Entry {
                    at: UnixMicros(at * 1_000_000),
                    sum: 1,
                    count: 1,
                    hits: 0,
                    value: Some(1),
                });
            }
            assert!(ring.steps.len() <= 122, "{}", ring.steps.len());
            assert_eq!(ring.details.len(), ring.steps.len());
        }
        ring.advance(UnixMicros(i64::MAX / 2));
        assert_eq!((ring.steps.len(), ring.details.len()), (0, 0));
    }
}
