//! Alerts, and what happened to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Decimal, Moment};
use crate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Silence, Unit,
};
use crate::clock::{UnixMicros, micros};
use crate::rules::{AlertView, Occasion, Rule, render};

/// An alert: what a rule says of one combination of labels now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertJson {
    /// The rule and the labels in one, as `Spend{channel="main"}`: what it holds channels by.
    pub alert: String,
    /// The rule.
    pub rule: String,
    /// Its labels by name.
    pub labels: BTreeMap<String, String>,
    /// What it is doing.
    pub state: AlertState,
    /// At which limit; `null` while it is inactive.
    pub severity: Option<Severity>,
    /// The rule's mode.
    pub mode: Mode,
    /// What `value`, `limit`, `reserved` and `forecast` count.
    pub unit: Unit,
    /// The value; `null` without data.
    pub value: Option<Decimal>,
    /// The limit of `severity`.
    pub limit: Option<Decimal>,
    /// Requests in the window.
    pub requests: u64,
    /// Where the window begins.
    pub window_start: Moment,
    /// Where it ends; `null` for a rolling one, which ends now.
    pub window_end: Option<Moment>,
    /// Of a budget: what is reserved for requests on their way.
    pub reserved: Option<Decimal>,
    /// Of a budget: what the window comes to at its end at the present rate.
    pub forecast: Option<Decimal>,
    /// Of a budget: in how many microseconds the limit is reached at the present rate; `null` when it
    /// is not, in this window.
    pub exhausted_in_us: Option<u64>,
    /// Since when the value is beyond the limit.
    pub active_since: Option<Moment>,
    /// Since when it fires.
    pub fired_at: Option<Moment>,
    /// What was done about it since it fires, or would have been.
    pub actions: Vec<ActionTakenJson>,
    /// The rule's annotations by name, filled in; none while it is inactive.
    pub annotations: BTreeMap<String, String>,
    /// The ids of the silences that hold for it now: nobody is told of it. `null` while the ledger,
    /// which has them, cannot be read.
    pub silenced_by: Option<Vec<String>>,
}

impl AlertJson {
    /// An alert of a rule, and which of the silences hold for it.
    #[must_use]
    pub fn new(
        rule: &Rule,
        alert: &AlertView,
        silences: Option<&[Silence]>,
        now: UnixMicros,
    ) -> Self {
        let limit = match alert.severity {
            Some(Severity::Warning) => rule.warning,
            Some(Severity::Critical) => rule.critical,
            None => None,
        };
        let id = AlertId {
            rule: rule.name.clone(),
            labels: alert.labels.clone(),
        };
        let silenced_by = silences.map(|silences| {
            let holding = silences
                .iter()
                .filter(|silence| silence.matches(&id, alert.severity, now));
            holding.map(|silence| silence.id.to_string()).collect()
        });
        let exhausted_in = alert.exhausted_in;
        let limit = limit.map(|limit| rule.quantity(limit));
        let occasion = Occasion {
            labels: &alert.labels,
            state: alert.state,
            severity: alert.severity,
            value: alert.value,
            limit,
            window_end: alert.window_end,
        };
        Self {
            alert: id.to_string(),
            rule: rule.name.as_ref().to_owned(),
            labels: labels(&alert.labels),
            state: alert.state,
            severity: alert.severity,
            mode: rule.mode,
            unit: rule.unit(),
            value: alert.value.map(Into::into),
            limit: limit.map(Into::into),
            requests: alert.requests,
            window_start: Moment(alert.window_start),
            window_end: alert.window_end.map(Moment),
            reserved: alert.reserved.map(Into::into),
            forecast: alert.forecast.map(Into::into),
            exhausted_in_us: exhausted_in.map(micros),
            active_since: alert.active_since.map(Moment),
            fired_at: alert.fired_at.map(Moment),
            actions: alert.actions.iter().map(Into::into).collect(),
            annotations: if alert.state == AlertState::Inactive {
                BTreeMap::new()
            } else {
                annotations(rule, occasion)
            },
            silenced_by,
        }
    }
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionTakenJson {
    /// Which: `disable_channel`, `block`, `notify`.
    pub action: String,
    /// Whether it was done; `false` for what would have been done, or could not be.
    pub done: bool,
    /// When it ends by itself; `null` where it does not.
    pub until: Option<Moment>,
    /// To what, until when, or why not.
    pub detail: String,
}

impl From<&ActionTaken> for ActionTakenJson {
    fn from(taken: &ActionTaken) -> Self {
        Self {
            action: taken.action.as_ref().to_owned(),
            done: taken.done,
            until: taken.until.map(Moment),
            detail: taken.detail.as_ref().to_owned(),
        }
    }
}

/// Alerts that are pending or fire, those that fire at the front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertList {
    /// The alerts.
    pub alerts: Vec<AlertJson>,
}

