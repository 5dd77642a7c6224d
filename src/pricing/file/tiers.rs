//! Tiers and thresholds of a price in Tollgate's own shape.

use super::{rates, rates_of};
use crate::config::{Entry, Place, Reader, Refusal, Section, Value};
use crate::pricing::rate::{Factor, Rates, Tier};
use crate::pricing::row::{Threshold, ThresholdPrice, TierPrice};

/// `tiers: {batch: 0.5, priority: {input: 5, output: 20}}`
pub(super) fn tiers(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<(Tier, TierPrice)> {
    let entries = section.names(reader, "tiers");
    let path = section.key("tiers");
    let mut tiers = Vec::new();
    for entry in entries {
        let path = format!("{path}.{}", entry.key);
        let Some(tier) = tier(reader, entry, &path).filter(|&tier| {
            let is_standard = tier == Tier::Standard;
            if is_standard {
                let place = reader.at(entry.key_at);
                let hint = Some("its rates are those of `per_million`");
                reader.problem(&place, &path, "is the tier of the row itself", hint);
            }
            !is_standard
        }) else {
            continue;
        };
        let price = if let Value::Map(entries) = &entry.node.value {
            TierPrice::Stated(rates_of(reader, entries, &path))
        } else {
            let Some(given) = reader.scalar(entry, &path) else {
                continue;
            };
            match factor(&given.text) {
                Ok(factor) => TierPrice::Times(factor),
                Err(refusal) => {
                    reader.refuse(&given, &path, &refusal);
                    continue;
                }
            }
        };
        tiers.push((tier, price));
    }
    tiers
}

fn tier(reader: &mut Reader<'_>, entry: &Entry, path: &str) -> Option<Tier> {
    let tier = entry.key.parse().ok();
    if tier.is_none() {
        let tiers: Vec<&str> = Tier::ALL.iter().map(|tier| tier.as_str()).collect();
        let hint = format!("one of: {}", tiers.join(", "));
        let place = reader.at(entry.key_at);
        reader.problem(
            &place,
            path,
            "is no service tier that is known",
            Some(&hint),
        );
    }
    tier
}

/// `thresholds: [{above: 272000, times: {input: 2, output: 1.5}}]`
pub(super) fn thresholds(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Threshold> {
    let mut thresholds: Vec<Threshold> = Vec::new();
    section.list(reader, "thresholds", |section, reader| {
        let place = section.place.clone().unwrap_or(Place::Default);
        let mut above = None;
        section.set(reader, "above", &mut above, |text| tokens(text).map(Some));
        let (mut input, mut output) = (Factor::ONE, Factor::ONE);
        section.section(reader, "times", |section, reader| {
            section.set(reader, "input", &mut input, factor);
            section.set(reader, "output", &mut output, factor);
        });
        let standard = rates(section, reader, "per_million");
        let tiers = tier_rates(section, reader);
        let (times, stated) = (
            section.has("times"),
            section.has("per_million") || section.has("tiers"),
        );
        if times == stated {
            let message = if times {
                "both `times` and rates are given"
            } else {
                "neither `times` nor `per_million` is given"
            };
            let hint = Some("give factors (`times`) or rates (`per_million`, and `tiers` of them)");
            reader.problem(&place, &section.key("times"), message, hint);
        }
        if !section.has("above") {
            let hint = Some("the last number of input tokens at the usual rates");
            reader.problem(&place, &section.key("above"), "is missing", hint);
        }
        let Some(above) = above else { return };
        if thresholds
            .last()
            .is_some_and(|last| last.above_input_tokens >= above)
        {
            let hint = Some("list thresholds from the lowest to the highest");
            reader.problem(
                &place,
                &section.key("above"),
                "is not above the one before",
                hint,
            );
        }
        let price = if times {
            ThresholdPrice::Times { input, output }
        } else {
            let mut stated = vec![(Tier::Standard, standard)];
            stated.extend(tiers);
            ThresholdPrice::Stated(stated)
        };
        thresholds.push(Threshold {
            above_input_tokens: above,
            price,
        });
    });
    thresholds
}

/// The tiers beyond a threshold: always rates.
fn tier_rates(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<(Tier, Rates)> {
    let entries = section.names(reader, "tiers");
    let path = section.key("tiers");
    let mut tiers = Vec::new();
    for entry in entries {
        let path = format!("{path}.{}", entry.key);
        let Some(tier) = tier(reader, entry, &path) else {
            continue;
        };
        if let Value::Map(entries) = &entry.node.value {
            tiers.push((tier, rates_of(reader, entries, &path)));
        } else {
            let place = reader.at(entry.node.at);
            let hint = Some("write rates, as `{input: 5, output: 20}`");
            reader.problem(&place, &path, "takes rates beyond a threshold", hint);
        }
    }
    tiers
}

fn tokens(text: &str) -> Result<u64, Refusal> {
    match text.replace('_', "").parse() {
        Ok(tokens) if tokens > 0 => Ok(tokens),
        _ => Err(Refusal::new(
            "is no number of tokens",
            "write a whole number, as `272000`",
        )),
    }
}

pub(super) fn factor(text: &str) -> Result<Factor, Refusal> {
    Factor::exactly(text).map_err(|error| {
        Refusal::new(
            error.to_string(),
            "write a factor with at most three places, as `0.5`",
        )
    })
}
