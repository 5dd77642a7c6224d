//! Windows: what the requests of the last hour, or of this month, come to.
//!
//! A window is told of each request, or of minutes of them, and always knows its sums: adding and asking
//! take the same short time however long it is. What it tells equals a query over the ledger from
//! [`Bounds::since`] on, up to [`Bounds::until`]. Time is an argument; nothing here locks or looks at a
//! clock.
//!
//! * A rolling window is a ring of steps (see [`Span::step`]): it moves on by a step at a time.
//! * A calendar window keeps two periods: the present one and the one before, so that a late request
//!   goes where it belongs, and a clock that is set back over a border finds its sums.
//! * With `compare` the sums of every step since then are kept too, without distributions.
//!
//! It takes under 400 bytes, and of a rolling one 24 for each step (at most 120) that has any requests,
//! of a calendar with [`Keeps::rate`] 400 for each period; distributions are extra. With `compare` it is
//! 24 bytes a step of the past: 240 KB for an hour against a week ago, 20 KB for a day.
//!
//! What a window cannot know, it does not guess: after a clock step that needs requests which it no
//! longer has, [`Window::is_stale`] says so, and it is to be built anew from
//! [`Window::reach`] on.

mod calendar;
mod forecast;
mod past;
mod periods;
mod ring;
mod span;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use calendar::{Calendar, CalendarUnit, Period};
pub use forecast::{Rate, time_left};
use past::Past;
use periods::Periods;
use ring::Ring;
use span::{MINUTE_US, floor};
pub use span::{Span, written};

use crate::clock::UnixMicros;
use crate::record::Sketch;

/// What one request adds to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it counts: for calendar windows when it began, for rolling ones when it ended.
    pub at: UnixMicros,
    /// To the sum: nano-dollars, tokens, microseconds, whatever the rule adds up.
    pub sum: i64,
    /// To the number of requests.
    pub count: u64,
    /// To the number of those that failed, or that are beyond a bound.
    pub hits: u64,
    /// To the distribution and the maximum.
    pub value: Option<u64>,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of [`Entry::sum`]; saturating.
    pub sum: i64,
    /// Of [`Entry::count`].
    pub count: u64,
    /// Of [`Entry::hits`].
    pub hits: u64,
}

/// What a window comes to, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Of [`Entry::sum`]; saturating.
    pub sum: i64,
    /// Of [`Entry::count`].
    pub count: u64,
    /// Of [`Entry::hits`].
    pub hits: u64,
    /// The largest [`Entry::value`]; `None` when there is none or it is not kept.
    pub max: Option<u64>,
    /// The distribution of [`Entry::value`]; empty when it is not kept.
    pub sketch: Sketch,
}

/// What a window keeps besides sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// The distribution of the values.
    pub sketch: bool,
    /// The largest value.
    pub max: bool,
    /// How fast a calendar window's sum grows: for [`Window::rate`] and [`Window::forecast`]. Rolling
    /// windows need nothing for it.
    pub rate: bool,
}

/// Which requests a window is about: those with `since <= at`, and `at < until` where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first moment in it.
    pub since: UnixMicros,
    /// The first moment after it: the end of a calendar's period. `None` for a rolling window, which
    /// also counts what lies ahead of the present step by its length at most (the clock was set back
    /// since): more shows as [stale](Window::is_stale) when its time comes.
    pub until: Option<UnixMicros>,
}

impl Bounds {
    /// Whether `at` is in them.
    #[must_use]
    pub fn contains(&self, at: UnixMicros) -> bool {
        self.since <= at && self.until.is_none_or(|until| at < until)
    }
}

/// A window and its sums.
#[derive(Clone, Debug)]
pub struct Window {
    kind: Kind,
    past: Option<Past>,
}

#[derive(Clone, Debug)]
enum Kind {
    Rolling(Ring),
    Calendar(Periods),
}

impl Window {
    /// An empty window. With `compare` it also knows what it came to so long ago
    /// ([`Window::earlier`]).
    #[must_use]
    pub fn new(span: &Span, keeps: Keeps, compare: Option<Duration>) -> Self {
        let kind = match span {
            Span::Rolling(length) => Kind::Rolling(Ring::new(*length, keeps)),
            Span::Calendar(calendar) => Kind::Calendar(Periods::new(calendar.clone(), keeps)),
        };
        let past = compare.map(|compare| Past::new(span, compare));
        Self { kind, past }
    }

    /// Takes in a request.
    pub fn add(&mut self, entry: &Entry, now: UnixMicros) {
        self.advance(now);
        let known = match &mut self.kind {
            Kind::Rolling(ring) => ring.add(entry),
            Kind::Calendar(periods) => periods.add(entry),
        };
        if let Some(past) = self.past.as_mut().filter(|_| known) {
            past.add(entry.at, &entry.sums());
        }
    }

    /// Takes in requests that counted in the minute that begins at `at`. This is exact before
    /// [`Window::needs_requests_since`].
    pub fn merge(&mut self, at: UnixMicros, totals: &Totals, now: UnixMicros) {
        self.advance(now);
        let known = match &mut self.kind {
            Kind::Rolling(ring) => ring.merge(at, totals),
            Kind::Calendar(periods) => periods.merge(at, totals),
        };
        if let Some(past) = self.past.as_mut().filter(|_| known) {
            past.add(at, &totals.sums());
        }
    }

