//! What an answer is about.

use std::fmt;
use std::sync::Arc;

use crate::alert::{AlertId, Labels, Severity, SilenceMatcher};

/// What a silence of warnings asks for.
const WARNINGS: (&str, &str) = ("severity", Severity::Warning.as_str());

/// What an answer is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An alert, or all that a group of them has in common.
    Alerts(AlertSubject),
    /// A channel, by its name.
    Channel(Arc<str>),
}

/// The alerts of a rule that have these labels, whatever others they have. One alert is that rule
/// with all its labels; a group is what its alerts have in common, so that one silence fits them all,
/// those included that join the group later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlertSubject {
    /// The rule.
    pub rule: Arc<str>,
    /// The labels.
    pub labels: Labels,
    /// Only as long as they are warnings: what becomes critical is another matter.
    pub only_warnings: bool,
}

impl AlertSubject {
    /// Labels of an alert of which others may have the same: the first ones by name. All that alerts
    /// may have in common is looked through for what a button means, so there have to be few.
    const MOST_COMMON: usize = 4;

    /// What alerts of one rule have in common, the rule of the first; `None` where there are none.
    pub fn common<'a>(alerts: impl IntoIterator<Item = &'a AlertId>) -> Option<Self> {
        let mut alerts = alerts.into_iter();
        let first = alerts.next()?;
        let mut common = Self::from(first);
        for alert in alerts {
            let has = |name: &str, value: &str| {
                let own = alert.labels.get(name);
                own.is_some_and(|own| **own == *value)
            };
            common = common.with_labels(has);
        }
        Some(common)
    }

    /// With those of the labels that others may have and that are wanted.
    pub(super) fn with_labels(&self, wanted: impl Fn(&str, &str) -> bool) -> Self {
        let labels = self.labels.iter().take(Self::MOST_COMMON);
        let labels = labels.filter(|(name, value)| wanted(name, value));
        Self {
            rule: Arc::clone(&self.rule),
            labels: Labels::new(labels.map(|(name, value)| (name.into(), value.into()))),
            only_warnings: self.only_warnings,
        }
    }

    /// The same as long as they are warnings.
    #[must_use]
    pub fn of_warnings(mut self) -> Self {
        self.only_warnings = true;
        self
    }

    /// Everything that an alert may have in common with others.
    pub(super) fn parts(alert: &AlertId) -> impl Iterator<Item = Self> {
        let whole = Self::from(alert);
        let names: Vec<Arc<str>> = alert
            .labels
            .iter()
            .take(Self::MOST_COMMON)
            .map(|(name, _)| name.into())
            .collect();
        (0..1_u32 << names.len()).map(move |chosen| {
            let is_chosen = |name: &str| {
                let at = names.iter().position(|known| **known == *name);
                at.is_some_and(|at| chosen & (1 << at) != 0)
            };
            whole.with_labels(|name, _| is_chosen(name))
        })
    }

    /// Whether an alert is one of them, of whatever severity.
    #[must_use]
    pub fn fits(&self, alert: &AlertId) -> bool {
        let has = |(name, value): (&str, &str)| {
            let own = alert.labels.get(name);
            own.is_some_and(|own| **own == *value)
        };
        self.rule == alert.rule && self.labels.iter().all(has)
    }

    /// What a silence has to ask for to fit them.
    ///
    /// In a silence `*` is any text. In a label it is the client's own character (a model's name may
    /// be nothing else), which must not silence more than was meant, so it becomes `?`: one
    /// character, whichever.
    #[must_use]
    pub fn matchers(&self) -> Vec<SilenceMatcher> {
        let rule = std::iter::once(("rule", &*self.rule));
        let warnings = self.only_warnings.then_some(WARNINGS);
        rule.chain(self.labels.iter())
            .chain(warnings)
            .map(|(name, value)| SilenceMatcher::new(name.into(), value.replace('*', "?").into()))
            .collect()
    }
}

impl From<&AlertId> for AlertSubject {
    fn from(alert: &AlertId) -> Self {
        Self {
            rule: Arc::clone(&alert.rule),
            labels: alert.labels.clone(),
            only_warnings: false,
        }
    }
}

/// As an alert is written: `Spend{channel="a"}`; `Spend{channel="a"} severity=warning`.
impl fmt::Display for AlertSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.rule, self.labels)?;
        if self.only_warnings {
            let (name, value) = WARNINGS;
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alerts(alerts) => alerts.fmt(f),
            Self::Channel(name) => f.pad(name),
        }
    }
}

