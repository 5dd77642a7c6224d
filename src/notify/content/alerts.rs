//! What templates may name of a group of alerts.

use serde_json::{Value as Json, json};

use super::rendering::{LONGEST_TITLE, Rendering, links};
use super::{AlertChange, AlertContent, AlertsContent, actions, humane, markup, words};
use crate::alert::{AlertEvent, AlertState, Mode, Quantity, Severity, Unit};
use crate::config::Language;
use crate::notify::Tone;
use crate::rules::Stat;

/// Alerts that are told in full.
const IN_FULL: usize = 5;
/// Alerts that get a line of their own after those.
const IN_LINES: usize = 30;
/// Annotations of an alert that are told.
const MOST_ANNOTATIONS: usize = 8;
/// Characters of a name in a headline.
const LONGEST_NAME: usize = 40;
/// Characters that a headline has for names at least, however long the rest is.
const LEAST_FOR_NAMES: usize = 12;

pub(super) fn view(content: &AlertsContent, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let alerts: Vec<Json> = content
        .alerts
        .iter()
        .take(IN_FULL + IN_LINES)
        .map(|alert| alert_view(alert, rendering))
        .collect();
    let (in_full, in_lines) = alerts.split_at(alerts.len().min(IN_FULL));
    let left_out = content.alerts.len() - alerts.len() + content.more;
    let summary = summary(content, language);
    let title = match in_full {
        [only] if left_out == 0 && in_lines.is_empty() => only["headline"].clone(),
        _ => Json::from(format!(
            "{summary}{}{}",
            words::colon(language),
            subject(content, language)
        )),
    };
    let facts = content
        .facts
        .iter()
        .map(|(name, value)| json!({"name": words::label(name, language), "value": &**value}));
    json!({
        "title": title,
        "summary": summary,
        "repeated": content.repeated,
        "facts": facts.collect::<Vec<_>>(),
        "critical": content.critical,
        "warning": content.warning,
        "resolved": content.resolved,
        "alerts": in_full,
        "others": in_lines,
        "more": left_out,
    })
}

/// `3 critical, 2 warning, 1 resolved`.
fn summary(content: &AlertsContent, language: Language) -> String {
    let passed = content.alerts.iter();
    let passed = passed.filter(|alert| alert.change == AlertChange::CameAndWent);
    let passed = passed.count().min(content.resolved);
    let counted = [
        (
            content.critical,
            words::either(language, "critical", "严重"),
        ),
        (content.warning, words::either(language, "warning", "警告")),
        (
            content.resolved - passed,
            words::either(language, "resolved", "已恢复"),
        ),
        (
            passed,
            words::change(AlertChange::CameAndWent, None, language),
        ),
    ];
    let told: Vec<String> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| match language {
            Language::En => format!("{} {what}", humane::count(count as u64)),
            Language::Zh => format!("{} 条{what}", humane::count(count as u64)),
        })
        .collect();
    if told.is_empty() {
        return words::either(language, "nothing fires", "无触发").to_owned();
    }
    let told = told.join(words::comma(language));
    if is_shadow(content) {
        told + &words::shadow(language)
    } else {
        told
    }
}

/// Whether nothing that is told is in earnest. Of those that are not listed that is known where all are
/// of one rule or mode.
fn is_shadow(content: &AlertsContent) -> bool {
    let mut names = content.facts.iter().map(|(name, _)| &**name);
    let is_alike = content.more == 0 || names.any(|name| matches!(name, "rule" | "mode"));
    let mut alerts = content.alerts.iter();
    is_alike && !content.alerts.is_empty() && alerts.all(|one| one.event.mode == Mode::Shadow)
}

/// As bad as the worst that fires. What only would be done makes nobody get up.
pub(super) fn tone(content: &AlertsContent) -> Tone {
    if is_shadow(content) {
        return Tone::Neutral;
    }
    let in_earnest = |count: usize, severity: Severity| {
        let shadows = content.alerts.iter().filter(|alert| {
            let event = &alert.event;
            event.mode == Mode::Shadow && !is_over(event) && event.severity == Some(severity)
        });
        count > shadows.count()
    };
    let mut alerts = content.alerts.iter();
    if in_earnest(content.critical, Severity::Critical) {
        Tone::Critical
    } else if in_earnest(content.warning, Severity::Warning)
        // Nobody was told that it fired, and it was bad enough to be told.
        || alerts.any(|alert| alert.change == AlertChange::CameAndWent)
    {
        Tone::Warning
    } else {
        Tone::Good
    }
}

