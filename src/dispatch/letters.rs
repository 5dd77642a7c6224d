//! From a decision to what is kept and sent: the content of a notification, and its title.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::alert::{
    AlertEvent, AlertState, Notification, NotificationFate, NotificationKind, NotifyReason,
    Severity,
};
use crate::clock::UnixMicros;
use crate::config::TargetSettings;
use crate::notify::Content;
use crate::notify::content::{
    AlertChange, AlertContent, AlertsContent, DigestContent, Rendering, UndeliveredContent, render,
};

use super::Context;
use super::deduplicate::Told;
use super::destination::Destination;
use super::group::{AlertNews, Telling};
use super::kept::Kept;
use super::notices::Notice;

/// Alerts that people are shown one by one.
const LISTED: usize = 20;
/// Alerts that machines are handed at once; the rest follows.
const HANDED: usize = 400;
/// Alerts of which is said who used most.
const WITH_CONTRIBUTORS: usize = 5;
/// Undelivered notifications that are named.
const MOST_TITLES: usize = 50;

/// A notification with what its group had told, not kept yet.
pub(super) struct Letter {
    pub(super) notification: Notification,
    pub(super) told: Option<Arc<Told>>,
}

/// What a group of alerts tells: one letter to people, and to machines as many as it takes to hand them
/// all alerts; with who used most where there is a moment `until` which the ledger is read for it.
///
/// The last has the group's key, what was told and the telling's id; those before it are parts
/// ([`part_key`]). So what was told is never kept before all of it is.
pub(super) fn of_alerts(
    telling: &Telling,
    to: &Destination,
    context: &Context,
    until: Option<Instant>,
) -> Vec<Letter> {
    let now = telling.now;
    let mut alerts = telling.alerts.clone();
    alerts.sort_by_key(|news| weight(&news.event, news.change));
    let (shown, at_once) = match &to.settings.target {
        TargetSettings::Alertmanager(_) => (alerts.len(), HANDED),
        TargetSettings::Webhook(webhook) if webhook.max_alerts == 0 => (alerts.len(), HANDED),
        TargetSettings::Webhook(webhook) => (webhook.max_alerts, HANDED),
        _ => (LISTED, LISTED),
    };
    let firing = |severity: Severity| {
        let fires = |event: &AlertEvent| {
            event.state == AlertState::Firing && event.severity == Some(severity)
        };
        alerts.iter().filter(|news| fires(&news.event)).count()
    };
    let over = |news: &&AlertNews| news.event.state != AlertState::Firing;
    let frame = AlertsContent {
        at: now,
        group: Arc::clone(&telling.group),
        facts: telling.facts.clone(),
        alerts: Vec::new(),
        critical: firing(Severity::Critical),
        warning: firing(Severity::Warning),
        resolved: alerts.iter().filter(over).count(),
        more: alerts.len(),
        repeated: telling.reason == NotifyReason::Repeat,
    };
    let listed = alerts.iter().take(shown).map(|news| AlertContent {
        fired_as: news.fired_as,
        ..context.alert_content(&news.event, news.change, now)
    });
    let mut listed: Vec<_> = listed.collect();
    if let Some(until) = until {
        let first = listed.len().min(WITH_CONTRIBUTORS);
        context.add_contributors(&mut listed[..first], until);
    }
    let is_machine = to.settings.target.kind().is_machine();
    let mut parts = parts(&frame, listed, at_once, is_machine);
    let told: usize = parts.iter().map(|part| part.alerts.len()).sum();
    let more = alerts.len() - told;
    let last = parts.pop().unwrap_or_else(|| frame.clone());
    let mut letters = Vec::with_capacity(parts.len() + 1);
    for (index, part) in parts.into_iter().enumerate() {
        let part = Content::Alerts(AlertsContent { more: 0, ..part });
        let group = part_key(&telling.group, index + 2);
        letters.push(letter(&part, to, &group, telling.reason, now));
    }
    let last = Content::Alerts(AlertsContent { more, ..last });
    let mut last = letter(&last, to, &telling.group, telling.reason, now);
    last.notification.id = telling.id;
    last.notification.told = Kept::Alerts(Told::clone(&telling.told)).text().into();
    last.told = Some(Arc::clone(&telling.told));
    letters.push(last);
    letters
}

/// `alerts` in contents like `frame` of which none is too large: all of them to `machines`, to people
/// as many as one takes.
fn parts(
    frame: &AlertsContent,
    alerts: Vec<AlertContent>,
    at_once: usize,
    machines: bool,
) -> Vec<AlertsContent> {
    let mut waiting: VecDeque<Vec<AlertContent>> = VecDeque::new();
    let mut alerts = alerts.into_iter().peekable();
    while alerts.peek().is_some() {
        waiting.push_back(alerts.by_ref().take(at_once).collect());
    }
    let mut parts = Vec::new();
    while let Some(alerts) = waiting.pop_front() {
        let content = Content::Alerts(AlertsContent {
            alerts,
            ..frame.clone()
        });
        let fits = text(&content).len() <= Notification::MOST_BYTES;
        let Content::Alerts(mut content) = content else {
            continue;
        };
        if fits {
            parts.push(content);
            continue;
        }
        let second = content.alerts.split_off(content.alerts.len() / 2);
        // One that is too large by itself is only counted.
        if machines && !content.alerts.is_empty() {
            waiting.push_front(second);
        }
        if !content.alerts.is_empty() {
            waiting.push_front(content.alerts);
        }
    }
    parts
}

