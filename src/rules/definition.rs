//! What a rule is, once its file was read and found sound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::{Mode, Quantity, Unit};
use crate::config::{ModelPattern, Place};
use crate::meter::window::Span;
use crate::record::{Api, Dimensions, closed_set};

closed_set! {
    /// What a rule looks at.
    Metric ("metric") {
        /// Money spent; where a request's cost is not known, what it is taken to have cost.
        Cost => "cost",
        /// Tokens of every type.
        Tokens => "tokens",
        /// Tokens of the input.
        InputTokens => "input_tokens",
        /// Tokens of the output.
        OutputTokens => "output_tokens",
        /// Requests that were sent to an upstream.
        Requests => "requests",
        /// Of them, those that failed.
        Errors => "errors",
        /// Their share.
        ErrorRatio => "error_ratio",
        /// Time from a request's header to its end.
        Latency => "latency",
        /// Time from a request's header to the first content of a stream.
        Ttft => "ttft",
        /// Output tokens a second of a stream, from its first content to its end.
        TokensPerSecond => "tokens_per_second",
        /// How much of a plan's window is used, by the provider's word (Codex, for one).
        QuotaUsed => "quota_used",
    }
}

closed_set! {
    /// What becomes of a metric's values in a window.
    Stat ("stat") {
        /// Their sum.
        Sum => "sum",
        /// How many there are; with `over`, how many are beyond it.
        Count => "count",
        /// The share that is beyond `over`, or that failed.
        Ratio => "ratio",
        /// Their mean.
        Mean => "mean",
        /// The value that half of them do not exceed.
        P50 => "p50",
        /// That 90 % do not.
        P90 => "p90",
        /// That 95 % do not.
        P95 => "p95",
        /// That 99 % do not.
        P99 => "p99",
        /// The largest.
        Max => "max",
        /// What the sum comes to at the end of the window at the present rate.
        Forecast => "forecast",
        /// How long until the sum comes to `budget` at the present rate.
        TimeLeft => "time_left",
    }
}

impl Metric {
    /// What it counts.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Cost => Unit::Usd,
            Self::Tokens | Self::InputTokens | Self::OutputTokens => Unit::Tokens,
            Self::Requests | Self::Errors => Unit::Requests,
            Self::ErrorRatio | Self::QuotaUsed => Unit::Ratio,
            Self::Latency | Self::Ttft => Unit::Seconds,
            Self::TokensPerSecond => Unit::TokensPerSecond,
        }
    }
}

impl Stat {
    /// What it counts when it is taken of `metric`.
    #[must_use]
    pub const fn unit(self, metric: Metric) -> Unit {
        match self {
            Self::TimeLeft => Unit::Seconds,
            Self::Ratio => Unit::Ratio,
            Self::Count => Unit::Requests,
            _ => metric.unit(),
        }
    }

    /// The quantile, in thousandths, of one that is a quantile.
    #[must_use]
    pub const fn permille(self) -> Option<u32> {
        match self {
            Self::P50 => Some(500),
            Self::P90 => Some(900),
            Self::P95 => Some(950),
            Self::P99 => Some(990),
            _ => None,
        }
    }
}

closed_set! {
    /// On which side of its limit a value is wrong.
    Side ("side") {
        /// Above: at the limit or beyond it.
        Above => "above",
        /// Below: at the limit or beneath it.
        Below => "below",
    }
}

closed_set! {
    /// What a window without a request means.
    NoData ("no_data") {
        /// That all is well.
        Ok => "ok",
        /// That something is wrong: the alert fires.
        Firing => "firing",
        /// Nothing: the alert stays what it is.
        Keep => "keep",
    }
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The channel.
    Channel,
    /// The model, by the name that was asked for, aliases resolved.
    Model,
    /// The API.
    Api,
    /// The client's key.
    Key,
    /// A tag.
    Tag(Arc<str>),
    /// A plan's window, for `quota_used`.
    QuotaWindow,
}

impl Dimension {
    /// The label's name.
    #[must_use]
    pub fn label(&self) -> Arc<str> {
        match self {
            Self::Channel => "channel".into(),
            Self::Model => "model".into(),
            Self::Api => "api".into(),
            Self::Key => "key".into(),
            Self::Tag(name) => format!("tag:{name}").into(),
            Self::QuotaWindow => "window".into(),
        }
    }

