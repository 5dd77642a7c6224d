//! Reads `models`, and names and patterns of models wherever settings have them.

use std::collections::HashSet;
use std::sync::Arc;

use super::patterns::ModelPattern;
use super::problem::Place;
use super::reader::Reader;
use super::routing::{ModelList, ModelsSettings};
use super::section::Section;
use super::tree::shown;
use super::units::{self, Refusal};

/// Bytes of a name; the longest of real ones, with a provider's path before them, have a third.
const LONGEST_NAME: usize = 256;

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    models: &mut ModelsSettings,
) {
    let aliases = pairs(section, reader, "aliases");
    for (alias, meaning, place) in &aliases {
        if aliases.iter().any(|(other, ..)| other == meaning) {
            let key = format!("{}.{}", section.key("aliases"), shown(alias));
            let message = format!("`{meaning}` is an alias itself");
            let hint = Some("give each alias a model's own name");
            reader.problem(place, &key, message, hint);
        }
    }
    models.aliases = without_places(aliases);
    list(section, reader, models);
}

fn list(section: &mut Section<'_>, reader: &mut Reader<'_>, models: &mut ModelsSettings) {
    let from = units::word(ModelList::ALL, ModelList::as_str);
    let from_place = section.set(reader, "list", &mut models.list.from, from);
    let key = section.key("preset");
    let mut seen = HashSet::new();
    let preset = section.listed(reader, "preset");
    let preset_place = preset.as_ref().map(|(place, _)| place.clone());
    for given in preset.into_iter().flat_map(|(_, names)| names) {
        match model_name(&given.text) {
            Ok(name) if seen.insert(Arc::clone(&name)) => models.list.preset.push(name),
            Ok(_) => {
                let refusal = Refusal::new("is in the list twice", "take one of them away");
                reader.refuse(&given, &key, &refusal);
            }
            Err(refusal) => reader.refuse(&given, &key, &refusal),
        }
    }
    match (models.list.from, from_place, preset_place) {
        (ModelList::Preset, Some(place), _) if seen.is_empty() && models.aliases.is_empty() => {
            let hint = Some("name the models under `models.preset`");
            let message = "the list is to be Tollgate's own, and has no name in it";
            reader.problem(&place, &section.key("list"), message, hint);
        }
        (ModelList::Passthrough, _, Some(place)) if !seen.is_empty() => {
            let hint = Some("set `models.list` to `preset` or `merge`");
            let message = "these names are shown to nobody: the list is the upstream's";
            reader.warning(&place, &key, message, hint);
        }
        _ => {}
    }
}

/// The list of patterns `key`; `None` when it is not there, which means every model.
pub(super) fn patterns(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Option<Vec<ModelPattern>> {
    let (place, given) = section.listed(reader, key)?;
    let path = section.key(key);
    if given.is_empty() {
        let hint = Some("take the key away for every model");
        reader.problem(
            &place,
            &path,
            "the list is empty, so no model fits it",
            hint,
        );
    }
    let mut patterns = Vec::new();
    for given in given {
        match fit(&given.text) {
            Ok(()) => patterns.push(ModelPattern::new(&given.text)),
            Err(refusal) => reader.refuse(&given, &path, &refusal),
        }
    }
    Some(patterns)
}

/// The mapping `key` of a model's name to another, with the places of the first.
pub(super) fn pairs(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
) -> Vec<(Arc<str>, Arc<str>, Place)> {
    let mut pairs = Vec::new();
    for entry in section.names(reader, key) {
        let path = format!("{}.{}", section.key(key), shown(&entry.key));
        let place = reader.at(entry.key_at);
        let Some(given) = reader.scalar(entry, &path) else {
            continue;
        };
        match (model_name(&entry.key), model_name(&given.text)) {
            (Ok(name), Ok(meaning)) => pairs.push((name, meaning, place)),
            (Err(refusal), _) => {
                let message = format!("`{}` {}", shown(&entry.key), refusal.reason);
                reader.problem(&place, &path, message, refusal.remedy.as_deref());
            }
            (_, Err(refusal)) => reader.refuse(&given, &path, &refusal),
        }
    }
    pairs
}

/// The pairs alone.
pub(super) fn without_places(pairs: Vec<(Arc<str>, Arc<str>, Place)>) -> Vec<(Arc<str>, Arc<str>)> {
    pairs
        .into_iter()
        .map(|(name, meaning, _)| (name, meaning))
        .collect()
}

fn model_name(text: &str) -> Result<Arc<str>, Refusal> {
    fit(text)?;
    if text.contains('*') {
        return Err(Refusal::new(
            "is a pattern, where one model is needed",
            "write the model's whole name",
        ));
    }
    Ok(Arc::from(text))
}

fn fit(text: &str) -> Result<(), Refusal> {
    if (1..=LONGEST_NAME).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(Refusal::new(
        "is no name of a model",
        &format!("write it as requests do, as `gpt-5-mini`; at most {LONGEST_NAME} bytes"),
    ))
}
