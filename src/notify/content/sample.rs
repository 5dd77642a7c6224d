//! Sample contents of every kind: templates are tried on them, and `tollgate notify test` sends them.

mod alerts;
mod digest;

use std::sync::Arc;
use std::time::Duration;

use super::{ChannelContent, Content, Link, LinkKind, UndeliveredContent};
use crate::alert::{NotificationKind, Quantity, Unit};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

pub use alerts::one_alert;

/// The moment that templates are tried at: 2026-11-20T13:03:00Z.
pub(super) const NOW: UnixMicros = UnixMicros(1_795_179_780_000_000);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Contents of a kind as they would be at `now`, the usual one first, then those that take other ways
/// through a template.
#[must_use]
pub fn contents(kind: NotificationKind, now: UnixMicros) -> Vec<Content> {
    match kind {
        NotificationKind::Alert => vec![
            Content::Alerts(one_alert(alerts::spending(now), now)),
            Content::Alerts(one_alert(alerts::resolved(now), now)),
            Content::Alerts(alerts::group(now)),
            Content::Alerts(alerts::repeated(now)),
            Content::Alerts(alerts::in_shadow(now)),
            Content::Alerts(alerts::passed(now)),
        ],
        NotificationKind::Channel => channels(now).into_iter().map(Content::Channel).collect(),
        NotificationKind::Digest => vec![
            Content::Digest(Box::new(digest::digest(now))),
            Content::Digest(Box::new(digest::empty_digest(now))),
        ],
        NotificationKind::Undelivered => vec![
            Content::Undelivered(undelivered(now)),
            Content::Undelivered(UndeliveredContent {
                titles: undelivered(now).titles.split_off(1),
                ..undelivered(now)
            }),
            Content::Undelivered(UndeliveredContent {
                titles: Vec::new(),
                more: 2,
                content: None,
                ..undelivered(now)
            }),
        ],
    }
}

fn quantity(unit: Unit, value: i64) -> Quantity {
    Quantity { unit, value }
}

fn cents(count: i64) -> Quantity {
    quantity(Unit::Usd, count * 10_000_000)
}

fn link(kind: LinkKind, url: &str) -> Link {
    Link {
        kind,
        url: url.to_owned(),
    }
}

fn gate_event(
    at: UnixMicros,
    owner: Owner,
    hold: GateState,
    state: GateState,
    reason: GateReason,
) -> ChannelEvent {
    ChannelEvent {
        at,
        channel: "azure-1".into(),
        owner,
        hold,
        state,
        reason,
        until: None,
        who: None,
        note: None,
    }
}

/// A channel that closed, and others that went other ways.
fn channels(now: UnixMicros) -> Vec<ChannelContent> {
    use GateState::{Closed, Open, Probing};

    let broke = ChannelEvent {
        until: Some(now.plus(HOUR / 60)),
        note: Some("insufficient_quota".into()),
        ..gate_event(now, Owner::Breaker, Closed, Closed, GateReason::OutOfMoney)
    };
    let by_hand = ChannelEvent {
        until: Some(now.plus(2 * HOUR)),
        who: Some("alice".into()),
        note: Some("maintenance".into()),
        ..gate_event(now, Owner::Operator, Closed, Closed, GateReason::Operator)
    };
    let alert = Owner::Alert("ChannelDailySpend{channel=\"azure-1\"}".into());
    let by_alert = ChannelEvent {
        note: Some("103.2 USD at a limit of 100 USD".into()),
        ..gate_event(now, alert.clone(), Closed, Closed, GateReason::Alert)
    };
    let left = gate_event(now, alert, Open, Closed, GateReason::Expired);
    let probing = gate_event(now, Owner::Breaker, Probing, Probing, GateReason::Expired);
    let opened = gate_event(now, Owner::Breaker, Open, Open, GateReason::Recovered);
    let content = |events: Vec<ChannelEvent>, without: &[&str]| ChannelContent {
        channel: "azure-1".into(),
        events,
        more: 0,
        closed_since: None,
        without_channel: without.iter().map(|model| Arc::from(*model)).collect(),
        links: vec![link(
            LinkKind::Dashboard,
            "https://grafana.example.com/d/tollgate-channels?var-channel=azure-1",
        )],
    };
    vec![
        content(vec![broke.clone()], &["gpt-5"]),
        content(vec![by_hand.clone()], &[]),
        content(vec![by_alert.clone()], &[]),
        content(vec![by_alert, by_hand, left], &["gpt-5", "gpt-5-mini"]),
        ChannelContent {
            more: 7,
            ..content(vec![broke, probing.clone()], &[])
        },
        content(vec![probing, opened], &[]),
        content(Vec::new(), &[]),
    ]
}

fn undelivered(now: UnixMicros) -> UndeliveredContent {
    let last = one_alert(alerts::spending(now), now);
    UndeliveredContent {
        receiver: "ops".into(),
        titles: vec![
            (
                now.minus(5 * HOUR),
                "Channel azure-1 closed by alice: maintenance".into(),
            ),
            (
                now.minus(4 * HOUR),
                "ChannelDailySpend critical: azure-1 $103.20 of $100.00".into(),
            ),
        ],
        more: 0,
        error: "the bot was thrown out of the chat; add it again".into(),
        content: Some(Box::new(Content::Alerts(last))),
    }
}
