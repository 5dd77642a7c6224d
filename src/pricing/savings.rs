//! What caching saved.

use super::{Factor, ModelName, PriceRow, PriceTable, Tier};
use crate::clock::UnixMicros;
use crate::record::{Api, TokenType, Tokens, Unit, Usage, UsageSource};

/// Tokens of requests for which one price holds.
#[derive(Clone, Copy, Debug)]
pub struct CacheUse<'n> {
    /// Whose model.
    pub name: ModelName<'n>,
    /// By which API.
    pub api: Api,
    /// The sums of their tokens.
    pub tokens: Tokens,
    /// Of the tokens that were written into a cache, those that live there for an hour.
    pub cache_write_1h: Option<u64>,
}

impl CacheUse<'_> {
    /// Whether a cache had to do with it.
    #[must_use]
    pub fn is_some(&self) -> bool {
        let used = |kind| self.tokens[kind].is_some_and(|count| count > 0);
        used(TokenType::InputCached) || used(TokenType::InputCacheWrite)
    }

    /// The input that a cache had to do with: as it was, and as it would have been without. With both
    /// the kinds of tokens that some models' caches are priced otherwise for.
    fn inputs(&self) -> (Usage, Usage) {
        let mut with = Usage::absent(UsageSource::Reported);
        for kind in [
            TokenType::InputAudio,
            TokenType::InputImage,
            TokenType::OutputAudio,
        ] {
            with.tokens[kind] = self.tokens[kind];
        }
        let mut without = with;
        let read = self.tokens[TokenType::InputCached].unwrap_or(0);
        let written = self.tokens[TokenType::InputCacheWrite].unwrap_or(0);
        with.tokens[TokenType::InputCached] = Some(read);
        with.tokens[TokenType::InputCacheWrite] = Some(written);
        with.units[Unit::CacheWrite1h] = self.cache_write_1h.map(|hour| hour.min(written));
        without.tokens[TokenType::Input] = Some(read.saturating_add(written));
        (with, without)
    }
}

/// What a model's cached input costs, and what it would cost as other input.
#[derive(Clone, Debug)]
pub struct CachePrice {
    row: PriceRow,
    tier: Tier,
    residency: Factor,
}

impl CachePrice {
    /// Nano-dollars that were not spent because input came out of a cache, less what writing it cost
    /// more; `None` where a price of it is not known.
    #[must_use]
    pub fn saved(&self, used: &CacheUse<'_>) -> Option<i64> {
        let cost = |usage: &Usage| {
            self.row
                .amount_for(Api::Chat, self.tier, self.residency, usage)
        };
        let (with, without) = used.inputs();
        Some(cost(&without)?.0.saturating_sub(cost(&with)?.0))
    }
}

/// Adds up what was saved where a cache had to do with it: `None` where no part is known, 0 where there
/// is none.
pub fn all_saved(parts: impl IntoIterator<Item = Option<i64>>) -> Option<i64> {
    let mut any = false;
    let known = parts.into_iter().inspect(|_| any = true).flatten();
    let saved = known.reduce(i64::saturating_add);
    saved.or(if any { None } else { Some(0) })
}

impl PriceTable {
    /// What a model's cached input costs at a moment.
    #[must_use]
    pub fn cache_price(
        &self,
        name: ModelName<'_>,
        api: Api,
        now: UnixMicros,
    ) -> Option<CachePrice> {
        let found = self.find(name, now)?;
        Some(CachePrice {
            // A threshold is one request's, and uses are sums of many.
            row: PriceRow {
                thresholds: Vec::new(),
                ..found.row.clone()
            },
            tier: match api {
                Api::Batches => Tier::Batch,
                _ => Tier::Standard,
            },
            residency: found.residency()?,
        })
    }

    /// Nano-dollars that were not spent because input came out of a cache, by the prices of `now`: what
    /// that would have cost as other input, less what it cost, and less what writing the cache cost
    /// more. Negative where the writing cost more than it brought. `None` where there was a cache and no
    /// price of it is known; with some prices only, what is known.
    pub fn saved_by_caches<'n>(
        &self,
        uses: impl IntoIterator<Item = CacheUse<'n>>,
        now: UnixMicros,
    ) -> Option<i64> {
        let cached = uses.into_iter().filter(CacheUse::is_some);
        all_saved(cached.map(|used| self.cache_price(used.name, used.api, now)?.saved(&used)))
    }
}
