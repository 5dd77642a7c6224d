//! What is held of a budget for requests on their way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::meter::window::PeriodId;

/// The sums that are held of one alert's budget, by the calendar's period that they count in. Shared by
/// whoever holds something of it; survives a change of its rule.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<SmallVec<[Period; 2]>>);

/// What is held in one period.
#[derive(Clone, Copy, Debug)]
struct Period {
    id: PeriodId,
    held: Sum,
    requests: u32,
}

/// A sum that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// In the finest unit.
    pub(super) amount: i64,
    /// Requests in it of which nobody knows the most.
    pub(super) unbounded: u32,
    /// What leases gave back whose requests may have cost it all the same.
    pub(super) slipped: i64,
}

/// One request's part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) of: Arc<Holds>,
    period: PeriodId,
    amount: i64,
    unbounded: bool,
}

impl Holds {
    /// What is held in a period.
    pub(super) fn sum(&self, period: PeriodId) -> Sum {
        let periods = self.periods();
        let found = periods.iter().find(|known| known.id == period);
        found.map_or_else(Sum::default, |known| known.held)
    }

    /// Whether nothing is held at all.
    pub(super) fn is_empty(&self) -> bool {
        self.periods().iter().all(|period| period.requests == 0)
    }

    /// Holds `amount`.
    pub(super) fn hold(self: &Arc<Self>, period: PeriodId, amount: i64, unbounded: bool) -> Hold {
        let mut periods = self.periods();
        let at = periods
            .iter()
            .position(|known| known.id == period)
            .unwrap_or_else(|| {
                // What no request is held in, and is not the newest, nobody asks for again.
                periods.retain(|known| known.requests > 0 || known.id > period);
                periods.push(Period {
                    id: period,
                    held: Sum::default(),
                    requests: 0,
                });
                periods.len() - 1
            });
        let known = &mut periods[at];
        known.held.amount = known.held.amount.saturating_add(amount);
        known.held.unbounded += u32::from(unbounded);
        known.requests += 1;
        Hold {
            of: Arc::clone(self),
            period,
            amount,
            unbounded,
        }
    }

    fn periods(&self) -> MutexGuard<'_, SmallVec<[Period; 2]>> {
        // Each change is a few additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Gives it back without knowing what it came to: that much may be spent beside what is counted.
    pub(super) fn slip(self) {
        {
            let mut periods = self.of.periods();
            if let Some(known) = periods.iter_mut().find(|known| known.id == self.period) {
                known.held.slipped = known.held.slipped.saturating_add(self.amount);
            }
        }
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut periods = self.of.periods();
        if let Some(known) = periods.iter_mut().find(|known| known.id == self.period) {
            known.held.amount = known.held.amount.saturating_sub(self.amount);
            known.held.unbounded = known
                .held
                .unbounded
                .saturating_sub(u32::from(self.unbounded));
            known.requests = known.requests.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_in_its_own_period() {
        let holds = Arc::new(Holds::default());
        let first = holds.hold(PeriodId(1), 10, false);
        let second = holds.hold(PeriodId(2), 5, true);
        assert_eq!(holds.sum(PeriodId(1)).amount, 10);
        assert_eq!(
            (
                holds.sum(PeriodId(2)).amount,
                holds.sum(PeriodId(2)).unbounded
            ),
            (5, 1)
        );
        drop(first);
        assert_eq!(holds.sum(PeriodId(1)), Sum::default());
        assert!(!holds.is_empty());
        drop(second);
        assert!(holds.is_empty());
    }

    #[test]
    fn what_a_lease_gives_back_is_remembered_as_slipped() {
        let holds = Arc::new(Holds::default());
        holds.hold(PeriodId(1), 10, false).slip();
        let sum = holds.sum(PeriodId(1));
        assert_eq!((sum.amount, sum.slipped), (0, 10));
    }
}
