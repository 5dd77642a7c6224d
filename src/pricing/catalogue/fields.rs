//! What both catalogues have in common: numbers that may be texts, and rates that gather by tier and
//! threshold.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::pricing::decimal::Decimal;
use crate::pricing::rate::{Rate, Rates, Tier};
use crate::pricing::row::{PriceRow, Threshold, ThresholdPrice, TierPrice};

/// The text of a number, or of a text that holds one; `None` for null.
pub(super) fn number(raw: &RawValue) -> Result<Option<Cow<'_, str>>, String> {
    match raw.get().as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => serde_json::from_str::<String>(raw.get())
            .map(|text| Some(Cow::Owned(text.trim().to_owned())))
            .map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(raw.get()))),
        _ => Err("is not a number".to_owned()),
    }
}

/// The rate that `raw` states for `1 / 10^per` million; `None` for null.
pub(super) fn rate(raw: &RawValue, per: i32) -> Result<Option<Rate>, String> {
    let Some(text) = number(raw)? else {
        return Ok(None);
    };
    Rate::nearest(&text, per)
        .map(Some)
        .map_err(|error| format!("`{text}` {error}"))
}

/// A whole number, as a count of tokens.
pub(super) fn count(raw: &RawValue) -> Option<u64> {
    let text = number(raw).ok()??;
    Decimal::parse(&text).ok()?.exactly(0).ok()
}

/// The most tokens of something. Zero is how catalogues write that they do not know.
pub(super) fn limit(raw: Option<&&RawValue>) -> Option<u64> {
    count(raw?).filter(|&tokens| tokens > 0)
}

/// A flag; what is none is not set.
pub(super) fn flag(raw: Option<&&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get() == "true")
}

/// A text; `None` for anything else.
pub(super) fn text(raw: Option<&&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// Rates as they are found, by threshold (0 is none) and tier.
#[derive(Debug, Default)]
pub(super) struct Gathered(BTreeMap<u64, BTreeMap<Tier, Rates>>);

impl Gathered {
    /// The rates of a tier beyond a threshold, to be added to.
    pub(super) fn at(&mut self, above: u64, tier: Tier) -> &mut Rates {
        self.0.entry(above).or_default().entry(tier).or_default()
    }

    /// What is found so far of a tier beyond a threshold.
    pub(super) fn get(&self, above: u64, tier: Tier) -> Option<&Rates> {
        self.0.get(&above)?.get(&tier)
    }

    /// Puts everything into `row`.
    pub(super) fn into_row(mut self, row: &mut PriceRow) {
        let mut usual = self.0.remove(&0).unwrap_or_default();
        row.standard = usual.remove(&Tier::Standard).unwrap_or_default();
        row.tiers = usual
            .into_iter()
            .map(|(tier, rates)| (tier, TierPrice::Stated(rates)))
            .collect();
        row.thresholds = self
            .0
            .into_iter()
            .map(|(above_input_tokens, tiers)| Threshold {
                above_input_tokens,
                price: ThresholdPrice::Stated(tiers.into_iter().collect()),
            })
            .collect();
    }
}
