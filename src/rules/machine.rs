//! The states of one alert: inactive, pending, firing, and at which limit.
//!
//! Nothing here reads a clock or a window: a [`Machine`] is handed what was seen and when. Each of the
//! two limits has a line of its own: the value is beyond it since a moment, has been so for as long as
//! [`Conditions::hold`] asks, is back since a moment, has been back for as long as
//! [`Conditions::keep_firing`] asks. The alert does what its lower line does; its severity says how far
//! the critical one is.
//!
//! All that a machine knows stands in the last [`AlertEvent`] of its alert: whatever it notes is a
//! [`Change`], so that a process that begins with the last event goes on as if none had ended.

mod conditions;

use std::time::Duration;

use super::definition::Rule;
use crate::alert::{ActionTaken, AlertEvent, AlertId, AlertState, Severity};
use crate::clock::UnixMicros;
pub use conditions::{Conditions, Observation};
use conditions::{Reading, Where};

/// How far a moment may lie ahead of the clock without the clock having been set back: workers read the
/// clock before they wait for the alert's lock.
const JITTER: Duration = Duration::from_secs(1);

/// What one alert is doing. The default is inactive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    state: Stage,
    severity: Option<Severity>,
    active_since: Option<UnixMicros>,
    fired_at: Option<UnixMicros>,
    cleared_since: Option<UnixMicros>,
    critical_since: Option<UnixMicros>,
    critical_cleared_since: Option<UnixMicros>,
}

/// [`AlertState`] with the one that everything begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Inactive,
    Pending,
    Firing,
}

/// A machine before and after something was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub before: Machine,
    /// What it is.
    pub after: Machine,
}

impl Change {
    /// Whether the state or the severity is another: what people are told and actions go by. The rest
    /// is kept for the sake of a restart only.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.before.state() != self.after.state() || self.before.severity != self.after.severity
    }

    /// Whether a firing begins.
    #[must_use]
    pub fn fires(&self) -> bool {
        !self.before.is_firing() && self.after.is_firing()
    }

    /// Whether a firing ends.
    #[must_use]
    pub fn resolves(&self) -> bool {
        self.before.is_firing() && !self.after.is_firing()
    }

    /// The event that keeps it: of the alert `alert` of `rule`, whose `value` was seen at `at`.
    #[must_use]
    pub fn event(
        &self,
        at: UnixMicros,
        alert: AlertId,
        rule: &Rule,
        value: Option<i64>,
        window_end: Option<UnixMicros>,
        actions: Vec<ActionTaken>,
    ) -> AlertEvent {
        // Of an alert that is over, the event tells what it was.
        let told = if self.after.state() == AlertState::Inactive {
            &self.before
        } else {
            &self.after
        };
        let limit = match told.severity {
            Some(Severity::Warning) => rule.warning,
            Some(Severity::Critical) => rule.critical,
            None => None,
        };
        AlertEvent {
            at,
            alert,
            state: self.after.state(),
            severity: told.severity,
            active_since: self.after.active_since,
            fired_at: told.fired_at,
            cleared_since: self.after.cleared_since,
            critical_since: self.after.critical_since,
            critical_cleared_since: self.after.critical_cleared_since,
            value: value.map(|value| rule.quantity(value)),
            limit: limit.map(|limit| rule.quantity(limit)),
            window_end,
            mode: rule.mode,
            told: self.is_told(),
            actions,
        }
    }
}

impl Machine {
    /// What the alert was after its last event. To be followed by [`Machine::adopt`]: the rule may have
    /// been edited since.
    #[must_use]
    pub fn restore(event: &AlertEvent) -> Self {
        let state = match event.state {
            AlertState::Inactive => return Self::default(),
            AlertState::Pending => Stage::Pending,
            AlertState::Firing => Stage::Firing,
        };
        Self {
            state,
            severity: event.severity,
            active_since: event.active_since,
            fired_at: event.fired_at,
            cleared_since: event.cleared_since,
            critical_since: event.critical_since,
            critical_cleared_since: event.critical_cleared_since,
        }
    }

    /// What it is doing.
    #[must_use]
    pub const fn state(&self) -> AlertState {
        match self.state {
            Stage::Inactive => AlertState::Inactive,
            Stage::Pending => AlertState::Pending,
            Stage::Firing => AlertState::Firing,
        }
    }

    /// Whether it fires.
    #[must_use]
    pub const fn is_firing(&self) -> bool {
        matches!(self.state, Stage::Firing)
    }

    /// At which limit it fires, or which is the last one passed while it is pending; `None` when
    /// inactive.
    #[must_use]
    pub const fn severity(&self) -> Option<Severity> {
        self.severity
    }

    /// Since when the value is beyond the first limit, as long as the alert is pending or fires.
    #[must_use]
    pub const fn active_since(&self) -> Option<UnixMicros> {
        self.active_since
    }

    /// Since when it fires; a change of severity is part of the same firing.
    #[must_use]
    pub const fn fired_at(&self) -> Option<UnixMicros> {
        self.fired_at
    }

    /// While it fires: since when the value is back.
    #[must_use]
    pub const fn cleared_since(&self) -> Option<UnixMicros> {
        self.cleared_since
    }

