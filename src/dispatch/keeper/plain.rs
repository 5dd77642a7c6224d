//! Letters that only say that there is something to tell, for where the whole one cannot be written: made of
//! names and signs, which need no language, and of nothing that could fail.

use std::sync::Arc;

use uuid::Uuid;

use crate::alert::{AlertState, Notification, NotificationKind, NotifyReason, Severity};
use crate::clock::UnixMicros;
use crate::dispatch::deduplicate::Told;
use crate::dispatch::destination::Destination;
use crate::dispatch::digest::Period;
use crate::dispatch::group::Telling;
use crate::dispatch::kept::Kept;
use crate::dispatch::letters::{Letter, channel_group};
use crate::dispatch::notices::Notice;
use crate::notify::Tone;
use crate::record::GateState;

/// Alerts that are named.
const NAMED: usize = 5;

/// `🔴 Spend{channel="a"}, 🟢 Slow{channel="b"} (+3)`.
pub(super) fn of_alerts(telling: &Telling, to: &Destination) -> Letter {
    let named = telling.alerts.iter().take(NAMED).map(|news| {
        let event = &news.event;
        let tone = match (event.state, event.severity) {
            (AlertState::Firing, Some(Severity::Critical)) => Tone::Critical,
            (AlertState::Firing, _) => Tone::Warning,
            _ => Tone::Good,
        };
        format!("{} {}", tone.sign(), event.alert)
    });
    let mut title = named.collect::<Vec<_>>().join(", ");
    let more = telling.alerts.len().saturating_sub(NAMED);
    if more > 0 {
        title = format!("{title} (+{more})");
    }
    let mut letter = letter(
        NotificationKind::Alert,
        &title,
        &telling.group,
        to,
        telling.now,
    );
    letter.notification.id = telling.id;
    letter.notification.reason = telling.reason;
    letter.notification.told = Kept::Alerts(Told::clone(&telling.told)).text().into();
    letter.told = Some(telling.told.clone());
    letter
}

/// `🔴 azure-1`.
pub(super) fn of_notice(notice: &Notice, to: &Destination, now: UnixMicros) -> Letter {
    let last = notice.events.last().map(|event| event.state);
    let tone = match last {
        Some(GateState::Open) => Tone::Good,
        Some(GateState::Closed | GateState::Probing) | None => Tone::Critical,
    };
    let title = format!("{} {}", tone.sign(), notice.channel);
    let group = channel_group(&notice.channel);
    let mut letter = letter(NotificationKind::Channel, &title, &group, to, now);
    letter.notification.told = Kept::Channel(notice.told.clone()).text().into();
    letter
}

/// `🟠 daily: 2026-11-19 00:00 – 2026-11-20 00:00`.
pub(super) fn of_digest(
    name: &str,
    period: &Period,
    group: &Arc<str>,
    to: &Destination,
    now: UnixMicros,
) -> Letter {
    let moment = |at: UnixMicros| {
        let local = at.timestamp().to_zoned(to.settings.timezone.clone());
        local.strftime("%Y-%m-%d %H:%M").to_string()
    };
    let (since, until) = (moment(period.since), moment(period.until));
    let title = format!("{} {name}: {since} – {until}", Tone::Warning.sign());
    letter(NotificationKind::Digest, &title, group, to, now)
}

fn letter(
    kind: NotificationKind,
    title: &str,
    group: &Arc<str>,
    to: &Destination,
    now: UnixMicros,
) -> Letter {
    Letter {
        notification: Notification {
            id: Uuid::now_v7(),
            at: now,
            receiver: Arc::clone(&to.settings.name),
            kind,
            reason: NotifyReason::Notice,
            group: Arc::clone(group),
            title: title.into(),
            deadline: now.plus(to.settings.give_up_after),
            // None can be read of it: it is told by its title.
            content: "".into(),
            told: "".into(),
        },
        told: None,
    }
}
