//! `LiteLLM`'s shape: a flat map by model, in USD for a single token. Names of fields compose: what
//! is priced, the lifetime of a cache, the threshold, the tier.

use serde_json::value::RawValue;

use super::fields::{Gathered, count, flag, limit, number, rate, text};
use super::{Catalogue, Members};
use crate::pricing::decimal::Decimal;
use crate::pricing::names::{canonical, without_provider};
use crate::pricing::rate::{Fees, Rate, Rates, Tier};
use crate::pricing::row::{MediaSet, ModelLimits, PriceRow};
use crate::record::{TokenType, Unit};

/// Describes the fields; it is no model.
const SAMPLE: &str = "sample_spec";

/// Powers of ten between one and a million.
const PER_ONE: i32 = 6;

/// Powers of ten between a thousand and a million: calls by the thousand, and seconds, where
/// Tollgate counts milliseconds.
const PER_THOUSAND: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priced {
    Tokens(TokenType),
    CacheWrite1h,
    /// Tokens of audio that Tollgate counts together with others of this type.
    AudioAs(TokenType),
    /// The same of images.
    ImageAs(TokenType),
}

use Priced::{AudioAs, ImageAs, Tokens};

/// What is priced by the token.
const TOKENS: &[(&str, Priced)] = &[
    ("input_cost_per_token", Tokens(TokenType::Input)),
    ("output_cost_per_token", Tokens(TokenType::Output)),
    (
        "output_cost_per_reasoning_token",
        Tokens(TokenType::Reasoning),
    ),
    (
        "cache_read_input_token_cost",
        Tokens(TokenType::InputCached),
    ),
    (
        "cache_creation_input_token_cost",
        Tokens(TokenType::InputCacheWrite),
    ),
    ("input_cost_per_audio_token", Tokens(TokenType::InputAudio)),
    (
        "output_cost_per_audio_token",
        Tokens(TokenType::OutputAudio),
    ),
    ("input_cost_per_image_token", Tokens(TokenType::InputImage)),
    (
        "output_cost_per_image_token",
        Tokens(TokenType::OutputImage),
    ),
    (
        "cache_read_input_audio_token_cost",
        AudioAs(TokenType::InputCached),
    ),
    (
        "cache_read_input_image_token_cost",
        ImageAs(TokenType::InputCached),
    ),
    (
        "cache_creation_input_audio_token_cost",
        AudioAs(TokenType::InputCacheWrite),
    ),
];

/// Charges that nothing Tollgate counts can be multiplied with: a model that has one would be priced
/// too low without it.
const NOT_COUNTED: &[&str] = &[
    "input_cost_per_request",
    "input_cost_per_query",
    "input_cost_per_text_message",
    "citation_cost_per_token",
    "ocr_cost_per_page",
    "ocr_cost_per_credit",
    "guardrail_cost_per_unit",
];

/// A field's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    priced: Priced,
    /// Input tokens; 0 is no threshold.
    above: u64,
    tier: Tier,
}

pub(super) fn read(models: &Members<'_>, catalogue: &mut Catalogue) {
    for (name, raw) in models.iter().filter(|(name, _)| *name != SAMPLE) {
        let row = serde_json::from_str::<Members<'_>>(raw.get())
            .map_err(|error| error.to_string())
            .and_then(|members| model(name, &members));
        match row {
            Ok(row) => catalogue.rows.push(row),
            Err(reason) => catalogue.skip(name, reason),
        }
    }
}

fn model(name: &str, members: &Members<'_>) -> Result<PriceRow, String> {
    let provider = text(members.get("litellm_provider")).ok_or("it names no provider")?;
    for field in NOT_COUNTED {
        if members.get(*field).is_some_and(|raw| !is_nothing(raw)) {
            return Err(format!(
                "`{field}` is charged by what Tollgate does not count"
            ));
        }
    }
    let off_peak = members.get("off_peak_pricing");
    if off_peak.is_some_and(|raw| raw.get() != "null") {
        return Err("its price depends on the time of day".to_owned());
    }
    let source = text(members.get("source")).unwrap_or_else(|| "LiteLLM's catalogue".to_owned());
    let mut row = PriceRow::new(
        canonical(&provider).to_owned(),
        without_provider(&provider, name).to_owned(),
        source,
        Rates::default(),
    );
    let (gathered, cache_not_of) = gather(members)?;
    gathered.into_row(&mut row);
    row.cache_not_of = cache_not_of;
    row.images_as_text = flag(members.get("supports_vision"));
    row.limits = ModelLimits {
        max_input_tokens: limit(members.get("max_input_tokens")),
        max_output_tokens: limit(members.get("max_output_tokens")),
    };
    let mode = text(members.get("mode")).unwrap_or_default();
    row.fees = fees(members, &mode, !row.standard.is_empty())?;
    if row.standard.is_empty() && row.fees.iter().next().is_none() {
        return Err("it has no price by what Tollgate counts".to_owned());
    }
    Ok(row)
}

