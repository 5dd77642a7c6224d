//! Silences: times in which nobody wants to be told of some alerts. They go on acting.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wildmatch::WildMatch;

use super::{AlertId, Severity};
use crate::clock::UnixMicros;

/// The name that means an alert's rule.
const RULE: &str = "rule";
/// The name that means an alert's severity.
const SEVERITY: &str = "severity";

/// What a silence asks of an alert: `rule`, `severity` or the label of this name has a value that fits.
/// In a value `*` stands for any text and `?` for one character. An alert without the label does not
/// fit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct SilenceMatcher {
    name: Arc<str>,
    value: Arc<str>,
    glob: Option<WildMatch>,
}

/// A matcher as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Arc<str>,
    value: Arc<str>,
}

impl From<Written> for SilenceMatcher {
    fn from(written: Written) -> Self {
        Self::new(written.name, written.value)
    }
}

impl From<SilenceMatcher> for Written {
    fn from(matcher: SilenceMatcher) -> Self {
        Self {
            name: matcher.name,
            value: matcher.value,
        }
    }
}

impl PartialEq for SilenceMatcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.value) == (&other.name, &other.value)
    }
}

impl Eq for SilenceMatcher {}

impl SilenceMatcher {
    /// Asks for this value (or pattern) of this name.
    #[must_use]
    pub fn new(name: Arc<str>, value: Arc<str>) -> Self {
        let glob = value.contains(['*', '?']).then(|| WildMatch::new(&value));
        Self { name, value, glob }
    }

    /// `rule`, `severity` or a label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or pattern, as it was written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    fn matches(&self, alert: &AlertId, severity: Option<Severity>) -> bool {
        let value = match &*self.name {
            RULE => Some(&*alert.rule),
            SEVERITY => severity.map(Severity::as_str),
            label => alert.labels.get(label).map(|value| &**value),
        };
        value.is_some_and(|value| match &self.glob {
            None => *self.value == *value,
            Some(glob) => glob.matches(value),
        })
    }
}

/// A time in which nobody is told of the alerts that fit all its matchers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: Uuid,
    /// What it asks of an alert.
    pub matchers: Vec<SilenceMatcher>,
    /// From this moment on.
    pub starts_at: UnixMicros,
    /// Up to this moment, unless it is ended before.
    pub ends_at: UnixMicros,
    /// When it was made.
    pub created_at: UnixMicros,
    /// Who made it, as they call themselves.
    pub created_by: Arc<str>,
    /// Why, in words.
    pub comment: Arc<str>,
    /// When somebody ended it before its time.
    pub ended_at: Option<UnixMicros>,
}

/// Why a silence is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSilence {
    /// It would silence everything.
    #[error(
        "a silence needs a matcher, as `rule=ChannelDailySpend` or `channel=a*`; `rule=*` silences \
         everything"
    )]
    NoMatchers,
    /// It ends before it starts.
    #[error("a silence must end after it starts: {ends_at} is not after {starts_at}")]
    EndsFirst {
        /// When it would start.
        starts_at: UnixMicros,
        /// When it would end.
        ends_at: UnixMicros,
    },
}

impl Silence {
    /// Fails where it would silence everything unasked, or nothing ever.
    pub fn check(&self) -> Result<(), BadSilence> {
        if self.matchers.is_empty() {
            return Err(BadSilence::NoMatchers);
        }
        if self.ends_at <= self.starts_at {
            return Err(BadSilence::EndsFirst {
                starts_at: self.starts_at,
                ends_at: self.ends_at,
            });
        }
        Ok(())
    }

    /// Whether it holds at this moment.
    #[must_use]
    pub fn is_active(&self, now: UnixMicros) -> bool {
        self.starts_at <= now && now < self.end()
    }

    /// Whether it holds no more, and never will.
    #[must_use]
    pub fn is_over(&self, now: UnixMicros) -> bool {
        self.end() <= now
    }

    /// Whether nobody is to be told of this alert at this moment.
    #[must_use]
    pub fn matches(&self, alert: &AlertId, severity: Option<Severity>, now: UnixMicros) -> bool {
        let mut matchers = self.matchers.iter();
        self.is_active(now)
            && !self.matchers.is_empty()
            && matchers.all(|matcher| matcher.matches(alert, severity))
    }

    fn end(&self) -> UnixMicros {
        self.ended_at
            .map_or(self.ends_at, |ended| ended.min(self.ends_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Labels;

    fn silence(matchers: &[(&str, &str)]) -> Silence {
        Silence {
            id: Uuid::nil(),
            matchers: matchers
                .iter()
                .map(|&(name, value)| SilenceMatcher::new(name.into(), value.into()))
                .collect(),
            starts_at: UnixMicros(10),
            ends_at: UnixMicros(20),
            created_at: UnixMicros(0),
            created_by: "alice".into(),
            comment: "".into(),
            ended_at: None,
        }
    }

    #[test]
    fn an_alert_is_silenced_that_fits_all_of_it() {
        let alert = AlertId {
            rule: "Spend".into(),
            labels: Labels::new([("channel".into(), "openai-2".into())]),
        };
        for (matchers, fits) in [
            (&[("rule", "Spend")][..], true),
            (&[("rule", "Sp*"), ("channel", "openai-?")], true),
            (&[("rule", "Spend"), ("channel", "openai")], false),
            (&[("severity", "critical")], true),
            (&[("severity", "warning")], false),
            // It has no such label, not an empty one.
            (&[("key", "*")], false),
            (&[("key", "")], false),
            (&[], false),
        ] {
            let critical = Some(Severity::Critical);
            let found = silence(matchers).matches(&alert, critical, UnixMicros(10));
            assert_eq!(found, fits, "{matchers:?}");
        }
        let any_severity = silence(&[("severity", "*")]);
        assert!(!any_severity.matches(&alert, None, UnixMicros(10)));
    }

    #[test]
    fn it_holds_from_its_start_to_its_end() {
        let mut silence = silence(&[("rule", "*")]);
        let active = |silence: &Silence| -> Vec<i64> {
            let moments = (9..=20).filter(|&at| silence.is_active(UnixMicros(at)));
            moments.collect()
        };
        assert_eq!(active(&silence), (10..20).collect::<Vec<_>>());
        assert!(!silence.is_over(UnixMicros(19)) && silence.is_over(UnixMicros(20)));
        silence.ended_at = Some(UnixMicros(12));
        assert_eq!(active(&silence), [10, 11]);
        // Ended before it began.
        silence.ended_at = Some(UnixMicros(5));
        assert!(active(&silence).is_empty() && silence.is_over(UnixMicros(5)));
    }

    #[test]
    fn what_silences_everything_unasked_or_nothing_is_none() {
        assert_eq!(silence(&[]).check(), Err(BadSilence::NoMatchers));
        let mut backwards = silence(&[("rule", "*")]);
        assert_eq!(backwards.check(), Ok(()));
        backwards.ends_at = backwards.starts_at;
        assert!(matches!(
            backwards.check(),
            Err(BadSilence::EndsFirst { .. })
        ));
    }
}
