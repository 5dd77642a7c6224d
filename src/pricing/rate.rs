//! Rates by token type.

use crate::record::TokenType;

/// A price: nano-dollars per million tokens. Every published price is a whole number of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    /// `milli_usd` thousandths of a dollar per million tokens: 2.50 USD is 2500.
    #[must_use]
    pub const fn milli_usd(milli_usd: u64) -> Self {
        Self(milli_usd * 1_000_000)
    }
}

/// An exact factor in tenths: 5 halves, 15 is half as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenths(pub u32);

impl Tenths {
    /// No change.
    pub const ONE: Self = Self(10);
}

/// The rates of one price, by token type, as far as they are stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates([Option<Rate>; TokenType::ALL.len()]);

impl Rates {
    /// Text rates. A cache rate that is `None` is not stated.
    #[must_use]
    pub const fn text(
        input: Rate,
        cached: Option<Rate>,
        cache_write: Option<Rate>,
        output: Option<Rate>,
    ) -> Self {
        let mut rates = [None; TokenType::ALL.len()];
        rates[TokenType::Input as usize] = Some(input);
        rates[TokenType::InputCached as usize] = cached;
        rates[TokenType::InputCacheWrite as usize] = cache_write;
        rates[TokenType::Output as usize] = output;
        Self(rates)
    }

    /// The same rates with `rate` stated for `kind`.
    #[must_use]
    pub const fn with(mut self, kind: TokenType, rate: Rate) -> Self {
        self.0[kind as usize] = Some(rate);
        self
    }

    /// What a token of `kind` is charged. Reasoning is charged as output unless stated, the cache
    /// as input unless stated; audio and images have no price but their own.
    #[must_use]
    pub fn charged(&self, kind: TokenType) -> Option<Rate> {
        let fallback = match kind {
            TokenType::InputCached | TokenType::InputCacheWrite => Some(TokenType::Input),
            TokenType::Reasoning => Some(TokenType::Output),
            TokenType::Input
            | TokenType::Output
            | TokenType::InputAudio
            | TokenType::OutputAudio
            | TokenType::InputImage
            | TokenType::OutputImage => None,
        };
        self.0[kind as usize].or_else(|| self.0[fallback? as usize])
    }
}
