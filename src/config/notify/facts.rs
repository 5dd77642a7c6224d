//! Facts of alerts, and what settings ask of them.

use std::sync::Arc;

use super::FactMatcher;
use super::names::none_of;
use crate::alert::{Mode, Severity};
use crate::config::patterns::ModelPattern;
use crate::config::reader::{Given, Reader};
use crate::config::section::Section;
use crate::config::tree::{Entry, Value, shown};
use crate::config::units::Refusal;
use crate::record::Api;

/// The facts of alerts, beside `tag:NAME`.
const FACTS: [&str; 11] = [
    "rule", "group", "severity", "mode", "metric", "stat", "channel", "model", "api", "key",
    "window",
];

/// What stands before a tag's name.
const TAG: &str = "tag:";

/// The words of rules' metrics; a test beside them holds both lists together.
pub(crate) const METRICS: [&str; 11] = [
    "cost",
    "tokens",
    "input_tokens",
    "output_tokens",
    "requests",
    "errors",
    "error_ratio",
    "latency",
    "ttft",
    "tokens_per_second",
    "quota_used",
];

/// The words of rules' statistics; as [`METRICS`].
pub(crate) const STATS: [&str; 11] = [
    "sum",
    "count",
    "ratio",
    "mean",
    "p50",
    "p90",
    "p95",
    "p99",
    "max",
    "forecast",
    "time_left",
];

/// The name of a fact.
pub(super) fn fact(text: &str) -> Result<Arc<str>, Refusal> {
    let is_tag = text
        .strip_prefix(TAG)
        .is_some_and(|name| !name.is_empty() && !name.contains(char::is_control));
    if is_tag || FACTS.contains(&text) {
        return Ok(Arc::from(text));
    }
    let refusal = none_of(text, &FACTS, "no fact of an alert");
    let remedy = refusal.remedy.unwrap_or_default();
    Err(Refusal::new(
        refusal.reason,
        &format!("{remedy}, and `tag:NAME`"),
    ))
}

/// The facts that the list `key` names, and `None` where it is not there.
pub(super) fn listed(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Option<Vec<Arc<str>>> {
    let path = section.key(key);
    let (_, given) = section.listed(reader, key)?;
    Some(super::names::each(reader, &path, given, fact))
}

/// What the mapping `key` asks of facts: of each a value, a pattern, or a list of them. `channels` are
/// the names of channels.
pub(super) fn matchers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    negated: bool,
    channels: &[Arc<str>],
) -> Vec<FactMatcher> {
    let path = section.key(key);
    let entries = section.names(reader, key);
    of_entries(reader, entries, &path, negated, channels)
}

/// As [`matchers`], of the members of a mapping.
pub(super) fn of_entries(
    reader: &mut Reader<'_>,
    entries: &[Entry],
    path: &str,
    negated: bool,
    channels: &[Arc<str>],
) -> Vec<FactMatcher> {
    let mut matchers = Vec::new();
    for entry in entries {
        let path = format!("{path}.{}", shown(&entry.key));
        let name = match fact(&entry.key) {
            Ok(name) => Some(name),
            Err(refusal) => {
                let place = reader.at(entry.key_at);
                let message = format!("`{}` {}", shown(&entry.key), refusal.reason);
                reader.problem(&place, &path, message, refusal.remedy.as_deref());
                None
            }
        };
        let mut any: Vec<ModelPattern> = Vec::new();
        for given in values(reader, entry, &path) {
            let pattern = ModelPattern::new(&given.text);
            if any.contains(&pattern) {
                let refusal = Refusal::new("is in the list twice", "take one of them away");
                reader.refuse(&given, &path, &refusal);
                continue;
            }
            if let Some(refusal) = name.as_ref().and_then(|name| never(name, &pattern)) {
                reader.refuse(&given, &path, &refusal);
                continue;
            }
            if name.as_deref() == Some("channel") {
                warn_of_no_channel(reader, &given, &path, &pattern, channels);
            }
            any.push(pattern);
        }
        if let Some(name) = name.filter(|_| !any.is_empty()) {
            matchers.push(FactMatcher { name, any, negated });
        }
    }
    matchers
}

