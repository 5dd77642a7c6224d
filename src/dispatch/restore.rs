//! What earlier runs left: read out of the ledger once it has everything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::{AlertEvent, AlertState, Notification, NotificationKind};
use crate::clock::UnixMicros;
use crate::ledger::query::{AlertEventFilter, GateEventFilter, StoredNotification};
use crate::ledger::{QueryError, Reader};
use crate::record::ChannelEvent;
use crate::rules::Rules;

use super::group::REMEMBERED;
use super::kept::Kept;
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
    /// The last change of each alert, and those of the last hour.
    alerts: Vec<AlertEvent>,
    /// Gates' changes of the last hour.
    gates: Vec<ChannelEvent>,
}

impl Left {
    /// Reads it. Blocks.
    pub(super) fn read(data_dir: &Path, now: UnixMicros) -> Result<Self, QueryError> {
        let reader = match Reader::open(data_dir) {
            Err(QueryError::NoLedger { .. }) => return Ok(Self::default()),
            opened => opened?,
        };
        let since = now.minus(READ_AGAIN);
        // Of changes of one moment the later is behind the earlier, and stays there.
        let mut alerts = recent_alerts(&reader, since)?;
        alerts.reverse();
        alerts.extend(reader.last_alert_events()?);
        alerts.sort_by_key(|event| event.at);
        Ok(Self {
            last: reader.last_notifications(now.minus(TOLD_WITHIN))?,
            open: reader.open_notifications()?,
            gates: recent_gates(&reader, since)?,
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
            office.was_told(&stored.notification, stored.fate.as_ref());
        }
        for notification in self.open {
            let told = Kept::read(&notification.told).and_then(Kept::alerts);
            office.queue(Arc::new(notification), told, now);
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
        for event in &self.gates {
            state.notices.accept_past(event, now);
        }
    }
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
