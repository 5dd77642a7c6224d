//! Channels, their gates, and what happened to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;
use crate::channel::{GateStatus, Hold};
use crate::config::{ChannelKind, ChannelSettings};
use crate::meter::KnownLimits;
use crate::record::{ChannelEvent, GateReason, GateState, LimitKind};

/// One channel: what the settings say of it, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelJson {
    /// Its name.
    pub name: String,
    /// Which provider's conventions it follows.
    pub kind: ChannelKind,
    /// Where its requests go.
    pub base_url: String,
    /// The models it serves, as patterns; `null` for every model.
    pub models: Option<Vec<String>>,
    /// What the upstream calls a model, by what clients call it.
    pub model_map: BTreeMap<String, String>,
    /// Channels with a higher one are tried first.
    pub priority: i32,
    /// Its share among channels of one priority, where the strategy is `weighted`.
    pub weight: u32,
    /// Requests at the same time; `null` where there is no bound.
    pub max_in_flight: Option<u32>,
    /// Requests on their way through it; `null` where no sidecar runs to tell.
    pub in_flight: Option<u32>,
    /// Whether requests may go through it.
    pub state: GateState,
    /// Who holds it closed, the first that did at the front; it is open when nobody does.
    pub holds: Vec<HoldJson>,
    /// When the next request may go through to find out whether the others may again; `null` while
    /// one does, and while somebody else than the breaker holds it closed.
    pub next_probe: Option<Moment>,
    /// Models that no request goes to it for, because the provider asked for that; what ends first
    /// at the front.
    pub cooldowns: Vec<CooldownJson>,
    /// Its rate limits by the provider's last word, those that are known.
    pub rate_limits: Vec<RateLimitJson>,
    /// How much of a plan's windows is used, by the provider's last word.
    pub quotas: Vec<QuotaJson>,
    /// What was bought beside the plan; `null` where the provider says nothing of it.
    pub credits: Option<CreditsJson>,
}

impl ChannelJson {
    /// A channel of these settings whose gate is so. `limits` are known only while it runs, and so
    /// are requests on their way.
    #[must_use]
    pub fn new(settings: &ChannelSettings, gate: GateStatus, limits: Option<KnownLimits>) -> Self {
        let in_flight = limits.is_some().then_some(gate.in_flight);
        let limits = limits.unwrap_or_default();
        let models = settings.models.as_ref();
        Self {
            name: settings.name.as_ref().to_owned(),
            kind: settings.kind,
            base_url: settings.base_url.to_string(),
            models: models.map(|models| models.iter().map(ToString::to_string).collect()),
            model_map: settings
                .model_map
                .iter()
                .map(|(own, theirs)| (own.as_ref().to_owned(), theirs.as_ref().to_owned()))
                .collect(),
            priority: settings.priority,
            weight: settings.weight,
            max_in_flight: settings.max_in_flight,
            in_flight,
            state: gate.state,
            holds: gate.holds.into_iter().map(Into::into).collect(),
            next_probe: gate.next_probe.map(Moment),
            cooldowns: gate
                .cooling
                .into_iter()
                .map(|cooling| CooldownJson {
                    model: cooling.model.map(|model| model.as_ref().to_owned()),
                    until: Moment(cooling.until),
                })
                .collect(),
            rate_limits: limits
                .rates
                .into_iter()
                .map(|(kind, rate)| RateLimitJson {
                    kind,
                    limit: rate.limit,
                    remaining: rate.remaining,
                    resets_at: rate.resets_at.map(Moment),
                })
                .collect(),
            quotas: limits
                .quotas
                .into_iter()
                .map(|quota| QuotaJson {
                    window: quota.window,
                    used_ratio: quota.used_ratio,
                    resets_at: quota.resets_at.map(Moment),
                })
                .collect(),
            credits: limits.credits.map(|credits| CreditsJson {
                has_credits: credits.has_credits,
                unlimited: credits.unlimited,
                balance: credits.balance.map(Into::into),
            }),
        }
    }
}

