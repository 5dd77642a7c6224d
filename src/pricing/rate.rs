//! Rates: what one million of something costs.

use super::decimal::{Decimal, DecimalError};
use crate::record::{TokenType, Unit, closed_set};

/// A price: nano-dollars per million (tokens, calls, milliseconds, characters). Every published
/// price of tokens is a whole number of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    /// `milli_usd` thousandths of a dollar per million: 2.50 USD is 2500.
    #[must_use]
    pub const fn milli_usd(milli_usd: u64) -> Self {
        Self(milli_usd * 1_000_000)
    }

    /// A decimal text of USD for each `1 / 10^per` million: `per` is 0 for prices of a million, 6
    /// for prices of one. Digits below the smallest unit are refused.
    pub(super) fn exactly(text: &str, per: i32) -> Result<Self, DecimalError> {
        Decimal::parse(text)?.exactly(9 + per).map(Self)
    }

    /// USD for one, as a decimal number: `0.01` for a rate of ten thousand USD a million.
    #[must_use]
    pub fn usd_for_one(self) -> String {
        decimal(self.0, 15)
    }

    /// As [`Rate::exactly`], rounding what is finer: catalogues write what binary floats left over.
    pub(super) fn nearest(text: &str, per: i32) -> Result<Self, DecimalError> {
        let scaled = Decimal::parse(text)?.scaled(9 + per)?;
        Ok(Self(scaled.value))
    }
}

/// USD for a million, as a decimal number: `2.5`.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        decimal(self.0, 9).fmt(f)
    }
}

/// `value` × 10^-`places` as a decimal number without zeros at its end.
fn decimal(value: u64, places: u32) -> String {
    let one = 10_u64.saturating_pow(places);
    let (whole, fraction) = (value / one, value % one);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:0width$}", width = places as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// An exact factor in thousandths: 500 halves, 1500 is half as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(pub u32);

impl Factor {
    /// No change.
    pub const ONE: Self = Self(1_000);

    /// A decimal text of at most three places.
    pub(super) fn exactly(text: &str) -> Result<Self, DecimalError> {
        let thousandths = Decimal::parse(text)?.exactly(3)?;
        u32::try_from(thousandths)
            .map(Self)
            .map_err(|_| DecimalError::TooLarge)
    }
}

/// As a decimal number: `0.5`, `2`.
impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        decimal(u64::from(self.0), 3).fmt(f)
    }
}

closed_set! {
    /// A service tier that has prices. `scale` is not among them: its units are paid in advance,
    /// so a request has no price of its own.
    Tier ("service tier") {
        /// The usual one.
        Standard => "standard",
        /// The Batch API.
        Batch => "batch",
        /// Cheaper and slower.
        Flex => "flex",
        /// Dearer and faster; what is asked for as `fast` comes back under this name.
        Priority => "priority",
        /// Dearer and faster still.
        Ultrafast => "ultrafast",
    }
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

/// Something that has a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// Tokens of a type.
    Tokens(TokenType),
    /// What is billed besides.
    Unit(Unit),
}

impl Item {
    /// The public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens(kind) => kind.as_str(),
            Self::Unit(unit) => unit.as_str(),
        }
    }

    /// Whether a threshold's factor on input concerns it.
    pub(super) const fn is_input(self) -> bool {
        match self {
            Self::Tokens(
                TokenType::Input
                | TokenType::InputCached
                | TokenType::InputCacheWrite
                | TokenType::InputAudio
                | TokenType::InputImage,
            )
            | Self::Unit(Unit::CacheWrite1h) => true,
            Self::Tokens(
                TokenType::Output
                | TokenType::Reasoning
                | TokenType::OutputAudio
                | TokenType::OutputImage,
            )
            | Self::Unit(_) => false,
        }
    }
}

/// The rates of one price, as far as they are stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    tokens: [Option<Rate>; TokenType::ALL.len()],
    cache_write_1h: Option<Rate>,
}

impl Rates {
    /// Nothing is stated.
    pub(super) const NONE: Self = Self {
        tokens: [None; TokenType::ALL.len()],
        cache_write_1h: None,
    };

