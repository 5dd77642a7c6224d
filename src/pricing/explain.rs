//! How a price comes about, part by part. What is explained here is what [`PriceRow::amount_for`]
//! adds up, so that an explanation cannot drift from the price.

use super::names::ModelName;
use super::rate::{Factor, Item, Tier};
use super::row::{Charge, PriceRow, Threshold};
use super::table::{Match, PriceTable};
use crate::clock::UnixMicros;
use crate::record::{Api, Cost, Usage};

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// No row has the name.
    #[error("no prices know it")]
    Model,
    /// The service tier is not known.
    #[error("the service tier `{0}` is not known")]
    UnknownTier(String),
    /// Nobody states the tier's rates.
    #[error("nobody states the rates of the tier `{0}`")]
    Tier(Tier),
    /// Nobody states the rate of something that was used.
    #[error("nobody states the rate of {}", .0.as_str())]
    Item(Item),
    /// Nobody states what data residency adds.
    #[error("nobody states what it costs where data is kept in a region")]
    Residency,
    /// It is what several requests used, and thresholds are one request's.
    #[error(
        "these are the tokens of several requests, together past {above_input_tokens} input tokens: \
         whether one of them was past that is not known"
    )]
    Threshold {
        /// The threshold.
        above_input_tokens: u64,
    },
    /// Nothing was used as far as is known.
    #[error("nothing is known of the usage")]
    Usage,
}

/// A price and how it comes about.
#[derive(Clone, Debug)]
pub struct Explanation<'t> {
    /// The row and how it was found.
    pub found: Match<'t>,
    /// The tier that is charged.
    pub tier: Tier,
    /// The threshold that the request is past.
    pub threshold: Option<&'t Threshold>,
    /// The parts, in the order in which they are added.
    pub charges: Vec<Charge>,
    /// The whole, or why there is none.
    pub cost: Result<Cost, Unpriced>,
}

impl PriceTable {
    /// As [`PriceTable::price_row`], with every step.
    pub fn explain<'n>(
        &self,
        api: Api,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        usage: &Usage,
        at: UnixMicros,
    ) -> Result<Explanation<'_>, Unpriced> {
        let found = self.find(name, at).ok_or(Unpriced::Model)?;
        let tier = Tier::of(service_tier)
            .ok_or_else(|| Unpriced::UnknownTier(service_tier.unwrap_or_default().to_owned()))?;
        let row: &PriceRow = found.row;
        let residency = found.residency();
        let mut threshold = row.threshold(&usage.tokens);
        let mut charges = Vec::new();
        let known = row.charges(tier, residency.unwrap_or(Factor::ONE), usage, |charge| {
            charges.push(charge);
        });
        let unpriced = charges.iter().find(|charge| charge.rate.is_none());
        let cost = match (
            residency.and_then(|times| row.amount_for(api, tier, times, usage)),
            unpriced,
        ) {
            (None, _) if residency.is_none() => Err(Unpriced::Residency),
            (Some(amount), _) => Ok(Cost {
                amount,
                price_version: found.price_version().clone(),
            }),
            (None, Some(charge)) => Err(Unpriced::Item(charge.item)),
            (None, None) if !known && usage.tokens.sum().is_some() => Err(Unpriced::Tier(tier)),
            (None, None) => Err(match threshold.filter(|_| known) {
                Some(&Threshold {
                    above_input_tokens, ..
                }) => Unpriced::Threshold { above_input_tokens },
                None => Unpriced::Usage,
            }),
        };
        if matches!(cost, Err(Unpriced::Threshold { .. })) {
            // Its parts would be those of one request.
            (threshold, charges) = (None, Vec::new());
        }
        Ok(Explanation {
            found,
            tier,
            threshold,
            charges,
            cost,
        })
    }
}
