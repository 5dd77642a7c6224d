//! What is held of a budget for requests on their way, and what was given back without anybody knowing
//! what it came to.
//!
//! Both are kept by when requests began, not by the window in force: a rule whose window is edited, or
//! whose calendar goes on, finds what is held within its bounds. What is held adds up as it comes and
//! goes; only when the bounds are others than those asked for last, it is summed anew, over one entry
//! for each second in which requests began that are on their way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::UnixMicros;
use crate::meter::window::Bounds;

/// Periods of calendars begin with a second: what began within one is in the same.
const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;

/// What is held of one alert's budget. Shared by whoever holds something of it; survives a change of
/// its rule.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    groups: BTreeMap<Since, Group>,
    /// What was asked for last, kept up to date.
    present: Option<(Period, Sum)>,
    /// By when and how, what was given back.
    slips: BTreeMap<Slip, i128>,
}

/// From when on something counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Since {
    /// The second in which its request began, in Unix microseconds.
    second: i64,
    /// Whether it counts in every later period too, for its usage is told there.
    awaited: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    sum: Sum,
    requests: u32,
}

/// A sum that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    /// In the finest unit. Wider than any amount, so that what was added can always be taken off.
    amount: i128,
    unbounded: u32,
}

/// A calendar's period; `None` for a rolling window, in which all counts that has not ended.
type Period = Option<(UnixMicros, UnixMicros)>;

/// When a request was on its way whose part was given back. By the minute: whole ones are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slip {
    ended: i64,
    began: i64,
    awaited: bool,
    /// Whether the ledger tells of it again.
    told: bool,
}

/// What is held within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// In the finest unit.
    pub(super) amount: i64,
    /// Requests in it of which nobody knows the most.
    pub(super) unbounded: u32,
}

/// What is held for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// When the request began.
    pub(super) started_at: UnixMicros,
    /// In the finest unit.
    pub(super) amount: i64,
    /// Whether nobody knows the most.
    pub(super) unbounded: bool,
    /// Whether its usage is told by a later request, and counts when that one does.
    pub(super) awaited: bool,
    /// Whether its row is all that counts: it is one of a number of requests.
    pub(super) of_row: bool,
}

/// One request's part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) of: Arc<Holds>,
    part: Part,
}

impl Holds {
    /// What is held within `bounds`.
    pub(super) fn held(&self, bounds: &Bounds) -> Held {
        let mut all = self.all();
        let period = bounds.until.map(|until| (bounds.since, until));
        let sum = match all.present {
            Some((known, sum)) if known == period => sum,
            _ => {
                let mut sum = Sum::default();
                for (since, group) in &all.groups {
                    if since.counts_in(period) {
                        sum.amount += group.sum.amount;
                        sum.unbounded += group.sum.unbounded;
                    }
                }
                all.present = Some((period, sum));
                sum
            }
        };
        Held {
            amount: clamp(sum.amount),
            unbounded: sum.unbounded,
        }
    }

    /// What was given back within `bounds` whose requests may have used it all the same. What ended
    /// before them is forgotten.
    pub(super) fn slipped(&self, bounds: &Bounds) -> i64 {
        let mut all = self.all();
        let ended_before = Slip::first_at(bounds.since);
        all.slips = all.slips.split_off(&ended_before);
        let within = all.slips.iter().filter(|(slip, _)| slip.is_in(bounds));
        clamp(within.map(|(_, amount)| amount).sum())
    }

    /// Forgets what slipped and is told again.
    pub(super) fn forget_told(&self) {
        self.all().slips.retain(|slip, _| !slip.told);
    }

    /// Whether nothing is held at all.
    pub(super) fn is_empty(&self) -> bool {
        self.all().groups.is_empty()
    }

    /// Holds `part`.
    pub(super) fn hold(self: &Arc<Self>, part: Part) -> Hold {
        self.all().add(&part);
        Hold {
            of: Arc::clone(self),
            part,
        }
    }

    /// As if `part` had been held and given back at `at`; `told` where the ledger tells of it again.
    pub(super) fn slip(&self, part: &Part, at: UnixMicros, told: bool) {
        if part.of_row {
            return;
        }
        let slip = Slip {
            ended: floor(at, MINUTE_US),
            began: floor(part.started_at, MINUTE_US),
            awaited: part.awaited,
            told,
        };
        *self.all().slips.entry(slip).or_default() += i128::from(part.amount);
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // Each change is a few additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn add(&mut self, part: &Part) {
        let since = Since::of(part);
        let group = self.groups.entry(since).or_default();
        group.sum.add(part);
        group.requests += 1;
        if let Some(sum) = self.present_with(since) {
            sum.add(part);
        }
    }

    fn take(&mut self, part: &Part) {
        let since = Since::of(part);
        if let Some(group) = self.groups.get_mut(&since) {
            group.sum.take(part);
            group.requests = group.requests.saturating_sub(1);
            if group.requests == 0 {
                self.groups.remove(&since);
            }
        }
        if let Some(sum) = self.present_with(since) {
            sum.take(part);
        }
    }

    fn present_with(&mut self, since: Since) -> Option<&mut Sum> {
        let (period, sum) = self.present.as_mut()?;
        since.counts_in(*period).then_some(sum)
    }
}

impl Since {
    fn of(part: &Part) -> Self {
        Self {
            second: floor(part.started_at, SECOND_US),
            awaited: part.awaited,
        }
    }

