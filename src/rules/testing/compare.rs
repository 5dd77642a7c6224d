//! What was expected against what was found.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Expected, ExpectedAlert};
use crate::alert::{AlertState, Labels, Quantity, Severity};
use crate::rules::definition::Rule;
use crate::rules::view::{AlertView, RuleView};

/// A quantile is told up to so much too high: see [`Sketch`](crate::record::Sketch).
const SKETCH_ERROR: i64 = 32;

/// What was expected and what was found of it, where the two differ, as lines to be shown.
pub(super) fn differences(
    expected: &Expected,
    found: &[RuleView],
    closed: &BTreeSet<Arc<str>>,
) -> Option<(Vec<String>, Vec<String>)> {
    let mut wanted = Vec::new();
    let mut had = Vec::new();
    for (name, alerts) in &expected.alerts {
        let Some(view) = found.iter().find(|view| view.rule.name == *name) else {
            continue;
        };
        of_rule(alerts, view, &mut wanted, &mut had);
    }
    if let Some(expected) = &expected.closed
        && expected != closed
    {
        wanted.push(of_channels(expected));
        had.push(of_channels(closed));
    }
    (!wanted.is_empty() || !had.is_empty()).then_some((wanted, had))
}

fn of_rule(
    expected: &[ExpectedAlert],
    view: &RuleView,
    wanted: &mut Vec<String>,
    had: &mut Vec<String>,
) {
    let mut active: Vec<&AlertView> = view
        .alerts
        .iter()
        .filter(|alert| alert.state != AlertState::Inactive)
        .collect();
    for alert in expected {
        let of_labels = |view: &&AlertView| view.labels == alert.labels;
        let found = active.iter().position(of_labels);
        let found = found.map(|at| active.swap_remove(at));
        if found.is_some_and(|found| fits(alert, found, &view.rule)) {
            continue;
        }
        wanted.push(wish(alert, &view.rule));
        // An inactive alert has a value all the same, which says why it is.
        let inactive = || view.alerts.iter().find(of_labels);
        match found.or_else(inactive) {
            Some(found) => had.push(sight(found, alert, &view.rule)),
            None => had.push(format!(
                "{}{}: no request of it",
                view.rule.name, alert.labels
            )),
        }
    }
    for alert in active {
        wanted.push(line(
            &view.rule,
            &alert.labels,
            AlertState::Inactive,
            None,
            None,
        ));
        let (severity, value) = (alert.severity, alert.value);
        had.push(line(
            &view.rule,
            &alert.labels,
            alert.state,
            severity,
            value,
        ));
    }
}

fn fits(expected: &ExpectedAlert, found: &AlertView, rule: &Rule) -> bool {
    let (taken, withheld) = actions(found);
    let of_value = |expected: Quantity| {
        let slack = match rule.stat.permille() {
            Some(_) => expected.value / SKETCH_ERROR + 1,
            None => 0,
        };
        found.value.is_some_and(|found| {
            found.unit == expected.unit
                && (expected.value..=expected.value.saturating_add(slack)).contains(&found.value)
        })
    };
    expected.state == found.state
        && expected
            .severity
            .is_none_or(|severity| Some(severity) == found.severity)
        && expected.value.is_none_or(of_value)
        && expected
            .actions
            .as_ref()
            .is_none_or(|wanted| *wanted == taken)
        && expected
            .withheld
            .as_ref()
            .is_none_or(|wanted| *wanted == withheld)
}

/// The names of the actions that were taken, and of those that were not.
fn actions(alert: &AlertView) -> (BTreeSet<Arc<str>>, BTreeSet<Arc<str>>) {
    let named = |done: bool| {
        let of_kind = alert.actions.iter().filter(|taken| taken.done == done);
        of_kind.map(|taken| Arc::clone(&taken.action)).collect()
    };
    (named(true), named(false))
}

fn wish(alert: &ExpectedAlert, rule: &Rule) -> String {
    let mut text = line(
        rule,
        &alert.labels,
        alert.state,
        alert.severity,
        alert.value,
    );
    append(&mut text, "did", alert.actions.as_ref());
    append(&mut text, "did not", alert.withheld.as_ref());
    text
}

/// What was found, as far as something was expected of it.
fn sight(found: &AlertView, expected: &ExpectedAlert, rule: &Rule) -> String {
    let severity = found.severity;
    let mut text = line(rule, &found.labels, found.state, severity, found.value);
    let (taken, withheld) = actions(found);
    append(&mut text, "did", expected.actions.as_ref().map(|_| &taken));
    append(
        &mut text,
        "did not",
        expected.withheld.as_ref().map(|_| &withheld),
    );
    text
}

fn line(
    rule: &Rule,
    labels: &Labels,
    state: AlertState,
    severity: Option<Severity>,
    value: Option<Quantity>,
) -> String {
    let mut text = format!("{}{labels}: {state}", rule.name);
    // Writing to a String does not fail.
    if let Some(severity) = severity {
        let _ = write!(text, " ({severity})");
    }
    if let Some(value) = value {
        let _ = write!(text, ", value {value}");
    }
    text
}

fn append(text: &mut String, what: &str, actions: Option<&BTreeSet<Arc<str>>>) {
    if let Some(actions) = actions {
        let names: Vec<&str> = actions.iter().map(|name| &**name).collect();
        let names = if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        };
        let _ = write!(text, "; {what}: {names}");
    }
}

fn of_channels(closed: &BTreeSet<Arc<str>>) -> String {
    let names: Vec<&str> = closed.iter().map(|name| &**name).collect();
    if names.is_empty() {
        "no channel closed".to_owned()
    } else {
        format!("closed: {}", names.join(", "))
    }
}
