//! Which requests a rule is about, and how they are told apart: `match`, `by`, `max_series`.

use std::sync::Arc;

use super::KnownNames;
use super::measure::Measure;
use super::words::{none_of, word};
use crate::config::{Entry, Given, ModelPattern, Reader, Refusal, Section, Value, whole};
use crate::record::Api;
use crate::rules::{Dimension, Matcher, Metric};

/// Combinations of `by` that a rule has at most where it does not say.
const USUAL_SERIES: usize = 1_000;
/// More would take more memory than anybody means.
const MOST_SERIES: usize = 100_000;

/// What a rule tells apart.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) by: Vec<Dimension>,
    pub(super) max_series: usize,
}

/// Reads `match`.
pub(super) fn read_match(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &KnownNames,
) -> Matcher {
    let mut matcher = Matcher::default();
    section.section(reader, "match", |section, reader| {
        matcher.channel = pattern(section, reader, "channel", known.channels.as_deref());
        matcher.model = pattern(section, reader, "model", None);
        matcher.key = pattern(section, reader, "key", known.keys.as_deref());
        let key = section.key("api");
        for given in one_or_list(section, reader, "api") {
            match word(Api::ALL, Api::as_str)(&given.text) {
                Ok(api) => matcher.apis.extend(api),
                Err(refusal) => reader.refuse(&given, &key, &refusal),
            }
        }
        for entry in section.names(reader, "tags") {
            let path = format!("{}.{}", section.key("tags"), entry.key);
            if let Some(given) = reader.scalar(entry, &path) {
                let name = Arc::from(entry.key.as_str());
                matcher.tags.insert(name, ModelPattern::new(&given.text));
            }
        }
    });
    matcher
}

/// A name or a pattern. A name that nobody has is warned of: the rule would be about nothing, and
/// nobody would notice.
fn pattern(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    known: Option<&[Arc<str>]>,
) -> Option<ModelPattern> {
    let given = section.values(reader, key).pop()?;
    // A request without a key has the name "".
    if given.text.is_empty() && key != "key" {
        let refusal = Refusal::new("is empty", "write a name, or take it away for any");
        reader.refuse(&given, &section.key(key), &refusal);
        return None;
    }
    let pattern = ModelPattern::new(&given.text);
    if let Some(known) = known
        && !given.text.is_empty()
        && !known.iter().any(|name| pattern.matches(name))
    {
        let names: Vec<&str> = known.iter().map(|name| &**name).collect();
        let doubt = nobody(key, &given.text, &names);
        reader.doubt(&given, &section.key(key), &doubt);
    }
    Some(pattern)
}

fn nobody(what: &str, text: &str, names: &[&str]) -> Refusal {
    let none = none_of(text, names);
    let remedy = match none.remedy {
        Some(remedy) if !names.is_empty() => remedy,
        _ => format!("there is no {what} by any name"),
    };
    let reason = format!("is no {what} of the settings: the rule is about no request");
    Refusal::new(reason, &remedy)
}

/// Reads `by` and `max_series`.
pub(super) fn read_groups(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    measure: Option<&Measure>,
) -> Groups {
    let mut groups = Groups {
        by: Vec::new(),
        max_series: USUAL_SERIES,
    };
    let key = section.key("by");
    for given in one_or_list(section, reader, "by") {
        match dimension(&given.text, &groups.by, measure) {
            Ok(dimension) => groups.by.push(dimension),
            Err(refusal) => reader.refuse(&given, &key, &refusal),
        }
    }
    let series = whole(1, MOST_SERIES);
    section.set(reader, "max_series", &mut groups.max_series, series);
    groups
}

fn dimension(
    text: &str,
    earlier: &[Dimension],
    measure: Option<&Measure>,
) -> Result<Dimension, Refusal> {
    const NAMES: [&str; 6] = ["channel", "model", "api", "key", "tag:NAME", "window"];
    let dimension = match text {
        "channel" => Dimension::Channel,
        "model" => Dimension::Model,
        "api" => Dimension::Api,
        "key" => Dimension::Key,
        "window" => Dimension::QuotaWindow,
        _ => match text.strip_prefix("tag:").map(str::trim) {
            Some("") => return Err(Refusal::new("names no tag", "write it as `tag:team`")),
            Some(tag) => Dimension::Tag(Arc::from(tag)),
            None => return Err(none_of(text, &NAMES)),
        },
    };
    if dimension == Dimension::QuotaWindow
        && measure.is_some_and(|measure| measure.metric != Metric::QuotaUsed)
    {
        return Err(Refusal::new(
            "is a plan's window, which requests do not have",
            "take it away, or write `metric: quota_used`",
        ));
    }
    if earlier.contains(&dimension) {
        return Err(Refusal::new("is in the list twice", "take one away"));
    }
    Ok(dimension)
}

/// The texts of `key`: one, or a list.
pub(super) fn one_or_list(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Vec<Given> {
    let is_list = |entry: &Entry| matches!(entry.node.value, Value::List(_));
    if section.ask(reader, key).is_some_and(is_list) {
        section.texts(reader, key)
    } else {
        section.values(reader, key)
    }
}
