//! What routes and inhibitions go by: facts of an alert, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::{AlertEvent, Mode};
use crate::config::FactMatcher;
use crate::rules::{Action, Rule};

/// The name of an alert's mode.
pub(super) const MODE: &str = "mode";

/// Facts of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts(BTreeMap<Arc<str>, Arc<str>>);

impl Facts {
    /// Of an alert and its rule, where that is still there.
    pub(super) fn of(event: &AlertEvent, rule: Option<&Rule>) -> Self {
        let labels = event.alert.labels.iter();
        let mut facts: BTreeMap<Arc<str>, Arc<str>> = labels
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut add = |name: &str, value: &str| {
            facts.insert(name.into(), value.into());
        };
        add("rule", &event.alert.rule);
        add(MODE, event.mode.as_str());
        if let Some(severity) = event.severity {
            add("severity", severity.as_str());
        }
        if let Some(rule) = rule {
            add("group", &rule.group);
            add("metric", rule.metric.as_str());
            add("stat", rule.stat.as_str());
        }
        Self(facts)
    }

    /// Of a closed channel.
    pub(super) fn of_channel(channel: &Arc<str>) -> Self {
        Self(BTreeMap::from([("channel".into(), Arc::clone(channel))]))
    }

    /// The value of a fact; nothing where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    /// Whether they fit all of these.
    pub(super) fn fit(&self, matchers: &[FactMatcher]) -> bool {
        let mut matchers = matchers.iter();
        matchers.all(|matcher| matcher.matches(self.get(&matcher.name)))
    }

    /// The values of these facts.
    pub(super) fn values(&self, names: &[Arc<str>]) -> Vec<(Arc<str>, Arc<str>)> {
        let value = |name: &Arc<str>| self.0.get(name).map_or_else(|| "".into(), Arc::clone);
        names
            .iter()
            .map(|name| (Arc::clone(name), value(name)))
            .collect()
    }

    /// Whether its rule only watches, and tells nobody who did not ask for it.
    pub(super) fn is_shadow(&self) -> bool {
        self.get(MODE) == Mode::Shadow.as_str()
    }
}

/// Whom the rule itself names to be told.
pub(super) fn named_receivers(rule: Option<&Rule>) -> Option<&[Arc<str>]> {
    rule?.actions.iter().find_map(|action| match action {
        Action::Notify(receivers) => Some(&**receivers),
        _ => None,
    })
}
