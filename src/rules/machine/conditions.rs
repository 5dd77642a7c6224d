//! When an alert changes, and what an observation says of it.

use std::time::Duration;

use crate::rules::definition::{NoData, Rule, Side};

/// When an alert changes: the part of a rule that its states go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// On which side of the limits the value is wrong. A value at a limit is wrong.
    pub side: Side,
    /// The first limit.
    pub warning: Option<i64>,
    /// The second.
    pub critical: Option<i64>,
    /// Firing ends when the value is behind this share of the limit, in thousandths.
    pub clear_permille: u32,
    /// How long the value must be beyond a limit before the alert fires at it. With zero it fires at
    /// once, without having been pending.
    pub hold: Duration,
    /// How long it fires on (or stays critical) after the value is back.
    pub keep_firing: Duration,
    /// What no request at all means.
    pub no_data: NoData,
}

impl Conditions {
    /// Those of a rule.
    #[must_use]
    pub const fn of(rule: &Rule) -> Self {
        Self {
            side: rule.side,
            warning: rule.warning,
            critical: rule.critical,
            clear_permille: rule.clear_permille,
            hold: rule.hold,
            keep_firing: rule.keep_firing,
            no_data: rule.no_data,
        }
    }

    /// The limit that is passed first.
    const fn lower(&self) -> Option<i64> {
        match self.warning {
            Some(_) => self.warning,
            None => self.critical,
        }
    }

    /// What an observation says.
    pub(super) fn read(&self, seen: Observation) -> Reading {
        let from_both = |place: &dyn Fn(i64) -> Where| {
            let seen_from = |limit: Option<i64>| limit.map_or(Where::Back, place);
            Reading::Places(seen_from(self.lower()), seen_from(self.critical))
        };
        match (seen, self.no_data) {
            (Observation::Unknown, _) | (Observation::NoData, NoData::Keep) => Reading::Nothing,
            (Observation::Value(value), _) => from_both(&|limit| self.place(value, limit)),
            (Observation::NoData, NoData::Firing) => from_both(&|_| Where::Beyond),
            (Observation::NoData | Observation::TooFew, NoData::Ok) => from_both(&|_| Where::Back),
            (Observation::TooFew, NoData::Firing | NoData::Keep) => Reading::NotPending,
        }
    }

    /// Where `value` is, seen from `limit`.
    fn place(&self, value: i64, limit: i64) -> Where {
        let milli = i128::from(value) * 1_000;
        let clear = i128::from(limit) * i128::from(self.clear_permille);
        let (beyond, back) = match self.side {
            Side::Above => (value >= limit, milli < clear),
            Side::Below => (value <= limit, milli > clear),
        };
        match (beyond, back) {
            (true, _) => Where::Beyond,
            (false, true) => Where::Back,
            (false, false) => Where::Between,
        }
    }
}

/// What is seen of an alert's window at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Its value, in the rule's finest unit.
    Value(i64),
    /// Fewer requests than `min_requests`, but some. What is pending is so no more, for nobody can say
    /// that the value is beyond the limit all the time. What fires is back with `no_data: ok` and stays
    /// what it is otherwise: a few requests are neither a value nor silence.
    TooFew,
    /// No request: see [`NoData`]. With `firing` it is as a value beyond every limit, `for` included.
    NoData,
    /// Nobody knows: a query failed, the window is not rebuilt yet. Changes nothing at all, whatever
    /// time has passed.
    Unknown,
}

/// Where a value is, seen from a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// At it or on its wrong side.
    Beyond,
    /// On its right side, but not as far as firing ends.
    Between,
    /// Where firing ends.
    Back,
}

/// What an observation says.
pub(super) enum Reading {
    /// Nothing.
    Nothing,
    /// Only that what is pending is so no more.
    NotPending,
    /// Where the value is, seen from the first limit and from the critical one.
    Places(Where, Where),
}
