//! A calendar window: the present period and its neighbours.

use super::calendar::{Calendar, Period};
use super::forecast::{Pace, Rate};
use super::span::is_whole_minutes;
use super::{Bounds, Entry, Keeps, Totals};
use crate::clock::UnixMicros;

/// The periods of a calendar of which sums are kept. Their borders are worked out once a period, so that
/// a request only compares numbers.
///
/// A request of the next period (the clock was set back since) is kept for it; one that is later still
/// is not: that it is missing shows when its time comes.
#[derive(Clone, Debug)]
pub(super) struct Periods {
    calendar: Calendar,
    keeps: Keeps,
    before: Kept,
    present: Kept,
    next: Option<Box<Kept>>,
    /// The first request that was later than the next period.
    missing: UnixMicros,
}

#[derive(Clone, Debug)]
struct Kept {
    period: Period,
    totals: Totals,
    pace: Option<Box<Pace>>,
}

impl Kept {
    fn new(period: Period, keeps: Keeps) -> Self {
        Self {
            period,
            totals: Totals::default(),
            pace: keeps.rate.then(|| Box::new(Pace::new(&period))),
        }
    }

    fn add(&mut self, at: UnixMicros, sum: i64) {
        self.totals.sum = self.totals.sum.saturating_add(sum);
        if let Some(pace) = &mut self.pace {
            pace.add(at, sum);
        }
    }
}

impl Periods {
    pub(super) fn new(calendar: Calendar, keeps: Keeps) -> Self {
        // While no time was told: nothing lies in it, and every moment is after it.
        let never = Period {
            start: UnixMicros(i64::MIN),
            end: UnixMicros(i64::MIN),
        };
        Self {
            calendar,
            keeps,
            before: Kept::new(never, keeps),
            present: Kept::new(never, keeps),
            next: None,
            missing: UnixMicros(i64::MAX),
        }
    }

    /// Moves on to the period of `now`; whether there was one to move on to.
    pub(super) fn advance(&mut self, now: UnixMicros) -> bool {
        if now < self.present.period.end {
            return false;
        }
        let period = self.calendar.period(now);
        let last = self
            .calendar
            .period(UnixMicros(period.start.0.saturating_sub(1)));
        // Those in between are known to be empty: whatever came was told with a time.
        let empty = || Kept::new(last, self.keeps);
        let mut known = [Some(&mut self.present), self.next.as_deref_mut()];
        let mut take = |period: &Period| {
            let found = known.iter_mut().flatten();
            let mut found = found.filter(|kept| kept.period == *period);
            found.next().map(|kept| {
                let nothing = Kept::new(kept.period, Keeps::default());
                std::mem::replace(*kept, nothing)
            })
        };
        let before = take(&last).unwrap_or_else(empty);
        let present = take(&period).unwrap_or_else(|| Kept::new(period, self.keeps));
        self.before = before;
        self.present = present;
        self.next = None;
        true
    }

    /// Adds a request; `false` when it is too far ahead.
    pub(super) fn add(&mut self, entry: &Entry) -> bool {
        let keeps = self.keeps;
        let Some(kept) = self.kept_mut(entry.at) else {
            return entry.at < self.present.period.end;
        };
        kept.add(entry.at, entry.sum);
        let totals = &mut kept.totals;
        totals.count = totals.count.saturating_add(entry.count);
        totals.hits = totals.hits.saturating_add(entry.hits);
        if let Some(value) = entry.value {
            if keeps.max {
                totals.max = totals.max.max(Some(value));
            }
            if keeps.sketch {
                totals.sketch.add(value);
            }
        }
        true
    }

    /// Adds several; `false` when they are too far ahead.
    pub(super) fn merge(&mut self, at: UnixMicros, part: &Totals) -> bool {
        let keeps = self.keeps;
        let Some(kept) = self.kept_mut(at) else {
            return at < self.present.period.end;
        };
        kept.add(at, part.sum);
        let totals = &mut kept.totals;
        totals.count = totals.count.saturating_add(part.count);
        totals.hits = totals.hits.saturating_add(part.hits);
        if keeps.max {
            totals.max = totals.max.max(part.max);
        }
        if keeps.sketch {
            totals.sketch.merge(&part.sketch);
        }
        true
    }

    fn kept_mut(&mut self, at: UnixMicros) -> Option<&mut Kept> {
        if self.present.period.contains(at) {
            return Some(&mut self.present);
        }
        if at < self.present.period.end {
            return Some(&mut self.before).filter(|before| before.period.contains(at));
        }
        if self.next.is_none() {
            let period = self.calendar.period(self.present.period.end);
            if period.contains(at) {
                self.next = Some(Box::new(Kept::new(period, self.keeps)));
            }
        }
        let next = self.next.as_deref_mut();
        let next = next.filter(|next| next.period.contains(at));
        if next.is_none() {
            self.missing = self.missing.min(at);
        }
        next
    }

    /// The one that `now` is in, else the nearest.
    fn kept(&self, now: UnixMicros) -> &Kept {
        if now < self.present.period.start {
            &self.before
        } else {
            &self.present
        }
    }

    pub(super) fn totals(&self, now: UnixMicros) -> &Totals {
        &self.kept(now).totals
    }

    pub(super) fn period(&self, at: UnixMicros) -> Period {
        let known = [self.present.period, self.before.period];
        let found = known.into_iter().find(|period| period.contains(at));
        found.unwrap_or_else(|| self.calendar.period(at))
    }

    pub(super) fn bounds(&self, now: UnixMicros) -> Bounds {
        let period = self.period(now);
        Bounds {
            since: period.start,
            until: Some(period.end),
        }
    }

    /// The start of the period before that of `now`.
    pub(super) fn reach(&self, now: UnixMicros) -> UnixMicros {
        let start = self.period(now).start;
        self.period(UnixMicros(start.0.saturating_sub(1))).start
    }

    pub(super) fn is_stale(&self, now: UnixMicros) -> bool {
        now < self.before.period.start
            || (self.missing.0 < i64::MAX && self.missing < self.period(now).end)
    }

    pub(super) fn is_by_minute(&self, now: UnixMicros) -> bool {
        let period = self.period(now);
        let borders = [self.reach(now), period.start, period.end];
        borders.into_iter().all(|border| is_whole_minutes(border.0))
    }

    pub(super) fn rate(&self, now: UnixMicros) -> Option<Rate> {
        let kept = self.kept(now);
        let pace = kept.pace.as_deref()?;
        pace.rate(now)
    }
}
