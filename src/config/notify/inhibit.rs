//! Reads `inhibit`.

use std::sync::Arc;

use super::{InhibitSettings, InhibitSource, facts};
use crate::config::channels::needed;
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::config::units::Refusal;

/// The source that is no alert.
const CLOSED_CHANNEL: &str = "closed_channel";

/// Reads `inhibit`, which takes the place of the usual ones also where it is empty.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    channels: &[Arc<str>],
    inhibit: &mut Vec<InhibitSettings>,
) {
    let mut given = Vec::new();
    let place = top.list(reader, "inhibit", |section, reader| {
        given.extend(one(section, reader, channels));
    });
    if place.is_some() {
        *inhibit = given;
    }
}

fn one(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    channels: &[Arc<str>],
) -> Option<InhibitSettings> {
    let source = source(section, reader, channels);
    needed(section, reader, "source", "it is what keeps others quiet");
    let target = facts::matchers(section, reader, "target", false, channels);
    needed(section, reader, "target", "it is what is kept quiet");
    if section.has("target") {
        not_everything(section, reader, "target", target.is_empty());
    }
    let equal = facts::listed(section, reader, "equal").unwrap_or_default();
    if matches!(source, Some(InhibitSource::ClosedChannel)) {
        of_a_closed_channel(section, reader, &equal);
    }
    Some(InhibitSettings {
        source: source?,
        target,
        equal,
    })
}

fn source(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    channels: &[Arc<str>],
) -> Option<InhibitSource> {
    let path = section.key("source");
    let entry = section.ask(reader, "source")?;
    if let Value::Map(entries) = &entry.node.value {
        let matchers = facts::of_entries(reader, entries, &path, false, channels);
        not_everything(section, reader, "source", matchers.is_empty());
        return Some(InhibitSource::Alert(matchers));
    }
    let given = match &entry.node.value {
        Value::List(_) => {
            let place = reader.at(entry.node.at);
            let message = "takes facts of an alert, or `closed_channel`, not a list";
            reader.problem(&place, &path, message, Some("write `{rule: NAME}`"));
            return None;
        }
        _ => reader.scalar(entry, &path)?,
    };
    if given.text == CLOSED_CHANNEL {
        return Some(InhibitSource::ClosedChannel);
    }
    let remedy = "write `closed_channel`, or facts of an alert, as `{rule: ProviderDown}`";
    let refusal = Refusal::new("is nothing that keeps others quiet", remedy);
    reader.refuse(&given, &path, &refusal);
    None
}

/// Refuses a mapping that asks for nothing, and says nothing of one whose members were refused.
fn not_everything(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    asks_nothing: bool,
) {
    let written = section.ask(reader, key).is_some_and(
        |entry| matches!(&entry.node.value, Value::Map(entries) if !entries.is_empty()),
    );
    if asks_nothing && !written {
        let place = section.place_of(reader, key).unwrap_or(Place::Default);
        let message = "asks for nothing, so every alert would fit";
        let hint = Some("name facts and values, as `{rule: ProviderDown}`");
        reader.problem(&place, &section.key(key), message, hint);
    }
}

/// A closed channel is no alert: it has a name and no other fact.
fn of_a_closed_channel(section: &Section<'_>, reader: &mut Reader<'_>, equal: &[Arc<str>]) {
    let key = section.key("equal");
    let place = section.place_of(reader, "equal");
    let hint = Some("write `equal: [channel]`");
    if let Some(other) = equal.iter().find(|fact| &***fact != "channel") {
        let message = format!("a closed channel has no `{other}`, only `channel`");
        reader.problem(&place.unwrap_or(Place::Default), &key, message, hint);
    } else if equal.is_empty() {
        let place = place.or_else(|| section.place.clone());
        let message = "any closed channel keeps the alerts of all channels quiet";
        reader.warning(&place.unwrap_or(Place::Default), &key, message, hint);
    }
}