/// One change of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertEventJson {
    /// When.
    pub at: Moment,
    /// The rule and the labels in one, as `Spend{channel="main"}`.
    pub alert: String,
    /// The rule, which need not be there any more.
    pub rule: String,
    /// The alert's labels by name.
    pub labels: BTreeMap<String, String>,
    /// What it became.
    pub state: AlertState,
    /// At which limit; of an inactive alert that which it had last.
    pub severity: Option<Severity>,
    /// The rule's mode then.
    pub mode: Mode,
    /// What `value` and `limit` count; `null` where there is neither.
    pub unit: Option<Unit>,
    /// The value then.
    pub value: Option<Decimal>,
    /// The limit of `severity`.
    pub limit: Option<Decimal>,
    /// When the window ends, where it is a calendar's.
    pub window_end: Option<Moment>,
    /// Since when the value was beyond the limit.
    pub active_since: Option<Moment>,
    /// When it began to fire; kept when it resolves.
    pub fired_at: Option<Moment>,
    /// Whether state, severity or what was done is another than before. Other events are kept so that
    /// a restart goes on where the run before ended.
    pub told: bool,
    /// What was done, or would have been.
    pub actions: Vec<ActionTakenJson>,
    /// The annotations by name that the rule has now, filled in with what was so then; none where the
    /// rule is not there any more.
    pub annotations: BTreeMap<String, String>,
}

impl AlertEventJson {
    /// An event, and its rule as it is now, where there is one.
    #[must_use]
    pub fn new(event: &AlertEvent, rule: Option<&Rule>) -> Self {
        let unit = |quantity: &Quantity| quantity.unit;
        Self {
            at: Moment(event.at),
            alert: event.alert.to_string(),
            rule: event.alert.rule.as_ref().to_owned(),
            labels: labels(&event.alert.labels),
            state: event.state,
            severity: event.severity,
            mode: event.mode,
            unit: event.value.as_ref().or(event.limit.as_ref()).map(unit),
            value: event.value.map(Into::into),
            limit: event.limit.map(Into::into),
            window_end: event.window_end.map(Moment),
            active_since: event.active_since.map(Moment),
            fired_at: event.fired_at.map(Moment),
            told: event.told,
            actions: event.actions.iter().map(Into::into).collect(),
            annotations: rule.map_or_else(BTreeMap::new, |rule| annotations(rule, event.into())),
        }
    }
}

/// What happened to alerts, the newest first, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertEventList {
    /// The events.
    pub events: Vec<AlertEventJson>,
    /// The `cursor` of the next page; `null` when this was the last.
    pub next: Option<String>,
}

fn labels(labels: &Labels) -> BTreeMap<String, String> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The annotations of `rule`, filled in. One that cannot be says why in its place: nobody could look
/// for it anywhere else.
fn annotations(rule: &Rule, occasion: Occasion<'_>) -> BTreeMap<String, String> {
    let rendered = render(rule, occasion).into_iter();
    rendered
        .map(|(name, text)| {
            let text = text.unwrap_or_else(|error| error.to_string());
            (name.as_ref().to_owned(), text)
        })
        .collect()
}
