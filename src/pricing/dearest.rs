//! The most that a request can cost: what budgets hold for it before it goes up.
//!
//! Nobody knows beforehand which of its tokens are cached or reasoned, nor how many there will be. So
//! each side counts at the dearest of the rates that its tokens may have, also below a threshold that
//! they may stay under. What is then charged is never more.

use super::names::ModelName;
use super::rate::{Factor, Item, Rate, Rates, Tier};
use super::row::{Card, MediaSet, PriceRow, amount_of};
use super::table::PriceTable;
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::money::NanoUsd;
use crate::record::{TokenType, Unit};

/// What a request may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Tokens of input, of all types together.
    pub input_tokens: u64,
    /// Tokens of output, of all types together.
    pub output_tokens: u64,
    /// Whether input may be written to a cache.
    pub writes_cache: bool,
    /// Whether what is written may live an hour.
    pub writes_cache_1h: bool,
    /// What its input may hold beside text.
    pub input_media: MediaSet,
    /// What its output may hold beside text.
    pub output_media: MediaSet,
}

/// What tokens count as that have no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Those of the input.
    pub input: Rate,
    /// Those of the output.
    pub output: Rate,
}

/// The most that something can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dearest {
    /// All of it.
    pub cost: NanoUsd,
    /// What of it is the input's.
    pub input_cost: NanoUsd,
}

impl From<&BudgetSettings> for Ceiling {
    fn from(settings: &BudgetSettings) -> Self {
        let rate = |a_million: NanoUsd| Rate(u64::try_from(a_million.0).unwrap_or(0));
        Self {
            input: rate(settings.ceiling_input),
            output: rate(settings.ceiling_output),
        }
    }
}

impl Ceiling {
    /// What so many tokens count as.
    #[must_use]
    pub fn cost(&self, input_tokens: u64, output_tokens: u64) -> Dearest {
        Sides::of(self).cost(input_tokens, output_tokens)
    }
}

/// The dearest rate of a token on each side, times the divisor of [`amount_of`] over a million.
#[derive(Clone, Copy, Debug, Default)]
struct Sides {
    input: i128,
    output: i128,
}

impl Sides {
    fn of(ceiling: &Ceiling) -> Self {
        let card = Card::plain();
        let of = |kind, rate| card.numerator(Item::Tokens(kind), Some(rate)).unwrap_or(0);
        Self {
            input: of(TokenType::Input, ceiling.input),
            output: of(TokenType::Output, ceiling.output),
        }
    }

    fn or_dearer(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
        }
    }

    fn cost(self, input_tokens: u64, output_tokens: u64) -> Dearest {
        let input = self.input.saturating_mul(i128::from(input_tokens));
        let output = self.output.saturating_mul(i128::from(output_tokens));
        Dearest {
            cost: amount_of(input.saturating_add(output)),
            input_cost: amount_of(input),
        }
    }
}

impl PriceRow {
    /// The dearest rates in a tier, at the ceiling where what may be used has none.
    fn dearest(&self, tier: Tier, residency: Factor, most: &Most, ceiling: Sides) -> Sides {
        let reached = self
            .thresholds
            .iter()
            .filter(|threshold| threshold.above_input_tokens < most.input_tokens)
            .map(Some);
        reached
            .chain([None])
            .map(|threshold| match self.card(tier, residency, threshold) {
                Some(card) => self.dearest_of(&card, most, ceiling),
                None => ceiling,
            })
            .fold(Sides::default(), Sides::or_dearer)
    }

    fn dearest_of(&self, card: &Card<'_>, most: &Most, ceiling: Sides) -> Sides {
        let media = MediaSet {
            audio: most.input_media.audio || most.output_media.audio,
            image: most.input_media.image,
        };
        let mixed_cache = self.cache_not_of.has_any_of(media);
        let of = |kind| {
            let rate = self.charged(card, kind, mixed_cache);
            card.numerator(Item::Tokens(kind), rate)
        };
        let hour = || {
            let rate = card.rates.stated_cache_write_1h().filter(|_| !mixed_cache);
            card.numerator(Item::Unit(Unit::CacheWrite1h), rate)
        };
        // A model whose images have a price makes them without being asked to.
        let states_images = |rates: &Rates| rates.stated(TokenType::OutputImage).is_some();
        let draws = states_images(card.rates) || states_images(&self.standard);
        let mut sides = Sides::default();
        for (kind, occurs) in [
            (TokenType::Input, true),
            (TokenType::InputCached, true),
            (TokenType::InputCacheWrite, most.writes_cache),
            (TokenType::InputAudio, most.input_media.audio),
            (TokenType::InputImage, most.input_media.image),
        ] {
            if occurs {
                sides.input = sides.input.max(of(kind).unwrap_or(ceiling.input));
            }
        }
        if most.writes_cache_1h {
            sides.input = sides.input.max(hour().unwrap_or(ceiling.input));
        }
        for (kind, occurs) in [
            (TokenType::Output, true),
            (TokenType::Reasoning, true),
            (TokenType::OutputAudio, most.output_media.audio),
            (TokenType::OutputImage, most.output_media.image || draws),
        ] {
            if occurs {
                sides.output = sides.output.max(of(kind).unwrap_or(ceiling.output));
            }
        }
        sides
    }
}

impl PriceTable {
    /// The most that a request can cost which uses no more than `most`, by the row that it would be
    /// charged by. `service_tier` is what it asks for; since a provider may serve it in the usual tier
    /// all the same, the dearer of the two counts. What has no price counts at the `ceiling`.
    ///
    /// [`price`](Self::price) of a usage within `most`, in one of these tiers, is never more.
    #[must_use]
    pub fn dearest<'n>(
        &self,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        most: &Most,
        ceiling: &Ceiling,
        at: UnixMicros,
    ) -> Dearest {
        let unpriced = Sides::of(ceiling);
        let found = self.find(name, at);
        let priced = found.and_then(|found| Some((found.row, found.residency()?)));
        let sides = match priced {
            None => unpriced,
            Some((row, residency)) => {
                let asked = match Tier::of(service_tier) {
                    Some(tier) => row.dearest(tier, residency, most, unpriced),
                    None => unpriced,
                };
                row.dearest(Tier::Standard, residency, most, unpriced)
                    .or_dearer(asked)
            }
        };
        sides.cost(most.input_tokens, most.output_tokens)
    }
}