/// The rates, and the tokens whose cache has others.
fn gather(members: &Members<'_>) -> Result<(Gathered, MediaSet), String> {
    let mut gathered = Gathered::default();
    let mut counted_as = Vec::new();
    for (name, raw) in members {
        let Some(field) = field(name) else {
            continue;
        };
        let Some(rate) = rate(raw, PER_ONE).map_err(|error| format!("{name}: {error}"))? else {
            continue;
        };
        match field.priced {
            Tokens(kind) => {
                let rates = gathered.at(field.above, field.tier);
                *rates = rates.with(kind, rate);
            }
            Priced::CacheWrite1h => {
                let rates = gathered.at(field.above, field.tier);
                *rates = rates.with_cache_write_1h(rate);
            }
            AudioAs(_) | ImageAs(_) => counted_as.push((field, rate)),
        }
    }
    if let Some(hit) = members.get("input_cost_per_token_cache_hit")
        && let standard = gathered.at(0, Tier::Standard)
        && standard.stated(TokenType::InputCached).is_none()
        && let Some(rate) = rate(hit, PER_ONE)?
    {
        *standard = standard.with(TokenType::InputCached, rate);
    }
    if let Some(tiers) = members.get("tiered_pricing")
        && tiers.get() != "null"
    {
        tiered(tiers, &mut gathered)?;
    }
    let mut cache_not_of = MediaSet::default();
    for (field, rate) in counted_as {
        let differs = |kind| {
            let text = gathered.get(field.above, field.tier);
            text.and_then(|rates| rates.stated(kind)) != Some(rate)
        };
        match field.priced {
            AudioAs(kind) => cache_not_of.audio |= differs(kind),
            ImageAs(kind) => cache_not_of.image |= differs(kind),
            Tokens(_) | Priced::CacheWrite1h => {}
        }
    }
    Ok((gathered, cache_not_of))
}

/// `[{"range": [0, 256000], "input_cost_per_token": …}, …]`
fn tiered(raw: &RawValue, gathered: &mut Gathered) -> Result<(), String> {
    let wrong = |error: serde_json::Error| format!("tiered_pricing: {error}");
    let tiers: Vec<Members<'_>> = serde_json::from_str(raw.get()).map_err(wrong)?;
    for tier in &tiers {
        let range = tier.get("range").ok_or("tiered_pricing: no range")?;
        let range: Vec<&RawValue> = serde_json::from_str(range.get()).map_err(wrong)?;
        let from = range
            .first()
            .and_then(|from| count(from))
            .ok_or("tiered_pricing: a range that begins nowhere")?;
        for (name, raw) in tier {
            let Some(field) = field(name) else {
                continue;
            };
            let (Tokens(kind), 0) = (field.priced, field.above) else {
                return Err(format!("tiered_pricing: `{name}` is not known here"));
            };
            if let Some(rate) = rate(raw, PER_ONE)? {
                let rates = gathered.at(from, field.tier);
                *rates = rates.with(kind, rate);
            }
        }
    }
    Ok(())
}

/// Takes a field's name apart; `None` where it states no price of tokens that is known here.
fn field(name: &str) -> Option<Field> {
    let (rest, base) = TOKENS.iter().find_map(|&(base, priced)| {
        let rest = name.strip_prefix(base)?;
        (rest.is_empty() || rest.starts_with('_')).then_some((rest, priced))
    })?;
    let (rest, priced) = match (rest.strip_prefix("_above_1hr"), base) {
        (Some(rest), Tokens(TokenType::InputCacheWrite)) => (rest, Priced::CacheWrite1h),
        (Some(_), _) => return None,
        (None, priced) => (rest, priced),
    };
    let (rest, above) = match rest.strip_prefix("_above_") {
        Some(threshold) => {
            let (thousands, rest) = threshold.split_once("k_tokens")?;
            (rest, thousands.parse::<u64>().ok()?.checked_mul(1_000)?)
        }
        None => (rest, 0),
    };
    let tier = match rest {
        "" => Tier::Standard,
        "_batches" => Tier::Batch,
        "_flex" => Tier::Flex,
        "_priority" => Tier::Priority,
        "_ultrafast" => Tier::Ultrafast,
        _ => return None,
    };
    Some(Field {
        priced,
        above,
        tier,
    })
}

