//! Alerts: what a rule says of one set of labels, and what Tollgate did about it.

mod notification;
mod silence;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMicros;
use crate::record::closed_set;

pub use notification::{
    ChatAnswer, Notification, NotificationFate, NotificationKind, NotificationResult, NotifyReason,
};
pub use silence::{BadSilence, Silence, SilenceMatcher};

closed_set! {
    /// What an alert is doing.
    AlertState ("alert state") {
        /// The value is where it should be.
        Inactive => "inactive",
        /// It is not, but not yet for as long as the rule asks.
        Pending => "pending",
        /// It is not.
        Firing => "firing",
    }
}

closed_set! {
    /// Which of a rule's two limits is passed.
    Severity ("severity") {
        /// The first.
        Warning => "warning",
        /// The second: what actions are for.
        Critical => "critical",
    }
}

closed_set! {
    /// What a rule may do.
    Mode ("mode") {
        /// Nothing; it says what it would have done.
        Shadow => "shadow",
        /// Tell somebody.
        Notify => "notify",
        /// Act as well.
        Enforce => "enforce",
    }
}

closed_set! {
    /// What a value counts. Values are whole numbers of the finest unit, named beside each.
    Unit ("unit") {
        /// Money: nano-dollars.
        Usd => "usd",
        /// Tokens.
        Tokens => "tokens",
        /// Requests.
        Requests => "requests",
        /// A share: millionths.
        Ratio => "ratio",
        /// A length of time: microseconds.
        Seconds => "seconds",
        /// Output tokens a second: thousandths.
        TokensPerSecond => "tokens_per_second",
        /// How many times as much as before: thousandths.
        Times => "times",
    }
}

impl Unit {
    /// How many of the finest unit make one.
    #[must_use]
    pub const fn scale(self) -> i64 {
        match self {
            Self::Usd => 1_000_000_000,
            Self::Tokens | Self::Requests => 1,
            Self::Ratio | Self::Seconds => 1_000_000,
            Self::TokensPerSecond | Self::Times => 1_000,
        }
    }
}

/// A value in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity {
    /// What it counts.
    pub unit: Unit,
    /// How many of the finest unit.
    pub value: i64,
}

impl Quantity {
    /// As a floating number of the unit, for gauges and charts; never for money that is added up.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn as_f64(self) -> f64 {
        self.value as f64 / self.unit.scale() as f64
    }

    /// As an exact decimal number of the unit.
    #[must_use]
    pub fn decimal(self) -> String {
        let scale = self.unit.scale().unsigned_abs();
        let magnitude = self.value.unsigned_abs();
        let sign = if self.value < 0 { "-" } else { "" };
        let (whole, fraction) = (magnitude / scale, magnitude % scale);
        if fraction == 0 {
            return format!("{sign}{whole}");
        }
        let width = scale.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// For people: `3.4 USD`, `1200000 tokens`, `4.5s`, `12.5%`, `3x`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Usd => write!(f, "{} USD", self.decimal()),
            Unit::Tokens => write!(f, "{} tokens", self.value),
            Unit::Requests => write!(f, "{} requests", self.value),
            Unit::Ratio => {
                let percent = Self {
                    unit: Unit::Ratio,
                    value: self.value.saturating_mul(100),
                };
                write!(f, "{}%", percent.decimal())
            }
            Unit::Seconds => write!(f, "{}s", self.decimal()),
            Unit::TokensPerSecond => write!(f, "{} tokens/s", self.decimal()),
            Unit::Times => write!(f, "{}x", self.decimal()),
        }
    }
}

/// What an alert is about: names and values, in the order of the names. An alert of a rule without
/// `by` has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The labels of these pairs.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort();
        Self(pairs.into())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        let found = self.0.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value)
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `{channel="a",key="b"}`, values quoted as in JSON; nothing where there is no label.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        for (index, (name, value)) in self.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(f, "{before}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// One alert: a rule's name and labels. Its text is what it owns gates by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertId {
    /// The rule.
    pub rule: Arc<str>,
    /// The labels.
    pub labels: Labels,
}

impl AlertId {
    /// A number that stands for it, the same in every process: FNV-1a over its text.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fnv1a(FNV1A, self.to_string().as_bytes())
    }
}

/// What [`fnv1a`] begins with.
pub const FNV1A: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with FNV-1a (64 bits) over these bytes: a number that is the same in every process and says
/// nothing that must stay secret.
#[must_use]
pub fn fnv1a<'a>(hash: u64, bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.rule, self.labels)
    }
}

/// What an action came to. In words: what is told to people and kept with the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionTaken {
    /// Which action: `disable_channel`, `block`, `notify`.
    pub action: Arc<str>,
    /// Whether it was done; `false` for what would have been done (shadow, notify) or could not be.
    pub done: bool,
    /// When it ends by itself, where it does.
    pub until: Option<UnixMicros>,
    /// To what, until when, or why not.
    pub detail: Arc<str>,
}

/// A change of an alert: of its state or its severity, or of what else a restart must know to go on as
/// if there had been none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// When.
    pub at: UnixMicros,
    /// Which alert.
    pub alert: AlertId,
    /// What it became.
    pub state: AlertState,
    /// At which limit; of an inactive alert that which it had last.
    pub severity: Option<Severity>,
    /// When the value was first beyond the limit, of pending and firing alerts.
    pub active_since: Option<UnixMicros>,
    /// When it began to fire; kept when it resolves.
    pub fired_at: Option<UnixMicros>,
    /// While it fires: since when the value has been back where it should be
    /// (`keep_firing_for`).
    pub cleared_since: Option<UnixMicros>,
    /// Since when the value is beyond the critical limit, whatever it fires at so far (`for`).
    pub critical_since: Option<UnixMicros>,
    /// While it fires at the critical limit: since when the value has been back behind that
    /// (`keep_firing_for`).
    pub critical_cleared_since: Option<UnixMicros>,
    /// The value then; `None` where there was none.
    pub value: Option<Quantity>,
    /// The limit of `severity`.
    pub limit: Option<Quantity>,
    /// When the window ends, where it is a calendar's.
    pub window_end: Option<UnixMicros>,
    /// The rule's mode.
    pub mode: Mode,
    /// Whether state, severity or what was done is another than before: what people are told. Other
    /// events are kept for the sake of a restart only.
    pub told: bool,
    /// What was done, or would have been.
    pub actions: Vec<ActionTaken>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_told_exactly() {
        for (unit, value, told) in [
            (Unit::Usd, 3_400_000_000, "3.4 USD"),
            (Unit::Usd, -1, "-0.000000001 USD"),
            (Unit::Tokens, 1_200_000, "1200000 tokens"),
            (Unit::Ratio, 125_000, "12.5%"),
            (Unit::Seconds, 4_500_000, "4.5s"),
            (Unit::Times, 3_000, "3x"),
        ] {
            assert_eq!(Quantity { unit, value }.to_string(), told);
        }
    }

    #[test]
    fn labels_are_in_order_and_no_value_breaks_out() {
        let labels = Labels::new([
            (Arc::from("key"), Arc::from("a\"}{x")),
            (Arc::from("channel"), Arc::from("c")),
        ]);
        assert_eq!(labels.to_string(), r#"{channel="c",key="a\"}{x"}"#);
        assert_eq!(labels.get("channel").map(|name| &**name), Some("c"));
    }
}
