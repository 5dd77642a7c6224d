//! Whether a group has anything to tell a receiver: a pure decision with a named reason.
//!
//! What was told is kept by alert and by when it began to fire ([`Told`]), so that an alert that fires
//! anew is news, and one whose value only changed is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::{AlertEvent, AlertState, FNV1A, NotifyReason, Severity, fnv1a};
use crate::clock::UnixMicros;
use crate::notify::content::AlertChange;

/// What a receiver was told of a group, and under which first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// When.
    pub(super) at: UnixMicros,
    /// The notification that began the conversation.
    pub(super) thread: Uuid,
    /// What the receiver calls that message, once it is known.
    pub(super) reference: Option<Arc<str>>,
    /// What the group's alerts have in common.
    pub(super) facts: Vec<(Arc<str>, Arc<str>)>,
    /// Each alert by its fingerprint.
    pub(super) alerts: BTreeMap<u64, ToldAlert>,
}

/// What was told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldAlert {
    /// The event that was told.
    at: UnixMicros,
    /// When the alert began to fire.
    fired_at: Option<UnixMicros>,
    /// Whether it fired.
    firing: bool,
    severity: Option<Severity>,
    /// What was done, as a number.
    deeds: u64,
}

impl ToldAlert {
    /// Whether it was told of this event. The clock may have been set back since, so no order is asked
    /// for.
    fn is_of(&self, event: &AlertEvent) -> bool {
        self.at == event.at && self.firing == (event.state == AlertState::Firing)
    }

    fn of(event: &AlertEvent) -> Self {
        Self {
            at: event.at,
            fired_at: event.fired_at,
            firing: event.state == AlertState::Firing,
            severity: event.severity,
            deeds: deeds(event),
        }
    }
}

impl Told {
    /// Whether something that was told of still fires, as far as was told.
    pub(super) fn fires(&self) -> bool {
        self.alerts.values().any(|alert| alert.firing)
    }

    /// The alerts that were told of as firing.
    pub(super) fn firing(&self) -> impl Iterator<Item = u64> {
        let firing = self.alerts.iter().filter(|(_, told)| told.firing);
        firing.map(|(fingerprint, _)| *fingerprint)
    }

    /// Whether this alert was told of as firing.
    pub(super) fn fired(&self, fingerprint: u64) -> bool {
        self.alerts
            .get(&fingerprint)
            .is_some_and(|told| told.firing)
    }

    /// At which limit this alert was told of as firing, where it was.
    pub(super) fn fired_as(&self, fingerprint: u64) -> Option<Severity> {
        let told = self.alerts.get(&fingerprint).filter(|told| told.firing);
        told.and_then(|told| told.severity)
    }

    /// Whether this alert is over, and was told of as firing.
    pub(super) fn ends(&self, alert: &Current) -> bool {
        !alert.is_firing() && self.fired(alert.fingerprint)
    }

    /// Notes that those of these alerts that fire no longer do not, without telling.
    pub(super) fn end(&mut self, alerts: &[Current]) {
        for alert in alerts {
            if self.ends(alert) {
                let told = ToldAlert::of(&alert.event);
                self.alerts.insert(alert.fingerprint, told);
            }
        }
    }

    /// Whether this event is what was told last of its alert.
    pub(super) fn knows(&self, fingerprint: u64, event: &AlertEvent) -> bool {
        let told = self.alerts.get(&fingerprint);
        told.is_some_and(|told| told.is_of(event))
    }
}

/// What was done about an alert, as a number that changes when it does. What only says who is told is
/// no deed.
fn deeds(event: &AlertEvent) -> u64 {
    let deeds = event
        .actions
        .iter()
        .filter(|taken| &*taken.action != "notify");
    deeds.fold(0, |all, taken| {
        let text = format!("{}\0{}\0{:?}", taken.action, taken.done, taken.until);
        fnv1a(all ^ FNV1A, text.as_bytes())
    })
}

/// Whether people want to know of an alert that is over before they were told: it was critical, or
/// something was done about it, and not only said.
fn matters_afterwards(event: &AlertEvent) -> bool {
    let mut taken = event.actions.iter();
    event.severity == Some(Severity::Critical)
        || taken.any(|taken| taken.done && &*taken.action != "notify")
}

/// An alert of the group as it is now.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) fingerprint: u64,
    /// What it is.
    pub(super) event: Arc<AlertEvent>,
    /// Whether it fired since the group was told last, though it does not now.
    pub(super) came_and_went: bool,
    /// Whether a silence or something else keeps it from being told. That what was told of as firing
    /// fires no longer is told all the same.
    pub(super) kept_back: bool,
}