/// What a group's alerts have in common; their rules where they have nothing.
fn subject(content: &AlertsContent, language: Language) -> String {
    let values = content.facts.iter().map(|(_, value)| &**value);
    let mut told: Vec<String> = values
        .filter(|value| !value.is_empty())
        .map(short)
        .collect();
    if told.is_empty() {
        for alert in &content.alerts {
            let rule = short(&alert.event.alert.rule);
            if !told.contains(&rule) {
                told.push(rule);
            }
        }
        told.truncate(3);
    }
    told.join(words::comma(language))
}

fn alert_view(alert: &AlertContent, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let event = &alert.event;
    let standing = standing(alert, language);
    let labels = &event.alert.labels;
    let named = labels
        .iter()
        .map(|(name, value)| json!({"name": words::label(name, language), "value": name_or_none(value, language)}));
    let by_name: serde_json::Map<String, Json> = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), Json::from(value)))
        .collect();
    let quantity = |value: Option<Quantity>| value.map(|known| humane::quantity(known, language));
    let rule = alert.rule.as_ref();
    let is_over = event.state == AlertState::Inactive;
    let began = event.fired_at.or(event.active_since);
    let fired = began.map(|began| (began, event.at.since(began)));
    let percent = percent(alert);
    let contributors = alert.contributors.iter().map(|one| {
        json!({
            "dimension": words::label(&one.dimension, language),
            "name": name_or_none(&one.name, language),
            "value": humane::quantity(one.value, language),
            "share": humane::share(u64::from(one.share_ppm)),
        })
    });
    let annotations: Vec<Json> = alert
        .annotations
        .iter()
        .filter(|(name, _)| !is_known_annotation(name))
        .take(MOST_ANNOTATIONS)
        .map(|(name, text)| json!({"name": &**name, "text": text}))
        .collect();
    let annotation = |name: &str| alert.annotations.get(name).filter(|text| !text.is_empty());
    json!({
        "headline": headline(alert, &standing, rendering),
        "rule": &*event.alert.rule,
        "group": rule.map(|rule| &*rule.group),
        "state": event.state.as_str(),
        "severity": event.severity.map(|known| words::severity(known, language)),
        "change": words::change(alert.change, event.severity, language),
        "is_resolved": is_over,
        "mode": event.mode.as_str(),
        "is_shadow": event.mode == Mode::Shadow,
        "labels": named.collect::<Vec<_>>(),
        "label": by_name,
        "figure": rule.map_or_else(
            || words::either(language, "Value", "数值").to_owned(),
            |rule| words::figure(&rule.metric, &rule.stat, language),
        ),
        "value": quantity(event.value),
        "limit": quantity(event.limit),
        "percent": percent,
        "standing": standing,
        "window": rule
            .filter(|rule| !rule.window.is_empty())
            .map(|rule| words::window(&rule.window, language)),
        "window_start": alert.window_start.map(|at| rendering.moment(at)),
        "window_end": event.window_end.map(|at| rendering.moment_and_distance(at)),
        "since": began.map(|at| rendering.moment_and_distance(at)),
        "fired_for": fired.map(|(began, length)| {
            let span = format!("{} – {}", rendering.moment(began), rendering.moment(event.at));
            let length = humane::duration(length, language);
            format!("{length}{}", words::bracketed(&span, language))
        }),
        "actions": actions::views(event, rendering),
        "forecast": quantity(alert.forecast),
        "exhausted_at": alert.exhausted_at.map(|at| rendering.moment_and_distance(at)),
        "contributors": contributors.collect::<Vec<_>>(),
        "summary": annotation("summary"),
        "description": annotation("description"),
        "annotations": annotations,
        "links": links(&alert.links, language),
    })
}

/// Annotations that have their own place.
fn is_known_annotation(name: &str) -> bool {
    matches!(name, "summary" | "description" | "runbook" | "runbook_url")
}