/// The key of a part of what a group tells, from 2 on, so that it takes the place of the part that was
/// to be told before.
fn part_key(group: &str, number: usize) -> Arc<str> {
    format!("{group}#{number}").into()
}

/// The key of the group that a notification is a part of, or its own. Keys of groups end in a brace or
/// a receiver's name, so that none looks like a part's.
pub(super) fn whole_key(group: &str) -> &str {
    match group.rsplit_once('#') {
        Some((whole, number)) if number.parse::<usize>().is_ok() => whole,
        _ => group,
    }
}

/// What is new in front, then what is worst.
fn weight(event: &AlertEvent, change: AlertChange) -> impl Ord + use<> {
    let news = match change {
        AlertChange::Escalated => 0,
        AlertChange::Fired => 1,
        AlertChange::Acted => 2,
        AlertChange::CameAndWent => 3,
        AlertChange::Resolved => 4,
        AlertChange::Eased => 5,
        AlertChange::Same => 6,
    };
    (news, Reverse(event.severity), event.fired_at)
}

/// What a channel's changes tell.
pub(super) fn of_notice(
    notice: &Notice,
    to: &Destination,
    context: &Context,
    now: UnixMicros,
) -> Letter {
    let mut told = context.channel_content(&notice.channel, notice.events.clone(), now);
    told.more += notice.more;
    told.closed_since = notice
        .events
        .first()
        .and_then(|event| context.closed_since(event));
    let group = channel_group(&notice.channel);
    let told = Content::Channel(told);
    let mut letter = letter(&told, to, &group, NotifyReason::Notice, now);
    letter.notification.told = Kept::Channel(notice.told.clone()).text().into();
    letter
}

/// The group of a channel's notices.
pub(super) fn channel_group(channel: &str) -> Arc<str> {
    format!("channel/{channel}").into()
}

/// The channel of such a group.
pub(super) fn channel_of(group: &str) -> Option<&str> {
    group.strip_prefix("channel/")
}

/// What a digest tells.
pub(super) fn of_digest(
    content: DigestContent,
    to: &Destination,
    group: &Arc<str>,
    now: UnixMicros,
) -> Letter {
    let content = Content::Digest(Box::new(content));
    letter(&content, to, group, NotifyReason::Notice, now)
}

/// What is told in place of a notification that was given up; with what waits to be told of the same
/// receiver already.
pub(super) fn of_undelivered(
    dead: &Notification,
    fate: &NotificationFate,
    waiting: Option<&Notification>,
    to: &Destination,
    now: UnixMicros,
) -> Letter {
    let mut titles = Vec::new();
    let mut more = 0;
    if let Some(Content::Undelivered(known)) = waiting.and_then(content_of) {
        titles = known.titles;
        more = known.more;
    }
    titles.push((dead.at, Arc::clone(&dead.title)));
    let too_many = titles.len().saturating_sub(MOST_TITLES);
    titles.drain(..too_many);
    // One in another would grow without end.
    let content = content_of(dead).filter(|known| !matches!(known, Content::Undelivered(_)));
    let unknown = || Arc::from("nobody answered before its deadline");
    let mut told = UndeliveredContent {
        receiver: Arc::clone(&dead.receiver),
        titles,
        more: more + too_many,
        error: fate.error.clone().unwrap_or_else(unknown),
        content: content.map(Box::new),
    };
    if text(&Content::Undelivered(told.clone())).len() > Notification::MOST_BYTES {
        told.content = None;
    }
    let group = format!("undelivered/{}", dead.receiver).into();
    letter(
        &Content::Undelivered(told),
        to,
        &group,
        NotifyReason::Notice,
        now,
    )
}

/// What a notification tells; nothing where another version wrote it.
pub(super) fn content_of(notification: &Notification) -> Option<Content> {
    serde_json::from_str(&notification.content).ok()
}

/// The alerts that are over by a notification.
pub(super) fn over(notification: &Notification) -> Vec<Arc<AlertEvent>> {
    let Some(Content::Alerts(content)) = content_of(notification) else {
        return Vec::new();
    };
    let events = content.alerts.into_iter().map(|alert| alert.event);
    let over = events.filter(|event| event.state != AlertState::Firing);
    over.map(Arc::new).collect()
}

fn letter(
    content: &Content,
    to: &Destination,
    group: &Arc<str>,
    reason: NotifyReason,
    now: UnixMicros,
) -> Letter {
    let settings = &to.settings;
    let title = render(
        content,
        &Rendering {
            language: settings.language,
            timezone: &settings.timezone,
            templates: &to.templates,
            now,
        },
    )
    .title;
    Letter {
        notification: Notification {
            id: Uuid::now_v7(),
            at: now,
            receiver: Arc::clone(&settings.name),
            kind: match content {
                Content::Alerts(_) => NotificationKind::Alert,
                Content::Channel(_) => NotificationKind::Channel,
                Content::Digest(_) => NotificationKind::Digest,
                Content::Undelivered(_) => NotificationKind::Undelivered,
            },
            reason,
            group: Arc::clone(group),
            title: title.into(),
            deadline: now.plus(settings.give_up_after),
            content: text(content).into(),
            told: "".into(),
        },
        told: None,
    }
}

fn text(content: &Content) -> String {
    serde_json::to_string(content).unwrap_or_default()
}

#[cfg(test)]
mod tests;