    fn counts_in(self, period: Period) -> bool {
        period.is_none_or(|(since, until)| {
            self.second < until.0 && (self.awaited || since.0 <= self.second)
        })
    }
}

impl Sum {
    fn add(&mut self, part: &Part) {
        self.amount += i128::from(part.amount);
        self.unbounded += u32::from(part.unbounded);
    }

    fn take(&mut self, part: &Part) {
        self.amount -= i128::from(part.amount);
        self.unbounded = self.unbounded.saturating_sub(u32::from(part.unbounded));
    }
}

impl Slip {
    /// Before every one that ended in the minute of `at`.
    fn first_at(at: UnixMicros) -> Self {
        Self {
            ended: floor(at, MINUTE_US),
            began: i64::MIN,
            awaited: false,
            told: false,
        }
    }

    /// Whether it may have been used within `bounds`: a rolling window goes by the end of requests, a
    /// calendar by their start.
    fn is_in(&self, bounds: &Bounds) -> bool {
        let Some(until) = bounds.until else {
            return bounds.since.0 < self.ended.saturating_add(MINUTE_US);
        };
        let last = if self.awaited { self.ended } else { self.began };
        self.began < until.0 && bounds.since.0 < last.saturating_add(MINUTE_US)
    }
}

impl Hold {
    /// From here on its usage is awaited. Not where its row is all that counts.
    pub(super) fn awaited(self) -> Result<Self, Self> {
        if self.part.of_row {
            return Err(self);
        }
        let part = Part {
            awaited: true,
            ..self.part
        };
        // Both are held for a moment, never neither.
        Ok(self.of.hold(part))
    }

    /// Gives it back at `at` without knowing what it came to: that much may be used beside what is
    /// counted. `told` where the ledger tells of it again.
    pub(super) fn slip(self, at: UnixMicros, told: bool) {
        self.of.slip(&self.part, at, told);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.of.all().take(&self.part);
    }
}

fn floor(at: UnixMicros, to: i64) -> i64 {
    at.0.saturating_sub(at.0.rem_euclid(to))
}

fn clamp(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(second: i64, amount: i64, awaited: bool) -> Part {
        Part {
            started_at: UnixMicros(second * SECOND_US),
            amount,
            unbounded: amount % 7 == 0,
            awaited,
            of_row: false,
        }
    }

    fn bounds(since: i64, until: Option<i64>) -> Bounds {
        Bounds {
            since: UnixMicros(since * SECOND_US),
            until: until.map(|until| UnixMicros(until * SECOND_US)),
        }
    }

    #[test]
    fn what_is_held_counts_in_its_own_period_and_what_is_awaited_in_later_ones_too() {
        let holds = Arc::new(Holds::default());
        let first = holds.hold(part(5, 10, false));
        let second = holds.hold(part(15, 5, true));
        let held = |since, until| holds.held(&bounds(since, until)).amount;
        assert_eq!(held(0, Some(10)), 10);
        assert_eq!(held(10, Some(20)), 5);
        assert_eq!(held(20, Some(30)), 5);
        assert_eq!(held(20, None), 15, "what has not ended ends in the window");
        drop(first);
        drop(second);
        assert!(holds.is_empty());
        assert_eq!(held(0, Some(30)), 0);
    }

    #[test]
    fn what_slipped_leaves_with_the_window() {
        let holds = Arc::new(Holds::default());
        holds
            .hold(part(60, 10, false))
            .slip(UnixMicros(600 * SECOND_US), true);
        holds
            .hold(part(60, 1, true))
            .slip(UnixMicros(600 * SECOND_US), false);
        assert_eq!(holds.slipped(&bounds(0, Some(120))), 11);
        assert_eq!(holds.slipped(&bounds(120, Some(720))), 1);
        assert_eq!(holds.slipped(&bounds(600, None)), 11);
        holds.forget_told();
        assert_eq!(holds.slipped(&bounds(600, None)), 1);
        assert_eq!(holds.slipped(&bounds(660, None)), 0);
        assert!(holds.is_empty());
    }

    proptest! {
        /// In whatever order holds come and go and bounds are asked for, the sum is that of those
        /// within.
        #[test]
        fn the_sum_is_always_that_of_what_is_within(
            steps in prop::collection::vec((0_u8..4, 0_i64..40, any::<i64>(), any::<bool>()), 1..80),
        ) {
            let holds = Arc::new(Holds::default());
            let mut live: Vec<(Hold, Part)> = Vec::new();
            for (step, second, amount, flag) in steps {
                let asked = match step {
                    0 => {
                        let part = part(second, amount.saturating_abs(), flag);
                        live.push((holds.hold(part), part));
                        bounds(0, Some(20))
                    }
                    1 if !live.is_empty() => {
                        drop(live.swap_remove(usize::try_from(second).unwrap() % live.len()));
                        bounds(0, Some(20))
                    }
                    2 => bounds(second, Some(second + 10)),
                    _ => bounds(second, None),
                };
                let within = live.iter().map(|(_, part)| part).filter(|part| {
                    asked.until.is_none_or(|until| {
                        part.started_at < until && (part.awaited || asked.since <= part.started_at)
                    })
                });
                let amount: i128 = within.clone().map(|part| i128::from(part.amount)).sum();
                let unbounded = within.filter(|part| part.unbounded).count();
                let held = holds.held(&asked);
                prop_assert_eq!(held.amount, i64::try_from(amount).unwrap_or(i64::MAX));
                prop_assert_eq!(held.unbounded as usize, unbounded);
            }
        }
    }
}
