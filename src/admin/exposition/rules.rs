//! What `/metrics` says of the rules: budgets and what is used of them, alerts, health.
//!
//! Labels hold no key, tag or other value that clients choose freely: of an alert's labels only the
//! channel, the model and the API are told, and of alerts that differ in others the one that is
//! nearest to its limit.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::alert::{AlertState, Labels, Quantity, Severity};
use crate::clock::UnixMicros;
use crate::meter::families::{self, Family, counter, family, float, gauge};
use crate::rules::{AlertView, Rule, RuleView, Rules};

/// Most series of a rule in each family of budgets: those that are nearest to their limit.
const MOST_SCOPES: usize = 200;
/// The labels that make up a scope.
const TOLD: [&str; 3] = ["channel", "model", "api"];
/// The scope of an alert without such labels.
const ALL: &str = "all";

const LIMIT: Family = (
    "tollgate_budget_limit",
    "The limit of a budget: the critical one, else the warning. In USD, tokens or requests, as unit \
     says.",
    &["rule", "scope", "unit"],
);
const USED: Family = (
    "tollgate_budget_used",
    "What is used of a budget in its window. scope names the channel, model and api that it is of \
     (`all` where it tells none apart); where it tells keys, tags or others apart, the one nearest to \
     the limit is shown. The 200 scopes of a rule that are nearest to it are shown.",
    &["rule", "scope", "unit"],
);
const REMAINING: Family = (
    "tollgate_budget_remaining",
    "The limit of a budget less what is used; below 0 once it is passed.",
    &["rule", "scope", "unit"],
);
const RESERVED: Family = (
    "tollgate_budget_reserved",
    "What is reserved of a budget for requests on their way.",
    &["rule", "scope", "unit"],
);
const FORECAST: Family = (
    "tollgate_budget_forecast",
    "What is used of a budget at the end of its window, at the present rate; absent while that is not \
     known.",
    &["rule", "scope", "unit"],
);
const BOUND: Family = (
    "tollgate_budget_overshoot_bound",
    "By how much what is spent may pass an enforced budget's limit with what is on its way now; +Inf \
     while a request is on its way of which nobody knows what it may use, or a process that handed \
     over still has some.",
    &["rule", "unit"],
);
const ALERTS: Family = (
    "tollgate_alerts",
    "Alerts of a rule that are pending or firing, by the limit that is passed.",
    &["rule", "severity", "state"],
);
const HEALTH: Family = (
    "tollgate_rule_health",
    "1 while a rule can be judged; 0 while it cannot, and nothing of it fires or resolves.",
    &["rule"],
);
const BLOCKED: Family = (
    "tollgate_rule_blocked_requests_total",
    "Requests that a rule refused (mode enforce), and that it would have refused (mode shadow, which \
     stands for notify too).",
    &["rule", "mode"],
);
const FOLDED: Family = (
    "tollgate_rule_folded_requests_total",
    "Requests with combinations of labels beyond a rule's max_series, which share one alert.",
    &["rule"],
);

const FAMILIES: &[Family] = &[
    LIMIT, USED, REMAINING, RESERVED, FORECAST, BOUND, ALERTS, HEALTH, BLOCKED, FOLDED,
];

/// Reads [`Rules`] for the registry of metrics.
#[derive(Debug)]
pub(super) struct RulesCollector {
    rules: Arc<Rules>,
    descriptions: Vec<Desc>,
}

impl RulesCollector {
    pub(super) fn new(rules: Arc<Rules>) -> prometheus::Result<Self> {
        Ok(Self {
            rules,
            descriptions: families::descriptions(FAMILIES)?,
        })
    }
}

impl Collector for RulesCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let views = self.rules.view(UnixMicros::now());
        let mut families = budgets(&views);
        families.extend([
            family(BOUND, MetricType::GAUGE, bounds(&views)),
            family(ALERTS, MetricType::GAUGE, alerts(&views)),
            family(HEALTH, MetricType::GAUGE, health(&views)),
            family(BLOCKED, MetricType::COUNTER, blocked(&views)),
            family(FOLDED, MetricType::COUNTER, folded(&views)),
        ]);
        // The exposition format has no way to say "no series yet".
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