impl Current {
    fn is_firing(&self) -> bool {
        self.event.state == AlertState::Firing
    }

    /// What is new about it, for somebody who was told `told`; `None` where there is nothing that
    /// concerns them.
    pub(super) fn change(&self, told: Option<&Told>) -> Option<AlertChange> {
        let told = told.and_then(|told| told.alerts.get(&self.fingerprint));
        let event = &self.event;
        let same_firing = told.filter(|told| told.firing && told.fired_at == event.fired_at);
        if self.is_firing() {
            if self.kept_back {
                return None;
            }
            let Some(told) = same_firing else {
                return Some(AlertChange::Fired);
            };
            return Some(match (told.severity, event.severity) {
                (Some(Severity::Warning), Some(Severity::Critical)) => AlertChange::Escalated,
                (Some(Severity::Critical), Some(Severity::Warning)) => AlertChange::Eased,
                _ if told.deeds != deeds(event) => AlertChange::Acted,
                _ => AlertChange::Same,
            });
        }
        if told.is_some_and(|told| told.firing) {
            return Some(AlertChange::Resolved);
        }
        // What was told already with its end is over.
        let is_known = told.is_some_and(|told| told.is_of(event));
        (self.came_and_went && !self.kept_back && !is_known && matters_afterwards(event))
            .then_some(AlertChange::CameAndWent)
    }
}

/// Whether to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Yes, and why.
    Tell(NotifyReason),
    /// No, and why not.
    Skip(SkipReason),
}

/// Why nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SkipReason {
    /// Nothing fires, and nothing was told.
    Nothing,
    /// It is as it was told, and that is not long ago.
    Unchanged,
    /// All that is new is that alerts resolved, which the receiver does not want to know.
    ResolvedUnwanted,
}

/// How a receiver wants to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) repeat_interval: Duration,
    pub(super) send_resolved: bool,
}

/// Whether a group with these alerts is to be told somebody who was told `told`.
pub(super) fn decide(
    told: Option<&Told>,
    alerts: &[Current],
    wishes: Wishes,
    now: UnixMicros,
) -> Decision {
    let (mut fires, mut unwanted) = (false, false);
    let mut reason: Option<NotifyReason> = None;
    for alert in alerts {
        let Some(change) = alert.change(told) else {
            continue;
        };
        fires |= alert.is_firing();
        let new = match change {
            AlertChange::Fired if told.is_none() => NotifyReason::First,
            AlertChange::Fired => NotifyReason::Firing,
            AlertChange::Escalated | AlertChange::Eased => NotifyReason::Severity,
            AlertChange::Acted => NotifyReason::Acted,
            AlertChange::Resolved if !wishes.send_resolved => {
                unwanted = true;
                continue;
            }
            AlertChange::Resolved => NotifyReason::Resolved,
            AlertChange::CameAndWent => NotifyReason::CameAndWent,
            AlertChange::Same => continue,
        };
        // What weighs most, which is the order in which they are declared.
        reason = Some(reason.map_or(new, |known| known.min(new)));
    }
    if let Some(reason) = reason {
        return Decision::Tell(reason);
    }
    match told {
        Some(told) if fires && now.since(told.at) >= wishes.repeat_interval => {
            Decision::Tell(NotifyReason::Repeat)
        }
        _ if unwanted => Decision::Skip(SkipReason::ResolvedUnwanted),
        Some(_) if fires => Decision::Skip(SkipReason::Unchanged),
        _ => Decision::Skip(SkipReason::Nothing),
    }
}

/// What is told once these are: what is kept back stays as it was, and what is over is kept for
/// `remembered`, so that a restart that reads its events again does not take them for new.
pub(super) fn told_after(
    before: Option<&Told>,
    alerts: &[Current],
    begins: Uuid,
    remembered: Duration,
    now: UnixMicros,
) -> Told {
    let goes_on = before.filter(|before| before.fires());
    let mut after = Told {
        at: now,
        thread: goes_on.map_or(begins, |before| before.thread),
        reference: goes_on.and_then(|before| before.reference.clone()),
        facts: Vec::new(),
        alerts: BTreeMap::new(),
    };
    if let Some(before) = before {
        let recent = now.minus(remembered);
        let kept = before.alerts.iter();
        let kept = kept.filter(|(_, told)| told.firing || told.at >= recent);
        after.alerts.extend(kept);
    }
    for alert in alerts {
        if alert.change(before).is_some() {
            let told = ToldAlert::of(&alert.event);
            after.alerts.insert(alert.fingerprint, told);
        }
    }
    after
}

#[cfg(test)]
mod tests;
