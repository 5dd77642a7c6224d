//! What is told, in values: what happened, what was done about it, and where to look.
//!
//! It is kept with a notification until that is delivered, so that words are made of it at the last
//! moment, in the receiver's language; and it says by itself all that is in the message.

mod actions;
mod alerts;
mod channel;
mod digest;
pub mod humane;
mod markup;
mod merge;
pub mod rehearsal;
mod rendering;
pub mod sample;
mod templates;
#[cfg(test)]
mod tests;
mod undelivered;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{AlertEvent, Quantity, Severity};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, closed_set};

pub use actions::told as actions_told;
pub use digest::picture_alt;
pub use rendering::{Rendering, render};
pub use templates::Templates;

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// A group of alerts.
    Alerts(AlertsContent),
    /// What happened to a channel's gate.
    Channel(ChannelContent),
    /// What was used in a time.
    Digest(Box<DigestContent>),
    /// Another receiver cannot be reached.
    Undelivered(UndeliveredContent),
}

closed_set! {
    /// What is new about an alert since the group was told last.
    AlertChange ("change of an alert") {
        /// It fires now.
        Fired => "fired",
        /// It was a warning and is critical.
        Escalated => "escalated",
        /// It was critical and is a warning.
        Eased => "eased",
        /// Something else is done about it.
        Acted => "acted",
        /// It fires no longer.
        Resolved => "resolved",
        /// It came and went.
        CameAndWent => "came_and_went",
        /// Nothing.
        Same => "same",
    }
}

/// A group of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertsContent {
    /// When it was made.
    pub at: UnixMicros,
    /// The group's key: the same as long as there is the group.
    pub group: Arc<str>,
    /// What all its alerts have in common by the route's `group_by`.
    pub facts: Vec<(Arc<str>, Arc<str>)>,
    /// The alerts: what is new in front, then what is worst; not all where there are too many.
    pub alerts: Vec<AlertContent>,
    /// How many fire at the critical limit, those that are not listed included.
    pub critical: usize,
    /// How many fire at the warning limit.
    pub warning: usize,
    /// How many resolved since the group was told last.
    pub resolved: usize,
    /// How many more there are than `alerts` lists.
    pub more: usize,
    /// Whether it only says again what was told before.
    pub repeated: bool,
}

/// An alert, with what a reader wants to know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertContent {
    /// What it is.
    pub event: AlertEvent,
    /// What is new about it.
    pub change: AlertChange,
    /// At which limit the receiver was told before that it fires, where it was.
    #[serde(default)]
    pub fired_as: Option<Severity>,
    /// What its rule is; `None` where the rule is no more.
    pub rule: Option<RuleContent>,
    /// The rule's annotations, filled in.
    pub annotations: BTreeMap<Arc<str>, String>,
    /// When the window began that the value is of, where the alert fires.
    pub window_start: Option<UnixMicros>,
    /// Of a budget: what the window comes to at its end at the present rate.
    pub forecast: Option<Quantity>,
    /// Of a budget: when the limit is reached at the present rate.
    pub exhausted_at: Option<UnixMicros>,
    /// Who used most of the window, the most first.
    pub contributors: Vec<Contributor>,
    /// Where to look.
    pub links: Vec<Link>,
}

/// What of a rule is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleContent {
    /// Its group.
    pub group: Arc<str>,
    /// `cost`, `latency` and so on.
    pub metric: Arc<str>,
    /// `sum`, `p95` and so on.
    pub stat: Arc<str>,
    /// As the rule says it: `day`, `5m`.
    pub window: Arc<str>,
    /// Whether a value below its limit is wrong.
    pub below: bool,
}

/// A part of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contributor {
    /// What is told apart: `model`, `channel`, `key`.
    pub dimension: Arc<str>,
    /// Its value; empty for none.
    pub name: Arc<str>,
    /// How much.
    pub value: Quantity,
    /// Of all, in millionths.
    pub share_ppm: u32,
}