/// What is used of budgets, and what is left.
fn budgets(views: &[RuleView]) -> Vec<MetricFamily> {
    let mut limits = Vec::new();
    let mut used = Vec::new();
    let mut remaining = Vec::new();
    let mut reserved = Vec::new();
    let mut forecasts = Vec::new();
    for view in views {
        let rule = &*view.rule;
        let Some(limit) = rule.budget_limit().map(|limit| rule.quantity(limit)) else {
            continue;
        };
        let unit = limit.unit.as_str();
        for (scope, alert) in nearest(&view.alerts) {
            let series = |family, value: Quantity| {
                gauge(family, &[&rule.name, &scope, unit], value.as_f64())
            };
            limits.push(series(LIMIT, limit));
            if let Some(value) = alert.value {
                used.push(series(USED, value));
                remaining.push(series(REMAINING, less(limit, value)));
            }
            reserved.extend(alert.reserved.map(|held| series(RESERVED, held)));
            forecasts.extend(alert.forecast.map(|forecast| series(FORECAST, forecast)));
        }
    }
    let families = [
        (LIMIT, limits),
        (USED, used),
        (REMAINING, remaining),
        (RESERVED, reserved),
        (FORECAST, forecasts),
    ];
    let families = families.into_iter();
    families
        .map(|(identity, metrics)| family(identity, MetricType::GAUGE, metrics))
        .collect()
}

fn less(limit: Quantity, used: Quantity) -> Quantity {
    Quantity {
        value: limit.value.saturating_sub(used.value),
        ..limit
    }
}

/// The alert of each scope that is nearest to the limit, which is the same for all of a rule; the
/// nearest at the front, and no more of them than are told.
fn nearest(alerts: &[AlertView]) -> Vec<(String, &AlertView)> {
    let mut scopes: HashMap<String, &AlertView> = HashMap::new();
    for alert in alerts {
        let shown = scopes.entry(scope(&alert.labels)).or_insert(alert);
        if nearness(alert) > nearness(shown) {
            *shown = alert;
        }
    }
    let mut scopes: Vec<_> = scopes.into_iter().collect();
    scopes.sort_by(|(left, one), (right, other)| {
        let order = nearness(other).cmp(&nearness(one));
        order.then_with(|| left.cmp(right))
    });
    scopes.truncate(MOST_SCOPES);
    scopes
}

/// The larger, the nearer.
fn nearness(alert: &AlertView) -> (Option<i64>, Option<i64>) {
    let value = |quantity: Option<Quantity>| quantity.map(|quantity| quantity.value);
    (value(alert.value), value(alert.reserved))
}

/// `channel=a,model=b`.
fn scope(labels: &Labels) -> String {
    let parts = TOLD.iter().filter_map(|name| {
        let value = labels.get(name)?;
        Some(format!("{name}={value}"))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        ALL.to_owned()
    } else {
        parts.join(",")
    }
}

fn bounds(views: &[RuleView]) -> Vec<Metric> {
    let bounds = views.iter().filter_map(|view| {
        let bound = view
            .overshoot_bound?
            .map_or(f64::INFINITY, Quantity::as_f64);
        let labels = [&*view.rule.name, view.rule.unit().as_str()];
        Some(gauge(BOUND, &labels, bound))
    });
    bounds.collect()
}

fn alerts(views: &[RuleView]) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for view in views {
        for severity in Severity::ALL {
            for state in [AlertState::Pending, AlertState::Firing] {
                let like =
                    |alert: &&AlertView| alert.state == state && alert.severity == Some(*severity);
                let count = view.alerts.iter().filter(like).count();
                // Also where there is none, so that what asks for changes sees the first.
                if count > 0 || has(&view.rule, *severity) {
                    let labels = [&*view.rule.name, severity.as_str(), state.as_str()];
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    metrics.push(gauge(ALERTS, &labels, float(count)));
                }
            }
        }
    }
    metrics
}

fn has(rule: &Rule, severity: Severity) -> bool {
    match severity {
        Severity::Warning => rule.warning.is_some(),
        Severity::Critical => rule.critical.is_some(),
    }
}

fn health(views: &[RuleView]) -> Vec<Metric> {
    let health = views.iter().map(|view| {
        let healthy = u64::from(view.unhealthy.is_none());
        gauge(HEALTH, &[&view.rule.name], float(healthy))
    });
    health.collect()
}

fn blocked(views: &[RuleView]) -> Vec<Metric> {
    let blocking = views
        .iter()
        .filter(|view| view.rule.block().is_some() || view.blocked > 0 || view.would_block > 0);
    let counts = blocking.flat_map(|view| {
        [("enforce", view.blocked), ("shadow", view.would_block)]
            .map(|(mode, count)| counter(BLOCKED, &[&view.rule.name, mode], float(count)))
    });
    counts.collect()
}

fn folded(views: &[RuleView]) -> Vec<Metric> {
    let counts = views
        .iter()
        .filter(|view| !view.rule.by.is_empty())
        .map(|view| counter(FOLDED, &[&view.rule.name], float(view.folded)));
    counts.collect()
}
