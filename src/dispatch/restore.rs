//! What earlier runs left: read out of the ledger once it has everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::alert::{AlertEvent, AlertState, Notification, NotificationKind};
use crate::clock::UnixMicros;
use crate::ledger::query::{AlertEventFilter, GateEventFilter, StoredNotification};
use crate::ledger::{QueryError, Reader};
use crate::record::{ChannelEvent, GateState};
use crate::rules::Rules;

use super::group::REMEMBERED;
use super::kept::Kept;
use super::letters::Letter;
use super::office::Office;

/// As far back as what was told is looked for: what still fires was told at most `repeat_interval` ago.
const TOLD_WITHIN: Duration = Duration::from_secs(31 * 24 * 3600);
/// As far back as changes are read again: not beyond what is remembered of alerts that are over.
const READ_AGAIN: Duration = Duration::from_secs(3600);
const _: () = assert!(READ_AGAIN.as_secs() < REMEMBERED.as_secs());
/// Changes that are read again at most.
const MOST_EVENTS: usize = 20_000;

/// What earlier runs left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The last notification of each receiver and group.
    last: Vec<StoredNotification>,
    /// Those that nobody took yet.
    open: Vec<Notification>,
    /// The newest notice of each channel, whole, whoever was told it.
    newest: Vec<Notification>,
    /// The changes of alerts of the last hour, and then the last one of each.
    alerts: Vec<AlertEvent>,
    /// Gates' changes of the last hour.
    recent: Vec<ChannelEvent>,
    /// The holds that stand, as they began.
    holds: Vec<ChannelEvent>,
}

impl Left {
    /// Reads it. Blocks.
    pub(super) fn read(data_dir: &Path, now: UnixMicros) -> Result<Self, QueryError> {
        let reader = match Reader::open(data_dir) {
            Err(QueryError::NoLedger { .. }) => return Ok(Self::default()),
            opened => opened?,
        };
        let since = now.minus(READ_AGAIN);
        // In the order of recording, whatever the clock did; the last word of each at the end.
        let mut alerts = recent_alerts(&reader, since)?;
        alerts.reverse();
        alerts.extend(reader.last_alert_events()?);
        let mut gates = reader.last_gate_events()?;
        gates.retain(|event| event.hold != GateState::Open);
        let last = reader.last_notifications(now.minus(TOLD_WITHIN))?;
        let newest = newest_notices(&reader, &last)?;
        Ok(Self {
            last,
            newest,
            open: reader.open_notifications()?,
            recent: recent_gates(&reader, since)?,
            holds: gates,
            alerts,
        })
    }

    /// The digests that were told, by receiver and group.
    pub(super) fn digests(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        let stored = self.last.iter().map(|stored| &stored.notification);
        let digests = stored.filter(|told| told.kind == NotificationKind::Digest);
        digests.map(|told| (Arc::clone(&told.receiver), Arc::clone(&told.group)))
    }

    /// Goes on where they ended.
    pub(super) fn take_over(self, office: &Office, rules: &Rules, now: UnixMicros) {
        for stored in &self.last {
            // What is open is at hand whole.
            let id = stored.notification.id;
            let open = self.open.iter().find(|open| open.id == id);
            let notification = open.unwrap_or(&stored.notification);
            office.was_told(notification, stored.fate.as_ref());
        }
        let missing = self.missing(office);
        for notification in self.open {
            let told = Kept::read(&notification.told).and_then(Kept::alerts);
            office.queue(Arc::new(notification), told.map(Arc::new), now);
        }
        for letter in missing {
            office.post(letter, now);
        }
        let mut state = office.lock();
        for event in self.alerts {
            let rule = rules.rule(&event.alert.rule);
            let event = match rule {
                Some(_) => event,
                // A rule that is no more fires no more, whatever its alerts did last.
                None => over(event, now),
            };
            state.board.accept(&Arc::new(event), rule.as_deref(), true);
        }
        for event in &self.recent {
            state.notices.accept_past(event, false, now);
        }
        for event in &self.holds {
            state.notices.accept_past(event, true, now);
        }
    }

    /// Notices that a process kept for one receiver and died before it did for another.
    fn missing(&self, office: &Office) -> Vec<Letter> {
        let receivers = office.lock().notices.receivers().to_vec();
        let mut letters = Vec::new();
        for newest in &self.newest {
            let told = self.last.iter().map(|stored| &stored.notification);
            let told: Vec<_> = told.filter(|told| told.group == newest.group).collect();
            for receiver in &receivers {
                let of = told.iter().find(|told| told.receiver == *receiver);
                // One that was told nothing of the channel yet may be new.
                if of.is_some_and(|of| of.told != newest.told && of.at < newest.at) {
                    letters.push(Letter {
                        notification: Notification {
                            id: Uuid::now_v7(),
                            receiver: Arc::clone(receiver),
                            ..newest.clone()
                        },
                        told: None,
                    });
                }
            }
        }
        letters
    }
}

/// The newest notice of each channel.
fn newest_notices(
    reader: &Reader,
    last: &[StoredNotification],
) -> Result<Vec<Notification>, QueryError> {
    let mut newest: BTreeMap<&str, &Notification> = BTreeMap::new();
    for stored in last {
        let told = &stored.notification;
        if told.kind == NotificationKind::Channel {
            let known = newest.entry(&told.group).or_insert(told);
            if known.at < told.at {
                *known = told;
            }
        }
    }
    let mut whole = Vec::new();
    for told in newest.values() {
        let stored = reader.notification(told.id)?;
        whole.extend(stored.map(|stored| stored.notification));
    }
    Ok(whole)
}

fn over(event: AlertEvent, now: UnixMicros) -> AlertEvent {
    if event.state == AlertState::Inactive {
        return event;
    }
    AlertEvent {
        at: now,
        state: AlertState::Inactive,
        active_since: None,
        // Nobody was told of one that was only about to fire.
        fired_at: event.fired_at.filter(|_| event.state == AlertState::Firing),
        ..event
    }
}

/// What people were to be told of since then.
fn recent_alerts(reader: &Reader, since: UnixMicros) -> Result<Vec<AlertEvent>, QueryError> {
    let mut events = Vec::new();
    let mut filter = AlertEventFilter {
        since: Some(since),
        limit: 1000,
        ..AlertEventFilter::default()
    };
    loop {
        let page = reader.alert_events(&filter)?;
        events.extend(page.events.into_iter().filter(|event| event.told));
        filter.cursor = page.next;
        if filter.cursor.is_none() || events.len() >= MOST_EVENTS {
            return Ok(events);
        }
    }
}

/// In the order in which they happened.
fn recent_gates(reader: &Reader, since: UnixMicros) -> Result<Vec<ChannelEvent>, QueryError> {
    let mut events = Vec::new();
    let mut filter = GateEventFilter {
        since: Some(since),
        limit: 1000,
        ..GateEventFilter::default()
    };
    loop {
        let page = reader.gate_events(&filter)?;
        events.extend(page.events);
        filter.cursor = page.next;
        if filter.cursor.is_none() || events.len() >= MOST_EVENTS {
            events.reverse();
            return Ok(events);
        }
    }
}
