//! One price: of a model, for a period, with its tiers, thresholds and fees.

use std::borrow::Cow;

use super::rate::{Factor, Fees, Item, Rate, Rates, Tier};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{Api, TokenType, Tokens, Unit, Usage};

/// How a tier other than the standard one is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierPrice {
    /// The standard rates by a factor.
    Times(Factor),
    /// Rates of its own.
    Stated(Rates),
}

/// Past a number of input tokens the whole request takes other rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The last number of input tokens, of all types together, at the rates below it.
    pub above_input_tokens: u64,
    /// The rates beyond.
    pub price: ThresholdPrice,
}

/// The rates beyond a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThresholdPrice {
    /// The tier's usual rates by factors.
    Times {
        /// On every input type.
        input: Factor,
        /// On every output type.
        output: Factor,
    },
    /// Rates of their own, by tier. A tier that is a factor of the standard one is the same factor
    /// of the standard rates here.
    Stated(Vec<(Tier, Rates)>),
}

/// Kinds of tokens beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaSet {
    /// Audio.
    pub audio: bool,
    /// Images.
    pub image: bool,
}

impl MediaSet {
    /// Whether some kind is in both.
    pub(super) const fn has_any_of(self, other: Self) -> bool {
        (self.audio && other.audio) || (self.image && other.image)
    }

    /// Whether a request had tokens of these kinds, in its input or, as a conversation goes on, in
    /// its output.
    fn are_in(self, tokens: &Tokens) -> bool {
        let used = |kind| tokens[kind].is_some_and(|count| count > 0);
        self.has_any_of(Self {
            audio: used(TokenType::InputAudio) || used(TokenType::OutputAudio),
            image: used(TokenType::InputImage),
        })
    }
}

/// What a model takes and makes at most, as far as it is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// Tokens of one request's input.
    pub max_input_tokens: Option<u64>,
    /// Tokens of one answer.
    pub max_output_tokens: Option<u64>,
}

impl ModelLimits {
    /// These, and where they say nothing, `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_input_tokens: self.max_input_tokens.or(others.max_input_tokens),
            max_output_tokens: self.max_output_tokens.or(others.max_output_tokens),
        }
    }
}

/// A fact about a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// Who charges it; empty for whoever does.
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
    /// Whether tokens of images that are read cost what text costs, unless a rate says otherwise.
    pub images_as_text: bool,
    /// Tokens whose cache costs otherwise than the cache's rates say, where Tollgate counts all
    /// cached tokens together. A request with such tokens has no price for its cache.
    pub cache_not_of: MediaSet,
    /// The factor on every rate of tokens where the provider keeps data in a region; `None` when
    /// nobody states one, and requests there have no price. Units cost there what they do anywhere.
    pub residency: Option<Factor>,
    /// The standard tier.
    pub standard: Rates,
    /// The other tiers, as far as they are stated.
    pub tiers: Vec<(Tier, TierPrice)>,
    /// The thresholds, the lowest first.
    pub thresholds: Vec<Threshold>,
    /// What is billed besides tokens.
    pub fees: Fees,
    /// What the model takes and makes at most.
    pub limits: ModelLimits,
}

/// One part of a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What is charged.
    pub item: Item,
    /// How much of it.
    pub count: u64,
    /// The rate before the factors; `None` when nobody states one.
    pub rate: Option<Rate>,
    /// The tier's factor.
    pub tier: Factor,
    /// The threshold's factor.
    pub threshold: Factor,
    /// That of data residency.
    pub residency: Factor,
}

/// The divisor of [`Charge::numerator`]: a rate's million, and the thousandths of three factors.
const DIVISOR: i128 = 1_000_000 * 1_000 * 1_000 * 1_000;

impl Charge {
    /// The amount in nano-dollars times [`DIVISOR`].
    fn numerator(&self) -> Option<i128> {
        Some(
            i128::from(self.count)
                .saturating_mul(i128::from(self.rate?.0))
                .saturating_mul(i128::from(self.tier.0))
                .saturating_mul(i128::from(self.threshold.0))
                .saturating_mul(i128::from(self.residency.0)),
        )
    }

    /// The part's amount alone, rounded; the whole is rounded once, so that parts may add up to a
    /// nano-dollar more or less.
    #[must_use]
    pub fn amount(&self) -> Option<NanoUsd> {
        self.numerator().map(amount_of)
    }
}