    /// A request's value; `""` where it has none.
    #[must_use]
    pub fn value<'a>(&self, of: &Dimensions<'a>) -> &'a str {
        match self {
            Self::Channel => of.channel,
            Self::Model => of.model.label().unwrap_or_default(),
            Self::Api => of.api.as_str(),
            Self::Key => of.key.unwrap_or_default(),
            Self::Tag(name) => {
                let value = of.tags.and_then(|tags| tags.get(&**name));
                value.map_or("", String::as_str)
            }
            Self::QuotaWindow => "",
        }
    }
}

/// Which requests a rule is about: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Channels; `None` for any. Likewise the others.
    pub channel: Option<ModelPattern>,
    /// Models, by any of their names.
    pub model: Option<ModelPattern>,
    /// APIs; empty for any.
    pub apis: Vec<Api>,
    /// Keys. A request without one has the name `""`.
    pub key: Option<ModelPattern>,
    /// Tags by name. A request without the tag does not fit.
    pub tags: BTreeMap<Arc<str>, ModelPattern>,
}

impl Matcher {
    /// Whether a request fits.
    #[must_use]
    pub fn matches(&self, of: &Dimensions<'_>) -> bool {
        let fits = |pattern: &Option<ModelPattern>, value: &str| {
            pattern.as_ref().is_none_or(|known| known.matches(value))
        };
        fits(&self.channel, of.channel)
            && fits(&self.key, of.key.unwrap_or_default())
            && (self.apis.is_empty() || self.apis.contains(&of.api))
            && self
                .model
                .as_ref()
                .is_none_or(|known| of.model.iter().any(|name| known.matches(name)))
            && self.tags.iter().all(|(name, known)| {
                let value = of.tags.and_then(|tags| tags.get(&**name));
                value.is_some_and(|value| known.matches(value))
            })
    }
}

/// Until when an alert holds a channel closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the window ends (calendar windows only), and no longer than the alert fires.
    WindowEnd,
    /// As long as the alert fires.
    Resolved,
    /// So long from when it fired, even where the alert ends earlier (without traffic it does); again as
    /// long if it still fires then.
    For(Duration),
    /// Until an operator opens it: not even the alert's end does.
    Manual,
}

closed_set! {
    /// How a channel comes back.
    Recovery ("recovery") {
        /// At once, for every request.
        Open => "open",
        /// For one request at first; the others follow if it succeeds.
        Probe => "probe",
    }
}

closed_set! {
    /// What a blocking rule does with a request of which nobody knows what it may cost.
    Unbounded ("unbounded") {
        /// Lets it go while there is anything left, and counts `budgets.unbounded_cost` for it until it
        /// ends.
        Admit => "admit",
        /// Refuses it.
        Refuse => "refuse",
    }
}

/// What a rule does at its critical limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Closes a channel.
    DisableChannel {
        /// Which; `None` for that of the alert's labels.
        channel: Option<Arc<str>>,
        /// Until when.
        until: Until,
        /// How it comes back.
        recovery: Recovery,
        /// Whether the last open channel of a model may be closed.
        allow_last: bool,
    },
    /// Refuses what the rule matches. Of a budget (see [`Rule::is_budget`]) it reserves the worst case
    /// of each request beforehand, so that the limit is not passed; of any other rule it refuses while
    /// the alert fires.
    Block {
        /// The HTTP status of the refusal.
        status: u16,
        /// What about requests whose worst case is not known.
        unbounded: Unbounded,
    },
    /// Tells these receivers.
    Notify(Vec<Arc<str>>),
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique among all rules.
    pub name: Arc<str>,
    /// The group it stands in.
    pub group: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// What it looks at.
    pub metric: Metric,
    /// What becomes of it.
    pub stat: Stat,
    /// With `count` and `ratio`: values beyond this are counted (for a pace: beneath it).
    pub over: Option<i64>,
    /// With `time_left`: the sum that is used up.
    pub budget: Option<i64>,
    /// Divide by what the same window had so long ago: the value is then in [`Unit::Times`].
    pub compare: Option<Duration>,
    /// Over what time.
    pub span: Span,
    /// Of which requests.
    pub matcher: Matcher,
    /// Each combination of these is an alert of its own.
    pub by: Vec<Dimension>,
    /// On which side of the limits it is wrong.
    pub side: Side,
    /// The first limit, in [`Rule::unit`]'s finest.
    pub warning: Option<i64>,
    /// The second.
    pub critical: Option<i64>,
    /// Firing ends when the value is back behind this share of the limit, in thousandths (at most 1000
    /// where too much is wrong, at least 1000 where too little is).
    pub clear_permille: u32,
    /// How long the value must be beyond a limit before the alert fires. Reservations do not wait.
    pub hold: Duration,
    /// How long the alert fires on after the value is back.
    pub keep_firing: Duration,
    /// With fewer requests in the window there is no value.
    pub min_requests: u64,
    /// What no request at all means.
    pub no_data: NoData,
    /// What it may do.
    pub mode: Mode,
    /// What it does.
    pub actions: Vec<Action>,
    /// Most combinations of `by`; the rest is one more, `other`.
    pub max_series: usize,
    /// In words: `summary`, `runbook` and others.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
}

