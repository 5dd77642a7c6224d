//! Rules and what they say now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AlertJson, Decimal};
use crate::alert::{Mode, Quantity, Silence, Unit};
use crate::clock::{UnixMicros, micros};
use crate::config::ModelPattern;
use crate::record::Api;
use crate::rules::{
    Action, Matcher, Metric, NoData, Recovery, RuleView, Side, Stat, Unbounded, Until, written,
};

/// A rule, and what it says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleJson {
    /// Its name.
    pub name: String,
    /// The group it stands in.
    pub group: String,
    /// Where it stands: file, line and column.
    pub place: String,
    /// What it may do.
    pub mode: Mode,
    /// What it looks at.
    pub metric: Metric,
    /// What becomes of that.
    pub stat: Stat,
    /// With `count` and `ratio`: values beyond this count, in the metric's own unit.
    pub over: Option<Decimal>,
    /// With `time_left`: the sum that is used up, in the metric's own unit.
    pub budget: Option<Decimal>,
    /// The value is divided by what the same window had so many microseconds ago.
    pub compare_us: Option<u64>,
    /// Over what time, in words: `5m`, `day (Europe/Berlin)`.
    pub window: String,
    /// Of which requests.
    #[serde(rename = "match")]
    pub matcher: MatcherJson,
    /// Each combination of these is an alert of its own.
    pub by: Vec<String>,
    /// What the limits and the alerts' values count.
    pub unit: Unit,
    /// On which side of the limits it is wrong.
    pub side: Side,
    /// The first limit.
    pub warning: Option<Decimal>,
    /// The second, for which the actions are.
    pub critical: Option<Decimal>,
    /// Firing ends when the value is back behind this share of the limit.
    pub clear: Decimal,
    /// How long the value must be beyond a limit before the alert fires, in microseconds.
    pub for_us: u64,
    /// How long the alert fires on after the value is back, in microseconds.
    pub keep_firing_for_us: u64,
    /// With fewer requests in the window there is no value.
    pub min_requests: u64,
    /// What no request at all means.
    pub no_data: NoData,
    /// Most combinations of `by`; the rest is one more, `other`.
    pub max_series: u64,
    /// What it does at its critical limit.
    pub actions: Vec<RuleActionJson>,
    /// Its texts by name: templates, as the file has them.
    pub annotations: BTreeMap<String, String>,
    /// Whether it can be judged. While it cannot, nothing of it fires or resolves.
    pub healthy: bool,
    /// Why not.
    pub unhealthy_reason: Option<String>,
    /// Whether it limits a sum that requests use up: what can be reserved and forecast.
    pub is_budget: bool,
    /// Of a budget that is enforced: by how much what is spent may pass the limit with what is on its
    /// way now. `null` for other rules, and where `unbounded`.
    pub overshoot_bound: Option<Decimal>,
    /// Whether nobody can say that bound: a request without a known worst case is on its way, or a
    /// process that handed over still has some.
    pub unbounded: bool,
    /// Requests of combinations beyond `max_series`, which share one alert, since the process started.
    pub folded: u64,
    /// Requests it refused since the process started.
    pub blocked: u64,
    /// Requests it would have refused, did its mode let it.
    pub would_block: u64,
    /// Its alerts, those that fire at the front.
    pub alerts: Vec<AlertJson>,
}

impl RuleJson {
    /// A rule, and which of the silences hold for its alerts; `None` where nobody knows them.
    #[must_use]
    pub fn new(view: &RuleView, silences: Option<&[Silence]>, now: UnixMicros) -> Self {
        let rule = &*view.rule;
        let of_metric = |value| {
            Decimal::from(Quantity {
                unit: rule.metric_unit(),
                value,
            })
        };
        let limit = |value| Decimal::from(rule.quantity(value));
        let by = rule.by.iter().map(|by| by.label().as_ref().to_owned());
        let alerts = view.alerts.iter();
        Self {
            name: rule.name.as_ref().to_owned(),
            group: rule.group.as_ref().to_owned(),
            place: rule.place.to_string(),
            mode: rule.mode,
            metric: rule.metric,
            stat: rule.stat,
            over: rule.over.map(of_metric),
            budget: rule.budget.map(of_metric),
            compare_us: rule.compare.map(micros),
            window: rule.span.to_string(),
            matcher: (&rule.matcher).into(),
            by: by.collect(),
            unit: rule.unit(),
            side: rule.side,
            warning: rule.warning.map(limit),
            critical: rule.critical.map(limit),
            clear: Decimal::of_thousandths(rule.clear_permille),
            for_us: micros(rule.hold),
            keep_firing_for_us: micros(rule.keep_firing),
            min_requests: rule.min_requests,
            no_data: rule.no_data,
            max_series: u64::try_from(rule.max_series).unwrap_or(u64::MAX),
            actions: rule.actions.iter().map(Into::into).collect(),
            annotations: texts(&rule.annotations),
            healthy: view.unhealthy.is_none(),
            unhealthy_reason: view.unhealthy.as_deref().map(str::to_owned),
            is_budget: rule.is_budget(),
            overshoot_bound: view.overshoot_bound.flatten().map(Into::into),
            unbounded: view.overshoot_bound == Some(None),
            folded: view.folded,
            blocked: view.blocked,
            would_block: view.would_block,
            alerts: alerts
                .map(|alert| AlertJson::new(rule, alert, silences, now))
                .collect(),
        }
    }
}

