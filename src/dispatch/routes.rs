//! The tree of routes: whom an alert is told, and together with what.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{FactMatcher, ModelPattern, RouteSettings};

use super::facts::{Facts, MODE};

/// A route, with the ones below it.
#[derive(Debug)]
pub(super) struct Route {
    /// Its matchers and those above it, in words: the same as long as they are, wherever it stands.
    pub(super) name: Arc<str>,
    matchers: Vec<FactMatcher>,
    /// Whether it or one above asks for the mode.
    asks_mode: bool,
    goes_on: bool,
    below: Vec<Arc<Route>>,
    pub(super) receivers: Vec<Arc<str>>,
    pub(super) group_by: Vec<Arc<str>>,
    pub(super) group_wait: Duration,
    pub(super) group_interval: Duration,
    pub(super) repeat_interval: Duration,
    pub(super) mute_times: Vec<Arc<str>>,
    pub(super) active_times: Vec<Arc<str>>,
}

impl Route {
    /// The topmost route.
    pub(super) fn top(settings: &RouteSettings) -> Arc<Self> {
        Self::of(settings, "", false)
    }

    fn of(settings: &RouteSettings, above: &str, asks_mode: bool) -> Arc<Self> {
        let name = format!("{above}{}", in_words(&settings.matchers));
        let asks = |matcher: &FactMatcher| *matcher.name == *MODE;
        let asks_mode = asks_mode || settings.matchers.iter().any(asks);
        let below = settings.routes.iter();
        Arc::new(Self {
            below: below
                .map(|route| Self::of(route, &format!("{name}/"), asks_mode))
                .collect(),
            name: name.into(),
            matchers: settings.matchers.clone(),
            asks_mode,
            goes_on: settings.goes_on,
            receivers: settings.receivers.clone(),
            group_by: settings.group_by.clone(),
            group_wait: settings.group_wait,
            group_interval: settings.group_interval,
            repeat_interval: settings.repeat_interval,
            mute_times: settings.mute_times.clone(),
            active_times: settings.active_times.clone(),
        })
    }

    /// The routes that an alert takes: the first below that fits and, where one says `continue`, the
    /// next ones; this one where none does.
    pub(super) fn taken(self: &Arc<Self>, facts: &Facts) -> Vec<Arc<Self>> {
        let mut taken = Vec::new();
        if facts.fit(&self.matchers) {
            self.collect(facts, &mut taken);
        }
        if facts.is_shadow() {
            taken.retain(|route| route.asks_mode);
        }
        taken
    }

    /// The route, this one or one below, that a group's key begins with.
    pub(super) fn named(self: &Arc<Self>, key: &str) -> Option<&Arc<Self>> {
        let is_own = key.strip_prefix(&*self.name);
        if is_own.is_some_and(|rest| rest.starts_with(":{")) {
            return Some(self);
        }
        self.below.iter().find_map(|route| route.named(key))
    }

    fn collect(self: &Arc<Self>, facts: &Facts, taken: &mut Vec<Arc<Self>>) {
        let before = taken.len();
        for route in &self.below {
            if facts.fit(&route.matchers) {
                route.collect(facts, taken);
                if !route.goes_on {
                    break;
                }
            }
        }
        if taken.len() == before {
            taken.push(Arc::clone(self));
        }
    }
}

/// `{severity="critical",key!="a|b"}`.
fn in_words(matchers: &[FactMatcher]) -> String {
    let mut words = String::from("{");
    for (index, matcher) in matchers.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let not = if matcher.negated { "!" } else { "" };
        let values: Vec<&str> = matcher.any.iter().map(ModelPattern::as_str).collect();
        let _ = write!(words, "{comma}{}{not}={:?}", matcher.name, values.join("|"));
    }
    words.push('}');
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::firing;

    fn matcher(name: &str, value: &str, negated: bool) -> FactMatcher {
        FactMatcher {
            name: name.into(),
            any: value.split('|').map(ModelPattern::new).collect(),
            negated,
        }
    }

    fn route(matchers: Vec<FactMatcher>, receiver: &str, goes_on: bool) -> RouteSettings {
        RouteSettings {
            matchers,
            goes_on,
            ..RouteSettings::to(vec![receiver.into()])
        }
    }

    fn tree() -> Arc<Route> {
        let mut critical = route(vec![matcher("severity", "critical", false)], "pager", true);
        critical.routes = vec![route(
            vec![matcher("channel", "azure-*", false)],
            "azure",
            false,
        )];
        let mut top = RouteSettings::to(vec!["ops".into()]);
        top.routes = vec![
            critical,
            route(vec![matcher("rule", "Spend|Other", false)], "money", false),
            route(vec![matcher("rule", "Spend", false)], "never", false),
            route(
                vec![
                    matcher("mode", "shadow", false),
                    matcher("rule", "Tried", true),
                ],
                "trial",
                false,
            ),
        ];
        Route::top(&top)
    }

    fn told(rule: &str, labels: &[(&str, &str)], severity: &str, mode: &str) -> Vec<String> {
        let mut event = firing(rule, labels, 0);
        event.severity = severity.parse().ok();
        event.mode = mode.parse().unwrap();
        let taken = tree().taken(&Facts::of(&event, None));
        taken
            .iter()
            .map(|route| route.receivers[0].to_string())
            .collect()
    }

    #[test]
    fn the_first_that_fits_is_taken_and_the_next_where_it_says_continue() {
        assert_eq!(told("Slow", &[], "warning", "notify"), ["ops"]);
        assert_eq!(told("Slow", &[], "critical", "notify"), ["pager"]);
        assert_eq!(told("Spend", &[], "critical", "notify"), ["pager", "money"]);
        let azure = [("channel", "azure-2")];
        assert_eq!(
            told("Other", &azure, "critical", "enforce"),
            ["azure", "money"]
        );
    }

    #[test]
    fn what_only_watches_is_told_where_the_mode_is_asked_for() {
        assert_eq!(told("Slow", &[], "critical", "shadow"), ["trial"]);
        assert_eq!(told("Slow", &[], "warning", "shadow"), ["trial"]);
        assert!(told("Spend", &[], "warning", "shadow").is_empty());
        assert!(told("Tried", &[], "warning", "shadow").is_empty());
    }

    #[test]
    fn a_route_is_called_by_what_it_matches() {
        let names: Vec<_> = tree()
            .below
            .iter()
            .map(|route| route.name.clone())
            .collect();
        assert_eq!(&*names[0], r#"{}/{severity="critical"}"#);
        assert_eq!(&*names[3], r#"{}/{mode="shadow",rule!="Tried"}"#);
    }
}