/// What a sum of numerators over [`DIVISOR`] comes to, half a nano-dollar up.
pub(super) fn amount_of(numerator: i128) -> NanoUsd {
    let nanos = numerator.saturating_add(DIVISOR / 2) / DIVISOR;
    NanoUsd(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The rates that hold for one request.
pub(super) struct Card<'r> {
    pub(super) rates: &'r Rates,
    tier: Factor,
    input: Factor,
    output: Factor,
    residency: Factor,
}

impl PriceRow {
    /// A row of these standard rates and nothing else.
    #[must_use]
    pub fn new(
        provider: impl Into<Cow<'static, str>>,
        model: impl Into<Cow<'static, str>>,
        source: impl Into<Cow<'static, str>>,
        standard: Rates,
    ) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            effective_from: None,
            effective_to: None,
            source: source.into(),
            family: false,
            images_as_text: false,
            cache_not_of: MediaSet::default(),
            residency: None,
            standard,
            tiers: Vec::new(),
            thresholds: Vec::new(),
            fees: Fees::default(),
            limits: ModelLimits::default(),
        }
    }

    /// Whether the row holds at a moment.
    #[must_use]
    pub fn is_effective(&self, at: UnixMicros) -> bool {
        self.effective_from.is_none_or(|from| from <= at)
            && self.effective_to.is_none_or(|to| at < to)
    }

    /// What `usage` costs one request in a tier, where data is kept in no region: as
    /// [`amount_for`](Self::amount_for).
    #[must_use]
    pub fn amount(&self, tier: Tier, usage: &Usage) -> Option<NanoUsd> {
        self.amount_for(Api::Chat, tier, Factor::ONE, usage)
    }

    /// What a row of `api` costs in a tier. `None` when nothing is known of the usage, the tier has no
    /// price, or something that was used has none. Rounded once, at the end, half a nano-dollar up.
    ///
    /// A batch is many requests, whose usage is added up, and a threshold is one request's. Where all
    /// of them together are past none, none of them is; where they are, the sum does not say which
    /// are, and a price without it would be too low: `None`.
    #[must_use]
    pub fn amount_for(
        &self,
        api: Api,
        tier: Tier,
        residency: Factor,
        usage: &Usage,
    ) -> Option<NanoUsd> {
        if api == Api::Batches && self.threshold(&usage.tokens).is_some() {
            return None;
        }
        let mut total: Option<i128> = Some(0);
        let known = self.charges(tier, residency, usage, |charge| {
            total = total
                .zip(charge.numerator())
                .map(|(sum, part)| sum.saturating_add(part));
        });
        known.then_some(total?).map(amount_of)
    }

    /// The threshold that a request of these tokens is past.
    #[must_use]
    pub fn threshold(&self, tokens: &Tokens) -> Option<&Threshold> {
        let input_tokens = input_tokens(tokens);
        self.thresholds
            .iter()
            .rev()
            .find(|threshold| input_tokens > threshold.above_input_tokens)
    }

    /// Hands each part of the price to `charge`. False when there is nothing to price: the usage
    /// is unknown or the tier has no rates.
    pub fn charges(
        &self,
        tier: Tier,
        residency: Factor,
        usage: &Usage,
        mut charge: impl FnMut(Charge),
    ) -> bool {
        let Usage { tokens, units, .. } = usage;
        let products = [Unit::Image, Unit::AudioMs, Unit::Character];
        if tokens.sum().is_none() && products.iter().all(|&unit| units[unit].is_none()) {
            return false;
        }
        let Some(card) = self.card(tier, residency, self.threshold(tokens)) else {
            return false;
        };
        let hour = units[Unit::CacheWrite1h].unwrap_or(0);
        let mixed_cache = self.cache_not_of.are_in(tokens);
        for (kind, count) in tokens.iter() {
            let count = match kind {
                TokenType::InputCacheWrite => count.saturating_sub(hour),
                _ => count,
            };
            let rate = self.charged(&card, kind, mixed_cache);
            if count > 0 {
                charge(card.charge(Item::Tokens(kind), count, rate));
            }
        }
        for (unit, count) in units.iter().filter(|&(_, count)| count > 0) {
            if unit == Unit::CacheWrite1h {
                let rate = card.rates.stated_cache_write_1h().filter(|_| !mixed_cache);
                charge(card.charge(Item::Unit(unit), count, rate));
            } else if let Some(rate) = self.fee(unit, tier, tokens) {
                charge(Charge {
                    item: Item::Unit(unit),
                    count,
                    rate,
                    tier: Factor::ONE,
                    threshold: Factor::ONE,
                    residency: Factor::ONE,
                });
            }
        }
        true
    }

    /// A unit's fee; the outer `None` where the unit is paid with the tokens. Calls of tools cost
    /// the same in every tier; what a fee alone pays (an image, a second) is known for the standard
    /// tier only.
    #[allow(
        clippy::option_option,
        reason = "not charged and charged at an unknown rate are two things"
    )]
    fn fee(&self, unit: Unit, tier: Tier, tokens: &Tokens) -> Option<Option<Rate>> {
        let used = |kind| tokens[kind].is_some_and(|count| count > 0);
        let stated = self.fees.stated(unit);
        let (in_tokens, any_tier) = match unit {
            Unit::WebSearch | Unit::FileSearch | Unit::CacheWrite1h | Unit::OtherTool => {
                (false, true)
            }
            Unit::Image => (used(TokenType::OutputImage), false),
            Unit::AudioMs => (
                used(TokenType::InputAudio) || used(TokenType::OutputAudio),
                false,
            ),
            Unit::Character => (used(TokenType::OutputAudio), false),
        };
        match stated {
            None if in_tokens => None,
            stated => Some(stated.filter(|_| any_tier || tier == Tier::Standard)),
        }
    }

    /// What a token of `kind` is charged. With media in it that are cached otherwise than text
    /// (`mixed_cache`) a request's cache has no price.
    pub(super) fn charged(
        &self,
        card: &Card<'_>,
        kind: TokenType,
        mixed_cache: bool,
    ) -> Option<Rate> {
        let rate = card
            .rates
            .charged(kind, &self.standard, self.images_as_text);
        rate.filter(|_| !(mixed_cache && is_cache(kind)))
    }

    /// The rates of a tier beyond a threshold, or of a request that is past none.
    pub(super) fn card<'r>(
        &'r self,
        tier: Tier,
        residency: Factor,
        threshold: Option<&'r Threshold>,
    ) -> Option<Card<'r>> {
        let (rates, factor) = self.tier(tier)?;
        let usual = Card {
            rates,
            tier: factor,
            input: Factor::ONE,
            output: Factor::ONE,
            residency,
        };
        match threshold.map(|threshold| &threshold.price) {
            None => Some(usual),
            Some(&ThresholdPrice::Times { input, output }) => Some(Card {
                input,
                output,
                ..usual
            }),
            Some(ThresholdPrice::Stated(tiers)) => {
                let of = |wanted| {
                    let mut stated = tiers.iter();
                    let found = stated.find(|(stated, _)| *stated == wanted);
                    found.map(|(_, rates)| rates)
                };
                let is_factor = std::ptr::eq(rates, &raw const self.standard);
                match of(tier) {
                    Some(rates) => Some(Card {
                        rates,
                        tier: Factor::ONE,
                        ..usual
                    }),
                    None if is_factor => of(Tier::Standard).map(|rates| Card { rates, ..usual }),
                    None => None,
                }
            }
        }
    }

    fn tier(&self, tier: Tier) -> Option<(&Rates, Factor)> {
        if tier == Tier::Standard {
            return Some((&self.standard, Factor::ONE));
        }
        let (_, price) = self.tiers.iter().find(|(stated, _)| *stated == tier)?;
        Some(match price {
            TierPrice::Times(factor) => (&self.standard, *factor),
            TierPrice::Stated(rates) => (rates, Factor::ONE),
        })
    }
}

impl Card<'_> {
    /// Rates as they are, without a factor.
    pub(super) fn plain() -> Self {
        const NONE: &Rates = &Rates::NONE;
        Self {
            rates: NONE,
            tier: Factor::ONE,
            input: Factor::ONE,
            output: Factor::ONE,
            residency: Factor::ONE,
        }
    }

    /// What one `item` at a rate adds to the numerator of the whole.
    pub(super) fn numerator(&self, item: Item, rate: Option<Rate>) -> Option<i128> {
        self.charge(item, 1, rate).numerator()
    }

    fn charge(&self, item: Item, count: u64, rate: Option<Rate>) -> Charge {
        Charge {
            item,
            count,
            rate,
            tier: self.tier,
            threshold: if item.is_input() {
                self.input
            } else {
                self.output
            },
            residency: self.residency,
        }
    }
}

const fn is_cache(kind: TokenType) -> bool {
    matches!(kind, TokenType::InputCached | TokenType::InputCacheWrite)
}

/// The input tokens of all types together: what thresholds count.
pub(super) fn input_tokens(tokens: &Tokens) -> u64 {
    tokens
        .iter()
        .filter(|&(kind, _)| Item::Tokens(kind).is_input())
        .fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
}
