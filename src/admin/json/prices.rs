//! Prices as the API tells them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, Usd};
use crate::pricing::{
    Charge, Explanation, Item, PriceRow, PriceTable, Rate, Rates, ThresholdPrice, TierPrice,
};

/// Rates by type of tokens: decimal strings of USD for a million.
type RatesJson = BTreeMap<String, String>;

/// One price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceJson {
    /// The file, catalogue or built-in list it is from, with its version.
    pub layer: String,
    /// Who charges it; null for whoever does.
    pub provider: Option<String>,
    /// The model.
    pub model: String,
    /// The first moment at this price; null for as long as is known.
    pub effective_from: Option<Moment>,
    /// The first moment no longer at this price; null until further notice.
    pub effective_to: Option<Moment>,
    /// Who states it.
    pub source: String,
    /// Whether names that begin with this one and a hyphen cost the same.
    pub family: bool,
    /// The factor on the rates of tokens where the provider keeps data in a region, a decimal string;
    /// null when nobody states one.
    pub residency_times: Option<String>,
    /// Decimal strings of USD for a million tokens, by type.
    pub per_million: RatesJson,
    /// Decimal strings of USD for one of what is billed besides tokens.
    pub per_unit: RatesJson,
    /// The other service tiers.
    pub tiers: BTreeMap<String, TierPriceJson>,
    /// Numbers of input tokens past which the whole request has other rates, the lowest first.
    pub thresholds: Vec<ThresholdJson>,
}

/// A service tier: a factor of the standard rates, or rates of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TierPriceJson {
    /// The factor, a decimal string.
    pub times: Option<String>,
    /// The rates.
    pub per_million: Option<RatesJson>,
}

/// A threshold: factors of the usual rates, or rates of its own by tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThresholdJson {
    /// The last number of input tokens at the rates below it.
    pub above_input_tokens: u64,
    /// The factor on every input type, a decimal string.
    pub input_times: Option<String>,
    /// The factor on every output type, a decimal string.
    pub output_times: Option<String>,
    /// The rates, by tier.
    pub tiers: Option<BTreeMap<String, RatesJson>>,
}

/// Prices in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceList {
    /// The layers in the order in which they are asked: files, catalogue, built-in.
    pub layers: Vec<String>,
    /// When the catalogue was last fetched or confirmed; null without one.
    pub catalogue_confirmed_at: Option<Moment>,
    /// How many prices fit the question.
    pub total: usize,
    /// The first of them, by layer, provider, model and date.
    pub prices: Vec<PriceJson>,
}

/// One part of a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChargeJson {
    /// A type of tokens, or a unit.
    pub item: String,
    /// How many.
    pub count: u64,
    /// USD for a million, before factors; null when nobody states it.
    pub usd_per_million: Option<String>,
    /// The same for one.
    pub usd_for_one: Option<String>,
    /// The tier's factor.
    pub tier_times: String,
    /// The threshold's factor.
    pub threshold_times: String,
    /// That of data residency.
    pub residency_times: String,
    /// The part's amount; null when there is none.
    pub usd: Option<Usd>,
}

/// How a price comes about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceExplanationJson {
    /// The price that was found.
    pub price: PriceJson,
    /// The rule that found it.
    pub rule: String,
    /// What the ledger would keep as `price_version`.
    pub price_version: String,
    /// The tier that is charged.
    pub tier: String,
    /// The threshold that the request is past; null where it is past none.
    pub above_input_tokens: Option<u64>,
    /// The parts.
    pub charges: Vec<ChargeJson>,
    /// The whole; null when it has no price.
    pub usd: Option<Usd>,
    /// Why it has no price.
    pub unpriced: Option<String>,
}

impl PriceJson {
    /// A row of a layer.
    #[must_use]
    pub fn new(layer: &str, row: &PriceRow) -> Self {
        Self {
            layer: layer.to_owned(),
            provider: (!row.provider.is_empty()).then(|| row.provider.clone().into_owned()),
            model: row.model.clone().into_owned(),
            effective_from: row.effective_from.map(Moment),
            effective_to: row.effective_to.map(Moment),
            source: row.source.clone().into_owned(),
            family: row.family,
            residency_times: row.residency.map(|times| times.to_string()),
            per_million: rates(&row.standard),
            per_unit: row
                .fees
                .iter()
                .map(|(unit, rate)| (unit.as_str().to_owned(), rate.usd_for_one()))
                .collect(),
            tiers: row
                .tiers
                .iter()
                .map(|(tier, price)| (tier.as_str().to_owned(), price.into()))
                .collect(),
            thresholds: row.thresholds.iter().map(Into::into).collect(),
        }
    }
}

