//! What is not told because something else says it already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::alert::AlertId;
use crate::config::{InhibitSettings, InhibitSource};

use super::facts::Facts;

/// A channel that is closed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClosedChannel {
    /// Its name.
    pub channel: Arc<str>,
    /// The alerts that hold it closed, by their texts.
    pub alerts: Vec<Arc<str>>,
    /// Whether somebody else (an operator, the breaker) does.
    pub others: bool,
}

/// What inhibits at a moment: for each setting, the values that sources have, and who has them.
#[derive(Debug)]
pub(super) struct Inhibition<'a> {
    settings: &'a [InhibitSettings],
    sources: Vec<HashMap<Vec<Arc<str>>, HashSet<Source>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Alert(Arc<str>),
    Other,
}

impl<'a> Inhibition<'a> {
    /// Of what fires and what is closed.
    pub(super) fn of<'f>(
        settings: &'a [InhibitSettings],
        firing: &(impl Iterator<Item = (&'f AlertId, &'f Facts)> + Clone),
        closed: &[ClosedChannel],
    ) -> Self {
        let sources = settings.iter().map(|setting| {
            let mut sources: HashMap<_, HashSet<_>> = HashMap::new();
            let mut add = |facts: &Facts, source| {
                let values = values(facts, &setting.equal);
                sources.entry(values).or_default().insert(source);
            };
            match &setting.source {
                InhibitSource::Alert(matchers) => {
                    for (alert, facts) in firing.clone() {
                        if facts.fit(matchers) {
                            add(facts, Source::Alert(alert.to_string().into()));
                        }
                    }
                }
                InhibitSource::ClosedChannel => {
                    for closed in closed {
                        let facts = Facts::of_channel(&closed.channel);
                        if closed.others {
                            add(&facts, Source::Other);
                        }
                        for alert in &closed.alerts {
                            add(&facts, Source::Alert(Arc::clone(alert)));
                        }
                    }
                }
            }
            sources
        });
        Self {
            settings,
            sources: sources.collect(),
        }
    }

    /// Whether somebody else keeps this alert quiet. What it closed itself does not.
    pub(super) fn inhibits(&self, alert: &AlertId, facts: &Facts) -> bool {
        let mut settings = self.settings.iter().zip(&self.sources);
        settings.any(|(setting, sources)| {
            if sources.is_empty() || !facts.fit(&setting.target) {
                return false;
            }
            let Some(found) = sources.get(&values(facts, &setting.equal)) else {
                return false;
            };
            // One that is source and target does not inhibit itself, nor another of its kind it.
            if let InhibitSource::Alert(matchers) = &setting.source
                && facts.fit(matchers)
            {
                return false;
            }
            let own = Source::Alert(alert.to_string().into());
            found.iter().any(|source| *source != own)
        })
    }
}

fn values(facts: &Facts, names: &[Arc<str>]) -> Vec<Arc<str>> {
    let values = facts.values(names);
    values.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertEvent;
    use crate::config::{FactMatcher, ModelPattern};
    use crate::dispatch::tests::firing;

    fn is(name: &str, value: &str) -> FactMatcher {
        FactMatcher {
            name: name.into(),
            any: vec![ModelPattern::new(value)],
            negated: false,
        }
    }

    fn inhibited(
        settings: &[InhibitSettings],
        firing: &[AlertEvent],
        closed: &[ClosedChannel],
    ) -> Vec<String> {
        let with_facts: Vec<_> = firing
            .iter()
            .map(|event| (&event.alert, Facts::of(event, None)))
            .collect();
        let sources = with_facts.iter().map(|(alert, facts)| (*alert, facts));
        let quiet = Inhibition::of(settings, &sources, closed);
        sources
            .filter(|(alert, facts)| quiet.inhibits(alert, facts))
            .map(|(alert, _)| alert.to_string())
            .collect()
    }

    #[test]
    fn an_alert_keeps_others_with_the_same_values_quiet_and_not_itself() {
        let settings = [InhibitSettings {
            source: InhibitSource::Alert(vec![is("rule", "Down*")]),
            target: vec![is("rule", "*")],
            equal: vec!["channel".into()],
        }];
        let alerts = [
            firing("Down", &[("channel", "a")], 0),
            firing("DownToo", &[("channel", "a")], 0),
            firing("Slow", &[("channel", "a")], 0),
            firing("Slow", &[("channel", "b")], 0),
        ];
        assert_eq!(inhibited(&settings, &alerts, &[]), [r#"Slow{channel="a"}"#]);
    }

    #[test]
    fn a_closed_channel_keeps_its_alerts_quiet_but_the_one_that_closed_it() {
        let settings = [InhibitSettings {
            source: InhibitSource::ClosedChannel,
            target: vec![is("rule", "*")],
            equal: vec!["channel".into()],
        }];
        let alerts = [
            firing("Errors", &[("channel", "a")], 0),
            firing("Slow", &[("channel", "a")], 0),
        ];
        let mut closed = ClosedChannel {
            channel: "a".into(),
            alerts: vec![r#"Errors{channel="a"}"#.into()],
            others: false,
        };
        let quiet =
            |closed: &ClosedChannel| inhibited(&settings, &alerts, std::slice::from_ref(closed));
        assert_eq!(quiet(&closed), [r#"Slow{channel="a"}"#]);
        closed.others = true;
        assert_eq!(quiet(&closed).len(), 2);
        closed.channel = "b".into();
        assert!(quiet(&closed).is_empty());
    }
}
