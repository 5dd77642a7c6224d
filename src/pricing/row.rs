//! One price: of a model, for a period, with its tiers and its context threshold.

use std::borrow::Cow;

use super::rate::{Rates, Tenths};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{TokenType, Tokens};

/// A service tier that has prices. `scale` is not among them: its units are paid in advance, so a
/// request has no price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The usual one.
    Standard,
    /// The Batch API.
    Batch,
    /// Cheaper and slower.
    Flex,
    /// Dearer and faster; what is asked for as `fast` comes back under this name.
    Priority,
    /// Dearer and faster still.
    Ultrafast,
}

impl Tier {
    /// The tier that a provider's `service_tier` means; `None` when it is not known here. Said
    /// nothing, or `auto` as the last word, is the usual one.
    #[must_use]
    pub fn of(service_tier: Option<&str>) -> Option<Self> {
        match service_tier {
            None | Some("default" | "auto" | "standard") => Some(Self::Standard),
            Some("batch") => Some(Self::Batch),
            Some("flex") => Some(Self::Flex),
            Some("priority" | "fast") => Some(Self::Priority),
            Some("ultrafast") => Some(Self::Ultrafast),
            Some(_) => None,
        }
    }
}

/// How a tier other than the standard one is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierPrice {
    /// The standard rates by a factor.
    Times(Tenths),
    /// Rates of its own.
    Stated(Rates),
}

/// Past a number of input tokens the whole request takes higher rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongContext {
    /// The last number of input tokens, of all types together, at the usual rates.
    pub up_to_input_tokens: u64,
    /// The factor on every input type.
    pub input: Tenths,
    /// The factor on every output type.
    pub output: Tenths,
}

/// A fact about a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// Who charges it.
    pub provider: Cow<'static, str>,
    /// The model's name in the provider's API.
    pub model: Cow<'static, str>,
    /// The first moment at this price; `None` for as long as is known.
    pub effective_from: Option<UnixMicros>,
    /// The first moment no longer at this price; `None` until further notice.
    pub effective_to: Option<UnixMicros>,
    /// Who states it.
    pub source: Cow<'static, str>,
    /// Whether names that begin with this one and a hyphen cost the same.
    pub family: bool,
    /// The standard tier.
    pub standard: Rates,
    /// The other tiers, as far as they are stated.
    pub tiers: Vec<(Tier, TierPrice)>,
    /// The threshold, where there is one.
    pub long_context: Option<LongContext>,
}

impl PriceRow {
    /// Whether the row holds at a moment.
    #[must_use]
    pub fn is_effective(&self, at: UnixMicros) -> bool {
        self.effective_from.is_none_or(|from| from <= at)
            && self.effective_to.is_none_or(|to| at < to)
    }

    /// What `tokens` cost in a tier. `None` when no count is stated, the tier has no price, or a
    /// type that was used has none. Rounded once, at the end, half a nano-dollar up.
    #[must_use]
    pub fn amount(&self, tier: Tier, tokens: &Tokens) -> Option<NanoUsd> {
        /// Tokens in a rate's million, and the tenths of the two factors.
        const DIVISOR: i128 = 1_000_000 * 10 * 10;
        tokens.sum()?;
        let (rates, tier_factor) = self.tier(tier)?;
        let (input_factor, output_factor) = self.context_factors(tokens);
        let mut total: i128 = 0;
        for (kind, count) in tokens.iter().filter(|&(_, count)| count > 0) {
            let Tenths(context_factor) = if is_input(kind) {
                input_factor
            } else {
                output_factor
            };
            let charge = i128::from(count)
                .saturating_mul(i128::from(rates.charged(kind)?.0))
                .saturating_mul(i128::from(context_factor))
                .saturating_mul(i128::from(tier_factor.0));
            total = total.saturating_add(charge);
        }
        let nanos = total.saturating_add(DIVISOR / 2) / DIVISOR;
        Some(NanoUsd(i64::try_from(nanos).unwrap_or(i64::MAX)))
    }

    fn tier(&self, tier: Tier) -> Option<(&Rates, Tenths)> {
        if tier == Tier::Standard {
            return Some((&self.standard, Tenths::ONE));
        }
        let (_, price) = self.tiers.iter().find(|(stated, _)| *stated == tier)?;
        Some(match price {
            TierPrice::Times(factor) => (&self.standard, *factor),
            TierPrice::Stated(rates) => (rates, Tenths::ONE),
        })
    }

    fn context_factors(&self, tokens: &Tokens) -> (Tenths, Tenths) {
        let input_tokens = tokens
            .iter()
            .filter(|&(kind, _)| is_input(kind))
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(count));
        match self.long_context {
            Some(long) if input_tokens > long.up_to_input_tokens => (long.input, long.output),
            _ => (Tenths::ONE, Tenths::ONE),
        }
    }
}

fn is_input(kind: TokenType) -> bool {
    match kind {
        TokenType::Input
        | TokenType::InputCached
        | TokenType::InputCacheWrite
        | TokenType::InputAudio
        | TokenType::InputImage => true,
        TokenType::Output
        | TokenType::Reasoning
        | TokenType::OutputAudio
        | TokenType::OutputImage => false,
    }
}