/// Which requests a rule is about: those that fit all of it. In patterns, `*` and `?` stand for any
/// characters and for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MatcherJson {
    /// Channels; `null` for any.
    pub channel: Option<String>,
    /// Models, by any of their names; `null` for any.
    pub model: Option<String>,
    /// APIs; `null` for any.
    pub api: Option<Vec<Api>>,
    /// Keys; a request without one has none of them, and fits an empty text. `null` for any.
    pub key: Option<String>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
}

impl From<&Matcher> for MatcherJson {
    fn from(matcher: &Matcher) -> Self {
        let pattern = |pattern: &Option<ModelPattern>| pattern.as_ref().map(ToString::to_string);
        let tags = matcher.tags.iter();
        Self {
            channel: pattern(&matcher.channel),
            model: pattern(&matcher.model),
            api: (!matcher.apis.is_empty()).then(|| matcher.apis.clone()),
            key: pattern(&matcher.key),
            tags: tags
                .map(|(name, value)| (name.as_ref().to_owned(), value.to_string()))
                .collect(),
        }
    }
}

/// What a rule does at its critical limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleActionJson {
    /// Which: `disable_channel`, `block`, `notify`. What belongs to the others is `null`.
    pub action: String,
    /// Which channel it closes; `null` for that of the alert's labels.
    pub channel: Option<String>,
    /// Until when: `window_end`, `resolved`, `manual`, or how long (`1h 30m`).
    pub until: Option<String>,
    /// How the channel comes back.
    pub recovery: Option<Recovery>,
    /// Whether the last open channel of a model may be closed.
    pub allow_last: Option<bool>,
    /// The HTTP status of a refusal.
    pub status: Option<u16>,
    /// What about requests whose worst case is not known.
    pub unbounded: Option<Unbounded>,
    /// Who is told.
    pub receivers: Option<Vec<String>>,
}

impl From<&Action> for RuleActionJson {
    fn from(action: &Action) -> Self {
        let named = |action: &str| Self {
            action: action.to_owned(),
            ..Self::default()
        };
        match action {
            Action::DisableChannel {
                channel,
                until,
                recovery,
                allow_last,
            } => Self {
                channel: channel.as_deref().map(str::to_owned),
                until: Some(until_in_words(*until)),
                recovery: Some(*recovery),
                allow_last: Some(*allow_last),
                ..named("disable_channel")
            },
            Action::Block { status, unbounded } => Self {
                status: Some(*status),
                unbounded: Some(*unbounded),
                ..named("block")
            },
            Action::Notify(receivers) => {
                let receivers = receivers.iter().map(|name| name.as_ref().to_owned());
                Self {
                    receivers: Some(receivers.collect()),
                    ..named("notify")
                }
            }
        }
    }
}

fn until_in_words(until: Until) -> String {
    match until {
        Until::WindowEnd => "window_end".to_owned(),
        Until::Resolved => "resolved".to_owned(),
        Until::Manual => "manual".to_owned(),
        Until::For(length) => written(length),
    }
}

/// Every rule, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleList {
    /// The rules.
    pub rules: Vec<RuleJson>,
}

fn texts(texts: &BTreeMap<Arc<str>, Arc<str>>) -> BTreeMap<String, String> {
    let pairs = texts.iter();
    pairs
        .map(|(name, text)| (name.as_ref().to_owned(), text.as_ref().to_owned()))
        .collect()
}