/// One owner's hold on a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldJson {
    /// Whose it is: `operator`, `breaker`, or `alert:` and the alert's name. Only the owner or an
    /// operator ends it.
    pub owner: String,
    /// `closed`, or `probing` while a request is on its way that finds out whether others may be.
    pub state: GateState,
    /// Why.
    pub reason: GateReason,
    /// Since when.
    pub since: Moment,
    /// When it ends by itself, the breaker's: when the next probe may go. `null` where it waits for
    /// its owner or an operator.
    pub until: Option<Moment>,
    /// Who did it, where a person did.
    pub who: Option<String>,
    /// In words.
    pub note: Option<String>,
}

impl From<Hold> for HoldJson {
    fn from(hold: Hold) -> Self {
        let closing = hold.closing;
        Self {
            owner: closing.owner.to_string(),
            state: hold.state,
            reason: closing.reason,
            since: Moment(hold.since),
            until: closing.until.map(Moment),
            who: closing.who.map(|who| who.as_ref().to_owned()),
            note: closing.note.map(|note| note.as_ref().to_owned()),
        }
    }
}

/// A model that the provider asked not to be called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CooldownJson {
    /// What the upstream calls it; `null` for requests that name no model.
    pub model: Option<String>,
    /// Until when.
    pub until: Moment,
}

/// A rate limit by the provider's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RateLimitJson {
    /// What it counts.
    pub kind: LimitKind,
    /// How much there is while nothing is used.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// When all of it is there again.
    pub resets_at: Option<Moment>,
}

/// How much of one window of a plan is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaJson {
    /// Its length, as `5h` or `7d`, behind the family's name where it is not the plan's own.
    pub window: String,
    /// 1 where all of it is used.
    pub used_ratio: f64,
    /// When it begins anew.
    pub resets_at: Option<Moment>,
}

/// What was bought beside a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreditsJson {
    /// Whether there are any.
    pub has_credits: Option<bool>,
    /// Whether they never end.
    pub unlimited: Option<bool>,
    /// How many are left: a decimal number.
    pub balance: Option<String>,
}

/// Every channel, in the order of the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelList {
    /// The channels.
    pub channels: Vec<ChannelJson>,
}

/// A channel after its gate was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedChannelJson {
    /// The channel, its fields at this level.
    #[serde(flatten)]
    pub channel: ChannelJson,
    /// Whether the change is in the journal, so that it survives a restart. `false` when the disk
    /// refuses it: the change is in force, and written as soon as it can be.
    pub recorded: bool,
}

/// One change of an owner's hold on a channel's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelEventJson {
    /// When.
    pub at: Moment,
    /// The channel.
    pub channel: String,
    /// Whose hold changed: `operator`, `breaker`, or `alert:` and the alert's name.
    pub owner: String,
    /// What this owner's hold became; `open` when it ended.
    pub hold: GateState,
    /// What the gate became, over all owners.
    pub state: GateState,
    /// Why.
    pub reason: GateReason,
    /// When the hold ends by itself, the breaker's: when the next probe may go.
    pub until: Option<Moment>,
    /// Who did it, where a person did.
    pub who: Option<String>,
    /// In words.
    pub note: Option<String>,
}

impl From<ChannelEvent> for ChannelEventJson {
    fn from(event: ChannelEvent) -> Self {
        Self {
            at: Moment(event.at),
            channel: event.channel.as_ref().to_owned(),
            owner: event.owner.to_string(),
            hold: event.hold,
            state: event.state,
            reason: event.reason,
            until: event.until.map(Moment),
            who: event.who.map(|who| who.as_ref().to_owned()),
            note: event.note.map(|note| note.as_ref().to_owned()),
        }
    }
}

/// What happened to gates, the newest first, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelEventList {
    /// The events.
    pub events: Vec<ChannelEventJson>,
    /// The `cursor` of the next page; `null` when this was the last.
    pub next: Option<String>,
}