/// `ChannelDailySpend critical: azure-1 $103.20 of $100.00`. Of what came and went, how bad it was, how
/// long and what was done: the value is of afterwards. Long names give way to the value.
fn headline(alert: &AlertContent, standing: &str, rendering: &Rendering<'_>) -> String {
    let language = rendering.language;
    let event = &alert.event;
    let passed = alert.change == AlertChange::CameAndWent;
    let (change, rest) = if passed {
        let began = event.fired_at.or(event.active_since);
        let length = began.map(|began| humane::duration(event.at.since(began), language));
        let change = words::came_and_went(event.severity, length.as_deref(), language);
        let done = actions::done(event, rendering).map(|done| match language {
            Language::En => done,
            Language::Zh => format!("期间{done}"),
        });
        (change, done.unwrap_or_default())
    } else {
        let change = words::change(alert.change, event.severity, language);
        (change.to_owned(), standing.to_owned())
    };
    let names = event.alert.labels.iter().map(|(_, value)| match value {
        "" => words::word("none", language).unwrap_or_default().to_owned(),
        value => short(value),
    });
    let names = names.collect::<Vec<_>>().join("/");
    let mut begin = short(&event.alert.rule);
    if event.mode == Mode::Shadow {
        begin += &words::shadow(language);
    }
    // Where the rule ends in a wide bracket it stands apart by itself.
    if begin
        .chars()
        .last()
        .is_some_and(|last| !words::is_wide(last))
    {
        begin.push(' ');
    }
    begin += &change;
    let gap = match (passed, language) {
        (false, _) => " ",
        (true, Language::En) => "; ",
        (true, Language::Zh) => "；",
    };
    let told = [&*begin, &*rest, words::colon(language), gap];
    let taken = told.iter().map(|part| part.chars().count()).sum();
    let room = LONGEST_TITLE.saturating_sub(taken).max(LEAST_FOR_NAMES);
    let said: Vec<String> = [markup::clipped(&names, room), rest]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if said.is_empty() {
        return begin;
    }
    format!("{begin}{}{}", words::colon(language), said.join(gap))
}

/// How a value stands to its limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It adds up to it.
    Budget,
    /// It should not be above.
    Ceiling,
    /// It should not be below.
    Floor,
}

/// The value against its limit: `$103.20 of $100.00`, `4.5 s (limit 2 s)`, `20 tokens/s (minimum 30
/// tokens/s)`.
fn standing(alert: &AlertContent, language: Language) -> String {
    let event = &alert.event;
    let kind = alert.rule.as_ref().map_or(Standing::Ceiling, |rule| {
        let adds_up = matches!(rule.stat.parse(), Ok(Stat::Sum | Stat::Count));
        match (rule.below, adds_up) {
            (true, _) => Standing::Floor,
            (false, true) => Standing::Budget,
            (false, false) => Standing::Ceiling,
        }
    });
    match (event.value, event.limit) {
        (None, None) => String::new(),
        (None, Some(limit)) => {
            let none = words::either(language, "no data", "无数据");
            format!("{none}{}", bound(limit, kind, language))
        }
        (Some(value), None) => humane::quantity(value, language),
        (Some(value), Some(limit)) => stands(value, limit, kind, is_over(event), language),
    }
}

/// Both in words.
pub(super) fn stands(
    value: Quantity,
    limit: Quantity,
    kind: Standing,
    is_over: bool,
    language: Language,
) -> String {
    if kind == Standing::Budget && !is_over {
        return humane::against(value, limit, language);
    }
    let value = humane::beside(value, limit, language);
    format!("{value}{}", bound(limit, kind, language))
}

fn bound(limit: Quantity, kind: Standing, language: Language) -> String {
    let limit = humane::quantity(limit, language);
    let said = match (kind, language) {
        (Standing::Floor, Language::En) => format!("minimum {limit}"),
        (Standing::Floor, Language::Zh) => format!("下限 {limit}"),
        (_, Language::En) => format!("limit {limit}"),
        // Only what adds up is a quota.
        (Standing::Budget, Language::Zh) => format!("限额 {limit}"),
        (Standing::Ceiling, Language::Zh) => format!("阈值 {limit}"),
    };
    words::bracketed(&said, language)
}

fn is_over(event: &AlertEvent) -> bool {
    event.state == AlertState::Inactive
}

/// How much of the limit a value is, where that says more than the two do.
fn percent(alert: &AlertContent) -> Option<String> {
    let is_floor = alert.rule.as_ref().is_some_and(|rule| rule.below);
    let is_told = !is_floor && !is_over(&alert.event);
    let (value, limit) = (alert.event.value?, alert.event.limit?);
    let is_told = is_told && value.unit != Unit::Ratio;
    let percent = humane::percent_of(value, limit).filter(|_| is_told)?;
    Some(format!("{} %", humane::count(percent)))
}

/// A name for a headline.
pub(super) fn short(name: &str) -> String {
    markup::clipped(name, LONGEST_NAME)
}

/// A name; the word for none.
pub(super) fn name_or_none(name: &str, language: Language) -> String {
    match name {
        "" => words::word("none", language).unwrap_or_default().to_owned(),
        name => name.to_owned(),
    }
}