    /// Takes in what is seen at `now`. Returns what it changed, at most one change a call.
    ///
    /// With both limits passed it fires at the higher one whose `hold` is over. While it fires, the
    /// severity goes up when the value has been beyond the critical limit for `hold`, and down when it
    /// has been behind the critical limit's clear for `keep_firing`; both are one firing. A value that
    /// is beyond a clear again before `keep_firing` is over counts as never having been back.
    ///
    /// Where the clock was set back behind a moment that is noted, that moment becomes `now`: what
    /// is asked for begins anew, and no wait grows beyond its length.
    pub fn step(
        &mut self,
        now: UnixMicros,
        seen: Observation,
        conditions: &Conditions,
    ) -> Option<Change> {
        let before = *self;
        match conditions.read(seen) {
            Reading::Nothing => return None,
            Reading::NotPending => self.end_pending(),
            Reading::Places(lower, critical) => {
                self.follow_clock(now);
                self.note(now, lower, critical);
                self.advance(now, conditions);
            }
        }
        self.changed_from(before)
    }

    /// Its rule is no more. Returns what that ends.
    pub fn retire(&mut self) -> Option<Change> {
        let before = std::mem::take(self);
        self.changed_from(before)
    }

    /// Goes on under other conditions: what is noted stays, what belongs to a limit that is there no
    /// more goes. A firing at a limit that was taken away ends. `hold` and `keep_firing` take effect
    /// with the next step.
    pub fn adopt(&mut self, conditions: &Conditions) -> Option<Change> {
        let before = *self;
        if conditions.critical.is_none() {
            self.critical_since = None;
            self.critical_cleared_since = None;
            if self.severity == Some(Severity::Critical) {
                self.severity = Some(Severity::Warning);
            }
        }
        // Without a warning the critical limit is the first one too.
        if conditions.warning.is_none() && self.state() != AlertState::Inactive {
            self.active_since = self.critical_since;
            self.cleared_since = self.critical_cleared_since;
            if self.severity == Some(Severity::Warning) {
                self.state = Stage::Pending;
                self.severity = Some(Severity::Critical);
                self.fired_at = None;
            }
            if self.active_since.is_none() {
                *self = Self::default();
            }
        }
        self.changed_from(before)
    }

    /// Takes back what waits for `hold`.
    fn end_pending(&mut self) {
        if !self.is_firing() {
            *self = Self::default();
        } else if self.severity == Some(Severity::Warning) {
            self.critical_since = None;
        }
    }

    /// Brings moments that the clock was set back behind to `now`.
    fn follow_clock(&mut self, now: UnixMicros) {
        let latest = now.plus(JITTER);
        for moment in [
            &mut self.active_since,
            &mut self.fired_at,
            &mut self.cleared_since,
            &mut self.critical_since,
            &mut self.critical_cleared_since,
        ] {
            if moment.is_some_and(|moment| moment > latest) {
                *moment = Some(now);
            }
        }
    }

    /// Notes where the value is.
    fn note(&mut self, now: UnixMicros, lower: Where, critical: Where) {
        if self.is_firing() {
            note_back(&mut self.cleared_since, now, lower);
        } else {
            note_beyond(&mut self.active_since, now, lower);
        }
        if self.is_firing() && self.severity == Some(Severity::Critical) {
            note_back(&mut self.critical_cleared_since, now, critical);
        } else {
            note_beyond(&mut self.critical_since, now, critical);
        }
    }

    /// Draws the conclusions from what is noted.
    fn advance(&mut self, now: UnixMicros, conditions: &Conditions) {
        let over = |since: Option<UnixMicros>, wait: Duration| {
            since.is_some_and(|since| now.since(since) >= wait)
        };
        let is_critical = over(self.critical_since, conditions.hold);
        if self.is_firing() {
            if over(self.cleared_since, conditions.keep_firing) {
                *self = Self::default();
            } else if over(self.critical_cleared_since, conditions.keep_firing)
                && conditions.warning.is_some()
            {
                self.severity = Some(Severity::Warning);
                self.critical_since = None;
                self.critical_cleared_since = None;
            } else if is_critical {
                self.severity = Some(Severity::Critical);
            }
        } else if over(self.active_since, conditions.hold) {
            self.state = Stage::Firing;
            self.fired_at = Some(now);
            self.severity = Some(if is_critical {
                Severity::Critical
            } else {
                Severity::Warning
            });
        } else if self.active_since.is_some() {
            self.state = Stage::Pending;
            self.severity = Some(match self.critical_since {
                Some(_) => Severity::Critical,
                None => Severity::Warning,
            });
        } else {
            *self = Self::default();
        }
    }

    fn changed_from(&self, before: Self) -> Option<Change> {
        (before != *self).then_some(Change {
            before,
            after: *self,
        })
    }
}

/// Notes since when a line that does not fire is passed.
fn note_beyond(since: &mut Option<UnixMicros>, now: UnixMicros, place: Where) {
    match place {
        Where::Beyond => {
            since.get_or_insert(now);
        }
        Where::Between | Where::Back => *since = None,
    }
}

/// Notes since when a line that fires is passed no more.
fn note_back(since: &mut Option<UnixMicros>, now: UnixMicros, place: Where) {
    match place {
        Where::Back => {
            since.get_or_insert(now);
        }
        Where::Beyond | Where::Between => *since = None,
    }
}

#[cfg(test)]
mod tests;