    /// Text rates. A cache rate that is `None` is not stated.
    #[must_use]
    pub fn text(
        input: Rate,
        cached: Option<Rate>,
        cache_write: Option<Rate>,
        output: Option<Rate>,
    ) -> Self {
        let mut rates = Self::default().with(TokenType::Input, input);
        for (kind, rate) in [
            (TokenType::InputCached, cached),
            (TokenType::InputCacheWrite, cache_write),
            (TokenType::Output, output),
        ] {
            rates = rate.map_or(rates, |rate| rates.with(kind, rate));
        }
        rates
    }

    /// The same rates with `rate` stated for `kind`.
    #[must_use]
    pub const fn with(mut self, kind: TokenType, rate: Rate) -> Self {
        self.tokens[kind as usize] = Some(rate);
        self
    }

    /// The same rates with that of cache writes which live an hour.
    #[must_use]
    pub const fn with_cache_write_1h(mut self, rate: Rate) -> Self {
        self.cache_write_1h = Some(rate);
        self
    }

    /// The stated rate of tokens.
    #[must_use]
    pub const fn stated(&self, kind: TokenType) -> Option<Rate> {
        self.tokens[kind as usize]
    }

    /// The stated rate of cache writes which live an hour.
    #[must_use]
    pub const fn stated_cache_write_1h(&self) -> Option<Rate> {
        self.cache_write_1h
    }

    /// Every stated rate.
    pub fn iter(&self) -> impl Iterator<Item = (Item, Rate)> + '_ {
        let hour = self.stated_cache_write_1h();
        TokenType::ALL
            .iter()
            .filter_map(|&kind| Some((Item::Tokens(kind), self.stated(kind)?)))
            .chain(hour.map(|rate| (Item::Unit(Unit::CacheWrite1h), rate)))
    }

    /// Whether nothing is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether both state something in common, and nothing otherwise.
    pub(super) fn agree(&self, other: &Self) -> bool {
        let mut common = self.iter().filter_map(|(item, rate)| {
            let (_, theirs) = other.iter().find(|(stated, _)| *stated == item)?;
            Some(rate == theirs)
        });
        common
            .next()
            .is_some_and(|first| first && common.all(|same| same))
    }

    /// What a token of `kind` is charged. Reasoning is charged as output unless stated, the cache
    /// as input unless stated; audio and images have no price but their own, except that images may
    /// be read at the rate of text. These rates may be those of a tier: where the model's `standard`
    /// rates are not so, it is not guessed that these are.
    pub(super) fn charged(
        &self,
        kind: TokenType,
        standard: &Self,
        images_as_text: bool,
    ) -> Option<Rate> {
        if let Some(rate) = self.stated(kind) {
            return Some(rate);
        }
        let like = match kind {
            TokenType::InputCached | TokenType::InputCacheWrite => Some(TokenType::Input),
            TokenType::Reasoning => Some(TokenType::Output),
            TokenType::InputImage if images_as_text => Some(TokenType::Input),
            TokenType::Input
            | TokenType::Output
            | TokenType::InputAudio
            | TokenType::OutputAudio
            | TokenType::InputImage
            | TokenType::OutputImage => None,
        }?;
        let usual = standard.stated(kind);
        if usual.is_some() && usual != standard.stated(like) {
            return None;
        }
        self.stated(like)
    }
}

/// Fees for what is billed besides tokens: rates per million calls, images, milliseconds or
/// characters. Cache writes are tokens, and have their rate in [`Rates`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fees([Option<Rate>; Unit::ALL.len()]);

impl Fees {
    /// The same fees with one more.
    #[must_use]
    pub const fn with(mut self, unit: Unit, rate: Rate) -> Self {
        self.0[unit as usize] = Some(rate);
        self
    }

    /// A stated fee.
    #[must_use]
    pub const fn stated(&self, unit: Unit) -> Option<Rate> {
        self.0[unit as usize]
    }

    /// Every stated fee.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, Rate)> + '_ {
        Unit::ALL
            .iter()
            .filter_map(|&unit| Some((unit, self.stated(unit)?)))
    }
}