impl Rule {
    /// What its value counts.
    #[must_use]
    pub fn unit(&self) -> Unit {
        if self.compare.is_some() {
            return Unit::Times;
        }
        self.stat.unit(self.metric)
    }

    /// What its metric counts.
    #[must_use]
    pub const fn metric_unit(&self) -> Unit {
        self.metric.unit()
    }

    /// A value of the rule, to be shown.
    #[must_use]
    pub fn quantity(&self, value: i64) -> Quantity {
        Quantity {
            unit: self.unit(),
            value,
        }
    }

    /// Whether it limits a sum that requests use up (money, tokens, requests): what can be reserved,
    /// forecast, and shown as a budget.
    #[must_use]
    pub fn is_budget(&self) -> bool {
        let counted = matches!(
            self.metric,
            Metric::Cost
                | Metric::Tokens
                | Metric::InputTokens
                | Metric::OutputTokens
                | Metric::Requests
        );
        counted
            && self.compare.is_none()
            && self.side == Side::Above
            && (self.stat == Stat::Sum
                || (self.stat == Stat::Count && self.metric == Metric::Requests))
    }

    /// The limit of a budget: the critical one, else the warning.
    #[must_use]
    pub fn budget_limit(&self) -> Option<i64> {
        self.critical.or(self.warning).filter(|_| self.is_budget())
    }

    /// Whether its window goes by the start of requests (the calendar's do, as the ledger's days) and not
    /// by their end.
    #[must_use]
    pub const fn is_by_start(&self) -> bool {
        matches!(self.span, Span::Calendar(_))
    }

    /// Its block action.
    #[must_use]
    pub fn block(&self) -> Option<(u16, Unbounded)> {
        self.actions.iter().find_map(|action| match action {
            Action::Block { status, unbounded } => Some((*status, *unbounded)),
            _ => None,
        })
    }

    /// Whether it closes channels.
    #[must_use]
    pub fn closes(&self) -> bool {
        let closes = |action: &Action| matches!(action, Action::DisableChannel { .. });
        self.actions.iter().any(closes)
    }

    /// Whether it does the same as `other`, whoever is told of it.
    #[must_use]
    pub fn acts_as(&self, other: &Self) -> bool {
        let is_deed = |action: &&Action| !matches!(action, Action::Notify(_));
        let (own, others) = (self.actions.iter(), other.actions.iter());
        self.mode == other.mode && own.filter(is_deed).eq(others.filter(is_deed))
    }

    /// Whether what a window adds up to is the same as `other`'s, so that its sums can be kept when a
    /// file is edited.
    #[must_use]
    pub fn has_window_of(&self, other: &Self) -> bool {
        self.metric == other.metric
            && self.stat == other.stat
            && self.over == other.over
            && self.compare == other.compare
            && self.span == other.span
            && self.matcher == other.matcher
            && self.by == other.by
            && self.max_series == other.max_series
    }
}

/// Rules, in the order of their files.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// Each, unique by name.
    pub rules: Vec<Arc<Rule>>,
}