fn rates(stated: &Rates) -> RatesJson {
    stated
        .iter()
        .map(|(item, rate)| (item.as_str().to_owned(), rate.to_string()))
        .collect()
}

impl From<&TierPrice> for TierPriceJson {
    fn from(price: &TierPrice) -> Self {
        let (times, per_million) = match price {
            TierPrice::Times(factor) => (Some(factor.to_string()), None),
            TierPrice::Stated(stated) => (None, Some(rates(stated))),
        };
        Self { times, per_million }
    }
}

impl From<&crate::pricing::Threshold> for ThresholdJson {
    fn from(threshold: &crate::pricing::Threshold) -> Self {
        let (input_times, output_times, tiers) = match &threshold.price {
            ThresholdPrice::Times { input, output } => {
                (Some(input.to_string()), Some(output.to_string()), None)
            }
            ThresholdPrice::Stated(tiers) => {
                let tiers = tiers
                    .iter()
                    .map(|(tier, stated)| (tier.as_str().to_owned(), rates(stated)));
                (None, None, Some(tiers.collect()))
            }
        };
        Self {
            above_input_tokens: threshold.above_input_tokens,
            input_times,
            output_times,
            tiers,
        }
    }
}

/// Which prices of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceFilter {
    /// Whose name holds this text.
    pub model: Option<String>,
    /// Charged by this provider.
    pub provider: Option<String>,
}

impl PriceFilter {
    fn admits(&self, row: &PriceRow) -> bool {
        self.model
            .as_ref()
            .is_none_or(|part| row.model.contains(part.as_str()))
            && self
                .provider
                .as_ref()
                .is_none_or(|provider| row.provider == *provider)
    }
}

impl PriceList {
    /// The first `limit` prices of `table` that fit.
    #[must_use]
    pub fn new(
        table: &PriceTable,
        confirmed: Option<Moment>,
        filter: &PriceFilter,
        limit: usize,
    ) -> Self {
        let mut prices = Vec::new();
        let mut total = 0;
        for layer in table.layers() {
            let mut rows: Vec<&PriceRow> = layer.rows().filter(|row| filter.admits(row)).collect();
            total += rows.len();
            rows.sort_by_key(|row| (&row.provider, &row.model, row.effective_from));
            let left = limit.saturating_sub(prices.len());
            let first = rows.into_iter().take(left);
            prices.extend(first.map(|row| PriceJson::new(layer.version(), row)));
        }
        Self {
            layers: table
                .layers()
                .iter()
                .map(|layer| layer.version().to_owned())
                .collect(),
            catalogue_confirmed_at: confirmed,
            total,
            prices,
        }
    }
}

impl From<&Charge> for ChargeJson {
    fn from(charge: &Charge) -> Self {
        let item: Item = charge.item;
        Self {
            item: item.as_str().to_owned(),
            count: charge.count,
            usd_per_million: charge.rate.map(|rate| rate.to_string()),
            usd_for_one: charge.rate.map(Rate::usd_for_one),
            tier_times: charge.tier.to_string(),
            threshold_times: charge.threshold.to_string(),
            residency_times: charge.residency.to_string(),
            usd: charge.amount().map(Usd),
        }
    }
}

impl From<&Explanation<'_>> for PriceExplanationJson {
    fn from(explanation: &Explanation<'_>) -> Self {
        let found = &explanation.found;
        let (usd, unpriced) = match &explanation.cost {
            Ok(cost) => (Some(Usd(cost.amount)), None),
            Err(reason) => (None, Some(reason.to_string())),
        };
        Self {
            price: PriceJson::new(found.layer(), found.row),
            rule: found.rule.to_string(),
            price_version: found.price_version().to_string(),
            tier: explanation.tier.to_string(),
            above_input_tokens: explanation
                .threshold
                .map(|threshold| threshold.above_input_tokens),
            charges: explanation.charges.iter().map(Into::into).collect(),
            usd,
            unpriced,
        }
    }
}
