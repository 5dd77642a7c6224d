//! `models.dev`'s shape: providers, their models, and in each a `cost` in USD per million tokens.

use super::fields::{Gathered, count, limit, rate, text};
use super::{Catalogue, Members};
use crate::pricing::names::canonical;
use crate::pricing::rate::{Rates, Tier};
use crate::pricing::row::{ModelLimits, PriceRow};
use crate::record::TokenType;

const SOURCE: &str = "https://models.dev/api.json";

/// Where the older form of a threshold begins.
const OVER_200K: u64 = 200_000;

pub(super) fn read(providers: &Members<'_>, catalogue: &mut Catalogue) {
    for (provider, raw) in providers {
        let models = serde_json::from_str::<Members<'_>>(raw.get())
            .ok()
            .and_then(|members| members.get("models").copied())
            .and_then(|models| serde_json::from_str::<Members<'_>>(models.get()).ok());
        let Some(models) = models else {
            catalogue.skip(provider, "it has no `models`");
            continue;
        };
        for (name, raw) in &models {
            match model(provider, name, raw.get()) {
                Ok(Some(row)) => catalogue.rows.push(row),
                Ok(None) => {}
                Err(reason) => catalogue.skip(&format!("{provider}/{name}"), reason),
            }
        }
    }
}

/// The row of one model; `None` when it states no cost.
fn model(provider: &str, name: &str, json: &str) -> Result<Option<PriceRow>, String> {
    let members: Members<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let Some(cost) = present(&members, "cost") else {
        return Ok(None);
    };
    let cost: Members<'_> = serde_json::from_str(cost).map_err(|error| format!("cost: {error}"))?;
    let mut gathered = Gathered::default();
    let usual = rates(&cost, &["tiers", "context_over_200k"])?;
    if usual.is_empty() {
        return Ok(None);
    }
    *gathered.at(0, Tier::Standard) = usual;
    if let Some(tiers) = present(&cost, "tiers") {
        let tiers: Vec<Members<'_>> =
            serde_json::from_str(tiers).map_err(|error| format!("tiers: {error}"))?;
        for tier in &tiers {
            *gathered.at(threshold(tier)?, Tier::Standard) = rates(tier, &["tier"])?;
        }
    } else if let Some(over) = present(&cost, "context_over_200k") {
        let over: Members<'_> =
            serde_json::from_str(over).map_err(|error| format!("context_over_200k: {error}"))?;
        *gathered.at(OVER_200K, Tier::Standard) = rates(&over, &[])?;
    }
    let mut row = PriceRow::new(
        canonical(provider).to_owned(),
        name.to_owned(),
        SOURCE,
        Rates::default(),
    );
    gathered.into_row(&mut row);
    row.images_as_text = reads_images(&members);
    row.limits = limits(&members);
    Ok(Some(row))
}

/// The JSON of a member that is there and not null.
fn present<'j>(members: &Members<'j>, name: &str) -> Option<&'j str> {
    let raw = members.get(name)?.get();
    (raw != "null").then_some(raw)
}

/// `{"tier": {"type": "context", "size": 272000}, …}`
fn threshold(tier: &Members<'_>) -> Result<u64, String> {
    let kind = tier
        .get("tier")
        .and_then(|raw| serde_json::from_str::<Members<'_>>(raw.get()).ok())
        .ok_or("a tier without `tier`")?;
    match text(kind.get("type")).as_deref() {
        Some("context") => kind
            .get("size")
            .and_then(|size| count(size))
            .filter(|&size| size > 0)
            .ok_or_else(|| "a tier without a size".to_owned()),
        other => Err(format!(
            "a tier by {}, which is not known here",
            other.unwrap_or("nothing")
        )),
    }
}

/// The rates in `cost`. A name that is neither known nor in `besides` is a price that Tollgate does
/// not understand.
fn rates(cost: &Members<'_>, besides: &[&str]) -> Result<Rates, String> {
    let mut rates = Rates::default();
    for (name, raw) in cost {
        let kind = match name.as_str() {
            "input" => TokenType::Input,
            "output" => TokenType::Output,
            "reasoning" => TokenType::Reasoning,
            "cache_read" => TokenType::InputCached,
            "cache_write" => TokenType::InputCacheWrite,
            "input_audio" => TokenType::InputAudio,
            "output_audio" => TokenType::OutputAudio,
            other if besides.contains(&other) => continue,
            other => return Err(format!("`{other}` is not known here")),
        };
        if let Some(rate) = rate(raw, 0).map_err(|error| format!("{name}: {error}"))? {
            rates = rates.with(kind, rate);
        }
    }
    Ok(rates)
}

/// `{"limit": {"context": 400000, "output": 128000}}`: what a model takes is never more than its whole
/// context.
fn limits(model: &Members<'_>) -> ModelLimits {
    let stated = present(model, "limit")
        .and_then(|limit| serde_json::from_str::<Members<'_>>(limit).ok())
        .unwrap_or_default();
    ModelLimits {
        max_input_tokens: limit(stated.get("context")),
        max_output_tokens: limit(stated.get("output")),
    }
}

fn reads_images(model: &Members<'_>) -> bool {
    model
        .get("modalities")
        .and_then(|raw| serde_json::from_str::<Members<'_>>(raw.get()).ok())
        .and_then(|modalities| {
            let input = modalities.get("input")?;
            serde_json::from_str::<Vec<String>>(input.get()).ok()
        })
        .is_some_and(|input| input.iter().any(|modality| modality == "image"))
}
