//! The engine: rules in force, their windows and alerts.

use std::sync::Arc;

use super::definition::RuleSet;
use super::demand::{Blocked, Demand};
use super::hands::{Hands, NoHands};
use super::view::RuleView;
use crate::clock::UnixMicros;
use crate::record::{Dimensions, Sample};

/// The rules in force. Shared by all workers.
#[derive(Debug)]
pub struct Rules {
    hands: Arc<dyn Hands>,
    set: RuleSet,
}

/// What is held of budgets for one request on its way. Dropped, it is given back.
#[derive(Debug, Default)]
pub struct Reservation {
    _held: (),
}

impl Rules {
    /// The rules of `set`.
    #[must_use]
    pub fn new(set: RuleSet, hands: Arc<dyn Hands>) -> Self {
        Self { hands, set }
    }

    /// No rules.
    #[must_use]
    pub fn none() -> Self {
        Self::new(RuleSet::default(), Arc::new(NoHands))
    }

    /// Whether there is no rule at all: nothing of a request need be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.rules.is_empty()
    }

    /// Whether a budget wants to know what such a request may use at most.
    #[must_use]
    pub fn wants(&self, _dimensions: &Dimensions<'_>) -> bool {
        false
    }

    /// Asks for a request that is about to go to a channel. Where a budget limits it, its worst case is
    /// held from here on.
    pub fn admit(&self, _demand: &Demand<'_>, _now: UnixMicros) -> Result<Reservation, Blocked> {
        Ok(Reservation::default())
    }

    /// Takes in a request that ended, and gives back what was held for it, in one step. What it makes
    /// of alerts is carried out before this returns.
    pub fn observe(&self, _sample: &Sample<'_>, _held: Reservation, _now: UnixMicros) {
        let _ = &self.hands;
    }

    /// Does what only time changes. To be called about once a second.
    pub fn tick(&self, _now: UnixMicros) {}

    /// What the rules show of themselves.
    #[must_use]
    pub fn view(&self, _now: UnixMicros) -> Vec<RuleView> {
        Vec::new()
    }
}