    /// What the requests within [`Window::bounds`] come to.
    pub fn totals(&mut self, now: UnixMicros) -> &Totals {
        self.advance(now);
        match &self.kind {
            Kind::Rolling(ring) => ring.totals(),
            Kind::Calendar(periods) => periods.totals(now),
        }
    }

    /// What the requests within [`Window::earlier_bounds`] came to; `None` without `compare`.
    pub fn earlier(&mut self, now: UnixMicros) -> Option<Sums> {
        self.advance(now);
        let bounds = self.bounds(now);
        let past = self.past.as_mut()?;
        Some(past.sums(&bounds, now))
    }

    /// Which requests the window is about now.
    #[must_use]
    pub fn bounds(&self, now: UnixMicros) -> Bounds {
        match &self.kind {
            Kind::Rolling(ring) => ring.bounds(now),
            Kind::Calendar(periods) => periods.bounds(now),
        }
    }

    /// Which requests it is compared with: for a rolling window as many steps as it has, for a calendar
    /// the part of the period that has passed, both `compare` earlier and from full step to full step.
    /// `None` without `compare`.
    #[must_use]
    pub fn earlier_bounds(&self, now: UnixMicros) -> Option<Bounds> {
        let past = self.past.as_ref()?;
        Some(past.bounds(&self.bounds(now), now))
    }

    /// From when on the window needs to be told of requests, to be built anew.
    #[must_use]
    pub fn reach(&self, now: UnixMicros) -> UnixMicros {
        let since = self.reach_of_totals(now);
        let past = self.past.as_ref();
        past.map_or(since, |past| past.reach(since))
    }

    /// From when on it needs to be told of single requests, to be built anew: a whole minute, before
    /// which sums by minute ([`Window::merge`]) do, or its reach. `None` when they do for all of it, as
    /// all of its borders are whole minutes of UTC.
    #[must_use]
    pub fn needs_requests_since(&self, now: UnixMicros) -> Option<UnixMicros> {
        let by_minute = match &self.kind {
            Kind::Rolling(ring) => ring.is_by_minute(),
            Kind::Calendar(periods) => periods.is_by_minute(now),
        };
        match &self.past {
            Some(past) if !past.is_by_minute() => Some(self.reach(now)),
            _ if by_minute => None,
            Some(_) => Some(UnixMicros(floor(self.reach_of_totals(now), MINUTE_US))),
            None => Some(self.reach(now)),
        }
    }

    fn reach_of_totals(&self, now: UnixMicros) -> UnixMicros {
        match &self.kind {
            Kind::Rolling(ring) => ring.bounds(now).since,
            Kind::Calendar(periods) => periods.reach(now),
        }
    }

    /// Whether its sums are not those of its bounds: the clock was set to a time of which it does not
    /// know every request. It is to be built anew then.
    #[must_use]
    pub fn is_stale(&self, now: UnixMicros) -> bool {
        match &self.kind {
            Kind::Rolling(ring) => ring.is_stale(now),
            Kind::Calendar(periods) => periods.is_stale(now),
        }
    }

    /// Whether sums by minute make it up exactly: see [`Window::needs_requests_since`].
    #[must_use]
    pub fn is_by_minute(&self, now: UnixMicros) -> bool {
        self.needs_requests_since(now).is_none()
    }

    /// How fast the sum grows. For a rolling window its sum over its length; for a calendar see
    /// [`Rate`]; `None` when too little of the period has passed, or the rate is not kept.
    pub fn rate(&mut self, now: UnixMicros) -> Option<Rate> {
        self.advance(now);
        match &self.kind {
            Kind::Rolling(ring) => ring.rate(now),
            Kind::Calendar(periods) => periods.rate(now),
        }
    }

    /// What the sum comes to at the end of a calendar's period if it grows on at its
    /// [rate](Window::rate); `None` for rolling windows, which have no end, and where there is no rate.
    pub fn forecast(&mut self, now: UnixMicros) -> Option<i64> {
        let until = self.bounds(now).until?;
        let rate = self.rate(now)?;
        let sum = self.totals(now).sum;
        Some(sum.saturating_add(rate.over(until.since(now))))
    }

    fn advance(&mut self, now: UnixMicros) {
        let moved = match &mut self.kind {
            Kind::Rolling(ring) => ring.advance(now),
            Kind::Calendar(periods) => periods.advance(now),
        };
        if moved && self.past.is_some() {
            let reach = self.reach(now);
            if let Some(past) = &mut self.past {
                past.drop_before(reach);
            }
        }
    }
}

impl Entry {
    const fn sums(&self) -> Sums {
        Sums {
            sum: self.sum,
            count: self.count,
            hits: self.hits,
        }
    }
}

impl Sums {
    const fn plus(self, other: Self) -> Self {
        Self {
            sum: self.sum.saturating_add(other.sum),
            count: self.count.saturating_add(other.count),
            hits: self.hits.saturating_add(other.hits),
        }
    }
}

impl Totals {
    /// Those sums, and nothing else.
    #[must_use]
    pub fn of(sums: Sums) -> Self {
        Self {
            sum: sums.sum,
            count: sums.count,
            hits: sums.hits,
            ..Self::default()
        }
    }

    /// Without distribution and maximum.
    #[must_use]
    pub const fn sums(&self) -> Sums {
        Sums {
            sum: self.sum,
            count: self.count,
            hits: self.hits,
        }
    }
}
