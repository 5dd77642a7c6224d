//! What an answer is about.

use std::fmt;
use std::sync::Arc;

use crate::alert::{AlertId, Labels, SilenceMatcher};

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
    /// The rule; `None` for any.
    pub rule: Option<Arc<str>>,
    /// The labels.
    pub labels: Labels,
}

impl AlertSubject {
    /// What these alerts have in common; `None` where that is nothing, or there is none of them.
    pub fn common<'a>(alerts: impl IntoIterator<Item = &'a AlertId>) -> Option<Self> {
        let mut alerts = alerts.into_iter();
        let first = alerts.next()?;
        let mut rule = Some(&first.rule);
        let mut labels: Vec<_> = first.labels.iter().collect();
        for alert in alerts {
            rule = rule.filter(|rule| ***rule == *alert.rule);
            labels.retain(|(name, value)| {
                let others = alert.labels.get(name);
                others.is_some_and(|other| **other == **value)
            });
        }
        let common = Self {
            rule: rule.cloned(),
            labels: Labels::new(
                labels
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into())),
            ),
        };
        (common.rule.is_some() || !common.labels.is_empty()).then_some(common)
    }

    /// Whether an alert is one of them.
    #[must_use]
    pub fn fits(&self, alert: &AlertId) -> bool {
        let has = |(name, value): (&str, &str)| {
            let own = alert.labels.get(name);
            own.is_some_and(|own| **own == *value)
        };
        self.rule.as_ref().is_none_or(|rule| *rule == alert.rule) && self.labels.iter().all(has)
    }

    /// What a silence has to ask for to fit them.
    ///
    /// In a silence `*` is any text. In a label it is the client's own character (a model's name may
    /// be nothing else), which must not silence more than was meant, so it becomes `?`: one
    /// character, whichever.
    #[must_use]
    pub fn matchers(&self) -> Vec<SilenceMatcher> {
        let rule = self.rule.iter().map(|rule| ("rule", &**rule));
        rule.chain(self.labels.iter())
            .map(|(name, value)| SilenceMatcher::new(name.into(), value.replace('*', "?").into()))
            .collect()
    }
}

impl From<&AlertId> for AlertSubject {
    fn from(alert: &AlertId) -> Self {
        Self {
            rule: Some(Arc::clone(&alert.rule)),
            labels: alert.labels.clone(),
        }
    }
}

/// As an alert is written: `Spend{channel="a"}`; `{channel="a"}` of any rule.
impl fmt::Display for AlertSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            f.write_str(rule)?;
        }
        write!(f, "{}", self.labels)
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
            Self::Alerts(AlertSubject { rule, labels }) => {
                put(if rule.is_some() { "rule" } else { "any" });
                put(rule.as_deref().unwrap_or_default());
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
        let rules = [
            alert("A", &[("channel", "a")]),
            alert("B", &[("channel", "a")]),
        ];
        let any = AlertSubject::common(&rules).unwrap();
        assert_eq!(any.to_string(), r#"{channel="a"}"#);
        // One silence for both would silence everything.
        assert_eq!(
            AlertSubject::common(&[alert("A", &[]), alert("B", &[])]),
            None
        );
        assert_eq!(AlertSubject::common([]), None);
    }

    #[test]
    fn a_silence_of_a_hostile_name_silences_that_name() {
        let star = alert("Spend", &[("model", "*"), ("key", "a?b*")]);
        let silence = Silence {
            id: uuid::Uuid::nil(),
            matchers: AlertSubject::from(&star).matchers(),
            starts_at: UnixMicros(0),
            ends_at: UnixMicros(10),
            created_at: UnixMicros(0),
            created_by: "".into(),
            comment: "".into(),
            ended_at: None,
        };
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
            Subject::Alerts(AlertSubject {
                rule: None,
                labels: alert("", &[("a", "")]).labels,
            }),
        ];
        let bytes: BTreeSet<_> = subjects.iter().map(Subject::bytes).collect();
        assert_eq!(bytes.len(), subjects.len());
    }
}
