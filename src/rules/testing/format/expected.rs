//! What is expected in a test: `expect`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{at, named};
use crate::alert::{AlertState, Labels, Quantity, Severity};
use crate::config::{Place, Reader, Section, quantity};
use crate::rules::definition::{Dimension, Rule, RuleSet};
use crate::rules::format::{none_of, word};
use crate::rules::testing::{Expected, ExpectedAlert};

/// What actions are called.
const ACTIONS: [&str; 3] = ["disable_channel", "block", "notify"];

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    set: Option<&RuleSet>,
) -> Option<Expected> {
    let place = section.place.clone()?;
    let at = at(section, reader);
    let mut alerts: BTreeMap<Arc<str>, Vec<ExpectedAlert>> = BTreeMap::new();
    let listed = section.list(reader, "alerts", |section, reader| {
        if let Some((rule, alert)) = alert(section, reader, set) {
            // A rule of which only inactive alerts are named has none that is not.
            let active = alert.state != AlertState::Inactive;
            alerts
                .entry(rule)
                .or_default()
                .extend(active.then_some(alert));
        }
    });
    let closed = section.listed(reader, "closed").map(|(_, names)| {
        let names = names.into_iter().map(|given| Arc::from(given.text));
        names.collect::<BTreeSet<Arc<str>>>()
    });
    if listed.is_none() && closed.is_none() {
        let message = "nothing is expected then";
        let hint = Some("list `alerts`, or the channels that are `closed`");
        reader.problem(&place, &section.key("alerts"), message, hint);
    }
    Some(Expected {
        place,
        at: at?,
        alerts,
        closed,
    })
}

fn alert(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    set: Option<&RuleSet>,
) -> Option<(Arc<str>, ExpectedAlert)> {
    let place = section.place.clone()?;
    let mut rule: Option<Arc<Rule>> = None;
    section.set(reader, "alert", &mut rule, |text| match set {
        Some(set) => named(set, text).map(|rule| Some(Arc::clone(rule))),
        None => Ok(None),
    });
    let mut state = None;
    let states = word(AlertState::ALL, AlertState::as_str);
    section.set(reader, "state", &mut state, states);
    for (key, hint) in [
        ("alert", "name the rule"),
        ("state", "write `inactive`, `pending` or `firing`"),
    ] {
        if !section.has(key) {
            reader.problem(&place, &section.key(key), "is missing", Some(hint));
        }
    }
    let mut severity = None;
    let severities = word(Severity::ALL, Severity::as_str);
    section.set(reader, "severity", &mut severity, severities);
    let labels = labels(section, reader, rule.as_deref(), state);
    let value = value(section, reader, rule.as_deref());
    let taken = actions(section, reader, "actions");
    let withheld = actions(section, reader, "withheld");
    if state == Some(AlertState::Inactive) {
        for key in ["severity", "value", "actions", "withheld"] {
            if let Some(place) = section.place_of(reader, key) {
                let message = "an inactive alert has none";
                reader.problem(&place, &section.key(key), message, None);
            }
        }
    }
    let alert = ExpectedAlert {
        labels,
        state: state?,
        severity,
        value,
        actions: taken,
        withheld,
    };
    Some((Arc::clone(&rule?.name), alert))
}

/// The labels: all that the rule's `by` has, where the alert is not inactive.
fn labels(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    rule: Option<&Rule>,
    state: Option<AlertState>,
) -> Labels {
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    let known: Option<Vec<Arc<str>>> =
        rule.map(|rule| rule.by.iter().map(Dimension::label).collect());
    for entry in section.names(reader, "labels") {
        let path = format!("{}.{}", section.key("labels"), entry.key);
        let Some(given) = reader.scalar(entry, &path) else {
            continue;
        };
        if let Some(known) = &known
            && !known.iter().any(|label| **label == *entry.key)
        {
            let place = reader.at(entry.key_at);
            let names: Vec<&str> = known.iter().map(|label| &**label).collect();
            let remedy = none_of(&entry.key, &names).remedy;
            let message = format!("the rule's `by` has no `{}`", entry.key);
            reader.problem(&place, &path, message, remedy.as_deref());
        }
        pairs.push((Arc::from(entry.key.as_str()), Arc::from(given.text)));
    }
    let missing = known.into_iter().flatten().find(|label| {
        let mut given = pairs.iter();
        !given.any(|(name, _)| name == label)
    });
    if let Some(label) = missing.filter(|_| state.is_some_and(|it| it != AlertState::Inactive)) {
        let place = section.place.clone().unwrap_or(Place::Default);
        let message = format!("`{label}` is missing: the rule has an alert for each");
        reader.problem(&place, &section.key("labels"), message, None);
    }
    Labels::new(pairs)
}

fn value(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    rule: Option<&Rule>,
) -> Option<Quantity> {
    let Some(rule) = rule else {
        section.ask(reader, "value");
        return None;
    };
    let parse = quantity(rule.unit());
    let mut value = None;
    section.set(reader, "value", &mut value, |text| parse(text).map(Some));
    value.map(|value| rule.quantity(value))
}

fn actions(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Option<BTreeSet<Arc<str>>> {
    let (_, listed) = section.listed(reader, key)?;
    let mut actions = BTreeSet::new();
    for given in listed {
        if ACTIONS.contains(&given.text.as_str()) {
            actions.insert(Arc::from(given.text));
        } else {
            reader.refuse(&given, &section.key(key), &none_of(&given.text, &ACTIONS));
        }
    }
    Some(actions)
}