closed_set! {
    /// What a link leads to.
    LinkKind ("kind of link") {
        /// A dashboard of what is wrong.
        Dashboard => "dashboard",
        /// The requests that failed.
        Failed => "failed",
        /// The slowest requests.
        Slow => "slow",
        /// The dearest requests, or all.
        Requests => "requests",
        /// What to do.
        Runbook => "runbook",
    }
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it leads to.
    pub kind: LinkKind,
    /// An `http` or `https` address.
    pub url: String,
}

/// What happened to a channel's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelContent {
    /// The channel.
    pub channel: Arc<str>,
    /// The changes, in order; not the earliest where there are too many.
    pub events: Vec<ChannelEvent>,
    /// How many more there were before.
    pub more: usize,
    /// Since when it had been closed before these, where it was.
    #[serde(default)]
    pub closed_since: Option<UnixMicros>,
    /// The models that no open channel is left for.
    pub without_channel: Vec<Arc<str>>,
    /// Where to look.
    pub links: Vec<Link>,
}

/// What was used in a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestContent {
    /// The digest's name.
    pub name: Arc<str>,
    /// From.
    pub since: UnixMicros,
    /// To, exclusive.
    pub until: UnixMicros,
    /// All of it.
    pub total: DigestFigures,
    /// The same of as long a time before; `None` where nothing is known of it.
    pub before: Option<DigestFigures>,
    /// The most used, the most first, by what they are: `model`, `channel`, `key`.
    pub top: Vec<(Arc<str>, Vec<DigestRow>)>,
    /// What the errors were, the most frequent first: outcome or code, and how many. With what Tollgate
    /// turned away itself, which `total` does not count.
    pub errors: Vec<(Arc<str>, u64)>,
    /// Budgets, those that are used most first.
    pub budgets: Vec<DigestBudget>,
    /// Spending and tokens by time, for the picture: begin, nano-dollars, tokens. What begins before
    /// `since` is of the time before.
    pub series: Vec<(UnixMicros, i64, u64)>,
    /// Where to look.
    pub links: Vec<Link>,
}

/// Figures of a time. `None` is unknown, not nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestFigures {
    /// Requests that went to an upstream.
    pub requests: u64,
    /// Of them, those that failed.
    pub errors: u64,
    /// What is known to have been spent, in nano-dollars.
    pub cost_nanousd: Option<i64>,
    /// Requests whose cost is not known and may not be nothing.
    pub unpriced: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Of them, those that came out of a cache.
    pub cached_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// What caching saved: what the cached tokens would have cost as others, less what they cost and
    /// what writing the cache cost more; in nano-dollars.
    pub saved_nanousd: Option<i64>,
    /// The time that half of the requests did not exceed, in microseconds.
    pub latency_p50_us: Option<u64>,
    /// That 95 % did not.
    pub latency_p95_us: Option<u64>,
    /// The same of the time to the first token.
    pub ttft_p95_us: Option<u64>,
}

/// One of the most used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRow {
    /// Its name; empty for none.
    pub name: Arc<str>,
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Nano-dollars; `None` where nothing of it is known.
    pub cost_nanousd: Option<i64>,
    /// The same before.
    pub before_nanousd: Option<i64>,
}

/// A budget and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestBudget {
    /// The rule, with its labels.
    pub alert: Arc<str>,
    /// Used.
    pub used: Quantity,
    /// Of.
    pub limit: Quantity,
    /// What it comes to at the window's end.
    pub forecast: Option<Quantity>,
    /// When the window ends.
    pub window_end: Option<UnixMicros>,
}

/// Another receiver cannot be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UndeliveredContent {
    /// Which.
    pub receiver: Arc<str>,
    /// What it was to be told: titles and times of its notifications that were given up.
    pub titles: Vec<(UnixMicros, Arc<str>)>,
    /// How many more.
    pub more: usize,
    /// Why, in words.
    pub error: Arc<str>,
    /// What it was to be told last, whole.
    pub content: Option<Box<Content>>,
}