impl Subject {
    /// Bytes that no other subject has.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        match self {
            Self::Channel(name) => {
                put("channel");
                put(name);
            }
            Self::Alerts(AlertSubject {
                rule,
                labels,
                only_warnings,
            }) => {
                put(if *only_warnings { "warnings" } else { "alerts" });
                put(rule);
                for (name, value) in labels.iter() {
                    put(name);
                    put(value);
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::alert::Silence;
    use crate::clock::UnixMicros;

    fn alert(rule: &str, labels: &[(&str, &str)]) -> AlertId {
        let labels = labels
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        AlertId {
            rule: rule.into(),
            labels: Labels::new(labels),
        }
    }

    #[test]
    fn a_group_is_what_its_alerts_have_in_common() {
        let alerts = [
            alert("Spend", &[("channel", "a"), ("key", "k")]),
            alert("Spend", &[("channel", "a"), ("key", "l")]),
            alert("Spend", &[("channel", "a"), ("model", "m")]),
        ];
        let common = AlertSubject::common(&alerts).unwrap();
        assert_eq!(common.to_string(), r#"Spend{channel="a"}"#);
        assert!(alerts.iter().all(|alert| common.fits(alert)));
        assert!(!common.fits(&alert("Spend", &[("channel", "b")])));
        assert!(!common.fits(&alert("Slow", &[("channel", "a")])));

        let one = AlertSubject::common(&alerts[..1]).unwrap();
        assert_eq!(one, AlertSubject::from(&alerts[0]));
        assert_eq!(AlertSubject::common([]), None);
    }

    #[test]
    fn what_alerts_have_in_common_is_among_the_parts_of_each() {
        let labels = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let of = |last: &str| {
            let mut labels: Vec<_> = labels.iter().map(|name| (*name, "x")).collect();
            labels[8].1 = last;
            alert("Spend", &labels)
        };
        let alerts = [of("1"), of("2")];
        let common = AlertSubject::common(&alerts).unwrap();
        assert_eq!(common.labels.iter().count(), 4);
        for alert in &alerts {
            assert!(common.fits(alert));
            assert_eq!(AlertSubject::parts(alert).count(), 16);
            assert!(AlertSubject::parts(alert).any(|part| part == common));
        }
    }

    #[test]
    fn a_silence_of_a_warning_leaves_what_is_critical_alone() {
        let warned = alert("Spend", &[("channel", "a")]);
        let subject = AlertSubject::from(&warned).of_warnings();
        assert_eq!(
            subject.to_string(),
            r#"Spend{channel="a"} severity=warning"#
        );
        let silence = silence(subject.matchers());
        let at = UnixMicros(1);
        assert!(silence.matches(&warned, Some(Severity::Warning), at));
        assert!(!silence.matches(&warned, Some(Severity::Critical), at));
    }

    fn silence(matchers: Vec<SilenceMatcher>) -> Silence {
        Silence {
            id: uuid::Uuid::nil(),
            matchers,
            starts_at: UnixMicros(0),
            ends_at: UnixMicros(10),
            created_at: UnixMicros(0),
            created_by: "".into(),
            comment: "".into(),
            ended_at: None,
        }
    }

    #[test]
    fn a_silence_of_a_hostile_name_silences_that_name() {
        let star = alert("Spend", &[("model", "*"), ("key", "a?b*")]);
        let silence = silence(AlertSubject::from(&star).matchers());
        assert!(silence.matches(&star, None, UnixMicros(1)));
        let other = alert("Spend", &[("model", "gpt-5"), ("key", "a?b*")]);
        assert!(!silence.matches(&other, None, UnixMicros(1)));
        let other = alert("Spend", &[("model", "*"), ("key", "a?b and more")]);
        assert!(!silence.matches(&other, None, UnixMicros(1)));
    }

    #[test]
    fn no_two_subjects_have_the_same_bytes() {
        let subjects = [
            Subject::Channel("a".into()),
            Subject::Alerts(AlertSubject::from(&alert("a", &[]))),
            Subject::Alerts(AlertSubject::from(&alert("", &[("a", "")]))),
            Subject::Alerts(AlertSubject::from(&alert("", &[("", "a")]))),
            Subject::Alerts(AlertSubject::from(&alert("", &[("a", "b"), ("c", "d")]))),
            Subject::Alerts(AlertSubject::from(&alert("", &[("a", "bc"), ("", "d")]))),
            Subject::Alerts(AlertSubject::from(&alert("", &[("a", "")])).of_warnings()),
        ];
        let bytes: BTreeSet<_> = subjects.iter().map(Subject::bytes).collect();
        assert_eq!(bytes.len(), subjects.len());
    }
}
