//! Annotations: what an alert says of itself in words. They are templates (Jinja's), parsed and tried
//! when a rule file is read, and filled in when an alert changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::definition::Rule;
use crate::alert::{AlertEvent, AlertState, Labels, Quantity, Severity};
use crate::clock::UnixMicros;
use crate::meter::window::Span;

/// Steps that a template may take; it bounds what a loop in a loop can cost.
const MOST_STEPS: u64 = 50_000;

/// What templates may name.
const NAMES: [&str; 9] = [
    "rule",
    "group",
    "labels",
    "state",
    "severity",
    "value",
    "limit",
    "mode",
    "window_end",
];

/// Why a template says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the annotation `{annotation}` cannot be filled in: {reason}")]
pub struct AnnotationError {
    /// The annotation's name.
    pub annotation: Arc<str>,
    /// What is wrong, in words.
    pub reason: String,
}

/// What an alert's annotations tell of.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The alert's labels.
    pub labels: &'a Labels,
    /// What it is doing.
    pub state: AlertState,
    /// At which limit.
    pub severity: Option<Severity>,
    /// The value.
    pub value: Option<Quantity>,
    /// The limit of `severity`.
    pub limit: Option<Quantity>,
    /// When the window ends, where it is a calendar's.
    pub window_end: Option<UnixMicros>,
}

impl<'a> From<&'a AlertEvent> for Occasion<'a> {
    fn from(event: &'a AlertEvent) -> Self {
        Self {
            labels: &event.alert.labels,
            state: event.state,
            severity: event.severity,
            value: event.value,
            limit: event.limit,
            window_end: event.window_end,
        }
    }
}

/// The annotations of `rule` on an occasion, by name, each for itself. A value that nobody knows reads
/// `unknown`.
#[must_use]
pub fn render(
    rule: &Rule,
    occasion: Occasion<'_>,
) -> BTreeMap<Arc<str>, Result<String, AnnotationError>> {
    if rule.annotations.is_empty() {
        return BTreeMap::new();
    }
    let environment = environment();
    let values = values(rule, occasion);
    let rendered = rule.annotations.iter().map(|(name, template)| {
        let text = environment.render_named_str(name, template, values.clone());
        let text = text.map_err(|error| AnnotationError {
            annotation: Arc::clone(name),
            reason: reason(&error),
        });
        (Arc::clone(name), text)
    });
    rendered.collect()
}

/// Every annotation of `rule` that is no good, whichever way through its template: a syntax error, a
/// name that is none, what fails on a sample alert.
pub(super) fn check(rule: &Rule) -> Vec<AnnotationError> {
    let mut found = Vec::new();
    for (name, template) in &rule.annotations {
        let mut alone = rule.clone();
        alone.annotations = BTreeMap::from([(Arc::clone(name), Arc::clone(template))]);
        let unknown = unknown_name(&alone, template).map(|reason| AnnotationError {
            annotation: Arc::clone(name),
            reason,
        });
        let error = unknown.or_else(|| samples(&alone));
        found.extend(error);
    }
    found
}

/// What is wrong with an annotation of a sample alert of each severity and state.
fn samples(rule: &Rule) -> Option<AnnotationError> {
    let labels = rule
        .by
        .iter()
        .map(|dimension| (dimension.label(), Arc::from("sample")));
    let labels = Labels::new(labels);
    let limits = [
        (Severity::Warning, rule.warning),
        (Severity::Critical, rule.critical),
    ];
    for (severity, limit) in limits {
        let Some(limit) = limit else { continue };
        for state in AlertState::ALL {
            let quantity = rule.quantity(limit);
            let occasion = Occasion {
                labels: &labels,
                state: *state,
                severity: Some(severity),
                value: Some(quantity),
                limit: Some(quantity),
                window_end: Some(UnixMicros(0)),
            };
            let error = render(rule, occasion).into_values().find_map(Result::err);
            if error.is_some() {
                return error;
            }
        }
    }
    None
}

/// A name of the template that is none, in a branch that no sample may reach.
fn unknown_name(rule: &Rule, template: &str) -> Option<String> {
    let environment = environment();
    // What does not parse is told by the sample.
    let parsed = environment.template_from_str(template).ok()?;
    let labels: HashSet<Arc<str>> = rule.by.iter().map(super::Dimension::label).collect();
    let mut named: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
    named.sort();
    named.into_iter().find_map(|name| {
        let (first, rest) = name.split_once('.').unwrap_or((&name, ""));
        if first == "labels" && !rest.is_empty() {
            return (!labels.contains(rest)).then(|| no_such_label(rest, &labels));
        }
        if first == "window_end" && matches!(rule.span, Span::Rolling(_)) {
            return Some("a rolling window has no `window_end`".to_owned());
        }
        let is_function = environment.globals().any(|(known, _)| known == first);
        (!NAMES.contains(&first) && !is_function)
            .then(|| format!("there is no `{first}`; there are {}", NAMES.join(", ")))
    })
}

fn no_such_label(name: &str, labels: &HashSet<Arc<str>>) -> String {
    let mut labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
    labels.sort_unstable();
    if labels.is_empty() {
        return format!("there is no label `{name}`, as the rule has no `by`");
    }
    format!(
        "there is no label `{name}`; `by` makes {}",
        labels.join(", ")
    )
}

fn environment<'s>() -> Environment<'s> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MOST_STEPS));
    environment
}

fn values(rule: &Rule, occasion: Occasion<'_>) -> Value {
    let told = |quantity: Option<Quantity>| {
        quantity.map_or_else(|| "unknown".to_owned(), |known| known.to_string())
    };
    let word = |word: Option<&'static str>| word.unwrap_or("unknown");
    let labels = occasion.labels.iter();
    let labels: BTreeMap<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let mut values: BTreeMap<&'static str, Value> = BTreeMap::from([
        ("rule", Value::from(&*rule.name)),
        ("group", Value::from(&*rule.group)),
        ("labels", Value::from(labels)),
        ("state", Value::from(occasion.state.as_str())),
        (
            "severity",
            Value::from(word(occasion.severity.map(Severity::as_str))),
        ),
        ("value", Value::from(told(occasion.value))),
        ("limit", Value::from(told(occasion.limit))),
        ("mode", Value::from(rule.mode.as_str())),
    ]);
    if let Span::Calendar(calendar) = &rule.span {
        let end = occasion
            .window_end
            .map_or_else(|| "unknown".to_owned(), |end| local(end, &calendar.zone));
        values.insert("window_end", Value::from(end));
    }
    Value::from(values)
}

/// A moment by the clocks of `zone`.
fn local(at: UnixMicros, zone: &TimeZone) -> String {
    let at = at.timestamp().to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M %:z").to_string()
}

fn reason(error: &minijinja::Error) -> String {
    let what = match error.kind() {
        ErrorKind::UndefinedError => "a name in it means nothing".to_owned(),
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        kind => kind.to_string(),
    };
    match error.detail() {
        Some(detail) => format!("{what}: {detail}"),
        None => what,
    }
}