/// Fees by the unit. Where tokens are priced, a price by the second or the image says the same once
/// more, in other words.
fn fees(members: &Members<'_>, mode: &str, has_tokens: bool) -> Result<Fees, String> {
    let stated = |name: &str, per: i32| match members.get(name) {
        Some(raw) => rate(raw, per).map_err(|error| format!("{name}: {error}")),
        None => Ok(None),
    };
    let file_search = stated("file_search_cost_per_1k_calls", PER_THOUSAND)?;
    let product = match mode {
        _ if has_tokens => None,
        "audio_transcription" => {
            stated("input_cost_per_second", PER_THOUSAND)?.map(|rate| (Unit::AudioMs, rate))
        }
        "audio_speech" => {
            stated("input_cost_per_character", PER_ONE)?.map(|rate| (Unit::Character, rate))
        }
        "image_generation" | "image_edit" => {
            let by_size = members
                .keys()
                .any(|name| name.starts_with("output_cost_per_image_"));
            let input = stated("input_cost_per_image", PER_ONE)?;
            let output = stated("output_cost_per_image", PER_ONE)?;
            let several = input.is_some() && output.is_some() && input != output;
            output
                .or(input)
                .filter(|_| !by_size && !several)
                .map(|rate| (Unit::Image, rate))
        }
        _ => None,
    };
    let calls = [
        web_search(members)?.map(|rate| (Unit::WebSearch, rate)),
        file_search.map(|rate| (Unit::FileSearch, rate)),
        product,
    ];
    Ok(calls
        .into_iter()
        .flatten()
        .fold(Fees::default(), |fees, (unit, rate)| fees.with(unit, rate)))
}

/// The fee of a web search, where it does not depend on how much the search reads.
fn web_search(members: &Members<'_>) -> Result<Option<Rate>, String> {
    const NAME: &str = "search_context_cost_per_query";
    let Some(raw) = members.get(NAME) else {
        return Ok(None);
    };
    let sizes: Option<Members<'_>> =
        serde_json::from_str(raw.get()).map_err(|error| format!("{NAME}: {error}"))?;
    let sizes = sizes.unwrap_or_default();
    let mut fees = Vec::new();
    for raw in sizes.values() {
        fees.extend(rate(raw, PER_ONE).map_err(|error| format!("{NAME}: {error}"))?);
    }
    let first = fees.first().copied();
    Ok(first.filter(|first| fees.iter().all(|fee| fee == first)))
}

/// Whether a value is zero or null.
fn is_nothing(raw: &RawValue) -> bool {
    match number(raw) {
        Ok(None) => true,
        Ok(Some(text)) => Decimal::parse(&text).is_ok_and(Decimal::is_zero),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_compose() {
        let of = |priced, above, tier| {
            Some(Field {
                priced,
                above,
                tier,
            })
        };
        let write = Tokens(TokenType::InputCacheWrite);
        for (name, expected) in [
            (
                "input_cost_per_token",
                of(Tokens(TokenType::Input), 0, Tier::Standard),
            ),
            (
                "output_cost_per_token_above_272k_tokens_priority",
                of(Tokens(TokenType::Output), 272_000, Tier::Priority),
            ),
            (
                "cache_creation_input_token_cost_above_1hr",
                of(Priced::CacheWrite1h, 0, Tier::Standard),
            ),
            (
                "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
                of(Priced::CacheWrite1h, 200_000, Tier::Standard),
            ),
            (
                "cache_creation_input_token_cost_above_200k_tokens_batches",
                of(write, 200_000, Tier::Batch),
            ),
            ("cache_creation_input_token_cost_above_12hr", None),
            ("input_cost_per_token_above_1hr", None),
            ("input_cost_per_token_above_8s_interval", None),
            ("input_cost_per_token_balanced", None),
            ("input_cost_per_token_cache_hit", None),
            ("input_cost_per_tokens", None),
            (
                "input_cost_per_token_above_99999999999999999999k_tokens",
                None,
            ),
        ] {
            assert_eq!(field(name), expected, "{name}");
        }
    }
}