/// The value of a matcher, or the members of its list.
fn values(reader: &mut Reader<'_>, entry: &Entry, path: &str) -> Vec<Given> {
    let Value::List(items) = &entry.node.value else {
        return reader.scalar(entry, path).into_iter().collect();
    };
    if items.is_empty() {
        let place = reader.at(entry.node.at);
        let hint = Some("name a value, or take the key away");
        let message = "the list is empty, so no alert could fit";
        reader.problem(&place, path, message, hint);
    }
    let texts = items.iter();
    texts
        .filter_map(|item| reader.text(item, item.at, path))
        .collect()
}

/// Why no alert has such a value of the fact.
fn never(name: &str, pattern: &ModelPattern) -> Option<Refusal> {
    fn words<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|&word| as_str(word)).collect()
    }
    let words = match name {
        "severity" => words(Severity::ALL, Severity::as_str),
        "mode" => words(Mode::ALL, Mode::as_str),
        "api" => words(Api::ALL, Api::as_str),
        "metric" => METRICS.to_vec(),
        "stat" => STATS.to_vec(),
        _ => return None,
    };
    // Only a label can be missing, and be the empty text then.
    let absent = name == "api" && pattern.matches("");
    if absent || words.iter().any(|word| pattern.matches(word)) {
        return None;
    }
    let what = format!("no alert's {name}");
    Some(none_of(pattern.as_str(), &words, &what))
}

fn warn_of_no_channel(
    reader: &mut Reader<'_>,
    given: &Given,
    path: &str,
    pattern: &ModelPattern,
    channels: &[Arc<str>],
) {
    let fits = pattern.matches("") || channels.iter().any(|name| pattern.matches(name));
    if !fits {
        let mut names: Vec<&str> = channels.iter().map(|name| &**name).collect();
        names.sort_unstable();
        let what = if pattern.is_exact() {
            "the name of no channel"
        } else {
            "a pattern that no channel fits"
        };
        reader.doubt(given, path, &none_of(pattern.as_str(), &names, what));
    }
}

/// Whether every alert that fits all of `narrow` fits all of `wide`. Never wrong where it says so.
pub(super) fn cover(wide: &[FactMatcher], narrow: &[FactMatcher]) -> bool {
    let everything = |matcher: &FactMatcher| {
        !matcher.negated && matcher.any.iter().any(|pattern| pattern.as_str() == "*")
    };
    let implies = |narrow: &FactMatcher, wide: &FactMatcher| {
        // Of negated ones the wider list leaves fewer alerts.
        let (inner, outer) = if wide.negated {
            (&wide.any, &narrow.any)
        } else {
            (&narrow.any, &wide.any)
        };
        narrow.name == wide.name
            && narrow.negated == wide.negated
            && inner
                .iter()
                .all(|inner| outer.iter().any(|outer| outer.covers(inner)))
    };
    wide.iter()
        .all(|wide| everything(wide) || narrow.iter().any(|narrow| implies(narrow, wide)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn facts_have_names() {
        for name in FACTS.iter().chain(&["tag:team"]) {
            assert!(fact(name).is_ok(), "{name}");
        }
        for (name, meant) in [
            ("chanel", "`channel`"),
            ("tag:", "`tag:NAME`"),
            ("", "rule"),
        ] {
            let remedy = fact(name).unwrap_err().remedy.unwrap();
            assert!(remedy.contains(meant), "{name}: {remedy}");
        }
    }

    fn matcher() -> impl Strategy<Value = FactMatcher> {
        let name = prop::sample::select(vec!["channel", "model"]);
        let patterns = prop::collection::vec("[ab*]{0,3}", 1..3);
        (name, patterns, any::<bool>()).prop_map(|(name, patterns, negated)| FactMatcher {
            name: name.into(),
            any: patterns
                .iter()
                .map(|text| ModelPattern::new(text))
                .collect(),
            negated,
        })
    }

    proptest! {
        #[test]
        fn what_is_covered_fits_both(
            wide in prop::collection::vec(matcher(), 0..3),
            narrow in prop::collection::vec(matcher(), 0..3),
            values in prop::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 1..30),
        ) {
            let fits = |matchers: &[FactMatcher], (channel, model): &(String, String)| {
                matchers.iter().all(|matcher| matcher.matches(match &*matcher.name {
                    "channel" => channel,
                    _ => model,
                }))
            };
            if cover(&wide, &narrow) {
                for value in &values {
                    prop_assert!(!fits(&narrow, value) || fits(&wide, value), "{:?}", value);
                }
            }
        }
    }
}
